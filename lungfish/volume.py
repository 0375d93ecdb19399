"""A volume of Hounsfield units with its place in the patient, and its resampling."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
AIR_HU = -1024
"""What stands outside the scanner's field of view, in HU."""


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """HU on a regular grid, frozen.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Hounsfield units; in a volume whose axes lie along the patient z runs towards the head,
        y towards the back, x towards the patient's left.
    affine : ndarray of float64, shape (4, 4)
        Maps a voxel's index (x, y, z, 1) to its centre in LPS mm (left, posterior, superior).
        The order x, y, z of the affine is the one that DICOM, SimpleITK and nibabel use; only the
        array is stored z first.
    """

    hu: NDArray[np.int16]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.hu.dtype != np.int16 or self.hu.ndim != 3:
            raise TypeError(f"hu: expected int16 in 3 axes, found {self.hu.dtype} {self.hu.shape}")
        if self.affine.shape != (4, 4):
            raise TypeError(f"affine: expected shape (4, 4), found {self.affine.shape}")
        self.hu.flags.writeable = False
        self.affine.flags.writeable = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along (z, y, x), in mm."""
        return spacing_of(self.affine)

    @property
    def voxel_litre(self) -> float:
        """Volume of one voxel in litres; right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) * 1e-6


def spacing_of(affine: Array) -> tuple[float, float, float]:
    """Return the lengths in mm of the grid's steps along (z, y, x)."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)


def to_mm(affine: Array, index: Array) -> NDArray[np.float64]:
    """Map voxel indices to LPS mm.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Of the grid, index order x, y, z.
    index : ndarray, shape (..., 3)
        Voxel indices in the array's order (z, y, x); may be fractional.

    Returns
    -------
    ndarray of float64, shape (..., 3)
        Positions (left, posterior, superior) in mm.
    """
    xyz = np.asarray(index, np.float64)[..., ::-1]
    return np.asarray(xyz @ affine[:3, :3].T + affine[:3, 3])


def to_index(affine: Array, position_mm: Array) -> NDArray[np.float64]:
    """Map LPS mm, shape (..., 3), to fractional voxel indices (z, y, x); inverse of `to_mm`."""
    inverse = np.linalg.inv(affine[:3, :3])
    xyz = (np.asarray(position_mm, np.float64) - affine[:3, 3]) @ inverse.T
    return np.asarray(xyz[..., ::-1])


def axis_aligned_affine(spacing_mm: Sequence[float], origin_mm: Sequence[float]) -> Array:
    """Return the affine of a grid along the patient's axes.

    Parameters
    ----------
    spacing_mm : sequence of 3 floats
        Along (z, y, x).
    origin_mm : sequence of 3 floats
        LPS mm (x, y, z) of the centre of voxel (0, 0, 0).
    """
    affine = np.diag([*reversed([float(step) for step in spacing_mm]), 1.0])
    affine[:3, 3] = origin_mm
    return affine


def resampled_length(count: int, step: float, new_step: float) -> int:
    """Return how many samples a new step needs so that the first and the last centre are kept.

    Rounded to the nearest: ``round((count - 1) * step / new_step + 1)``; 133 at 2.5 mm give 331
    at 1 mm.
    """
    return max(1, round((count - 1) * step / new_step + 1))


def resampling_matrix(
    count: int, step: float, new_count: int, new_step: float, *, order: int
) -> NDArray[np.float32]:
    """Return the matrix that resamples one axis.

    The grid is origin + k * new_step exactly. Where the step grows, a Gaussian low-pass comes
    first, so that detail finer than the new grid is averaged and does not alias. Beyond the last
    centre the edge sample stands.

    Parameters
    ----------
    count, new_count : int
        Samples before and after.
    step, new_step : float
        Their distances in mm.
    order : int
        1 is linear, 3 is the cubic B-spline that passes through the samples.

    Returns
    -------
    ndarray of float32, shape (new_count, count)
        Rows sum to 1.
    """
    samples = np.eye(count)
    if new_step > step:
        # A Gaussian of this width takes the sampling aperture from step to new_step.
        width = 0.4 * np.sqrt((new_step / step) ** 2 - 1)
        samples = ndimage.gaussian_filter1d(samples, width, axis=0, mode="nearest")
    positions = np.clip(np.arange(new_count) * (new_step / step), 0, count - 1)
    if count == 1:
        return np.ones((new_count, 1), np.float32)
    columns = [
        ndimage.map_coordinates(samples[:, k], positions[None], order=order, mode="mirror")
        for k in range(count)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def resample_isotropic(volume: Volume, spacing_mm: float, *, order: int = 3) -> Volume:
    """Resample a volume to cubic voxels, the first voxel's centre kept.

    Parameters
    ----------
    volume : Volume
        On any rectangular grid.
    spacing_mm : float
        Of the result, in mm, exact.
    order : int
        1 linear, 3 cubic B-spline.

    Returns
    -------
    Volume
        HU rounded to the nearest and kept within the range of the source, so that a spline's
        overshoot at a sharp edge invents neither denser bone nor air below air.
    """
    steps = volume.spacing_mm
    data: Array = volume.hu
    for axis in range(3):
        count = volume.hu.shape[axis]
        new_count = resampled_length(count, steps[axis], spacing_mm)
        matrix = resampling_matrix(count, steps[axis], new_count, spacing_mm, order=order)
        data = _apply(matrix, data, axis)
    low, high = int(volume.hu.min()), int(volume.hu.max())
    hu = np.clip(np.rint(data), low, high).astype(np.int16)
    affine = volume.affine.copy()
    affine[:3, :3] *= spacing_mm / np.array(steps[::-1])
    return Volume(hu, affine)


def _apply(matrix: NDArray[np.float32], data: Array, axis: int) -> NDArray[np.float32]:
    """Multiply along one axis of an array (z, y, x) by a matrix (new, old), slab by slab."""
    if axis == 0:
        flat = data.reshape(data.shape[0], -1)
        out = np.empty((matrix.shape[0], flat.shape[1]), np.float32)
        for start in range(0, flat.shape[1], 1 << 16):
            block = slice(start, start + (1 << 16))
            out[:, block] = matrix @ flat[:, block].astype(np.float32)
        return out.reshape(-1, *data.shape[1:])
    if axis == 1:
        return np.stack([matrix @ plane.astype(np.float32) for plane in data])
    return np.stack([plane.astype(np.float32) @ matrix.T for plane in data])
