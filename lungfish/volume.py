"""A volume of Hounsfield units with its place in the patient."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def quaternion_of(rotation: Array) -> NDArray[np.float64]:
    """Return the unit quaternion of a rotation.

    Parameters
    ----------
    rotation : ndarray, shape (3, 3)
        Of determinant 1, and orthogonal but for rounding.

    Returns
    -------
    ndarray of float64, shape (4,)
        w, x, y, z; of the two that mean the same, that whose first component other than 0 is
        positive. It is the eigenvector of Bar-Itzhack 2000, J Guid Control Dyn 23:1085; SciPy's
        rotations would take a tenth of a second to load, every patient anew.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    nearness = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    quaternion = np.linalg.eigh(nearness)[1][:, -1]
    first = np.flatnonzero(np.abs(quaternion) > 1e-12)[0]
    return np.asarray(quaternion * np.sign(quaternion[first]))


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
