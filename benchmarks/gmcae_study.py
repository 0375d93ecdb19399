"""Does the autoencoder learn? Each patient of a folder of CT left out in turn, with its rivals.

The patches are cut by the workflow. Training sees the other patients alone: also the epoch whose
weights are kept is chosen on patches of theirs. Every run is a process of its own and leaves its
result in the scratch folder, so that a study that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import gmcae_study_page as page
from benchmarks.measure import ROOT, publish

STEPS_PER_EPOCH = 200
STEPS = 3200
"""Of a run of five minutes on two idle cores."""
LONG_STEPS = 19_200
"""Of a run of thirty."""
SHORT_STEPS = 400
"""Of each run of the curves."""
SEEDS = (1, 2)
"""Besides 0, on one patient."""
COMPONENTS = (1, 2, 4, 8)
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
SPACING_MM = 1.0
"""The default of the workflow."""
PER_PATIENT = 600
JUDGED = 128
"""Patches of the patient who is left out."""
OPTIONS: dict[str, dict[str, Any]] = {
    "channels normalised": {"normalisation": "channels"},
    "cold start (layered)": {"design": "layered", "filters": [8, 16, 32]},
    "cold start, residual": {"design": "layered", "filters": [8, 16, 32], "residual": True},
    "patch head": {"head": "patch", "components": 4},
    "no blur, no noise": {"blur_voxel": 0.0, "noise_hu": 0.0},
}
Spec = dict[str, Any]


def specs(patients: Sequence[str], chosen: str) -> dict[str, dict[str, Spec]]:
    """Return all runs of the study, by part and by name."""
    held = {f"held-{left}-0": {"left": left, "steps": STEPS} for left in patients}
    seeds = {
        f"held-{chosen}-{seed}": {"left": chosen, "steps": STEPS, "seed": seed} for seed in SEEDS
    }
    short = {"left": chosen, "steps": SHORT_STEPS}
    changes: dict[str, Spec] = {f"m-{m}": {"components": m} for m in COMPONENTS}
    changes |= {f"rate-{rate:g}": {"learning_rate": rate} for rate in RATES}
    changes |= {f"option-{name}": settings for name, settings in OPTIONS.items()}
    curves = {name: {**short, "settings": settings} for name, settings in changes.items()}
    long = {f"long-{chosen}": {"left": chosen, "steps": LONG_STEPS}}
    return {"held": held, "seeds": seeds, "curves": curves, "long": long}


def cut(data: Path, leave: Sequence[str], scratch: Path) -> dict[str, Path]:
    """Cut patches by the workflow; return each patient's store."""
    sheet = scratch / "samples.tsv"
    made = [sys.executable, str(ROOT / "scripts" / "samples.py"), "--data", str(data)]
    subprocess.run([*made, "--output", str(sheet)], check=True, cwd=ROOT)
    rows = [row for row in sheet.read_text().splitlines() if row.split("\t")[0] not in leave]
    sheet.write_text("\n".join(rows) + "\n")
    patients = [row.split("\t")[0] for row in rows[1:]]
    stores = {name: Path("results") / "patches" / f"{name}.h5" for name in patients}
    config = {"samples": "samples.tsv", "volumes": {"spacing_mm": SPACING_MM}}
    config |= {"patches": {"per_patient": PER_PATIENT}}
    (scratch / "config.json").write_text(json.dumps(config) + "\n")
    command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "--quiet"]
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(scratch)]
    targets = [str(store) for store in stores.values()]
    subprocess.run(
        [*command, *where, *targets, "--configfile", "config.json"], check=True, cwd=scratch
    )
    return {name: scratch / store for name, store in stores.items()}


def in_process(name: str, arguments: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Make one run in a process of its own, unless its result is there already."""
    result = scratch / "runs" / f"{name.replace(' ', '-').replace(',', '')}.json"
    if not result.is_file():
        started = time.perf_counter()
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.gmcae_study_run", "--result", str(result)]
        subprocess.run([*command, "--spec", json.dumps(arguments)], check=True, cwd=ROOT)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def main() -> int:
    """Run the study, or what is left of it, and write its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder, one subfolder a patient")
    parser.add_argument("--leave", nargs="*", default=["cip-ct64"], help="patients not taken")
    parser.add_argument("--chosen", default="lidc-0028", help="patient of the seeds and curves")
    parser.add_argument(
        "--parts", nargs="*", default=["seeds", "curves", "long"],
        choices=["seeds", "curves", "long"], help="besides each patient left out",
    )  # fmt: skip
    parser.add_argument("--scratch", type=Path, default=Path("runs/study-gmcae"))
    parser.add_argument("--output", type=Path, help="page to write (.md); its figures beside it")
    args = parser.parse_args()
    scratch: Path = args.scratch.resolve()
    (scratch / "runs").mkdir(parents=True, exist_ok=True)
    stores = {
        name: str(path) for name, path in cut(args.data.resolve(), args.leave, scratch).items()
    }
    common = {"stores": stores, "judged": JUDGED, "per_epoch": STEPS_PER_EPOCH}
    rivals = {
        left: in_process(f"rivals-{left}", {"left": left, "rivals": True, **common}, scratch)
        for left in stores
    }
    wanted = specs(list(stores), args.chosen)
    runs = {
        name: in_process(name, {**spec, **common}, scratch)
        for part in ("held", *args.parts)
        for name, spec in wanted[part].items()
    }
    text = page.write(rivals, runs, chosen=args.chosen, figures=args.output and args.output.parent)
    publish(text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
