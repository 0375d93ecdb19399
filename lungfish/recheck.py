"""Whether a patient's files are still those that the results were made from.

Snakemake reruns what depends on a changed setting, a changed line of code or another file name. A
file rewritten in place under its old name it does not see. Here headers and pixels are read anew
and compared with what was written down; times and names of files are not asked.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from lungfish import index, volumes
from lungfish.errors import Refusal
from lungfish.records import Record, accepted, plain, refused

Status = Literal["unchanged", "rewritten", "missing", "not yet built"]
STATUSES = get_args(Status)
CHANGED = ("rewritten", "missing")
"""What a person has to do something about."""
COLUMNS = ("patient", "status", "differs")


def recheck_patient(
    folder: Path,
    indexed: Record | None,
    built: Record | None,
    *,
    index_settings: index.Settings,
    volumes_settings: volumes.Settings,
    series: str = "",
) -> tuple[Status, str]:
    """Compare a patient's files with the records that were made from them.

    Parameters
    ----------
    folder : Path
        Of the DICOM files.
    indexed, built : dict or None
        The stored records of the index and the volumes stage; None where there is none yet.
    index_settings, volumes_settings : Settings
        Of the two stages, as in the run that wrote the records.
    series : str
        SeriesInstanceUID that the sheet asks for, or empty.

    Returns
    -------
    status : str
        ``unchanged``, ``rewritten``, ``missing`` (the folder) or ``not yet built``.
    differs : str
        What is no longer the same, in words without an identifier; empty if unchanged.
    """
    if indexed is None or built is None:
        return "not yet built", "the index" if indexed is None else "the volume"
    if not folder.exists():
        return "missing", "the folder"
    fresh = as_stored(index.index_folder(folder, settings=index_settings, series=series))
    found = differences(indexed, fresh)
    if not found and fresh["status"] == "ok":  # of a refused scan no pixel was ever read
        found = pixel_differences(
            folder, fresh, built, settings=volumes_settings, salt=index_settings.salt
        )
    return ("rewritten", "; ".join(found)) if found else ("unchanged", "")


def as_stored(record: Record) -> Record:
    """Return a record as it comes back from its JSON file."""
    stored: Record = json.loads(json.dumps(plain(record)))
    return stored


def differences(before: Record, now: Record) -> list[str]:
    """Return in which parts two index records differ, the first thing of each part named."""
    said: list[str] = []
    if (before["status"], before["code"]) != (now["status"], now["code"]):
        said.append(f"was {_verdict(before)}, is now {_verdict(now)}")
    said += _file_differences(before["files"], now["files"])
    for part in sorted((before.keys() | now.keys()) - {"schema", "files", "status", "code"}):
        if before.get(part) != now.get(part):
            said.append(_part_difference(part, before.get(part), now.get(part)))
    return said


def _verdict(record: Record) -> str:
    return "ok" if record["status"] == "ok" else f"refused ({record['code']})"


def _file_differences(before: Sequence[Record], now: Sequence[Record]) -> list[str]:
    """Return how many files there are more or less, else the first one of another fate."""
    if len(before) != len(now):
        return [f"{len(now)} files instead of {len(before)}"]
    other = [(old, new) for old, new in zip(before, now, strict=True) if old != new]
    if not other:
        return []
    old, new = other[0]
    return [
        f"{len(other)} file{'s' * (len(other) != 1)} of another fate (first: file {new['number']}, "
        f"was {old['fate']}, is now {new['fate']})"
    ]


def _part_difference(part: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return f"{part}: {', '.join(keys)}"
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        count = sum(old != new for old, new in zip(before, now, strict=True))
        return f"{part}: {count} of {len(now)}"
    return part


def pixel_differences(
    folder: Path, fresh: Record, built: Record, *, settings: volumes.Settings, salt: str
) -> list[str]:
    """Return whether the HU are no longer those of the stored volume, once the headers agree."""
    try:
        digest = volumes.acquired_digest(folder, fresh, settings=settings, salt=salt)
        record = accepted() | {"content_hash": digest}
    except Refusal as refusal:
        record = refused(refusal)
    if (record["status"], record["code"]) != (built["status"], built["code"]):
        return [f"was {_verdict(built)}, is now {_verdict(record)}"]
    return ["the HU"] if record.get("content_hash") != built.get("content_hash") else []


def summarise(rows: Sequence[Record]) -> str:
    """Return what a person should know: how many patients changed, and each of them in a line.

    Parameters
    ----------
    rows : sequence of dict
        With the keys `COLUMNS`.
    """
    count = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    listed = ", ".join(f"{number} {status}" for status, number in count.items() if number)
    lines = [f"Recheck of {len(rows)} patient{'s' * (len(rows) != 1)}: {listed}"]
    changed = [row for row in rows if row["status"] in CHANGED]
    lines += [f"{row['patient']}: {row['status']} ({row['differs']})" for row in changed]
    return "\n".join(lines) + "\n"
