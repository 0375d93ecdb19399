"""Where a lung should end, where what fills it hides that: its floor, top and inner face.

A face is a map: a height for every column, or a distance from the midline for every row. Where a
lung reveals it, it is kept; elsewhere it is carried on from around, and from the other lung.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.sides import LEFT

BASE_ABOVE_MM = 22.0
"""A lung that ends this much higher than the other does not end at the diaphragm."""
BUMP_MM, BUMP_ABOVE_MM = 36.0, 28.0
"""Nor does one that ends so much higher than within the first distance around."""
TOP_BELOW_MM = 14.0
"""A lung that ends this much lower than the other does not end at the apex."""
ALIKE = 0.7
"""Share of its columns that the other lung must have too to be a mirror."""
BEHIND_MM = (38.0, 46.0)
FRONT_MM = (54.0, 96.0)
"""How far from the midline the mediastinum reaches at most, right and left, behind and in front."""
FRONT_BELOW = (0.75, 0.5)
"""Shares of the lungs' height between which the heart begins to widen the mediastinum."""
OFFSET_MM = 16.0
"""How far the distance between the faces of both lungs is carried."""
POINTS = 220
"""Most points that a face is carried on from: the plate is smooth, and more cost time."""
STIFFNESS = 20.0
"""Smoothing of the plate: a face is known to a voxel, not better."""

Map = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Half:
    """One half of the chest; the last axis counts voxels from the midline outwards.

    Attributes
    ----------
    side : int
        1 right, 2 left.
    lung, free, wall : ndarray of bool, shape (z, y, u)
        The lung; tissue that may be airless lung; the inside of the rib cage.
    """

    side: int
    lung: Mask
    free: Mask
    wall: Mask


def half(array: NDArray[Any], side: int, middle_voxel: float) -> NDArray[Any]:
    """Return a view of the left or right half of an array, the midline first."""
    middle = round(middle_voxel)
    width = min(middle + 1, array.shape[2] - middle)
    if side == LEFT:
        return array[:, :, middle : middle + width]
    return array[:, :, middle - width + 1 : middle + 1][:, :, ::-1]


def beside_mediastinum(one: Half, other: Half, spacing_mm: Spacing) -> Mask:
    """Return the free tissue of a half inside the rib cage and lateral of the mediastinum.

    Parameters
    ----------
    one, other : Half
        The half that is filled, and its mirror.
    spacing_mm : sequence of 3 floats

    Returns
    -------
    ndarray of bool, shape (z, y, u)
        Only in slices with lung of either.
    """
    inner = medial_face(one, spacing_mm)
    u = np.arange(one.lung.shape[2], dtype=np.float32)
    room = one.free & one.wall & (u >= inner[:, :, None])
    filled = np.flatnonzero((one.lung | other.lung).any(axis=(1, 2)))
    room[: filled[0]] = False
    room[filled[-1] + 1 :] = False
    return room


def above_diaphragm(one: Half, other: Half, spacing_mm: Spacing) -> Mask:
    """Return what lies between the floor and the top that a lung should have; shape (z, y, u)."""
    base, top = floor_and_top(one, other, spacing_mm)
    z = np.arange(len(one.lung), dtype=np.float32)[:, None, None]
    return np.asarray((z >= base) & (z <= top))


def floor_and_top(one: Half, other: Half, spacing_mm: Spacing) -> tuple[Map, Map]:
    """Return for every column the first and last slice that its lung should have."""
    dz = spacing_mm[0]
    low, high = ends(one.lung, 0)
    low_other, high_other = ends(other.lung, 0)
    both = np.isfinite(low) & np.isfinite(low_other)
    if np.count_nonzero(both) < ALIKE * np.isfinite(low).sum():
        low_other, high_other = np.full_like(low, np.nan), np.full_like(high, np.nan)
    size = [2 * max(1, round(BUMP_MM / step)) + 1 for step in spacing_mm[1:]]
    around = ndimage.grey_opening(np.nan_to_num(low, nan=1e3), size=size) + BUMP_ABOVE_MM / dz
    limit = np.fmin(around, low_other + usual(low - low_other) + BASE_ABOVE_MM / dz)
    base = carry_beside(low, low <= limit, low_other, spacing_mm[1:])
    lowest = np.nan_to_num(high_other, nan=-1e3) - TOP_BELOW_MM / dz
    top = carry_beside(high, high >= lowest, high_other, spacing_mm[1:])
    return base, top


def medial_face(one: Half, spacing_mm: Spacing) -> Map:
    """Return for every row (z, y) the voxel from the midline at which its lung should begin."""
    dz, dy, du = spacing_mm
    first, _ = ends(one.lung, 2)
    rows = np.flatnonzero(one.lung.any(axis=(0, 2)))
    slices = np.flatnonzero(one.lung.any(axis=(1, 2)))
    y_mm = (np.arange(first.shape[1]) - rows.mean()) * dy
    height = (np.arange(first.shape[0]) - slices[0]) / max(1, slices[-1] - slices[0])
    front, behind = FRONT_MM[one.side - 1], BEHIND_MM[one.side - 1]
    above, below = FRONT_BELOW
    heart = np.clip((above - height) / (above - below), 0, 1)[:, None]
    widest = np.where(y_mm > 8, behind, behind + (front - behind) * heart) / du
    known = np.isfinite(first) & (first <= widest)
    # Beside what is missing the lung already recedes.
    missing = (np.isfinite(first) | one.wall.any(axis=2)) & ~known
    known &= ~ndimage.binary_dilation(missing, iterations=2)
    return np.minimum(carry_on(first, known, (dz, dy)), widest).astype(np.float32)


def carry_beside(face: Map, good: Mask, mirror: Map, spacing_mm: Spacing) -> Map:
    """Carry a face on where it is not good: as far from the other lung's as it is around."""
    shared = good & np.isfinite(mirror)
    if np.count_nonzero(shared) < 0.3 * np.count_nonzero(np.isfinite(face)):
        return carry_on(face, good, spacing_mm)
    whole = carry_on(mirror, np.isfinite(mirror), spacing_mm)
    apart = face - whole
    sigma = [OFFSET_MM / step for step in spacing_mm]
    weight = ndimage.gaussian_filter(shared.astype(np.float32), sigma)
    offset = ndimage.gaussian_filter(np.where(shared, apart, 0).astype(np.float32), sigma)
    offset = (offset + 1e-3 * usual(apart[shared])) / (weight + 1e-3)
    return np.where(good, face, whole + offset).astype(np.float32)


def carry_on(values: Map, known: Mask, spacing_mm: Spacing) -> Map:
    """Return a face where it is known, and a thin plate through it elsewhere.

    Parameters
    ----------
    values : ndarray of float32, 2 axes
    known : ndarray of bool, same shape
    spacing_mm : sequence of 2 floats

    Returns
    -------
    ndarray of float32
        inf where nothing is known, and too little to carry on from.
    """
    places = np.argwhere(known)
    chosen = places[:: max(1, len(places) // POINTS)]
    # Through points on one line there are many planes.
    if len(places) < 12 or np.linalg.matrix_rank(chosen - chosen.mean(axis=0)) < 2:
        return np.where(known, values, np.inf).astype(np.float32)
    plate = RBFInterpolator(
        chosen * np.asarray(spacing_mm), values[tuple(chosen.T)],
        kernel="thin_plate_spline", smoothing=STIFFNESS,
    )  # fmt: skip
    result = np.where(known, values, 0).astype(np.float32)
    result[~known] = plate(np.argwhere(~known) * np.asarray(spacing_mm))
    return result


def ends(mask: Mask, axis: int) -> tuple[Map, Map]:
    """Return the first and last index of a mask along an axis; nan where it has none."""
    hit = mask.any(axis=axis)
    first = mask.argmax(axis=axis).astype(np.float32)
    last = mask.shape[axis] - 1 - np.flip(mask, axis).argmax(axis=axis).astype(np.float32)
    return np.where(hit, first, np.nan), np.where(hit, last, np.nan)


def usual(values: Map) -> float:
    """Return the median of what is known, 0 where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else 0.0
