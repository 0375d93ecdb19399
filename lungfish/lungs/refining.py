"""Labels carried from blocks of voxels to the voxels, for `unet`; the classical way is `edges`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.sides import LEFT, RIGHT, Labels


def refine(
    hu: NDArray[Any], rough: Labels, factors: tuple[int, int, int], *, threshold_hu: int
) -> Labels:
    """Carry labels from blocks of voxels to the voxels: the rim is drawn anew at the threshold.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    rough : ndarray of uint8, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx))
        On the grid of `morphology.block_mean`.
    factors : tuple of 3 int
    threshold_hu : int

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        The inside of `rough` whatever its HU; of its rim, inside and out, what is air.
    """
    if factors == (1, 1, 1):
        return rough.copy()
    lungs = rough > 0
    inner = ndimage.binary_erosion(lungs, border_value=1)
    wide = np.where(lungs, rough, ndimage.grey_dilation(rough, size=(3, 3, 3)))
    fine = np.asarray(morphology.enlarge(wide, factors, hu.shape)).copy()
    sure = np.asarray(morphology.enlarge(inner, factors, hu.shape))
    fine[(hu >= threshold_hu) & ~sure] = 0
    for side in (RIGHT, LEFT):
        mask = fine == side
        fine[mask & ~morphology.largest(mask)] = 0
    return fine


def close_lungs(labels: Labels, airways: Mask, spacing_mm: Spacing, closing_mm: float) -> int:
    """Close each lung over vessels and nodules and fill what it then holds, in place.

    Neither the airways nor the other lung are entered.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Changed.
    airways : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    closing_mm : float

    Returns
    -------
    int
        Voxels of airway that the closed lungs would have held.
    """
    leak = 0
    for side in (RIGHT, LEFT):
        mask = labels == side
        if not mask.any():
            continue
        box = morphology.bounds(mask)
        closed = morphology.close(mask[box], spacing_mm, closing_mm)
        closed = ndimage.binary_fill_holes(closed)
        inside_airway = closed & airways[box]
        leak += int(np.count_nonzero(inside_airway))
        part = labels[box]
        part[closed & ~inside_airway & (part == 0)] = side
    return leak
