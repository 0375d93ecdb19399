"""From blocks back to voxels: each lung closed, and its edge drawn on the volume's own grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.sides import LEFT, RIGHT, Labels

Factors = tuple[int, int, int]


def closed_lungs(
    air: Labels, airless: Labels, airways: Mask, spacing_mm: Spacing, *, closing_mm: float
) -> tuple[Labels, int]:
    """Close each lung over vessels and nodules and fill what it then holds.

    Neither the airways nor the other lung are entered.

    Parameters
    ----------
    air, airless : ndarray of uint8, shape (z, y, x)
        1 right, 2 left: air of the lungs, and airless lung to be added to it.
    airways : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    closing_mm : float
        Radius of the ball in mm; 0 closes nothing.

    Returns
    -------
    labels : ndarray of uint8, shape (z, y, x)
        One piece a lung.
    leak : int
        Voxels of airway that the closed lungs would have held.
    """
    labels = np.where(air > 0, air, airless)
    labels[airways] = 0
    leak = 0
    for side in (RIGHT, LEFT):
        mask = morphology.largest(labels == side)
        labels[(labels == side) & ~mask] = 0
        if not mask.any():
            continue
        box = morphology.bounds(mask)
        closed = morphology.close(mask[box], spacing_mm, closing_mm)
        closed = ndimage.binary_fill_holes(closed)
        leak += int(np.count_nonzero(closed & airways[box]))
        part = labels[box]
        part[closed & ~airways[box] & (part == 0)] = side
    return labels, leak


def draw_edges(
    hu: NDArray[Any], air: Labels, closed: Labels, airways: Mask, factors: Factors,
    *, threshold_hu: int,
) -> Labels:  # fmt: skip
    """Carry closed lungs from blocks of voxels to the voxels.

    Where a lung ends in air, its rim is drawn anew at the threshold. Where it was closed over
    tissue no threshold shows the rim, and it runs where half of the blocks around are closed.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    air, closed : ndarray of uint8, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx))
        Air of the lungs and closed lungs on the grid of `morphology.block_mean`.
    airways : ndarray of bool, same shape as `air`
    factors : tuple of 3 int
        Voxels a block.
    threshold_hu : int

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
    """
    if factors == (1, 1, 1):
        return closed.copy()
    result = np.zeros(hu.shape, np.uint8)
    for side in (RIGHT, LEFT):
        mask = closed == side
        if mask.any():
            other = closed == RIGHT + LEFT - side
            _draw_side(hu, result, air == side, mask, airways | other, factors, side, threshold_hu)
    return result


def _draw_side(
    hu: NDArray[Any], result: Labels, air: Mask, closed: Mask, barred: Mask, factors: Factors,
    side: int, threshold_hu: int,
) -> None:  # fmt: skip
    """Draw one lung, plane by plane, so that no array of the volume's size is needed."""
    box = morphology.grow_box(morphology.bounds(closed), (1, 1, 1), closed.shape)
    air, closed, barred = air[box], closed[box], barred[box]
    # What of a tube's rim is no lung in blocks is none in voxels.
    barred = barred | (ndimage.binary_dilation(barred, np.ones((3, 3, 3))) & ~air)
    sure = ndimage.binary_erosion(closed, border_value=1)
    rim = ndimage.binary_dilation(air, np.ones((3, 3, 3))) & ~sure & ~barred
    # Single blocks that the closing adds at the rim are partly outside.
    thick = ndimage.binary_opening(closed & ~air)
    tissue = ndimage.binary_dilation(thick, np.ones((3, 3, 3))) & ~sure & ~barred
    fine = tuple(
        slice(part.start * factor, min(part.stop * factor, size))
        for part, factor, size in zip(box, factors, hu.shape, strict=True)
    )
    hu, result = hu[fine], result[fine]
    shape = (factors[1], factors[2]), hu.shape[1:]
    down, across = (
        morphology.block_weights(count, size, factor)
        for count, size, factor in zip(closed.shape[1:], hu.shape[1:], factors[1:], strict=True)
    )
    heights = morphology.block_weights(len(closed), len(hu), factors[0])
    for z, weights in enumerate(heights):
        block = z // factors[0]
        plane = _repeat(sure[block], *shape)
        plane |= _repeat(rim[block], *shape) & (hu[z] < threshold_hu)
        if tissue[block].any():
            near = np.flatnonzero(weights)
            share = np.tensordot(weights[near], closed[near].astype(np.float32), 1)
            plane |= _repeat(tissue[block], *shape) & (down @ share @ across.T >= 0.5)
        result[z][plane & (result[z] == 0)] = side


def _repeat(plane: Mask, factors: tuple[int, int], shape: tuple[int, int]) -> Mask:
    """Return the pixels of a plane of blocks, cut to a shape."""
    return plane.repeat(factors[0], 0).repeat(factors[1], 1)[: shape[0], : shape[1]]
