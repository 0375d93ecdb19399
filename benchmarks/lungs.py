"""Time the lungs beside kdsb17's recipe, and the way from DICOM to patches stage by stage.

One digital patient, 300 slices of 512 x 512. The stages run as the workflow runs them, a process
each, imports counted. Both masks are then made from the same 1 mm volume, each in a process of its
own, in turn.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.measure import Measurement, least

SLICES, SIDE = 300, 512
RATIO_MOST = 0.5
"""Largest allowed ratio of CPU seconds, lungfish's lungs to kdsb17's recipe."""
VOLUMES_MOST = 3.0
"""Largest allowed peak above the imports, in sizes of the int16 volume, which is in it."""
WALL_MOST_S, PEAK_MOST_GB = 12.0, 1.2
"""From DICOM to patches: all stages one after the other, and the largest of them."""
Prepared = tuple[measure.Work, measure.Check]


def patient_folder(scratch: Path) -> Path:
    """Return where the digital patient's DICOM lies below the scratch folder."""
    return scratch / "lungs" / "dicom"


def make_patient(scratch: Path) -> None:
    """Write the digital patient if it is not there yet: a mass, gut gas, a table, touching lungs.

    That is what costs a mask time; a chest without them costs less.

    Notes
    -----
    In a process of its own: a stage would inherit what the process that starts it holds, since
    Linux counts the memory of a child from the fork on (getrusage(2), ru_maxrss).
    """
    from lungfish import phantom

    folder = patient_folder(scratch)
    if folder.is_dir():
        return
    plan = phantom.Design(
        seed=7, noise_hu=20.0, sharpness=0.5, slice_mm=1.25, junction_mm=0.6, mass_mm=40.0,
        table_mm=8.0, gas_litre=0.3,
    )  # fmt: skip
    grid = phantom.Settings(
        matrix=SIDE, slices=SLICES, slice_mm=1.25, thickness_mm=1.25, field_of_view_mm=360.0,
        noise_soft_hu=20.0, noise_sharp_hu=20.0, nodules=2,
    )  # fmt: skip
    phantom.write_dicom(folder, phantom.make_case(plan, settings=grid))


@dataclasses.dataclass(frozen=True)
class Run:
    """One stage as a process of its own, its start and imports counted.

    Attributes
    ----------
    wall_s, cpu_s : float
        Seconds; CPU is user and system of all threads.
    peak_mb : float
        Peak resident memory in MB (1e6 bytes).
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


def run_stage(arguments: Sequence[object]) -> Run:
    """Run a script and measure its process; it must end well."""
    start = time.perf_counter()
    words = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(words, cwd=measure.ROOT, env=os.environ | {"PYTHONPATH": "."})
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # it is over: Popen need not wait
    if process.returncode:
        raise SystemExit(f"{words[1]} ended with status {process.returncode}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def stages(scratch: Path) -> dict[str, list[object]]:
    """Return the command of each stage from DICOM to patches."""
    dicom, place = patient_folder(scratch).resolve(), (scratch / "lungs").resolve()
    index, volume, record = place / "index.json", place / "v.nii.gz", place / "v.json"
    mask, measures, patches = place / "l.nii.gz", place / "l.json", place / "p.h5"
    return {
        "index": ["scripts/index.py", "--dicom", dicom, "--output", index],
        "volumes": [
            "scripts/volumes.py", "--dicom", dicom, "--index", index, "--output", volume,
            "--record", record,
        ],
        "lungs": [
            "scripts/lungs.py", "--volume", volume, "--record", record, "--output", mask,
            "--measures", measures, "--mosaic", place / "l.png",
        ],
        "patches": [
            "scripts/patches.py", "--volume", volume, "--lungs", mask, "--record", measures,
            "--output", patches, "--patient", "case",
        ],
    }  # fmt: skip


def run_stages(scratch: Path, rounds: int) -> list[dict[str, Run]]:
    """Run all stages in order, round after round; one round before, not kept, fills the cache."""
    found = []
    for number in range(rounds + 1):
        found.append({name: run_stage(words) for name, words in stages(scratch).items()})
        total_s = sum(run.wall_s for run in found[-1].values())
        print(f"round {number} stages: {total_s:.2f} s", file=sys.stderr)
    return found[1:]


def prepare_lungfish(scratch: Path) -> Prepared:
    """Return the lungs stage's own work on the volume."""
    from lungfish import lungs

    def work() -> Any:
        volume = load_volume(scratch)
        return lungs.segment(volume, settings=lungs.Settings())

    def answer(found: Any) -> dict[str, Any]:
        record = found.record
        return {"litre": record["volume_litre"], "verdict": record["verdict"],
                "shape": found.labels.shape}  # fmt: skip

    return work, answer


def load_volume(scratch: Path) -> Any:
    """Return the 1 mm volume as stored for both ways: its memory counts, unpacking does not."""
    from lungfish.volume import Volume

    affine = np.load(scratch / "lungs" / "affine.npy")
    return Volume(np.load(scratch / "lungs" / "hu.npy"), affine)


def prepare_kdsb17(scratch: Path) -> Prepared:
    """Return kdsb17's mask and crop of the volume."""
    from benchmarks.kdsb17 import crop_to_lungs

    def work() -> Any:
        return crop_to_lungs(load_volume(scratch).hu)

    def answer(made: Any) -> dict[str, Any]:
        mask, _ = made
        return {"litre": int(mask.sum()) / 1e6, "verdict": "none", "shape": mask.shape}

    return work, answer


WAYS: dict[str, Callable[[Path], Prepared]] = {
    "lungfish": prepare_lungfish,
    "kdsb17's recipe": prepare_kdsb17,
}
MASK_COLUMNS = (
    "way", "CPU s, least (median)", "wall s, least (median)", "lungfish / this: CPU (wall)",
    "peak MB above imports", "peak / volume", "process: peak MB", "mask, litres",
)  # fmt: skip
STAGE_COLUMNS = ("stage", "wall s, least (median)", "CPU s, least (median)", "peak MB")


def mask_row(way: str, found: dict[str, list[Measurement]], volume_mb: float) -> list[str]:
    """Return one line of the table of masks."""
    runs, own = found[way], found["lungfish"]
    ratios = [least(own, field) / least(runs, field) for field in ("cpu_s", "wall_s")]
    peak_mb = max(run.peak_mb for run in runs)
    return [
        way,
        measure.both(runs, "cpu_s"),
        measure.both(runs, "wall_s"),
        f"{ratios[0]:.2f} ({ratios[1]:.2f})",
        f"{peak_mb:.0f}",
        f"{peak_mb / volume_mb:.2f}",
        f"{max(run.total_peak_mb for run in runs):.0f}",
        f"{runs[0].answer['litre']:.2f}",
    ]


def mask_page(found: dict[str, list[Measurement]], rounds: int) -> str:
    """Return what the masks cost, and whether lungfish's keeps what is promised."""
    own, other = found["lungfish"], found["kdsb17's recipe"]
    z, y, x = own[0].answer["shape"]
    volume_mb = z * y * x * 2 / 1e6
    ratio = least(own, "cpu_s") / least(other, "cpu_s")
    in_turn = np.median([a.cpu_s / b.cpu_s for a, b in zip(own, other, strict=True)])
    share = max(run.peak_mb for run in own) / volume_mb
    kept = "kept" if ratio <= RATIO_MOST and share <= VOLUMES_MOST else "**not kept**"
    return (
        f"A mask of {z} x {y} x {x} at 1 mm ({volume_mb:.0f} MB), {rounds} rounds in turn. "
        f"Promised: at most {RATIO_MOST:g} of the CPU seconds of kdsb17's recipe, and at most "
        f"{VOLUMES_MOST:g} times the volume. Found: {ratio:.2f} (median of rounds {in_turn:.2f}) "
        f"and {share:.2f} times: {kept}.\n\n"
        + measure.markdown(MASK_COLUMNS, [mask_row(way, found, volume_mb) for way in found])
    )


def stage_page(rounds: list[dict[str, Run]]) -> str:
    """Return what the stages cost, and whether they keep what is promised."""

    def both(names: Sequence[str], field: str) -> str:
        sums = [sum(getattr(one[name], field) for name in names) for one in rounds]
        return f"{min(sums):.2f} ({np.median(sums):.2f})"

    names = list(rounds[0])
    rows = []
    for label, part in [*((name, [name]) for name in names), ("**all**", names)]:
        peak_mb = max(one[name].peak_mb for one in rounds for name in part)
        rows.append([label, both(part, "wall_s"), both(part, "cpu_s"), f"{peak_mb:.0f}"])
    wall_s = min(sum(run.wall_s for run in one.values()) for one in rounds)
    peak_gb = max(run.peak_mb for one in rounds for run in one.values()) / 1e3
    kept = "kept" if wall_s <= WALL_MOST_S and peak_gb <= PEAK_MOST_GB else "**not kept**"
    return (
        f"From {SLICES} x {SIDE} x {SIDE} (uncompressed) to patches, a process a stage, "
        f"{len(rounds)} rounds. Promised on 2 idle cores: at most {WALL_MOST_S:g} s on the wall "
        f"and {PEAK_MOST_GB:g} GB. Found: {wall_s:.1f} s and {peak_gb:.2f} GB: {kept}.\n\n"
        + measure.markdown(STAGE_COLUMNS, rows)
    )


def unpack(scratch: Path) -> None:
    """Store the 1 mm volume unpacked, for both ways."""
    from lungfish import nifti

    volume = nifti.read_volume(scratch / "lungs" / "v.nii.gz")
    np.save(scratch / "lungs" / "hu.npy", volume.hu)
    np.save(scratch / "lungs" / "affine.npy", volume.affine)


MAKES = {"patient": make_patient, "arrays": unpack}


def make_apart(what: str, scratch: Path) -> None:
    """Run one of `MAKES` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.lungs", "--scratch", str(scratch), "--make", what]
    subprocess.run(command, cwd=measure.ROOT, check=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and store them where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for CT and results")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--make", choices=list(MAKES), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        measure.report_here(partial(WAYS[args.measure], args.scratch))
        return 0
    if args.make:
        MAKES[args.make](args.scratch)
        return 0
    make_apart("patient", args.scratch)
    staged = run_stages(args.scratch, args.rounds)
    make_apart("arrays", args.scratch)
    base = ["--scratch", str(args.scratch), "--measure"]
    fresh = partial(measure.in_fresh_process, "benchmarks.lungs")
    ways = {way: partial(fresh, [*base, way]) for way in WAYS}
    found = measure.interleaved(ways, args.rounds)
    page = f"{mask_page(found, args.rounds)}\n{stage_page(staged)}\n{measure.machine()}\n"
    measure.publish(page, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
