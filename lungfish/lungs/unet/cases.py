"""Digital patients whose true lungs are known, on grids coarse enough to learn from quickly."""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfish.lungs import morphology
from lungfish.lungs.body import TISSUE_HU
from lungfish.phantom import TRAINING_SEEDS, design, make_case
from lungfish.records import atomic

MATRIX = 128
"""Rows and columns of a training case: pixels of 2.7 to 3.9 mm, finer than the network's."""
THINNEST_MM = 3.0
NOISE_SHARE = 0.35
"""Pixels of 2.7 mm and more hold this share of the noise that pixels of 1.4 mm show."""
MARGIN_VOXEL = 4


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingCase:
    """A scan and its true lungs.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
        On the patient's axes, cut to the box of all that is not air.
    lungs : ndarray of uint8, shape (z, y, x)
        1 right, 2 left, 0 elsewhere; effusion outside, masses and consolidation inside.
    airless : ndarray of bool, shape (z, y, x)
        Mass, consolidation or effusion: what no threshold tells apart.
    spacing_mm : ndarray of float64, shape (3,)
        Along (z, y, x).
    """

    hu: NDArray[np.int16]
    lungs: NDArray[np.uint8]
    airless: NDArray[np.bool_]
    spacing_mm: NDArray[np.float64]


def make_training_case(seed: int) -> TrainingCase:
    """Make the case of a training seed; equal seeds give equal cases.

    Parameters
    ----------
    seed : int
        One of `phantom.TRAINING_SEEDS`.

    Raises
    ------
    ValueError
        For any other seed: the others tune and score.
    """
    if seed not in TRAINING_SEEDS:
        raise ValueError(f"seed: expected one of {TRAINING_SEEDS}, found {seed}")
    plan = design(seed)
    plan = dataclasses.replace(plan, noise_hu=max(6.0, NOISE_SHARE * plan.noise_hu))
    case = make_case(plan, matrix=MATRIX, slice_mm=max(plan.slice_mm, THINNEST_MM))
    box = morphology.bounds(case.volume.hu > TISSUE_HU)
    _, rows, columns = morphology.grow_box(box, (0, MARGIN_VOXEL, MARGIN_VOXEL), case.lungs.shape)
    kept = (slice(None), rows, columns)
    return TrainingCase(
        np.ascontiguousarray(case.volume.hu[kept]),
        np.ascontiguousarray(case.lungs[kept]),
        np.asarray(case.plants)[kept] > 0,
        np.array(case.volume.spacing_mm),
    )


def store_case(folder: Path, seed: int) -> Path:
    """Make a case and store it in a folder, unless it lies there; return its file."""
    path = folder / f"{seed}.npz"
    if not path.is_file():
        case = make_training_case(seed)
        with atomic(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **dataclasses.asdict(case))
    return path


def read_case(path: Path) -> TrainingCase:
    """Read a case that `store_case` stored."""
    with np.load(path, allow_pickle=False) as stored:
        return TrainingCase(**stored)
