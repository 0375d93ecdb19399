"""What fills the room of a lung: airless lung or mass, effusion, or an organ that bulges in.

Four signs tell them apart: bronchi that still hold air, the HU of the inside, its shape and its
place. A sheet with the HU of fluid is an effusion; a ball with them is a tumour. A piece without
bronchi is not believed below the lung, where liver, spleen and stomach are (unless it is lighter
than these), nor beyond a rib, nor if it is as uneven as muscles with fat between them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

FLUID_HU = (-8.0, 23.0)
"""Effusion: water with some protein. Most masses and consolidations are denser or hold air."""
PLAIN_HU = (-120, 150)
"""HU that count towards a mean: neither the rim to air nor a vessel with contrast medium."""
FLUID_SMOOTH_MM = 7.0
DRY, WET = 0.3, 0.75
"""Shares of fluid in a piece below which none of it, and above which all of it, is effusion."""
ROUND = 12.0
"""A piece is round below this volume, in cubes of its largest inner radius; a ball has 4.2."""
AIRY = 0.0008
"""Share of a piece's inside with air of bronchi from which on it is airless lung."""
FAR_MM, NEAR_MM = 40.0, 15.0
"""Fluid so far from all bronchi may be an effusion; what is so near to one is not."""
DROWNED = 0.5
"""Share of far fluid above which a piece with bronchi is an effusion around them."""
DEPTH_MM = 9.0
"""A filling must be somewhere thicker than twice this half-width."""
OPEN_MM = 4.5
"""Sheets thinner than twice this are the wall, the pleura or a vessel."""
LEAST_LITRE = 0.004
"""A ball of 20 mm; the closing of the lungs takes in what is smaller."""
UNDER = 0.5
"""Most of a piece without bronchi that may lie where its lung has ended above."""
LIGHT_HU = (-60.0, 0.0)
"""Mean HU between those of fat and of any organ: some air is left, if not in bronchi."""
LIGHT_LITRE = 0.02
"""Less of it may be foam in the stomach or fat beside the liver."""
UNEVEN_HU = 33.0
"""Largest standard deviation in blocks of 4 mm of a mass; a shoulder has 40."""
BEYOND = 0.3
"""Most of a piece without bronchi that may lie beyond a rib."""


def believed(
    hu: NDArray[Any], mask: Mask, lung: Mask, holes: Mask, beyond: Mask, spacing_mm: Spacing
) -> Mask:
    """Return the pieces of a filling of one lung that are airless lung.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    mask, lung : ndarray of bool, shape (z, y, x)
        The filling, and the lung that it is for.
    holes, beyond : ndarray of bool, shape (z, y, x)
        Voxels that hold air of a bronchus; voxels beyond a rib.
    spacing_mm : sequence of 3 floats

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    result = np.zeros_like(mask)
    if mask.any():
        margin = [int(2 * OPEN_MM / step) + 1 for step in spacing_mm]
        box = morphology.grow_box(morphology.bounds(mask), margin, mask.shape)
        result[box] = believed_pieces(
            hu[box], mask[box], holes[box], beyond[box], under(lung)[box], spacing_mm
        )
    return result


def believed_pieces(
    hu: NDArray[Any], mask: Mask, holes: Mask, beyond: Mask, below: Mask, spacing_mm: Spacing
) -> Mask:
    """Return what `believed` does, of arrays cut to the filling; `below` is what `under` gives."""
    mask = mask & ~fluid(hu, mask, holes, spacing_mm)
    opened = morphology.opening(mask, spacing_mm, OPEN_MM)
    pieces, count = ndimage.label(opened)
    if not count:
        return np.zeros_like(mask)
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)
    deep = np.bincount(pieces[morphology.erode(opened, spacing_mm, DEPTH_MM)], minlength=count + 1)
    core = np.where(ndimage.binary_erosion(opened), pieces, 0)
    inside = np.maximum(1, np.bincount(core.ravel(), minlength=count + 1))
    airy = np.bincount(core[holes], minlength=count + 1) > AIRY * inside
    shares = [
        np.bincount(pieces[part], minlength=count + 1) / np.maximum(1, voxels)
        for part in (below, beyond)
    ]
    mean, uneven = unevenness(hu, core, count)
    placed = (shares[0] <= UNDER) | ((mean > LIGHT_HU[0]) & (mean < LIGHT_HU[1]))
    dense = placed & (shares[1] <= BEYOND) & (uneven <= UNEVEN_HU)
    litre = float(np.prod(spacing_mm)) * 1e-6
    good = (voxels * litre >= LEAST_LITRE) & (deep > 0) & (airy | dense)
    good[0] = False
    kept = morphology.dilate(good[pieces], spacing_mm, 2 * OPEN_MM)
    return np.asarray(kept & mask)


def lightened(hu: NDArray[Any], mask: Mask, spacing_mm: Spacing) -> Mask:
    """Return the large, even parts of a mask with HU between those of fat and of fluid.

    No organ has them, and a mixture of organs with fat or gas is uneven: some air is left in them.
    """
    core = ndimage.binary_erosion(mask)
    mean = inner_mean(hu, core, spacing_mm)
    light = core & (mean > LIGHT_HU[0]) & (mean < FLUID_HU[0])
    pieces, count = ndimage.label(morphology.opening(light, spacing_mm, DEPTH_MM))
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)
    good = voxels * float(np.prod(spacing_mm)) * 1e-6 >= LIGHT_LITRE
    good &= unevenness(hu, pieces, count)[1] <= UNEVEN_HU
    good[0] = False
    return np.asarray(morphology.dilate(good[pieces], spacing_mm, DEPTH_MM) & mask)


def unevenness(
    hu: NDArray[Any], pieces: NDArray[Any], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the HU of 0 and every piece; 0 of an empty one.

    Bronchi with air and bright vessels do not count.
    """
    pieces = np.where((hu > PLAIN_HU[0]) & (hu < PLAIN_HU[1]), pieces, 0)
    voxels = np.maximum(1, np.bincount(pieces.ravel(), minlength=count + 1))
    mean, square = (
        np.bincount(pieces.ravel(), hu.ravel().astype(np.float64) ** power, count + 1) / voxels
        for power in (1, 2)
    )
    return mean, np.sqrt(np.maximum(0, square - mean**2))


def under(lung: Mask) -> Mask:
    """Return the voxels below which, and at which, no lung stands in their column."""
    return np.asarray(np.cumsum(lung, axis=0, dtype=np.int16) == 0)


def fluid(hu: NDArray[Any], mask: Mask, holes: Mask, spacing_mm: Spacing) -> Mask:
    """Return the parts of a mask that are an effusion.

    They have the HU of fluid inside, and no bronchi with air near. The rim, which shares its voxels
    with air, follows the inside. A piece with bronchi is no effusion, unless most of it is fluid
    far from them: a consolidation drowned in one. A piece without is one all over where nearly all
    of it is fluid, but for what is lighter, and not at all where nearly none is.
    """
    if not mask.any():
        return mask
    core = ndimage.binary_erosion(mask)
    mean = inner_mean(hu, core, spacing_mm)
    wet = mask & (mean > FLUID_HU[0]) & (mean < FLUID_HU[1])
    pieces, count = ndimage.label(mask)
    inside = np.maximum(1, np.bincount(pieces[core], minlength=count + 1))

    def share(part: Mask) -> NDArray[np.float64]:
        return np.asarray(np.bincount(pieces[part & core], minlength=count + 1) / inside)

    bronchi_mm = distance_to(holes & core, spacing_mm)
    airy = share(holes) > AIRY
    drowned = airy & (share(wet & (bronchi_mm > FAR_MM)) > DROWNED)
    fluid_share = share(wet)
    light = morphology.opening(core & (mean < FLUID_HU[0]), spacing_mm, 2 * OPEN_MM)
    wet[((fluid_share > WET) & ~airy)[pieces] & mask & ~light] = True
    wet[drowned[pieces] & (bronchi_mm < NEAR_MM)] = False
    dry = (fluid_share < DRY) | (airy & ~drowned) | round_pieces(pieces, count, spacing_mm)
    wet[dry[pieces]] = False
    return np.asarray(wet)


def inner_mean(hu: NDArray[Any], core: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
    """Return the local mean HU of what is inside a mask and neither rim nor bright vessel."""
    plain = core & (hu > PLAIN_HU[0]) & (hu < PLAIN_HU[1])
    sigma = [FLUID_SMOOTH_MM / step for step in spacing_mm]
    weight = ndimage.gaussian_filter(plain.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(plain, hu, 0).astype(np.float32), sigma)
    return np.asarray(total / np.maximum(weight, 1e-6), np.float32)


def distance_to(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return the distance to a mask in mm; inf where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm))


def round_pieces(pieces: NDArray[Any], count: int, spacing_mm: Spacing) -> Mask:
    """Return for 0 and every piece whether it is like a ball: an effusion spreads in a sheet."""
    depth = ndimage.distance_transform_edt(pieces > 0, sampling=spacing_mm)
    deepest = np.asarray(ndimage.maximum(depth, pieces, np.arange(count + 1)))
    volume = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(spacing_mm))
    return np.asarray((volume < ROUND * deepest**3) & (deepest > DEPTH_MM))
