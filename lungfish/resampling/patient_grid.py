"""A CT on any grid, resampled to one along the patient's axes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from lungfish.errors import InputError
from lungfish.resampling.axes import MARGIN, Interpolation, coefficients, resampler
from lungfish.resampling.grids import Acquired, PatientGrid, acquired_grid, patient_grid
from lungfish.resampling.products import blocks_of, first_axis, two_axes
from lungfish.volume import AIR_HU, Volume, axis_aligned_affine

Array = NDArray[Any]
REACH_VOXEL = 0.5 + 1e-6
"""How far outside the outermost centres an oblique field still stands."""
SLAB_PLANES = 4


def to_patient_grid(
    hu: NDArray[np.int16],
    affine: NDArray[np.float64],
    *,
    spacing_mm: float | None,
    interpolation: Interpolation = "cubic",
    slice_axis: int = 0,
    places: Array | None = None,
) -> Volume:
    """Resample a CT to a grid along the patient's axes.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Each axis runs, as nearly as an array can, to the patient's head, back and left.
    affine : ndarray of float64, shape (4, 4)
        LPS mm, index order x, y, z. May be sheared (gantry tilt) or rotated (oblique).
    spacing_mm : float or None
        Edge of the cubic voxels in mm; None keeps the acquired spacings.
    interpolation : "cubic", "linear" or "lanczos3"
        ``cubic`` is the natural spline through the samples. ``lanczos3`` is sharper and rings
        more; cubic stands in for it where slices lie irregularly, are fewer than six, or two axes
        are oblique.
    slice_axis : int
        Axis of the array along which `places` counts.
    places : ndarray, shape (slices,), optional
        Where the planes lie along `slice_axis`, in steps of the affine, from 0, rising; where
        None, 0, 1, 2, and so on.

    Returns
    -------
    Volume
        C-contiguous, within the range of the source, so that a spline's overshoot at a sharp edge
        invents neither denser bone nor air below air. Straight axes: the first voxel's centre is
        kept and the step is exact. Where nothing is to be interpolated it holds `hu` itself.
        Oblique ones: the box around all acquired centres, `AIR_HU` more than half a voxel outside
        the acquired field. Up to there values continue straight on.

    Raises
    ------
    InputError
        If the spacing, the places or the affine make no grid.
    """
    if hu.dtype != np.int16 or hu.ndim != 3 or not hu.size:
        raise InputError(f"hu: expected int16 in 3 axes, found {hu.dtype} {hu.shape}")
    acquired = acquired_grid(hu.shape, affine, slice_axis=slice_axis, places=places)
    grid = patient_grid(acquired, spacing_mm)
    origin_mm = affine[:3, 3] + grid.corner_mm[::-1]
    new_affine = axis_aligned_affine(grid.spacing_mm.tolist(), origin_mm.tolist())
    same = np.allclose(grid.spacing_mm, acquired.lengths_mm, rtol=1e-9)
    if same and acquired.regular and not acquired.oblique:
        return Volume(np.ascontiguousarray(hu), new_affine)
    # The products are small: BLAS' threads would only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        resample = _rotate if len(acquired.oblique) > 1 else _shear
        return Volume(resample(hu, acquired, grid, interpolation), new_affine)


def _shear(
    hu: Array, acquired: Acquired, grid: PatientGrid, interpolation: Interpolation
) -> NDArray[np.int16]:
    """Resample where at most one array axis is oblique: going along `by` moves along `moved` too.

    So of a gantry tilt: the back of a slice lies nearer to the head. Along `by` and the third axis
    all is straight; the shear is a shift along `moved` that differs from row to row.
    """
    moved, by = acquired.oblique[0] if acquired.oblique else (0, 1)
    order = (moved, by, 3 - moved - by)
    limits = int(hu.min()), int(hu.max())
    along = [acquired.along[axis] for axis in order]
    steps_mm = [acquired.steps[axis, axis] for axis in order]
    shear = acquired.steps[moved, by] / steps_mm[0]
    # New places in acquired steps, those along `moved` yet without the shear's shift.
    new = [grid.positions_mm(axis) / step for axis, step in zip(order, steps_mm, strict=True)]
    at, at_by, at_third = (
        resampler(along[k], grid.spacing_mm[order[k]] / steps_mm[k], interpolation)
        for k in range(3)
    )
    middle, last = blocks_of(at_by(new[1])), blocks_of(at_third(new[2]))
    straight = None if shear else blocks_of(at(new[0]))
    out = np.empty(grid.size, np.int16)
    target = out.transpose(order)
    for rows, data in two_axes(hu.transpose(order), middle, last):
        if straight:
            first_axis(data, target[:, rows], straight, limits)
            continue
        for row, places in enumerate(new[0] - shear * new[1][rows, None]):
            within = _within(along[0], places)
            plane = target[:, rows][:, row]
            first_axis(data[:, row], plane, blocks_of(at(within)), limits)
            plane[within != places] = AIR_HU
    if shear:
        target[:, _within(along[1], new[1]) != new[1]] = AIR_HU
        target[:, :, _within(along[2], new[2]) != new[2]] = AIR_HU
    return out


def _within(along: Array, places: Array) -> Array:
    """Return the places, those outside the acquired field brought to its border."""
    return np.clip(places, -REACH_VOXEL, along[-1] + REACH_VOXEL)


def _rotate(
    hu: Array, acquired: Acquired, grid: PatientGrid, interpolation: Interpolation
) -> NDArray[np.int16]:
    """Resample any grid: spline coefficients by the axes' matrices, then SciPy, slab by slab."""
    limits = int(hu.min()), int(hu.max())
    new_steps = grid.spacing_mm / acquired.lengths_mm
    first, middle, last = (
        blocks_of(coefficients(places, step, interpolation))
        for places, step in zip(acquired.along, new_steps, strict=True)
    )
    spline = np.empty([blocks[-1].rows.stop for blocks in (first, middle, last)], np.float32)
    for rows, data in two_axes(hu, middle, last):
        first_axis(data, spline[:, rows], first)
    to_index = np.linalg.inv(acquired.even_steps)
    out = np.empty(grid.size, np.int16)
    for start in range(0, len(out), SLAB_PLANES):
        slab = out[start : start + SLAB_PLANES]
        corner = to_index @ (grid.corner_mm + np.array([start, 0, 0]) * grid.spacing_mm)
        values = ndimage.affine_transform(
            spline,
            to_index * grid.spacing_mm,
            offset=corner + MARGIN,
            output_shape=slab.shape,
            output=np.float32,
            order=1 if interpolation == "linear" else 3,
            prefilter=False,
        )
        slab[...] = np.clip(np.rint(values, out=values), *limits, out=values)
        slab[_outside(corner, to_index * grid.spacing_mm, slab.shape, spline.shape)] = AIR_HU
    return out


def _outside(
    corner: Array, step: Array, shape: tuple[int, ...], padded: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Tell which voxels of a slab lie more than half an acquired voxel outside the field."""
    outside = np.zeros(shape, bool)
    for axis in range(3):
        z, y, x = (step[axis, k] * np.arange(shape[k]) for k in range(3))
        index = corner[axis] + z[:, None, None] + y[:, None] + x
        last = padded[axis] - 1 - 2 * MARGIN
        outside |= (index < -REACH_VOXEL) | (index > last + REACH_VOXEL)
    return outside
