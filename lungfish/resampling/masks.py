"""Labels carried from a volume's grid to the acquired slices, and back.

To the slices: the share of each acquired voxel that a label fills, more than half counts. Back:
each slice's outline is turned into distances from it, the distances are interpolated between
slices, and what lies inside counts (shape-based interpolation: Raya and Udupa 1990, IEEE Trans Med
Imaging 9:32). A nearest label would leave steps as high as the slices are thick.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.errors import InputError
from lungfish.volume import to_index, to_mm

Array = NDArray[Any]
Labels = NDArray[np.uint8]
Ranges = tuple[slice, ...]
TIE = 1e-4
"""Shares and distances (mm) nearer to the limit than this are rounding, not more or less."""


@dataclasses.dataclass(frozen=True, eq=False)
class SliceGrid:
    """The grid of the acquired slices.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
        Maps (column, row, step, 1) to LPS mm; may be sheared (gantry tilt) or rotated.
    size : tuple of 3 int
        Slices, rows, columns.
    places : ndarray of float64, shape (slices,)
        Where the slices lie, in steps of the affine, rising; 0, 1, 2, ... where regular.
    """

    affine: NDArray[np.float64]
    size: tuple[int, int, int]
    places: NDArray[np.float64]

    @classmethod
    def of(cls, geometry: Mapping[str, Any]) -> "SliceGrid":
        """Return the grid that the index stage's ``geometry`` describes."""
        slices, rows, columns = (int(count) for count in geometry["size"])
        affine = np.array(geometry["affine"], np.float64)
        return cls(affine, (slices, rows, columns), np.array(geometry["places"], np.float64))

    def positions_mm(self, index: Array) -> NDArray[np.float64]:
        """Return LPS mm, shape (..., 3), of indices (slice, row, column); slices are whole."""
        steps = np.array(index, np.float64)
        steps[..., 0] = self.places[np.asarray(index[..., 0], np.intp)]
        return to_mm(self.affine, steps)

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Distance of neighbouring rows and of neighbouring columns."""
        columns, rows = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(rows), float(columns)


def to_slices(labels: Labels, affine: Array, grid: SliceGrid) -> Labels:
    """Carry labels from a volume to the acquired slices.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    affine : ndarray, shape (4, 4)
        LPS mm of the labels' grid, index order x, y, z.
    grid : SliceGrid

    Returns
    -------
    ndarray of uint8, shape (slices, rows, columns)
        Labelled where labels fill more than half of an acquired voxel (as thick as the usual step
        from slice to slice), with the label that fills most of it. What lies outside the volume's
        outermost centres is taken to be as its border.
    """
    _check_rank(labels)
    offset, matrix = _map(grid.affine, affine)
    # Into how many parts a voxel is cut along each axis, so that no part exceeds the volume's.
    parts = np.maximum(1, np.ceil(np.linalg.norm(matrix, axis=0) - 1e-3)).astype(int)
    result = np.zeros(grid.size, np.uint8)
    found = {int(label): _box(labels == label) for label in np.unique(labels) if label}
    masks = {label: (labels[box] == label).view(np.uint8) for label, box in found.items()}
    reached = {
        label: _reached(box, np.linalg.inv(matrix), offset, grid) for label, box in found.items()
    }
    for number, plane in enumerate(result):
        shares = np.zeros((len(found), *plane.shape), np.float32)
        for share, (label, (slices, rows, columns)) in zip(shares, reached.items(), strict=True):
            if not slices.start <= number < slices.stop:
                continue
            corner = np.array([grid.places[number], rows.start, columns.start])
            begin = [part.start for part in found[label]]
            first = offset + matrix @ (corner - 0.5 + 0.5 / parts) - begin
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            share[rows, columns] = _share(masks[label], matrix / parts, first, shape, parts)
        if shares.any():
            _put_largest(plane, [*found], shares)
    return result


def _check_rank(labels: Labels) -> None:
    if labels.dtype != np.uint8 or labels.ndim != 3 or not labels.size:
        raise InputError(f"labels: expected uint8 in 3 axes, found {labels.dtype} {labels.shape}")


def _box(mask: Array) -> Ranges:
    """Return the box around a mask that is not empty, and one voxel more where there is one."""
    ranges = []
    for axis, length in enumerate(mask.shape):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        ranges.append(slice(max(0, int(used[0]) - 1), min(length, int(used[-1]) + 2)))
    return tuple(ranges)


def _map(source: Array, target: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offset and matrix from indices of one grid to those of another, array order."""
    units = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    offset, *ends = to_index(target, to_mm(source, units))
    return offset, np.stack(ends, axis=1) - offset[:, None]


def _reached(found: Ranges, back: Array, offset: Array, grid: SliceGrid) -> Ranges:
    """Return slices, rows and columns that a box of the volume can reach, and a voxel more."""
    edges = [(box.start - 1, box.stop) for box in found]
    corners = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    index = (corners - offset) @ back.T
    low, high = index.min(axis=0) - 1, index.max(axis=0) + 1
    slices = np.flatnonzero((grid.places >= low[0]) & (grid.places <= high[0]))
    ranges = [slice(int(slices[0]), int(slices[-1]) + 1) if len(slices) else slice(0, 0)]
    for axis in (1, 2):
        last = grid.size[axis] - 1
        ends = np.clip([np.floor(low[axis]), np.ceil(high[axis])], 0, last).astype(int)
        ranges.append(slice(int(ends[0]), int(ends[1]) + 1))
    return tuple(ranges)


def _share(
    mask: Array, matrix: Array, first: Array, shape: tuple[int, int], parts: Array
) -> NDArray[np.float32]:
    """Return how much (0..1) of each voxel of one slice a mask fills: the mean over its parts."""
    rows, columns = shape
    values = ndimage.affine_transform(
        mask, matrix, first, (parts[0], rows * parts[1], columns * parts[2]), np.float32,
        order=1, mode="nearest", prefilter=False,
    )  # fmt: skip
    cut = values.reshape(parts[0], rows, parts[1], columns, parts[2])
    return np.asarray(cut.mean(axis=(0, 2, 4)))


def _put_largest(plane: Labels, names: list[int], shares: NDArray[np.float32]) -> None:
    """Label where all labels together fill more than half, by the one that fills most."""
    largest = np.array(names, np.uint8)[shares.argmax(axis=0)]
    np.copyto(plane, largest, where=shares.sum(axis=0) > 0.5 + TIE)


def from_slices(
    labels: Labels, grid: SliceGrid, *, shape: tuple[int, int, int], affine: Array
) -> Labels:
    """Carry labels from the acquired slices to a volume, their outlines interpolated in between.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    grid : SliceGrid
        Of the labels.
    shape : tuple of 3 int
        Of the volume (z, y, x).
    affine : ndarray, shape (4, 4)
        LPS mm of the volume, index order x, y, z.

    Returns
    -------
    ndarray of uint8, shape `shape`
        0 more than half an acquired voxel outside the slices.
    """
    _check_rank(labels)
    result = np.zeros(shape, np.uint8)
    nearest = np.full(shape, -TIE, np.float32)
    for label in (int(found) for found in np.unique(labels) if found):
        box = _box(labels == label)
        distance = _distances_mm(labels[box] == label, grid.pixel_mm)
        begin = np.array([part.start for part in box], np.float64)
        for z, index, inside in _planes(grid, shape, affine):
            at = np.moveaxis(index - begin, -1, 0)
            value = ndimage.map_coordinates(
                distance, at, output=np.float32, order=1, mode="nearest", prefilter=False
            )
            better = np.asarray(inside & (value > nearest[z]))
            nearest[z][better] = value[better]
            result[z][better] = label
    return result


def _planes(
    grid: SliceGrid, shape: tuple[int, int, int], affine: Array
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield each plane of a volume: its z, its voxels' indices in the slices, which lie inside."""
    offset, matrix = _map(affine, grid.affine)
    y, x = np.indices(shape[1:], dtype=np.float64)
    plane = y[..., None] * matrix[:, 1] + x[..., None] * matrix[:, 2] + offset
    low = np.array([grid.places[0], 0, 0]) - 0.5 - TIE
    high = np.array([grid.places[-1], *np.array(grid.size[1:]) - 1]) + 0.5 + TIE
    for z in range(shape[0]):
        index = plane + z * matrix[:, 0]
        inside = ((index >= low) & (index <= high)).all(axis=-1)
        index[..., 0] = np.interp(index[..., 0], grid.places, np.arange(len(grid.places)))
        yield z, index, inside


def _distances_mm(mask: Array, pixel_mm: tuple[float, float]) -> NDArray[np.float32]:
    """Return each pixel's distance in mm from its own slice's outline, positive inside.

    A slice without the label has no outline. Its pixels are given the greatest depth of its
    neighbours, negative: so an end that lies between two slices is rounded and comes half way.
    """
    distance = np.empty(mask.shape, np.float32)
    used = np.asarray(mask.any(axis=(1, 2)))
    for number in np.flatnonzero(used):
        distance[number] = _from_outline_mm(mask[number], pixel_mm)
    for number in np.flatnonzero(~used):
        beside = [k for k in (number - 1, number + 1) if 0 <= k < len(mask) and used[k]]
        distance[number] = -max((distance[k].max() for k in beside), default=max(pixel_mm))
    return distance


def _from_outline_mm(plane: Array, pixel_mm: tuple[float, float]) -> Array:
    if plane.all():
        return np.full(plane.shape, max(plane.shape) * max(pixel_mm))
    inner = ndimage.distance_transform_edt(plane, pixel_mm)
    outer = ndimage.distance_transform_edt(~plane, pixel_mm)
    # Both count to the next centre across the outline, which runs half a pixel before it.
    return np.asarray(inner - outer - np.where(plane, 0.5, -0.5) * min(pixel_mm))
