"""Fit what each stage takes to the size of the scan: memory and CPU seconds, from real runs.

Digital patients of several sizes go through the whole workflow, and further finished runs may be
named (`--runs`), such as that of `benchmarks.memory`. Every job's log ends with what it took, as
the system counted it. The fit is by least squares with no coefficient below 0: a base, and so much
for each million voxels of the scan as acquired and of the volume. The table compares it with the
formulas that the rules ask by (`lungfish.resources`).
"""

import argparse
import collections
import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import nnls

from benchmarks import measure, pages
from lungfish import records, resources, usage

SHORT: dict[str, Any] = {
    "shards": 1,
    "cohort": {"folds": 2},
    "gmcae": {"epochs": 1, "steps_per_epoch": 24, "warmup_steps": 4},
    "classifier": {"epochs": 4},
    "model": {"bootstraps": 2},
    "evaluation": {"bootstraps": 200},
}
"""Only how long training lasts is not the default's."""
CASES: dict[str, tuple[int, int, float]] = {
    "96": (96, 60, 3.0),
    "192": (192, 100, 2.0),
    "256": (256, 120, 1.5),
    "256-fine": (256, 120, 1.0),
    "512": (512, 300, 1.0),
}
"""Name: rows and columns, slices that cover 300 mm, and the voxels of the volume in mm."""
PATIENTS = ("size-1", "size-2")
PER_PATIENT = ("phantom", "index", "volumes", "lungs", "patches", "surprise")


@dataclasses.dataclass(frozen=True)
class Point:
    """One job: whose size it depends on, and what it took."""

    stage: str
    case: str
    size: resources.Size
    used: usage.Usage


def prepare(folder: Path, matrix: int, slices: int, spacing_mm: float) -> None:
    """Write the sheet and the configuration of a case; what stands is left for Snakemake."""
    step_mm = 300.0 / slices
    config = SHORT | {
        "samples": "samples.tsv",
        "phantom": {
            "matrix": matrix, "slices": slices, "slice_mm": step_mm, "thickness_mm": step_mm,
        },
        "volumes": {"spacing_mm": spacing_mm},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = "".join(f"{patient}\t\t{k % 2}\n" for k, patient in enumerate(PATIENTS))
    (folder / "samples.tsv").write_text("patient\tdicom\tlabel\n" + rows)


def run(folder: Path) -> None:
    """Run the workflow of a case to its end, surprise maps too."""
    maps = [f"results/surprise/{patient}.json" for patient in PATIENTS]
    words = [
        str(Path(sys.executable).parent / "snakemake"), "all", *maps, "--cores", "1",
        "--snakefile", str(measure.ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "config.yaml"), "--quiet", "rules", "progress",
    ]  # fmt: skip
    subprocess.run(words, check=True)


def read_sizes(results: Path) -> dict[str, resources.Size]:
    """Return the size of each accepted patient of a run."""
    found = {}
    for path in sorted((results / "volumes").glob("*.json")):
        record = records.read_json(path, "volumes/1")
        if record["status"] == "ok":
            found[path.stem] = resources.Size.of(record["acquired_size"], record["size"])
    return found


def points(folder: Path) -> Iterator[Point]:
    """Yield what every job of a run took that handles one patient, or all of them."""
    sizes = read_sizes(folder / "results")
    whole = resources.Size.of_many(list(sizes.values()))
    for log in sorted((folder / "logs").glob("*/*.log")):
        used = usage.read(log)
        if used and (log.parent.name not in PER_PATIENT or log.stem in sizes):
            size = sizes.get(log.stem, whole)
            yield Point(log.parent.name, folder.name, size, used)


def fit(found: Sequence[Point], value: str) -> tuple[float, float, float]:
    """Return the base and what a million voxels adds, acquired and of the volume."""
    sizes = [(1.0, each.size.acquired_mvoxel, each.size.volume_mvoxel) for each in found]
    target = np.array([getattr(each.used, value) for each in found])
    # Relative errors count: each row is divided by what was measured.
    matrix = np.array(sizes) / target[:, None]
    base, acquired, volume = nnls(matrix, np.ones(len(found)))[0]
    return float(base), float(acquired), float(volume)


def table(found: Mapping[str, Sequence[Point]]) -> str:
    """Return a row a stage: the fits, what stands in the library, and how far it is from use."""
    rows = []
    for stage, each in found.items():
        if stage not in resources.STAGES or stage not in PER_PATIENT:
            continue
        memory, cpu = fit(each, "peak_mb"), fit(each, "cpu_s")
        asked = [resources.memory_mb(stage, point.size) / point.used.peak_mb for point in each]
        most = max(point.used.peak_mb for point in each)
        rows.append([
            stage, str(len(each)), _line(memory), _line(cpu), f"{most:.0f}",
            f"{min(asked):.1f} to {max(asked):.1f}", "yes" if min(asked) >= 1 else "**no**",
        ])  # fmt: skip
    columns = (
        "stage", "jobs", "memory, MB", "CPU s", "largest measured, MB", "asked / used", "enough",
    )  # fmt: skip
    return measure.markdown(columns, rows)


def _line(coefficients: tuple[float, float, float]) -> str:
    base, acquired, volume = coefficients
    words = [f"{base:.3g}"]
    words += [f"{acquired:.3g} a"] if acquired else []
    words += [f"{volume:.3g} v"] if volume else []
    return " + ".join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was not run, fit, print the table and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="further finished runs")
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--page", type=Path, help="page of the docs to put it into")
    args = parser.parse_args(argv)
    folders = [args.scratch.resolve() / name for name in args.cases]
    for folder in folders:
        prepare(folder, *CASES[folder.name])
        run(folder)
    found: dict[str, list[Point]] = collections.defaultdict(list)
    for folder in [*folders, *args.runs]:
        for point in points(folder):
            found[point.stage].append(point)
    text = table(found) + f"\n{measure.machine()}\n"
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "resources", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
