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
from lungfish.phantom import is_malignant

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
PER_PATIENT = {name: name for name in ("phantom", "index", "volumes", "lungs", "patches")}
PER_PATIENT["surprise"] = "surprise_patient"
"""Folder of the logs to the rule, of the rules that handle one patient; their costs are fitted."""
LEAST_JOBS = 6
"""Fewer are not fitted."""
TOGETHER = ("gmcae", "features", "classifier", "evaluation", "model")
"""Rules that handle several; what they ask for is compared only."""


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
    rows = "".join(f"{patient}\t\t{int(is_malignant(patient))}\n" for patient in PATIENTS)
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
    patches = sum(int(row["patches"]) for row in _patch_counts(folder))
    whole = resources.Size.of_many(list(sizes.values()), patches=patches)
    for log in sorted((folder / "logs").glob("*/*.log")):
        used, stage = usage.read(log), log.parent.name
        if used and stage in PER_PATIENT and log.stem in sizes:
            yield Point(PER_PATIENT[stage], folder.name, sizes[log.stem], used)
        elif used and stage in TOGETHER:
            yield Point(stage, folder.name, whole, used)


def _patch_counts(folder: Path) -> list[dict[str, str]]:
    table = folder / "results/cohort/patches.tsv"
    return records.read_table(table) if table.is_file() else []


def fit(found: Sequence[Point], value: str) -> tuple[float, float, float]:
    """Return the base and what a million voxels adds, acquired and of the volume."""
    sizes = [(1.0, each.size.acquired_mvoxel, each.size.volume_mvoxel) for each in found]
    target = np.array([getattr(each.used, value) for each in found])
    # Relative errors count: each row is divided by what was measured.
    matrix = np.array(sizes) / target[:, None]
    base, acquired, volume = nnls(matrix, np.ones(len(found)))[0]
    return float(base), float(acquired), float(volume)


def table(found: Mapping[str, Sequence[Point]]) -> str:
    """Return a row a stage: the fits, what the rules go by, and how far they ask from the use."""
    rows = []
    for stage in (*PER_PATIENT.values(), *TOGETHER):
        jobs = found.get(stage, ())
        if not jobs:
            continue
        fitted = ["", ""] if len(jobs) < LEAST_JOBS or stage in TOGETHER else [
            _line(fit(jobs, value)) for value in ("peak_mb", "cpu_s")
        ]  # fmt: skip
        asked = [resources.memory_mb(stage, job.size) / job.used.peak_mb for job in jobs]
        rows.append([
            stage, str(len(jobs)), fitted[0], _cost(resources.MEMORY[stage]),
            f"{max(job.used.peak_mb for job in jobs):.0f}",
            f"{min(asked):.1f} to {max(asked):.1f}", "yes" if min(asked) >= 1 else "**no**",
            fitted[1], _cost(resources.SECONDS[stage]),
            f"{max(job.used.cpu_s for job in jobs):.1f}",
        ])  # fmt: skip
    columns = (
        "rule", "jobs", "memory fitted, MB", "rules go by, MB", "most measured, MB",
        "asked / used", "enough", "fitted, CPU s", "rules go by, CPU s", "most measured, CPU s",
    )  # fmt: skip
    return measure.markdown(columns, rows)


UNITS = {
    "acquired": "a", "volume": "v", "all_volumes": "a patient's v", "patient": "a patient",
    "patch": "a patch", "drawn": "a patch drawn",
}  # fmt: skip


def _cost(cost: resources.Cost) -> str:
    words = [f"{cost.base:g}"]
    words += [f"{getattr(cost, key):g} {unit}" for key, unit in UNITS.items() if getattr(cost, key)]
    return " + ".join(words)


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
    worst = max(
        job.used.peak_mb / resources.MEMORY[stage].of(job.size)
        for stage, jobs in found.items()
        for job in jobs
    )
    text = (
        f"{table(found)}\nThe most that a job took was {worst:.2f} times what the rules go by.\n\n"
        f"{measure.machine()}\n"
    )
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "resources", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
