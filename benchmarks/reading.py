"""Time the reading of a chest CT to int16 HU, lungfish against SimpleITK, in every encoding.

Each measurement is a process of its own; lungfish's index (headers, choice, order, checks) and its
reading of the pixels are counted separately. SimpleITK's series reader lists, sorts and reads.
"""

import argparse
import json
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ct, measure
from benchmarks.measure import Measurement, least

FLOORS = {
    "uncompressed": 0.25,
    "JPEG-LS": 0.75,
    "JPEG lossless": 0.7,
    "HTJ2K": 0.45,
    "RLE": 0.06,
    "JPEG 2000": 1.0,
}
"""Largest allowed share of SimpleITK's CPU seconds for reading."""
MEMORY_FLOOR = 1.3
"""Largest allowed peak above the imports, in sizes of the acquired int16 volume."""
ACQUIRED_MB = ct.SLICES * ct.SIDE**2 * 2 / 1e6
Prepared = tuple[measure.Work, measure.Check]


def checksum(hu: Any) -> int:
    """Return the CRC-32 of HU as little endian int16, so that both readers can be compared."""
    return zlib.crc32(np.ascontiguousarray(hu, "<i2"))


def prepare_lungfish(folder: Path, index: Path) -> Prepared:
    """Return lungfish's reading of what an index record, made before, lists."""
    from lungfish import volumes

    record = json.loads(index.read_text())
    read = partial(volumes.read_acquired, folder, record, max_gb=4.0)
    return read, lambda acquired: checksum(acquired.hu)


def prepare_index(folder: Path, index: Path) -> Prepared:
    """Return lungfish's index of a folder; its record is kept for `prepare_lungfish`."""
    from lungfish import index as stage
    from lungfish import records

    def store(record: records.Record) -> str:
        records.write_json(index, stage.SCHEMA, record)
        return str(record["status"])

    return partial(stage.index_folder, folder, settings=stage.Settings()), store


def prepare_simpleitk(folder: Path, index: Path) -> Prepared:
    """Return SimpleITK's series reader as its documentation has it."""
    import SimpleITK as sitk

    def read() -> Any:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        return image, sitk.GetArrayViewFromImage(image)

    return read, lambda made: checksum(made[1])


def prepare_listing(folder: Path, index: Path) -> Prepared:
    """Return the part of SimpleITK's way that lists and sorts the files."""
    import SimpleITK as sitk

    return partial(sitk.ImageSeriesReader.GetGDCMSeriesFileNames, str(folder)), len


WAYS: dict[str, Callable[[Path, Path], Prepared]] = {
    "index": prepare_index,
    "lungfish": prepare_lungfish,
    "listing": prepare_listing,
    "SimpleITK": prepare_simpleitk,
}


def measure_encoding(scratch: Path, encoding: str, rounds: int) -> dict[str, list[Measurement]]:
    """Measure all ways on one encoding; the HU of both readers must be equal."""
    base = ["--scratch", str(scratch), "--encodings", encoding, "--measure"]
    ways = {
        way: partial(measure.in_fresh_process, "benchmarks.reading", [*base, way]) for way in WAYS
    }
    found = measure.interleaved(ways, rounds)
    answers = {run.answer for way in ("lungfish", "SimpleITK") for run in found[way]}
    if len(answers) > 1:
        raise SystemExit(f"{encoding}: the readers disagree on the HU, {answers}")
    return found


def ratio_row(encoding: str, found: dict[str, list[Measurement]]) -> list[str]:
    """Return one line of the table of ratios."""
    own, other = found["lungfish"], found["SimpleITK"]
    ratio = least(own, "cpu_s") / least(other, "cpu_s")
    whole = (least(own, "cpu_s") + least(found["index"], "cpu_s")) / least(other, "cpu_s")
    in_turn = np.median([a.cpu_s / b.cpu_s for a, b in zip(own, other, strict=True)])
    share = max(run.peak_mb for run in own) / ACQUIRED_MB
    kept = ratio <= FLOORS[encoding] and share <= MEMORY_FLOOR
    return [
        encoding,
        f"{ratio:.3f}",
        f"{in_turn:.3f}",
        f"{FLOORS[encoding]}",
        f"{share:.2f}",
        f"{MEMORY_FLOOR}",
        "yes" if kept else "**no**",
        f"{whole:.2f}",
    ]


RATIO_COLUMNS = (
    "encoding", "lungfish / SimpleITK, CPU", "median of rounds", "at most", "peak / volume",
    "at most", "kept", "with the index",
)  # fmt: skip
COST_COLUMNS = (
    "encoding", "way", "CPU s, least (median)", "wall s, least (median)", "peak MB above imports",
    "process: CPU s", "process: peak MB",
)  # fmt: skip


def cost_row(encoding: str, way: str, runs: list[Measurement]) -> list[str]:
    """Return one line of the table of costs."""
    names = {"index": "lungfish, index", "lungfish": "lungfish, reading"}
    names |= {"SimpleITK": "SimpleITK, all", "listing": "SimpleITK, of which listing"}
    return [
        encoding,
        names[way],
        measure.both(runs, "cpu_s"),
        measure.both(runs, "wall_s"),
        f"{max(run.peak_mb for run in runs):.0f}",
        f"{least(runs, 'total_cpu_s'):.2f}",
        f"{max(run.total_peak_mb for run in runs):.0f}",
    ]


def page(results: dict[str, dict[str, list[Measurement]]], rounds: int) -> str:
    """Return the tables of all encodings."""
    ratios = [ratio_row(encoding, found) for encoding, found in results.items()]
    costs = [
        cost_row(encoding, way, runs)
        for encoding, found in results.items()
        for way, runs in found.items()
    ]
    return (
        f"Reading {ct.SLICES} x {ct.SIDE} x {ct.SIDE} to int16 HU ({ACQUIRED_MB:.0f} MB), "
        f"{rounds} rounds in turn; the HU of both are equal.\n\n"
        + measure.markdown(RATIO_COLUMNS, ratios)
        + "\n"
        + measure.markdown(COST_COLUMNS, costs)
        + f"\n{measure.machine()}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and store them where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the CT, kept")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--encodings", nargs="+", choices=list(FLOORS), default=list(FLOORS))
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        (encoding,) = args.encodings
        folder = ct.folder_of(args.scratch, encoding)
        prepare = partial(WAYS[args.measure], folder, folder.with_suffix(".index.json"))
        measure.report_here(prepare)
        return 0
    ct.make(args.scratch, args.encodings)
    results = {
        encoding: measure_encoding(args.scratch, encoding, args.rounds)
        for encoding in args.encodings
    }
    measure.publish(page(results, args.rounds), args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
