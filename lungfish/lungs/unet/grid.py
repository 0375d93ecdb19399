"""The coarse grid on which the network sees a scan: 4 mm, along the patient's axes."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.intensity import HuMap
from lungfish.lungs import morphology
from lungfish.lungs.body import TISSUE_HU
from lungfish.lungs.orientation import turn_of
from lungfish.resampling import axis_matrix, resampled_length
from lungfish.volume import AIR_HU, Volume

STEP_MM = 4.0
"""Edge of a voxel of the network's grid."""
STRIDE = 16
"""The network halves its grid four times, so it wants lengths that 16 divides."""
MARGIN_VOXEL = 4
"""Voxels around all that is not air which the network sees too."""
WIDE = HuMap(-1000, 400)
NARROW = HuMap(-160, 240)
"""Two windows: air against tissue, and fluid against tissue."""
CHANNELS = 3
"""Both windows, and where the scan ends."""

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class CoarseScan:
    """A scan on the network's grid.

    Attributes
    ----------
    hu : ndarray of float32, shape (z, y, x)
        z to the head, y to the back, x to the patient's left; voxels of `STEP_MM`.
    affine : ndarray of float64, shape (4, 4)
        Maps a voxel's index (x, y, z, 1) to its centre in LPS mm.
    """

    hu: NDArray[np.float32]
    affine: NDArray[np.float64]


def to_coarse(volume: Volume) -> CoarseScan:
    """Average a volume to 4 mm along the patient's axes.

    Parameters
    ----------
    volume : Volume
        Any spacing, any order of axes.

    Returns
    -------
    CoarseScan
        Its first voxel centre is the volume's lowest, foremost and rightmost.
    """
    turn = turn_of(volume.affine)
    spacing_mm = turn.spacing(volume.spacing_mm)
    factors = morphology.block_factors(spacing_mm, STEP_MM)
    values = morphology.block_mean(turn.forward(volume.hu), factors).astype(np.float32)
    shape, affine = coarse_grid(volume)
    for axis, (edge, factor) in enumerate(zip(spacing_mm, factors, strict=True)):
        blocks_mm = block_centres_mm(values.shape[axis], edge, factor)
        values = along(values, axis, blocks_mm, STEP_MM * np.arange(shape[axis]))
    return CoarseScan(np.clip(values, AIR_HU, 3071), affine)


def coarse_grid(volume: Volume) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Return shape (z, y, x) and affine of the network's grid of a volume."""
    turn = turn_of(volume.affine)
    sizes = [volume.hu.shape[axis] for axis in turn.order]
    edges_mm = turn.spacing(volume.spacing_mm)
    z, y, x = (
        resampled_length(size, edge, STEP_MM) for size, edge in zip(sizes, edges_mm, strict=True)
    )
    affine = turn.affine(volume.affine, volume.hu.shape)
    affine[:3, :3] *= STEP_MM / np.array(edges_mm[::-1])
    return (z, y, x), affine


def block_centres_mm(count: int, edge_mm: float, factor: int) -> NDArray[np.float64]:
    """Return where blocks of voxels have their centres, from the first voxel's, in mm."""
    return np.asarray(edge_mm * (np.arange(count) * factor + (factor - 1) / 2))


def along(values: Array, axis: int, places: Array, new_places: Array) -> NDArray[np.float32]:
    """Interpolate linearly along one axis; where the step grows, finer detail is averaged."""
    matrix = axis_matrix(places, new_places, interpolation="linear").astype(np.float32)
    moved = np.tensordot(matrix, values.astype(np.float32, copy=False), (1, axis))
    return np.ascontiguousarray(np.moveaxis(moved, 0, axis))


def seen_box(hu: Array) -> morphology.Box:
    """Return the box of a coarse scan that the network looks at: all slices, air around cut off."""
    tissue = hu > TISSUE_HU
    if not tissue.any():
        return slice(0, hu.shape[0]), slice(0, hu.shape[1]), slice(0, hu.shape[2])
    box = morphology.grow_box(morphology.bounds(tissue), [MARGIN_VOXEL] * 3, hu.shape)
    return slice(0, hu.shape[0]), box[1], box[2]


def to_channels(hu: Array, shape: tuple[int, int, int] | None = None) -> NDArray[np.float32]:
    """Return what the network sees of a coarse scan.

    Parameters
    ----------
    hu : ndarray, shape (z, y, x)
        In HU.
    shape : tuple of 3 int or None
        Multiples of `STRIDE`, at least that of `hu`; None takes the least.

    Returns
    -------
    ndarray of float32, shape (*shape, CHANNELS)
        `WIDE` and `NARROW` in [-1, 1], and 1 inside the scan; -1, -1 and 0 beyond its end.
    """
    z, y, x = hu.shape
    if shape is None:
        shape = (z + -z % STRIDE, y + -y % STRIDE, x + -x % STRIDE)
    channels = np.full((*shape, CHANNELS), -1, np.float32)
    channels[..., 2] = 0
    inside = channels[:z, :y, :x]
    inside[..., 0] = WIDE.to_network(hu)
    inside[..., 1] = NARROW.to_network(hu)
    inside[..., 2] = 1
    return channels
