"""Score whether the surprise map points at nodules that the autoencoder has never seen.

Digital patients: the autoencoder learns from patches of some without any voxel of a nodule, and
others are judged whole. Beside the surprise stand maps that need no network: the HU themselves, and
how far a voxel is from a Gaussian-smoothed image. Each is also smoothed by 3 mm within the lungs,
since a nodule is a place and not a voxel.

    python -m benchmarks.surprise --scratch runs/benchmark --output runs/benchmark/surprise.md
"""

import argparse
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish import nifti, patches, phantom, records
from lungfish.randomness import generator
from lungfish.resampling import to_patient_grid
from lungfish.volume import Volume

log = logging.getLogger(__name__)
SPACING_MM = 1.5
SMOOTHING_MM = 3.0
BALLS = 200
"""Random places that a nodule is ranked among."""
WITHIN = 0.9
"""Least share of a ball that lies in the lungs."""
BOOTSTRAPS = 2000
SEED = 20171009
Field = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One digital patient on the grid that the network sees.

    Attributes
    ----------
    patient : str
    volume : Volume
    lungs : ndarray of bool, shape (z, y, x)
        True lungs, nodules included.
    nodules : ndarray of uint8, shape (z, y, x)
        0, or the nodule's number.
    truth : list of dict
        Of each nodule: diameter_mm, density, margin.
    """

    patient: str
    volume: Volume
    lungs: NDArray[np.bool_]
    nodules: NDArray[np.uint8]
    truth: Sequence[Mapping[str, Any]]


def make_case(patient: str) -> Case:
    """Make a digital patient of the default phantom and bring it to cubic voxels."""
    digital = phantom.make_patient(patient, seed=SEED, settings=phantom.Settings())
    scanned = digital.volume
    volume = to_patient_grid(scanned.hu, scanned.affine, spacing_mm=SPACING_MM)
    lungs, nodules = (
        nifti.carry_mask(
            labels, scanned.affine, shape=volume.hu.shape, to_affine=volume.affine
        )
        for labels in (digital.lungs, digital.nodules)
    )  # fmt: skip
    return Case(patient, volume, lungs > 0, nodules, digital.truth["nodules"])


def patches_without_nodules(case: Case, *, count: int) -> NDArray[np.int16]:
    """Return patches of the lungs that hold no voxel of a nodule."""
    found = patches.sample_patches(
        case.volume,
        case.lungs.astype(np.uint8),
        settings=patches.Settings(per_patient=count),
        rng=generator(SEED, "surprise benchmark", case.patient),
        seed=SEED,
    )
    padded = np.pad(case.nodules, patches.EDGE_VOXEL)
    clean = []
    for patch, corner in zip(found.patches, found.corner_voxel, strict=True):
        start = corner + patches.EDGE_VOXEL
        box = tuple(slice(at, at + patches.EDGE_VOXEL) for at in start)
        if not padded[box].any():
            clean.append(patch)
    return np.stack(clean)


def rival_maps(case: Case, surprise: Field) -> dict[str, Field]:
    """Return what the nodules are sought on, each nan outside of the lungs and higher for odder.

    Parameters
    ----------
    case : Case
    surprise : ndarray of float32, shape (z, y, x)

    Returns
    -------
    dict of str to ndarray of float32, shape (z, y, x)
    """
    from lungfish.gmcae.surprise import smooth_within

    sigma = SMOOTHING_MM / SPACING_MM
    hu = np.where(case.lungs, case.volume.hu, np.nan).astype(np.float32)
    deviation = np.abs(hu - ndimage.gaussian_filter(case.volume.hu.astype(np.float32), sigma))
    plain = {"surprise": surprise, "HU": hu, "deviation": deviation}
    smooth = {
        f"{name}, smoothed": smooth_within(values, case.lungs, sigma)
        for name, values in plain.items()
    }
    return plain | smooth


def auc(values: Field, wanted: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    """Return the chance that a wanted voxel is higher than another one, ties counted half.

    0.5 is chance, 1 is perfect.
    """
    rest = np.sort(values[others])
    found = values[wanted]
    below = np.searchsorted(rest, found, "left") + np.searchsorted(rest, found, "right")
    return float(below.mean() / (2 * len(rest)))


def ball_rank(values: Field, case: Case, nodule: int, rng: np.random.Generator) -> float | None:
    """Return the share of balls of a nodule's volume, at random places, with a lower mean.

    0.5 is chance, 1 is perfect; ties count half. Balls lie to 90 % in the lungs and hold no nodule.
    None where too few places are left.
    """
    own = (case.nodules == nodule) & case.lungs
    radius = (3 * own.sum() / (4 * np.pi)) ** (1 / 3)
    reach = int(np.ceil(radius))
    offsets = np.argwhere(np.ones((2 * reach + 1,) * 3)) - reach
    offsets = offsets[(offsets**2).sum(axis=1) <= radius**2]
    centres = np.argwhere(case.lungs)
    low, high = centres.min(axis=0) + reach, centres.max(axis=0) - reach
    centres = rng.permutation(centres[((centres >= low) & (centres <= high)).all(axis=1)])
    means: list[float] = []
    for centre in centres[: 50 * BALLS]:
        place = tuple((centre + offsets).T)
        inside = case.lungs[place]
        if inside.mean() >= WITHIN and not case.nodules[place].any():
            means.append(float(values[place][inside].mean()))
        if len(means) == BALLS:
            break
    if len(means) < BALLS // 2:
        return None
    mean = float(values[own].mean())
    return float(np.mean([(ball < mean) + 0.5 * (ball == mean) for ball in means]))


def score(case: Case, surprise: Field) -> list[records.Record]:
    """Return a row for each map and nodule: its rank; and, repeated, the patient's AUC."""
    wanted = (case.nodules > 0) & case.lungs
    rows = []
    for name, values in rival_maps(case, surprise).items():
        whole = auc(values, wanted, case.lungs & ~wanted)
        for number, nodule in enumerate(case.truth, 1):
            own = (case.nodules == number) & case.lungs
            if not own.any():
                continue
            rng = generator(SEED, "balls", case.patient, number)
            rows.append(
                {
                    "patient": case.patient,
                    "map": name,
                    "nodule": number,
                    "diameter_mm": nodule["diameter_mm"],
                    "density": nodule["density"],
                    "auc": whole,
                    "nodule_auc": auc(values, own, case.lungs & ~wanted),
                    "rank": ball_rank(values, case, number, rng),
                }
            )
    return rows


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and 95 % interval over patients: percentiles of the resampled mean."""
    array = np.array(values)
    rng = generator(SEED, "surprise interval")
    means = array[rng.integers(0, len(array), (BOOTSTRAPS, len(array)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(array.mean()), float(low), float(high)


def by_patient(rows: Sequence[records.Record], name: str, field: str) -> dict[str, float]:
    """Return each patient's mean of a field of one map."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["map"] == name and row[field] is not None:
            found.setdefault(row["patient"], []).append(row[field])
    return {patient: float(np.mean(values)) for patient, values in found.items()}


def page(rows: Sequence[records.Record], note: str) -> str:
    """Return the table in Markdown: each map with its intervals, and against the surprise."""
    names = list(dict.fromkeys(row["map"] for row in rows))
    lines = [note, ""]
    lines.append("| map | AUC, voxels | against surprise | rank among balls | against surprise |")
    lines.append("|---|---|---|---|---|")
    for name in names:
        cells = [name]
        base = "surprise, smoothed" if name.endswith("smoothed") else "surprise"
        for field in ("auc", "rank"):
            own, other = by_patient(rows, name, field), by_patient(rows, base, field)
            cells.append("{:.3f} ({:.3f} to {:.3f})".format(*interval(list(own.values()))))
            paired = [own[patient] - other[patient] for patient in own if patient in other]
            cells.append(
                "" if name == base else "{:+.3f} ({:+.3f} to {:+.3f})".format(*interval(paired))
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *by_density(rows, names)]) + "\n"


def by_density(rows: Sequence[records.Record], names: Sequence[str]) -> list[str]:
    """Return a table in Markdown: the mean AUC of nodules of each density on each map."""
    lines = [f"| density | nodules | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for density in sorted({row["density"] for row in rows}):
        chosen = [row for row in rows if row["density"] == density]
        values = [
            np.mean([row["nodule_auc"] for row in chosen if row["map"] == name]) for name in names
        ]
        cells = [density, str(len(chosen) // len(names)), *(f"{value:.3f}" for value in values)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def train(folder: Path, *, patients: int, count: int, changes: Mapping[str, Any]) -> None:
    """Train an autoencoder on patches without nodules; one that is there is kept."""
    if (folder / "gmcae.json").is_file():
        return
    from lungfish.gmcae import artefacts, batches, training
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap

    names = [f"surprise-train-{k:02d}" for k in range(patients)]
    found = {name: patches_without_nodules(make_case(name), count=count) for name in names}
    settings = dataclasses.replace(Settings(), **changes)
    split = batches.split_patches(found, settings)
    log.info("%d patches without a nodule to learn from", len(split.training))
    options: dict[str, Any] = {"settings": settings, "hu_map": HuMap()}
    trained = training.train(split, seed=SEED, folder=folder, **options)
    artefacts.write(folder, trained, split, spacing_mm=SPACING_MM, **options)


def judge(folder: Path, *, patients: int) -> Iterator[records.Record]:
    """Yield the scores of patients that the autoencoder has never seen."""
    from lungfish.gmcae.autoencoder import load_autoencoder
    from lungfish.gmcae.surprise import surprise

    judged_by = load_autoencoder(folder)
    for k in range(patients):
        case = make_case(f"surprise-test-{k:02d}")
        found = surprise(
            judged_by.network, judged_by.head, case.volume.hu, case.lungs, hu_map=judged_by.hu_map
        )
        rows = score(case, found)
        log.info("%s: AUC %.3f", case.patient, rows[0]["auc"])
        yield from rows


def main(argv: Sequence[str] | None = None) -> int:
    """Train, judge, write the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="network and scores")
    parser.add_argument("--output", type=Path, required=True, help="page to write (.md)")
    parser.add_argument("--training-patients", type=int, default=12)
    parser.add_argument("--patients", type=int, default=16, help="judged")
    parser.add_argument("--patches", type=int, default=128, help="of a training patient")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--head", choices=("voxel", "patch"), default="voxel")
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from lungfish.gmcae import backend

    backend.start(threads=args.threads, seed=SEED, purpose="surprise benchmark")
    folder = args.scratch / f"surprise-{args.head}"
    train(
        folder,
        patients=args.training_patients,
        count=args.patches,
        changes={"epochs": args.epochs, "head": args.head},
    )
    rows = list(judge(folder, patients=args.patients))
    columns = ("patient", "map", "nodule", "diameter_mm", "density", "auc", "nodule_auc", "rank")
    records.write_table(folder / "scores.tsv", columns, rows)
    nodules = len({(row["patient"], row["nodule"]) for row in rows})
    note = (
        f"{args.patients} digital patients with {nodules} nodules, voxels of {SPACING_MM} mm; "
        f"head {args.head}, trained on {args.training_patients} other patients without nodules. "
        "Mean over patients and 95 % interval; 0.5 is chance, 1 is perfect."
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(page(rows, note), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
