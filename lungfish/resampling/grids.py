"""The acquired grid and the new one along the patient's axes."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.resampling.axes import regular_step

Array = NDArray[Any]
STRAIGHT_VOXEL = 0.1
"""Axes that leave the patient's by less than this share of the smallest step, over the whole
volume, are taken as straight: positions are written with few digits."""


@dataclasses.dataclass(frozen=True)
class Acquired:
    """The grid on which a scan was acquired, in the order z, y, x, from its first centre.

    Attributes
    ----------
    steps : ndarray, shape (3, 3)
        In mm, (patient axis, array axis); diagonal where the axes are the patient's.
    along : tuple of 3 ndarrays
        Places of the planes along each axis, in such steps.
    """

    steps: NDArray[np.float64]
    along: tuple[NDArray[np.float64], ...]

    @property
    def lengths_mm(self) -> NDArray[np.float64]:
        """Length of each array axis' step."""
        return np.asarray(np.linalg.norm(self.steps, axis=0))

    @property
    def even_steps(self) -> NDArray[np.float64]:
        """The steps of as many even planes over the same extent."""
        return np.asarray(self.steps * [regular_step(places) for places in self.along])

    @property
    def oblique(self) -> list[tuple[int, int]]:
        """Patient axes along which an array axis moves that should not: (moved, by)."""
        found = np.argwhere(self.steps - np.diag(np.diag(self.steps)))
        return [(int(moved), int(by)) for moved, by in found]

    @property
    def regular(self) -> bool:
        """Whether all planes are evenly spaced by the steps."""
        return all(np.allclose(axis, np.arange(len(axis)), atol=1e-6) for axis in self.along)


@dataclasses.dataclass(frozen=True)
class PatientGrid:
    """A grid along the patient's axes, in mm from the first acquired centre, order z, y, x."""

    corner_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    size: tuple[int, ...]

    def positions_mm(self, axis: int) -> NDArray[np.float64]:
        """Return the positions of the planes along one axis."""
        return np.asarray(self.corner_mm[axis] + np.arange(self.size[axis]) * self.spacing_mm[axis])


def resampled_length(count: float, step: float, new_step: float) -> int:
    """Return how many samples a new step needs so that the first and the last centre are kept.

    Rounded to the nearest: ``round((count - 1) * step / new_step + 1)``; 133 at 2.5 mm give 331
    at 1 mm.
    """
    return max(1, round((count - 1) * step / new_step + 1))


def acquired_grid(
    shape: tuple[int, ...], affine: Array, *, slice_axis: int, places: Array | None
) -> Acquired:
    """Return the acquired grid, without the noise of rounded positions.

    Raises
    ------
    InputError
        If the places or the affine make no grid, or the array is not turned and flipped so that
        its axes run to the head, the back and the left.
    """
    along = [np.arange(float(count)) for count in shape]
    if places is not None:
        along[slice_axis] = _checked_places(places, shape[slice_axis])
    steps = np.array(affine[2::-1, 2::-1], np.float64)  # x, y, z to z, y, x
    if not (np.isfinite(affine).all() and (np.diag(steps) > 0).all() and np.linalg.det(steps) > 0):
        raise InputError(
            "affine: expected axes that run to the head, the back and the left, found steps "
            f"(z, y, x) of {steps.round(3).tolist()} mm: turn and flip the array first"
        )
    lengths = np.linalg.norm(steps, axis=0)
    away = np.abs(steps) * [places[-1] for places in along]
    significant = away >= STRAIGHT_VOXEL * lengths.min()
    np.fill_diagonal(significant, False)
    if not significant.any():
        steps = np.diag(lengths)
    elif significant.sum() == 1:
        steps = np.where(significant | np.eye(3, dtype=bool), steps, 0)
    return Acquired(steps, tuple(along))


def _checked_places(places: Array, count: int) -> NDArray[np.float64]:
    found = np.asarray(places, np.float64)
    if found.shape != (count,):
        raise InputError(f"places: expected {count}, one a plane, found shape {found.shape}")
    if found[0] != 0 or not (np.diff(found) > 0).all() or not np.isfinite(found).all():
        raise InputError("places: expected to rise from 0, found otherwise: sort the planes first")
    return found


def patient_grid(acquired: Acquired, spacing_mm: float | None) -> PatientGrid:
    """Return the box around all acquired centres, on cubic voxels or the acquired spacings."""
    if spacing_mm is not None and not 0 < spacing_mm < np.inf:
        raise InputError(f"spacing_mm: expected a length above 0, found {spacing_mm}")
    native = np.linalg.norm(acquired.even_steps, axis=0)
    spacing = native if spacing_mm is None else np.full(3, float(spacing_mm))
    edges = acquired.steps * [places[-1] for places in acquired.along]
    extent = np.abs(edges).sum(axis=1)
    size = tuple(resampled_length(length + 1, 1, 1) for length in extent / spacing)
    return PatientGrid(np.minimum(edges, 0).sum(axis=1), spacing, size)
