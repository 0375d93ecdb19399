"""What a scan shows before any lung is told: body, air and airways, in blocks of voxels."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.lungs import morphology
from lungfish.lungs.airways import Airways, find_airways
from lungfish.lungs.body import body_mask
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.settings import Settings


@dataclasses.dataclass(frozen=True, eq=False)
class Surroundings:
    """A scan in blocks of voxels along the patient's axes.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Mean of each block.
    factors : tuple of 3 int
        Voxels a block.
    step : tuple of 3 float
        Edge of a block in mm.
    body, air : ndarray of bool, shape (z, y, x)
        The body without the table; air inside it.
    airways : Airways
    middle : float
        x of the patient's midline in blocks: that of the trachea, of the body where none was found.
    """

    hu: NDArray[Any]
    factors: tuple[int, int, int]
    step: tuple[float, float, float]
    body: Mask
    air: Mask
    airways: Airways
    middle: float


def look_around(hu: NDArray[Any], spacing_mm: Spacing, *, settings: Settings) -> Surroundings:
    """Find body, air, airways and midline of a scan.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        z to the head, y to the back, x to the patient's left.
    spacing_mm : sequence of 3 floats
    settings : Settings
    """
    factors = morphology.block_factors(spacing_mm, settings.working_mm)
    z, y, x = (edge * factor for edge, factor in zip(spacing_mm, factors, strict=True))
    blocks = morphology.block_mean(hu, factors)
    body = body_mask(blocks, (z, y, x))
    air = (blocks < settings.threshold_hu) & body
    airways = find_airways(blocks, air, body, (z, y, x), max_litre=settings.airway_max_litre)
    middle = airways.middle_voxel if airways.found else middle_of(body)
    return Surroundings(blocks, factors, (z, y, x), body, air, airways, middle)


def middle_of(body: Mask) -> float:
    """Return the mean x in voxels of a body, or of the grid where there is none."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    return float(columns.mean()) if len(columns) else body.shape[2] / 2
