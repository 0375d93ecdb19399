"""What is in a folder, for a person at a terminal; the only place where files are named."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungfish.dicom.sources import list_sources

MOST_NAMES = 3


def tell(place: Path, record: Mapping[str, Any]) -> str:
    """Return a readable verdict on a folder or zip.

    Parameters
    ----------
    place : Path
        What was indexed.
    record : dict
        Of the index stage.

    Returns
    -------
    str
        Some lines: whether it is usable, what will be used, what is wrong with the rest. Holds
        names of files, so it belongs on a terminal and in no output.
    """
    names = {source.number: _printable(source.name) for source in list_sources(place)}
    if record["status"] == "ok":
        lines = ["Usable.", *_used(record)]
    else:
        lines = [f"Refused ({record['code']}): {record['reason']}."]
        lines += [f"  file {number} is {names[number]}" for number in _named(record, names)]
    lines += [f"Notice: {text}." for text in record["findings"]]
    lines += _others(record["others"])
    return "\n".join([*lines, *_fates(record["files"], names)])


def _printable(name: str) -> str:
    """Return a name that cannot steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _used(record: Mapping[str, Any]) -> list[str]:
    """Describe the volume and how it was acquired."""
    geometry, about = record["geometry"], record["acquisition"]
    (slices, rows, columns), (step, row_mm, column_mm) = geometry["size"], geometry["spacing_mm"]
    regular = "" if geometry["regular"] else " on average (irregular: the true places are used)"
    extent = geometry["places"][-1] * step
    lines = [
        f"Used: {slices} slices of {rows} x {columns} pixels, {step:.3f} mm apart{regular}, pixels "
        f"{row_mm:.3f} x {column_mm:.3f} mm, {extent:.0f} mm from first to last.",
    ]
    stated = {
        "maker": " ".join(filter(None, (about["manufacturer"], about["model"]))),
        "kernel": about["kernel"],
        "thickness": _with_unit(about["thickness_mm"], "mm"),
        "tube": _with_unit(about["kvp"], "kV"),
        "exposure": _with_unit(about["mas"], "mAs"),
    }
    said = ", ".join(f"{key} {text}" for key, text in stated.items() if text)
    lines.append(f"Scan: {said or 'nothing stated'}.")
    if record["series"]["series_found"] > 1 or record["others"]:
        lines.append(f"Chosen by: {record['series']['rule']}.")
    if geometry["missing"]:
        lines.append(f"{geometry['missing']} missing slices will be interpolated and marked.")
    return lines


def _with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}"


def _named(record: Mapping[str, Any], names: Mapping[int, str]) -> list[int]:
    """Return the numbers of the files that a refusal speaks of."""
    spoken = re.findall(r"\bfiles? (\d+)(?: and (\d+))?", record["reason"])
    numbers = [int(number) for pair in spoken for number in pair if number]
    return [number for number in numbers if number in names]


def _others(others: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the series that were not chosen."""
    return [
        f"Not chosen ({other['fate']}): {other['slices']} slices over {other['extent_mm']:.0f} mm, "
        f"{'axial' if other['axial'] else 'not axial'}, kernel {other['kernel'] or 'not stated'}."
        for other in others
    ]


def _fates(files: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[str]:
    """Count the files by fate and name the first of each."""
    groups: dict[str, list[int]] = {}
    for file in files:
        groups.setdefault(re.sub(r" of \d+$", "", file["fate"]), []).append(file["number"])
    lines = [f"Files: {len(files)}"]
    for fate, numbers in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        shown = ", ".join(names[number] for number in numbers[:MOST_NAMES])
        more = f" and {len(numbers) - MOST_NAMES} more" if len(numbers) > MOST_NAMES else ""
        lines.append(f"  {len(numbers)} {fate}: {shown}{more}")
    return lines
