"""Where a lung is unlike anything that the autoencoder has learned: -log p of each voxel.

The network sees patches, so the lungs are covered by overlapping windows of its own size, half an
edge apart, and each voxel is judged by the eight that hold it. Their densities are averaged, not
their logarithms: a weighted mean of densities is a density again, so that the map stays a
-log p. A window counts most in its middle, where it sees as much on all sides, and nearly nothing
at its border (weights sin^2 along each axis, which add up to 1 at every voxel).
"""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.errors import InputError
from lungfish.gmcae.batches import dequantise
from lungfish.gmcae.heads import Head
from lungfish.gmcae.network import EDGE_VOXEL
from lungfish.intensity import HuMap
from lungfish.lungs.morphology import bounds, erode
from lungfish.randomness import generator
from lungfish.volume import AIR_HU, Volume, to_mm

STEP_VOXEL = EDGE_VOXEL // 2
"""Distance of neighbouring windows."""
BATCH = 16
SMOOTHING_MM = 3.0
"""Standard deviation of the Gaussian within which a place is judged: a nodule, not a voxel."""
INSIDE_MM = 5.0
"""A place is judged by what lies so far inside the lungs: their surface is always surprising."""
APART_MM = 15.0
"""Least distance of two places that are named."""
Corner = tuple[int, int, int]
Window = tuple[Corner, NDArray[np.float32], NDArray[np.float32]]


def surprise(
    network: keras.Model,
    head: Head,
    hu: NDArray[np.int16],
    lungs: NDArray[np.bool_],
    *,
    hu_map: HuMap,
    first_voxel: Corner = (0, 0, 0),
) -> NDArray[np.float32]:
    """Return -log p of each voxel of the lungs.

    A voxel's value depends on the HU within 31 voxels of it and on its place in the lattice of
    windows; on nothing else: not on the mask, nor on how windows are batched.

    Parameters
    ----------
    network : keras.Model
        From (n, 32, 32, 32, 1).
    head : Head
        That reads its output; with the patch head, each window is judged by its chosen component.
    hu : ndarray of int16, shape (z, y, x)
        At the voxel size that the network was trained at.
    lungs : ndarray of bool, shape (z, y, x)
    hu_map : HuMap
        That the network was trained with; what it clips is judged as the end that it is clipped to.
    first_voxel : tuple of 3 int
        Where a window begins; the others follow in steps of 16.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        Nats above the bound of a resolution of 1 HU (0: known to the last HU), large where the lung
        is unlike what was learned; divided by ln 2, the bits that a code would spend on the voxel.
        nan outside of the lungs.

    Raises
    ------
    InputError
        If mask and volume differ in shape.
    """
    if hu.shape != lungs.shape:
        raise InputError(
            f"mask and volume differ in shape: {lungs.shape} against {hu.shape}; rerun lungs"
        )
    log_weights = _log_weights()
    log_density = np.full(hu.shape, -np.inf, np.float32)
    for batch in _batches(_windows(hu, lungs, hu_map, first_voxel)):
        cubes = np.stack([values for _, values, _ in batch])[..., None]
        targets = np.stack([target.ravel() for _, _, target in batch])
        found = head.surprise(targets, network.predict_on_batch(cubes))
        for (corner, values, _), nats in zip(batch, found, strict=True):
            place, part = _overlap(corner, hu.shape)
            seen = log_density[place]
            np.logaddexp(seen, (log_weights - nats.reshape(values.shape))[part], out=seen)
    # In place: a long scan at 1 mm takes 200 MB an array.
    np.subtract(np.float32(np.log(hu_map.hu_per_unit)), log_density, out=log_density)
    log_density[~lungs] = np.nan
    return log_density


def _log_weights() -> NDArray[np.float32]:
    """Return the logarithm of a window's weights; over the eight windows of a voxel they sum to 1.

    sin^2 at a place and at the place half an edge on are sin^2 and cos^2 of one angle.
    """
    along = 2 * np.log(np.sin(np.pi * (np.arange(EDGE_VOXEL) + 0.5) / EDGE_VOXEL))
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    return np.asarray(z + y + x, np.float32)


def _windows(
    hu: NDArray[np.int16], lungs: NDArray[np.bool_], hu_map: HuMap, first: Corner
) -> Iterator[Window]:
    """Yield corner, values and dequantised target of every window that a voxel of lung needs.

    One row of windows along y and x is held at a time.
    """
    for z, row in itertools.groupby(_corners(lungs, first), key=lambda corner: corner[0]):
        values, targets = _slab(hu, z, hu_map)
        for corner in row:
            start = [place + EDGE_VOXEL for place in corner[1:]]  # in the padded slab
            cut = (slice(None), *(slice(at, at + EDGE_VOXEL) for at in start))
            yield corner, values[cut], targets[cut]


def _slab(
    hu: NDArray[np.int16], z: int, hu_map: HuMap
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values and targets of 32 slices from `z` on, padded with air.

    Each slice is dequantised by a generator of its own, so that windows agree about a voxel.
    """
    slab = np.full((EDGE_VOXEL, hu.shape[1], hu.shape[2]), AIR_HU, np.int16)
    low, high = max(z, 0), min(z + EDGE_VOXEL, len(hu))
    slab[low - z : high - z] = hu[low:high]
    wide = [(0, 0), *[(EDGE_VOXEL, EDGE_VOXEL)] * 2]
    values = hu_map.to_network(np.pad(slab, wide, constant_values=AIR_HU))
    targets = np.stack(
        [
            dequantise(plane, hu_map, generator(0, "surprise", z + k))
            for k, plane in enumerate(values)
        ]
    )
    return values, targets


def _corners(lungs: NDArray[np.bool_], first: Corner) -> list[Corner]:
    """Return the corners of all windows that hold lung, by z, y and x."""
    offsets = [place % STEP_VOXEL - EDGE_VOXEL for place in first]
    padding = [
        (-offset, STEP_VOXEL + (offset - length) % STEP_VOXEL)
        for offset, length in zip(offsets, lungs.shape, strict=True)
    ]
    padded = np.pad(lungs, padding)
    cells = [part for length in padded.shape for part in (length // STEP_VOXEL, STEP_VOXEL)]
    needed = padded.reshape(cells).any(axis=(1, 3, 5))
    for axis in range(3):
        # A window begins at a cell and holds the next one too; the last cell of all is empty.
        needed = needed | np.roll(needed, -1, axis)
    return [
        (z * STEP_VOXEL + offsets[0], y * STEP_VOXEL + offsets[1], x * STEP_VOXEL + offsets[2])
        for z, y, x in np.argwhere(needed).tolist()
    ]


def _batches(windows: Iterator[Window]) -> Iterator[list[Window]]:
    while batch := list(itertools.islice(windows, BATCH)):
        yield batch


def _overlap(corner: Corner, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return where a window lies in the volume, and what part of the window lies in it."""
    low = [max(start, 0) for start in corner]
    high = [min(start + EDGE_VOXEL, length) for start, length in zip(corner, shape, strict=True)]
    place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = tuple(slice(a - start, b - start) for a, b, start in zip(low, high, corner, strict=True))
    return place, part


def smooth_within(
    values: NDArray[Any], lungs: NDArray[np.bool_], sigma_voxel: tuple[float, ...] | float
) -> NDArray[np.float32]:
    """Return the mean of values under a Gaussian, over the lungs' own voxels alone.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
        Outside of the lungs anything, nan too.
    lungs : ndarray of bool, shape (z, y, x)
    sigma_voxel : float or tuple of 3 float
        Standard deviation of the Gaussian, along each axis; it is cut off at 3 of them.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        nan outside of the lungs.
    """
    where = bounds(lungs)
    inside = lungs[where]
    options: dict[str, Any] = {"sigma": sigma_voxel, "mode": "constant", "truncate": 3.0}
    total = ndimage.gaussian_filter(
        np.where(inside, values[where], 0).astype(np.float32), **options
    )
    weight = ndimage.gaussian_filter(inside.astype(np.float32), **options)
    result = np.full(lungs.shape, np.nan, np.float32)
    np.divide(total, weight, out=result[where], where=inside)
    return result


def places(values: NDArray[np.float32], volume: Volume, *, most: int = 6) -> list[dict[str, Any]]:
    """Name the places where the lungs surprise most, each some way from the others.

    Parameters
    ----------
    values : ndarray of float32, shape (z, y, x)
        From `surprise`.
    volume : Volume
        That it was made of.
    most : int

    Returns
    -------
    list of dict
        ``position_mm`` (LPS x, y, z), ``nats`` (mean under a Gaussian of 3 mm, within the lungs)
        and ``hu`` (the same mean of the volume), the highest first; what lies within 5 mm of the
        lungs' surface is left out. For a person to look at: a surprise is no finding.
    """
    lungs = erode(np.isfinite(values), volume.spacing_mm, INSIDE_MM)
    if not lungs.any():
        return []
    sigma = tuple(SMOOTHING_MM / step for step in volume.spacing_mm)
    around = smooth_within(values, lungs, sigma)
    density = smooth_within(volume.hu, lungs, sigma)
    peaks = np.where(lungs, around, -np.inf)
    size = [2 * round(SMOOTHING_MM / step) + 1 for step in volume.spacing_mm]
    tops = np.argwhere(lungs & (peaks == ndimage.maximum_filter(peaks, size)))
    tops = tops[np.argsort(-peaks[tuple(tops.T)], kind="stable")]
    positions = to_mm(volume.affine, tops)
    kept: list[int] = []
    for k in range(len(tops)):
        if len(kept) == most:
            break
        if all(np.linalg.norm(positions[k] - positions[j]) >= APART_MM for j in kept):
            kept.append(k)
    return [
        {
            "position_mm": [round(float(value), 1) for value in positions[k]],
            "nats": round(float(around[tuple(tops[k])]), 3),
            "hu": round(float(density[tuple(tops[k])]), 1),
        }
        for k in kept
    ]


def summary(values: NDArray[np.float32]) -> dict[str, float | int]:
    """Return mean and percentiles of a map, in nats per voxel above the bound, and its voxels."""
    inside = values[np.isfinite(values)].astype(np.float64)
    middle, high, highest = np.percentile(inside, (50, 95, 99))
    return {
        "voxels": len(inside),
        "mean_nats": round(float(inside.mean()), 4),
        "median_nats": round(float(middle), 4),
        "p95_nats": round(float(high), 4),
        "p99_nats": round(float(highest), 4),
    }
