"""Run the whole main job on many digital patients, and say where core time and disk went.

Every command of a stage reports the CPU seconds of all its processes when its shell ends (bash's
`times`), which is exact where Snakemake's own benchmark files sample. What Python's start and the
imports take is measured after the run, for what each script imported in it, and taken off.
"""

import argparse
import collections
import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import measure, pages
from lungfish import command
from lungfish.records import read_table

PATIENTS, MATRIX, SLICES, SLICE_MM = 200, 192, 100, 3.0
MOST_MINUTES, LEAST_SHARE = 45.0, 0.85
LATER = 1600
"""Patients of the cohort that is forecast: kdsb17's."""
STAGES = (
    "phantom", "index", "volumes", "lungs", "patches", "cohort", "gmcae", "features", "classifier",
    "evaluation", "model", "report",
)  # fmt: skip
FIXED = ("gmcae", "evaluation")
"""Stages whose work the configuration sets and not the number of patients."""
SCRIPT = re.compile(r"/scripts/(\w+)\.py")
BELONGS = {"patch_counts": "cohort"}
"""Scripts that are not called as their stage is: their logs stand in its folder."""
# Bash reads this file before each command and writes, when it ends, what it and its children took.
AT_THE_END = """\
trap '{ printf "%s\\n" "$BASH_EXECUTION_STRING"; times; } > "$LUNGFISH_TIMES/$$-$RANDOM"' EXIT
"""
# Each Python that starts reads this file, and writes at its end what it imported, in order.
WHAT_WAS_IMPORTED = """\
import atexit, os, pathlib, sys
def write():
    script = pathlib.Path(getattr(sys.modules["__main__"], "__file__", None) or "none").stem
    path = pathlib.Path(os.environ["LUNGFISH_TIMES"], "..", "imports", script + ".txt")
    path.write_text(" ".join(name for name in sys.modules if not name.startswith("__m")))
atexit.register(write)
"""
# Modules that a package made itself, and no file has, cannot be imported.
IMPORT_AGAIN = """\
import contextlib, importlib, pathlib, sys
for name in pathlib.Path(sys.argv[1]).read_text().split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
"""


@dataclasses.dataclass
class Spent:
    """What the commands of one script took: how often, and CPU seconds in all."""

    commands: int = 0
    cpu_s: float = 0.0


def configuration(patients: int) -> dict[str, Any]:
    """Return that of the embedded cohort (config/config.yaml), with this size and these shards."""
    preset = yaml.safe_load((measure.ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    size = {
        "matrix": MATRIX, "slices": SLICES, "slice_mm": SLICE_MM, "thickness_mm": SLICE_MM,
    }  # fmt: skip
    # One shard for each 50 to 100 patients, as config/config.yaml advises.
    shards = max(2, round(patients / 70))
    return preset | {"samples": "samples.tsv", "shards": shards, "phantom": size}


def prepare(scratch: Path, patients: int) -> None:
    """Write sheet, configuration and what each shell does at its end."""
    from lungfish.phantom import is_malignant

    names = [f"scale-{number:04d}" for number in range(1, patients + 1)]
    rows = [f"{name}\t\t{int(is_malignant(name))}" for name in names]
    (scratch / "times").mkdir(parents=True)
    (scratch / "samples.tsv").write_text("\n".join(["patient\tdicom\tlabel", *rows]) + "\n")
    (scratch / "config.yaml").write_text(yaml.safe_dump(configuration(patients)))
    (scratch / "at_the_end.sh").write_text(AT_THE_END)
    (scratch / "imports").mkdir()
    (scratch / "imports/sitecustomize.py").write_text(WHAT_WAS_IMPORTED)


def snakemake(scratch: Path, cores: int, *words: str) -> tuple[float, float, int]:
    """Run Snakemake; return wall and CPU seconds of it and all it started, and its exit status."""
    line = [
        Path(sys.executable).parent / "snakemake", "--snakefile", measure.ROOT / "Snakefile",
        "--directory", scratch, "--configfile", scratch / "config.yaml", "--cores", cores, *words,
    ]  # fmt: skip
    environment = os.environ | {
        "LC_ALL": "C.UTF-8",
        "BASH_ENV": str(scratch / "at_the_end.sh"),
        "LUNGFISH_TIMES": str(scratch / "times"),
        "PYTHONPATH": str(scratch / "imports"),
    }
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (scratch / "terminal.txt").open("a") as terminal:
        status = subprocess.run(
            [str(word) for word in line], env=environment, stdout=terminal, stderr=terminal
        ).returncode
    wall_s = time.perf_counter() - since
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, status


def spent(folder: Path) -> dict[str, Spent]:
    """Return what each script's commands took, from what their shells wrote at their end."""
    found: dict[str, Spent] = collections.defaultdict(Spent)
    for path in folder.iterdir():
        text = path.read_text()
        script = SCRIPT.search(text)
        if script:  # the others are Snakemake's own small questions
            one = found[script[1]]
            one.commands += 1
            one.cpu_s += cpu_of(text)
    return dict(found)


def cpu_of(text: str) -> float:
    """Return the CPU seconds in the two lines that bash's `times` ends with, as ``0m1.234s``."""
    return sum(
        60 * int(minutes) + float(seconds)
        for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", "".join(text.splitlines()[-2:]))
    )


def start_s(modules: Path) -> float:
    """Return the CPU seconds of Python's start and of importing what a script's run imported."""
    environment = os.environ | dict.fromkeys(command.LIBRARIES, "1")
    words = [sys.executable, "-c", IMPORT_AGAIN, str(modules)]
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            words, cwd=measure.ROOT, env=environment, check=True, stderr=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def megabytes(folder: Path) -> float:
    """Return how much the files below a folder hold, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def plan_cost(scratch: Path, patients: int) -> tuple[float, float]:
    """Return CPU seconds and wall seconds of a dry run of a cohort of so many digital patients."""
    rows = "".join(f"planned-{number}\t\t{number % 2}\n" for number in range(patients))
    (scratch / "planned.tsv").write_text("patient\tdicom\tlabel\n" + rows)
    words = ("--config", "samples=planned.tsv", "--dry-run", "--quiet", "rules")
    wall_s, cpu_s, status = snakemake(scratch, 1, *words)
    if status:
        raise SystemExit(f"the dry run failed, see {scratch}/terminal.txt")
    return cpu_s, wall_s


def kdsb17_seconds(scratch: Path, patients: int) -> list[float]:
    """Return the CPU seconds of kdsb17's steps (to 1 mm, then the lungs' box) for some patients."""
    from benchmarks.kdsb17 import crop_to_lungs
    from lungfish import nifti, volumes
    from lungfish.index import SCHEMA, index_folder
    from lungfish.index import Settings as IndexSettings

    taken = []
    for folder in sorted((scratch / "results/phantom").iterdir())[:patients]:
        before = time.process_time()
        record = index_folder(folder / "dicom", settings=IndexSettings())
        settings = volumes.Settings(spacing_mm=1.0)
        volume, _ = volumes.build_volume(
            folder / "dicom", {"schema": SCHEMA} | record, settings=settings
        )
        _, cropped = crop_to_lungs(volume.hu)
        nifti.write_volume(scratch / "kdsb17.nii.gz", dataclasses.replace(volume, hu=cropped))
        taken.append(time.process_time() - before)
    return taken


def by_stage(found: Mapping[str, Spent], starts: Mapping[str, float]) -> dict[str, list[float]]:
    """Return for each stage its commands, their CPU seconds, and those beyond start and imports."""
    table = {stage: [0.0, 0.0, 0.0] for stage in STAGES}
    for script, one in found.items():
        row = table[BELONGS.get(script, script)]
        row[0] += one.commands
        row[1] += one.cpu_s
        row[2] += max(one.cpu_s - one.commands * starts[script], 0.0)
    return table


def page(facts: Mapping[str, Any]) -> str:
    """Return the tables: where core time and disk went, and what 1,600 patients would take."""
    n, cores = facts["patients"], facts["cores"]
    table, disk = facts["stages"], facts["disk_mb"]
    core_s = cores * facts["wall_s"]
    rows, later_s, later_gb = [], 0.0, 0.0
    for stage in STAGES:
        count, cpu_s, work_s = table[stage]
        times = 1 if stage in FIXED else LATER / n
        later_s += cpu_s * times
        growth = LATER / n if disk[stage] / n > 0.05 else 1
        later_gb += disk[stage] * growth / 1e3
        rows.append([
            stage, f"{count:.0f}", f"{cpu_s:.0f}", f"{work_s:.0f}", f"{cpu_s / n:.2f}",
            f"{100 * cpu_s / core_s:.1f}", f"{disk[stage]:.0f}", f"{disk[stage] / n:.2f}",
        ])  # fmt: skip
    commands_s, work_s = (sum(row[k] for row in table.values()) for k in (1, 2))
    rest_s = facts["cpu_s"] - commands_s
    rows.append([
        "Snakemake", "", f"{rest_s:.0f}", "", f"{rest_s / n:.2f}", f"{100 * rest_s / core_s:.1f}",
        f"{facts['records_mb']:.0f}", f"{facts['records_mb'] / n:.2f}",
    ])  # fmt: skip
    share, own = commands_s / core_s, work_s / core_s
    kept = share >= LEAST_SHARE and facts["wall_s"] <= 60 * MOST_MINUTES
    columns = ("stage", "commands", "CPU s", "beyond start and imports", "CPU s a patient",
               "% of core time", "MB", "MB a patient")  # fmt: skip
    kdsb17 = ", ".join(f"{seconds:.1f}" for seconds in facts["kdsb17_s"])
    ours = sum(table[stage][1] for stage in ("index", "volumes", "lungs")) / n
    busy = facts["cpu_s"] / core_s
    hours = (later_s + rest_s * LATER / n) / (cores * busy) / 3600
    verdict = "kept" if kept else "**not kept**"
    if n != PATIENTS:
        verdict = f"no verdict: promised for {PATIENTS} patients"
    return (
        f"{n} digital patients of {MATRIX} x {MATRIX} x {SLICES}, {cores} cores: "
        f"{facts['wall_s'] / 60:.1f} minutes on the wall, {core_s:.0f} s of core time.\n"
        f"Inside the stages' commands: {100 * share:.1f} % of the core time; without Python's "
        f"start and imports: {100 * own:.1f} %. Promised: at least {100 * LEAST_SHARE:.0f} % "
        f"within {MOST_MINUTES:.0f} minutes: {verdict}.\n\n{measure.markdown(columns, rows)}\n"
        f"kdsb17's steps on {len(facts['kdsb17_s'])} of these patients (1 mm, its box around the "
        f"lungs): {kdsb17} CPU s. Index, volumes and lungs take {ours:.1f} CPU s a patient here, "
        f"at {facts['spacing_mm']} mm, starts included.\n\n"
        f"A dry run of {LATER:,} patients: {facts['plan_cpu_s']:.1f} CPU s, "
        f"{facts['plan_wall_s']:.1f} s on the wall.\n\n"
        f"**{LATER:,} patients like these**, each stage growing with the patients but "
        f"{' and '.join(FIXED)}, the cores as busy as here: {hours:.1f} hours on {cores} cores, "
        f"{later_gb:.0f} GB of results.\n\n{measure.machine()}\n"
    )


def collect(scratch: Path, patients: int, cores: int) -> dict[str, Any]:
    """Run the main job once and gather all that the page states."""
    wall_s, cpu_s, status = snakemake(scratch, cores)
    if status:
        raise SystemExit(f"the run ended with status {status}, see {scratch}/terminal.txt")
    found = spent(scratch / "times")
    starts = {script: start_s(scratch / f"imports/{script}.txt") for script in found}
    plan_cpu_s, plan_wall_s = plan_cost(scratch, LATER)
    results = scratch / "results"
    rows = read_table(results / "cohort/cohort.tsv")
    return {
        "patients": patients, "cores": cores, "wall_s": wall_s, "cpu_s": cpu_s,
        "stages": by_stage(found, starts), "starts_s": starts,
        "disk_mb": {stage: megabytes(results / stage) for stage in STAGES},
        "records_mb": megabytes(scratch / ".snakemake"),
        "accepted": sum(row["status"] == "ok" for row in rows),
        "plan_cpu_s": plan_cpu_s, "plan_wall_s": plan_wall_s,
        "kdsb17_s": kdsb17_seconds(scratch, 5),
        "spacing_mm": configuration(patients)["volumes"]["spacing_mm"],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run, measure, print the page and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patients", type=int, default=PATIENTS, help=f"({PATIENTS})")
    parser.add_argument("--cores", type=int, default=2, help="of Snakemake (2)")
    parser.add_argument("--scratch", type=Path, required=True, help="new folder for the run")
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--page", type=Path, help="page of the docs to put it into")
    args = parser.parse_args(argv)
    scratch = args.scratch.resolve()
    if scratch.exists():
        parser.error(f"{args.scratch} is there: name a new folder, since results would be kept")
    prepare(scratch, args.patients)
    facts = collect(scratch, args.patients, args.cores)
    (scratch / "facts.json").write_text(json.dumps(facts, indent=2))
    text = page(facts)
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "scale", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
