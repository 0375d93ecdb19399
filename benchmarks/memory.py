"""Run the whole workflow on two scans of 600 slices of 512 x 512, and say how much each stage took.

One scan is fine (0.7 x 0.7 x 0.6 mm, a chest), one is long (1 x 1 x 1 mm, neck to pelvis), whose
volume at 1 mm has as many voxels as the scan; both are digital. Small digital patients make a
cohort of it. A watcher reads the highest resident memory of every process that the run starts
(VmHWM of proc(5), which only rises) ten times a second, so that stages made later are seen too.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import measure, pages

SLICES, SIDE = 600, 512
MOST_GB = 3.0
"""Allowed peak of any process, in 1e9 bytes."""
SCANS = {"fine": (0.6, 358.0), "long": (1.0, 512.0)}
"""Name: slice distance and field of view in mm."""
SMALL = ("small-1", "small-2", "small-3", "small-4")
CONFIG: dict[str, Any] = {
    "samples": "samples.tsv",
    "shards": 1,
    "phantom": {"matrix": 96, "slices": 60, "slice_mm": 5.0, "thickness_mm": 5.0},
    "volumes": {"spacing_mm": 1.0},
    "cohort": {"folds": 2},
    "gmcae": {"epochs": 1, "steps_per_epoch": 24, "warmup_steps": 4},
    "classifier": {"epochs": 4},
    "model": {"bootstraps": 2},
    "evaluation": {"bootstraps": 200},
}
"""Sizes are the default's for one's own CT; only how long training lasts is not."""
WORD = re.compile(r"scripts/(\w+)\.py")
Peaks = dict[tuple[str, str], float]


def make_scan(name: str, folder: Path) -> None:
    """Write a digital scan's DICOM: a mass, gas in the gut, a table."""
    from lungfish import phantom

    slice_mm, field_mm = SCANS[name]
    plan = phantom.Design(
        seed=11, noise_hu=20.0, sharpness=0.5, slice_mm=slice_mm, mass_mm=40.0, table_mm=8.0,
        gas_litre=0.3,
    )  # fmt: skip
    grid = phantom.Settings(
        matrix=SIDE, slices=SLICES, slice_mm=slice_mm, thickness_mm=slice_mm, nodules=2,
        field_of_view_mm=field_mm, noise_soft_hu=20.0, noise_sharp_hu=20.0,
    )  # fmt: skip
    phantom.write_dicom(folder, phantom.make_case(plan, patient=name, settings=grid))


def prepare(scratch: Path) -> None:
    """Write scans, sheet and configuration; a scan that is there already is kept."""
    from lungfish.phantom import is_malignant

    scratch.mkdir(parents=True, exist_ok=True)
    for name in SCANS:
        folder = scratch / "dicom" / name
        if not folder.is_dir():
            words = ["-m", "benchmarks.memory", "--scratch", str(scratch), "--make", name]
            subprocess.run([sys.executable, *words], cwd=measure.ROOT, check=True)
    rows = [("patient", "dicom", "label")]
    rows += [(name, f"dicom/{name}", str(k % 2)) for k, name in enumerate(SCANS)]
    rows += [(name, "", str(int(is_malignant(name)))) for name in SMALL]
    (scratch / "samples.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    (scratch / "config.yaml").write_text(yaml.safe_dump(CONFIG))


def look(root: psutil.Process, peaks: Peaks) -> None:
    """Note the highest resident memory so far, in MB, of each stage's processes."""
    for process in [root, *root.children(recursive=True)]:
        try:
            words = process.cmdline()
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (OSError, psutil.Error):  # it has just ended
            continue
        line = " ".join(words)
        found = WORD.search(line)
        stage = found[1] if found else "Snakemake"
        if not found and "snakemake" not in line:
            continue
        named = [name for name in SCANS if re.search(rf"\b{name}\b", line)]
        scan = named[0] if len(named) == 1 and not any(one in line for one in SMALL) else ""
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        mb = int(peak[1]) * 1024 / 1e6 if peak else 0.0
        peaks[stage, scan] = max(peaks.get((stage, scan), 0.0), mb)


def run(scratch: Path, targets: Sequence[str], cores: int) -> tuple[Peaks, int]:
    """Run the workflow to its end, watching; return the peaks in MB and its exit status."""
    snakemake = Path(sys.executable).parent / "snakemake"
    words: list[object] = [
        snakemake, *targets, "--snakefile", measure.ROOT / "Snakefile", "--directory", scratch,
        "--configfile", scratch / "config.yaml", "--cores", cores, "--forceall",
    ]  # fmt: skip
    peaks: Peaks = {}
    process = psutil.Popen([str(word) for word in words], env=os.environ | {"LC_ALL": "C.UTF-8"})
    while process.poll() is None:
        look(process, peaks)
        time.sleep(0.1)
    return peaks, int(process.returncode)


def page(peaks: Mapping[tuple[str, str], float], scratch: Path) -> str:
    """Return the table of peaks, and whether all stay below what is allowed."""
    by_stage: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for (stage, scan), mb in peaks.items():
        by_stage[stage][scan] = mb
    rows = [
        [stage, *(f"{found[name]:.0f}" if name in found else "" for name in SCANS),
         f"{max(found.values()):.0f}", "yes" if max(found.values()) <= 1e3 * MOST_GB else "**no**"]
        for stage, found in by_stage.items()
    ]  # fmt: skip
    most = max(peaks.values()) / 1e3
    kept = "kept" if most <= MOST_GB else "**not kept**"
    sizes = []
    for name in SCANS:
        record = json.loads((scratch / "results/volumes" / f"{name}.json").read_text())
        sizes.append(f"{name} {' x '.join(str(n) for n in record['size'])}")
    columns = ("stage", *(f"{name}, MB" for name in SCANS), "most, MB", "kept")
    return (
        f"Two scans of {SLICES} x {SIDE} x {SIDE}; at 1 mm: {', '.join(sizes)}. Promised: no "
        f"process above {MOST_GB:g} GB. Found: {most:.2f} GB: {kept}. A column of a scan is empty "
        f"where a process has all patients.\n\n{measure.markdown(columns, rows)}"
        f"\n{measure.machine()}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workflow on both scans, print the table and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for CT and results")
    parser.add_argument("--cores", type=int, default=1, help="of Snakemake (default 1)")
    maps = [f"results/surprise/{name}.json" for name in SCANS]
    parser.add_argument("--targets", nargs="*", default=["all", *maps], help="of Snakemake")
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--page", type=Path, help="page of the docs to put it into")
    parser.add_argument("--make", choices=list(SCANS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    scratch = args.scratch.resolve()
    if args.make:
        make_scan(args.make, scratch / "dicom" / args.make)
        return 0
    prepare(scratch)
    peaks, status = run(scratch, args.targets, args.cores)
    if status:
        print(f"the run ended with status {status}; up to then:", peaks, file=sys.stderr)
        return status
    text = page(peaks, scratch)
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "memory", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
