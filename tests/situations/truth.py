"""What a scan truly holds, and whether a volume that somebody read from it is right.

The truth knows nothing of how a reader orders, turns or resamples: a field is the acquired slices
with their places in the patient, and HU is a linear function of the place. So the right value at
any voxel of any grid is one line of arithmetic, and every acquired voxel can be asked for.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

GRADIENT_HU_PER_MM = np.array([5.0, -7.0, 9.0])
CENTRE_MM = np.array([12.0, -35.0, -180.0])
CENTRE_HU = 40.0
AIR_HU = -1000.0
"""What is no measurement must be read as this or less."""

NATIVE_HU = 2.0
"""Largest error allowed at the acquired spacing."""
MEAN_HU, LARGEST_HU = 1.0, 15.0
"""Mean and largest error allowed at 1 mm."""
HALO = 6
"""Voxels over which a spline's ringing at a sharp edge dies away."""


def truth_hu(position_mm):
    """Return the HU of the body at positions in LPS mm, shape (..., 3)."""
    return CENTRE_HU + (np.asarray(position_mm) - CENTRE_MM) @ GRADIENT_HU_PER_MM


@dataclasses.dataclass(frozen=True)
class Painted:
    """Voxels that do not follow the linear truth: padding, metal.

    Attributes
    ----------
    mask : ndarray of bool, shape (slices, rows, columns)
    low_hu, high_hu : float
        Between which their value must be read.
    """

    mask: np.ndarray
    low_hu: float
    high_hu: float


@dataclasses.dataclass(frozen=True)
class Field:
    """The acquired field of one series.

    Attributes
    ----------
    origins_mm : ndarray, shape (slices, 3)
        LPS centre of the first voxel of each slice, in order along `normal`.
    column_step_mm, row_step_mm : ndarray, shape (3,)
        From a column to the next, and from a row to the next.
    rows, columns : int
    offset_hu : float
        Added to the body, so that two series of one body can be told apart.
    painted : sequence of Painted
    """

    origins_mm: np.ndarray
    column_step_mm: np.ndarray
    row_step_mm: np.ndarray
    rows: int
    columns: int
    offset_hu: float = 0.0
    painted: Sequence[Painted] = ()

    @property
    def normal(self):
        cross = np.cross(self.column_step_mm, self.row_step_mm)
        return cross / np.linalg.norm(cross)

    @property
    def shape(self):
        return len(self.origins_mm), self.rows, self.columns

    @property
    def voxel_mm3(self):
        """Volume of a voxel, by the usual distance of slices along the normal."""
        along = self.origins_mm @ self.normal
        area = np.linalg.norm(np.cross(self.column_step_mm, self.row_step_mm))
        return float(area * np.median(np.diff(along))) if len(along) > 1 else np.inf

    def hu(self, position_mm):
        """Return the true HU at positions, shape (..., 3)."""
        return truth_hu(position_mm) + self.offset_hu

    def centres_mm(self):
        """Return the centre of every acquired voxel, shape (slices, rows, columns, 3)."""
        down = np.arange(self.rows)[:, None, None] * self.row_step_mm
        across = np.arange(self.columns)[None, :, None] * self.column_step_mm
        return self.origins_mm[:, None, None] + down + across

    def locate(self, position_mm):
        """Return fractional (slice, row, column) of positions; not finite outside the slices."""
        along = self.origins_mm @ self.normal
        at = position_mm @ self.normal
        if len(along) == 1:
            place = np.where(np.abs(at - along[0]) < 1e-2, 0.0, np.nan)
        else:
            at = np.where(np.abs(at - along[0]) < 1e-2, along[0], at)
            at = np.where(np.abs(at - along[-1]) < 1e-2, along[-1], at)
            place = np.interp(at, along, np.arange(len(along)), left=np.nan, right=np.nan)
        known = np.arange(len(along))
        origin = np.stack([np.interp(place, known, self.origins_mm[:, k]) for k in range(3)], -1)
        steps = np.stack([self.row_step_mm, self.column_step_mm], axis=1)
        in_plane = (position_mm - origin) @ np.linalg.pinv(steps).T
        return np.concatenate([place[..., None], in_plane], axis=-1)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a volume; `wrong` is empty where it is right, errors are in HU."""

    wrong: str
    largest_hu: float
    mean_hu: float


def judge(hu, affine, fields, *, resampled=False):
    """Hold a volume against the fields of a situation; any one of them, whole, is right.

    Parameters
    ----------
    hu : ndarray, shape (z, y, x)
        On any grid.
    affine : ndarray, shape (4, 4)
        Index (x, y, z) to LPS mm.
    fields : sequence of Field
        Empty where no volume can be right.
    resampled : bool
        To another spacing, where larger errors are allowed.
    """
    verdicts = [_judge(np.asarray(hu), affine, field, resampled) for field in fields]
    if not verdicts:
        return Verdict("no volume can be right here", np.inf, np.inf)
    return min(verdicts, key=lambda verdict: (bool(verdict.wrong), verdict.largest_hu))


def _judge(hu, affine, field, resampled):
    z, y, x = (np.arange(count) for count in hu.shape)
    positions = z[:, None, None, None] * affine[:3, 2] + y[:, None, None] * affine[:3, 1]
    positions = positions + x[:, None] * affine[:3, 0] + affine[:3, 3]
    place = field.locate(positions)
    inside = _inside(place, field.shape)
    error = np.abs(hu - field.hu(positions))
    counted, wrong = inside, ""
    if field.painted:
        nearest = np.where(inside[..., None], np.rint(place), 0).astype(int)
        apart = np.where(inside[..., None], np.abs(place - nearest), 1).max(axis=-1)
        on_sample = (apart < 0.02) & (not resampled)
        wrong = _wrong_painting(hu, field, nearest, inside, on_sample, resampled)
        counted = inside & ~_spoiled(field, nearest, on_sample)
    largest = float(error[counted].max(initial=0))
    mean = float(error[counted].mean()) if counted.any() else np.inf
    if largest > (LARGEST_HU if resampled else NATIVE_HU):
        wrong = f"off by {largest:.1f} HU"
    elif mean > MEAN_HU:
        wrong = f"off by {mean:.2f} HU in the mean of {counted.sum()} voxels"
    missing = _missing(affine, hu.shape, field)
    if missing:
        wrong = f"{missing:.1%} of the acquired voxels are not there"
    coarse = abs(np.linalg.det(affine[:3, :3])) > 1.1 * field.voxel_mm3
    if coarse and not resampled:
        wrong = "the grid is coarser than what was acquired"
    return Verdict(wrong, largest, mean)


def _inside(place, shape):
    last = np.array(shape) - 1
    with np.errstate(invalid="ignore"):
        return ((place >= -1e-3) & (place <= last + 1e-3)).all(axis=-1)


def _missing(affine, shape, field):
    """Return the share of acquired voxels whose centres lie outside the grid's voxels."""
    inverse = np.linalg.pinv(affine[:3, :3]).T

    def lost(centres):
        place = ((centres - affine[:3, 3]) @ inverse)[..., ::-1]
        within = (place >= -0.51) & (place <= np.array(shape) - 0.49)
        return 1 - within.all(axis=-1).mean()

    centres = field.centres_mm()
    corners = centres[:, [0, 0, -1, -1], [0, -1, 0, -1]]  # a slice is convex, and so is the grid
    return lost(centres) if lost(corners) else 0.0


def _spoiled(field, nearest, on_sample):
    """Say which voxels are painted, or lie so near to paint that interpolation mixes it in."""
    spoiled = np.zeros(on_sample.shape, bool)
    for painted in field.painted:
        grown = ndimage.binary_dilation(painted.mask, np.ones((3, 3, 3)), iterations=HALO)
        where = tuple(np.moveaxis(nearest, -1, 0))
        spoiled |= np.where(on_sample, painted.mask[where], grown[where])
    return spoiled


def _wrong_painting(hu, field, nearest, inside, on_sample, resampled):
    """Say what is wrong with padding and metal, deep inside them where the grid is another."""
    where = tuple(np.moveaxis(nearest, -1, 0))
    for painted in field.painted:
        deep = painted.mask
        mask = deep[where] & on_sample & inside
        if resampled or not mask.any():
            # Beyond the edge of the field lies nothing: paint that reaches it is deep there.
            deep = ndimage.binary_erosion(deep, np.ones((3, 3, 3)), HALO - 1, border_value=1)
            mask = deep[where] & inside
        values = hu[mask]
        if not len(values):
            return "nothing to see of what was painted"
        slack = LARGEST_HU if resampled else NATIVE_HU
        if values.min() < painted.low_hu - slack or values.max() > painted.high_hu + slack * (
            painted.high_hu > AIR_HU
        ):
            return f"painted voxels read as {values.min():.0f} to {values.max():.0f} HU"
    return ""
