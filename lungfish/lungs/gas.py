"""Gas of stomach and bowel told from lung, also where thick slices join the two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

LEVELS_HU = (-550, -650, -750, -800)
"""Thresholds under which the wall between gas and lung is sought, the mildest first."""
SMOOTH_MM = 1.5
"""Against noise, and less than the walls between gas and lung."""
LEAST_LITRE = 0.004
"""Smaller pieces are not judged."""
GAS_SHARE = 0.9
"""A piece of which so much is as dark as gas is gas: lung has vessels, and bullae are smaller."""
MARGIN_HU = 30
"""How far above `gas_hu` a voxel of gas may lie: noise, and foam at its rim."""


def remove_gas(hu: NDArray[Any], air: Mask, spacing_mm: Spacing, *, gas_hu: int) -> Mask:
    """Take the gas of stomach and bowel out of the air inside the body.

    Between gas and lung lie two walls and the diaphragm: a few mm, of which a thick slice keeps a
    ridge of higher HU. Under falling thresholds the air comes apart there; what then is as dark
    as gas throughout keeps all the air that is nearer to it than to lung along paths of low HU
    (a watershed; Beucher and Lantuejoul 1979).

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Along the patient's axes, on the working grid.
    air : ndarray of bool, shape (z, y, x)
        Air inside the body without the airways.
    spacing_mm : sequence of 3 floats
    gas_hu : int
        Median HU below which air is gas.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        `air` without gas.
    """
    result = air.copy()
    if not air.any():
        return result
    box = morphology.grow_box(morphology.bounds(air), (1, 1, 1), air.shape)
    rest = air[box].copy()
    smooth = ndimage.gaussian_filter(
        hu[box].astype(np.float32), [SMOOTH_MM / step for step in spacing_mm]
    )
    least = max(8.0, LEAST_LITRE * 1e6 / float(np.prod(spacing_mm)))
    for level in LEVELS_HU:
        gas, lung = cores(smooth, rest & (smooth < level), least=least, gas_hu=gas_hu)
        if gas.any() and lung.any():
            rest &= ~nearer(smooth, rest, gas, lung)
        elif gas.any():
            rest &= ~gas
    result[box] = rest
    return result


def cores(
    smooth: NDArray[np.float32], dark: Mask, *, least: float, gas_hu: int
) -> tuple[Mask, Mask]:
    """Return which pieces of at least `least` voxels are gas, and which are not."""
    pieces, count = ndimage.label(dark)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    inner = ndimage.binary_erosion(dark)
    wide = np.bincount(pieces[inner], minlength=count + 1)
    as_gas = np.bincount(pieces[inner & (smooth < gas_hu + MARGIN_HU)], minlength=count + 1)
    large = sizes >= least
    large[0] = False
    gas = large & (wide > 0) & (as_gas >= GAS_SHARE * wide)
    return np.asarray(gas[pieces]), np.asarray((large & ~gas)[pieces])


def nearer(smooth: NDArray[np.float32], air: Mask, gas: Mask, lung: Mask) -> Mask:
    """Return the air that the watershed gives to gas and not to lung."""
    height = np.clip((smooth + 1024) / 4, 0, 255).astype(np.uint8)
    markers = np.zeros(air.shape, np.int16)
    markers[lung] = 1
    markers[gas] = 2
    # Tissue belongs to neither and lets nothing pass.
    markers[~air] = -1
    basins = ndimage.watershed_ift(height, markers, structure=np.ones((3, 3, 3)))
    return np.asarray((basins == 2) & air)
