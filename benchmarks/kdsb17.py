"""What kdsb17 did to find the lungs, written anew from a description of its steps.

Otsu's threshold, an opening and the border's air slice by slice, a dilation in two steps, the
largest piece: no more than a box around both lungs was wanted of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def crop_to_lungs(hu: NDArray[np.int16], *, edge: int = 5, tail: float = 0.005) -> tuple[Mask, Any]:
    """Return the lungs' mask and the cropped HU by the steps that kdsb17 took, written anew.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        At 1 mm.
    edge : int
        Voxels of its square structuring elements.
    tail : float
        Share of the mask that slices at either end may hold and be dropped.

    Returns
    -------
    tuple
        The mask, dilated as it was, and the HU in its box (each last plane lost, as it was).
    """
    air = hu < otsu(hu)
    square = np.ones((edge, edge), bool)
    closed = np.stack([without_border_air(plane, square) for plane in air])
    closed = ndimage.binary_dilation(closed, np.ones((edge, 1, edge), bool), iterations=4)
    labels, count = ndimage.label(closed, np.ones((3, 3, 3), bool))
    largest = 1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count + 1)[1:]))
    mask = labels == largest
    mask = ndimage.binary_dilation(mask, np.ones((1, edge, 1), bool), iterations=4)
    share = np.cumsum(mask.sum(axis=(1, 2))) / mask.sum()
    mask[(share < tail) | (share > 1 - tail)] = False
    used = [np.flatnonzero(mask.any(axis=across)) for across in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(int(found[0]), int(found[-1])) for found in used)
    return mask, hu[box].copy()


def without_border_air(plane: Mask, square: Mask) -> Mask:
    """Return the air of a slice that an opening leaves and that does not touch the border."""
    opened = np.pad(ndimage.binary_opening(plane, square, iterations=2), 1, constant_values=True)
    labels, _ = ndimage.label(opened, np.ones((3, 3), bool))
    return np.asarray(opened & (labels != labels[0, 0]))[1:-1, 1:-1]


def otsu(hu: NDArray[np.int16]) -> int:
    """Return Otsu's threshold with one bin for each HU (N. Otsu, IEEE SMC 9, 1979)."""
    low = int(hu.min())
    counts = np.bincount((hu.ravel() - low).astype(np.uint16)).astype(float)
    levels = np.arange(len(counts)) + low
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * levels)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(levels[np.nanargmax(between)])
