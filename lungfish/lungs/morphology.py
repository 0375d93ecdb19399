"""Dilation, erosion and closing by balls in mm, components, and coarser grids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Spacing = Sequence[float]


def squared_distance(mask: Mask, spacing_mm: Spacing, limit_mm: float) -> NDArray[np.float32]:
    """Return the squared Euclidean distance to the nearest voxel of a mask, up to a limit.

    The squared distance is a sum over the axes, so its minimum can be taken one axis after the
    other (Felzenszwalb and Huttenlocher 2012, section 2.1); with a limit of a few voxels the
    minimum over plain shifts is several times faster than a full transform.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
        Along (z, y, x).
    limit_mm : float
        Distances above it may come out too large or infinite.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        In mm squared; 0 inside the mask; exact up to the limit.
    """
    distance = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis, step in enumerate(spacing_mm):
        reach = min(int(limit_mm / step + 1e-6), mask.shape[axis] - 1)
        if reach > 0:
            _spread(distance, axis, reach, step)
    return distance


def _spread(distance: NDArray[np.float32], axis: int, reach: int, step: float) -> None:
    """Lower each value to the least of its neighbours' plus their squared distance, in place."""
    # Plane by plane, so that the shifts stay in the processor's cache.
    across = 0 if axis != 0 else 1
    planes = np.moveaxis(distance, across, 0)
    inner = axis - 1 if across == 0 else 0
    for plane in planes:
        rows = np.ascontiguousarray(plane if inner == 0 else plane.T)
        if not np.isfinite(rows).any():
            continue
        best = rows.copy()
        for shift in range(1, reach + 1):
            cost = np.float32((shift * step) ** 2)
            raised = rows + cost
            np.minimum(best[shift:], raised[:-shift], out=best[shift:])
            np.minimum(best[:-shift], raised[shift:], out=best[:-shift])
        plane[:] = best if inner == 0 else best.T


def dilate(mask: Mask, spacing_mm: Spacing, radius_mm: float) -> Mask:
    """Return every voxel whose centre is within `radius_mm` of a voxel centre of the mask."""
    limit = np.float32(radius_mm**2 * (1 + 1e-5))
    return np.asarray(squared_distance(mask, spacing_mm, radius_mm) <= limit)


def erode(mask: Mask, spacing_mm: Spacing, radius_mm: float) -> Mask:
    """Return what `dilate` of the complement leaves; the border of the array erodes nothing."""
    return ~dilate(~mask, spacing_mm, radius_mm)


def opening(mask: Mask, spacing_mm: Spacing, radius_mm: float) -> Mask:
    """Return the part of a mask that a ball of this radius in mm covers from inside."""
    return dilate(erode(mask, spacing_mm, radius_mm), spacing_mm, radius_mm)


def close(mask: Mask, spacing_mm: Spacing, radius_mm: float) -> Mask:
    """Close a mask by a ball: add all that a ball of this radius outside the mask cannot reach.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Beyond its border stands nothing, so that a lung cut by the border loses no plane.
    spacing_mm : sequence of 3 floats
        Along (z, y, x).
    radius_mm : float
        Of the ball.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Holds `mask`.
    """
    if radius_mm <= 0 or not mask.any():
        return mask.copy()
    margin = [int(radius_mm / step) + 1 for step in spacing_mm]
    inside = bounds(mask)
    padded = np.pad(mask[inside], [(width, width) for width in margin])
    closed = erode(dilate(padded, spacing_mm, radius_mm), spacing_mm, radius_mm)
    core = tuple(slice(width, -width) for width in margin)
    result = mask.copy()
    result[inside] |= closed[core]
    return result


def bounds(mask: Mask) -> Box:
    """Return the smallest end-exclusive box that holds a mask that is not empty."""
    return tuple(  # type: ignore[return-value]
        slice(int(hit[0]), int(hit[-1]) + 1)
        for hit in (
            np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
            for axis in range(3)
        )
    )


def grow_box(box: Box, margin: Sequence[int], shape: Sequence[int]) -> Box:
    """Return a box wider by `margin` voxels on every side, cut at the array's border."""
    return tuple(  # type: ignore[return-value]
        slice(max(0, part.start - width), min(size, part.stop + width))
        for part, width, size in zip(box, margin, shape, strict=True)
    )


def largest(mask: Mask) -> Mask:
    """Return the largest 6-connected component of a mask; an empty one stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def fill_slices(mask: Mask) -> Mask:
    """Fill the holes of every axial slice."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def block_factors(spacing_mm: Spacing, wanted_mm: float) -> tuple[int, int, int]:
    """Return how many voxels along (z, y, x) make a block whose edge is at most `wanted_mm`."""
    z, y, x = (max(1, int(wanted_mm / step + 0.05)) for step in spacing_mm)
    return z, y, x


def block_mean(hu: NDArray[Any], factors: tuple[int, int, int]) -> NDArray[np.int16]:
    """Average blocks of voxels; a last block that is not full repeats its edge.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    factors : tuple of 3 int
        Voxels a block along each axis.

    Returns
    -------
    ndarray of int16, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx))
    """
    if factors == (1, 1, 1):
        return hu
    fz, fy, fx = factors
    rows, columns = (
        np.minimum(np.arange(-(-size // factor) * factor), size - 1)
        for size, factor in zip(hu.shape[1:], (fy, fx), strict=True)
    )
    result = np.empty([-(-size // f) for size, f in zip(hu.shape, factors, strict=True)], np.int16)
    for block in range(len(result)):
        planes = np.minimum(np.arange(block * fz, (block + 1) * fz), len(hu) - 1)
        # One slab after the other: sums stay in the processor's cache, and little memory is used.
        slab = sum(hu[plane].astype(np.int32) for plane in planes)
        slab = slab[rows].reshape(-1, fy, hu.shape[2]).sum(axis=1)
        total = sum(slab[:, columns[first::fx]] for first in range(fx))
        result[block] = total // (fz * fy * fx)
    return result


def block_share(mask: Mask, factors: tuple[int, int, int], *, percent: int) -> Mask:
    """Return the blocks of voxels of which a mask holds at least so many percent."""
    return np.asarray(block_mean(mask.astype(np.int16) * np.int16(100), factors) >= percent)


def enlarge(
    array: NDArray[Any], factors: tuple[int, int, int], shape: Sequence[int]
) -> NDArray[Any]:
    """Repeat voxels by `factors` and cut to `shape`; undoes the grid of `block_mean`."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            array = array.repeat(factor, axis=axis)
    return array[: shape[0], : shape[1], : shape[2]]


def block_weights(count: int, size: int, factor: int) -> NDArray[np.float32]:
    """Return the weights that interpolate linearly from blocks to voxels, constant at the ends.

    Parameters
    ----------
    count : int
        Blocks along an axis.
    size : int
        Voxels along it.
    factor : int
        Voxels of a block.

    Returns
    -------
    ndarray of float32, shape (size, count)
        A voxel between two centres of blocks weighs both; each row sums to 1.
    """
    place = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, count - 1)
    apart = np.abs(place[:, None] - np.arange(count))
    return np.asarray(np.maximum(0, 1 - apart), np.float32)
