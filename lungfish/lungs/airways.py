"""Trachea and main bronchi, followed from the top and kept from leaking into the lungs."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

TRACHEA_MM2 = (40.0, 900.0)
"""Cross-section of a trachea in mm squared; women from about 100, with partial volume less."""
ASPECT = 2.6
"""Longest over shortest side of the trachea's box in a slice (sabre-sheath tracheas are long)."""
SHORTEST_MM = 20.0
"""Height that a round spot of air must keep up to be a trachea."""
ASIDE = 0.2
"""Distance from the body's middle, as a share of its width, within which a trachea is sought."""
STEP_MM = 8.0
"""How far the middle of the trachea may move from one slice to the next."""
REACH_MM = 40.0
"""How far around the last spots of a slice the next are sought."""
CONTACT_MM = 60.0
"""Height along which a trachea may touch a lung through a wall thinner than a voxel."""
SPLIT_HU = (-600, -700, -800, -860, -900, -930)
"""Thresholds under which a spot is parted from a lung that it touches, the mildest first."""
GROWTH_HU = (-550, -650, -750, -800, -850, -880, -900, -920, -940, -960)
"""Thresholds of the growth, the mildest first: the first that does not leak is taken."""
SMOOTH_MM = 0.8
"""Against noise, and less than the wall of a main bronchus."""
TRUNK_MM = 2.5
"""Radius in mm of the ball that fits into a main bronchus and not into one inside the lung."""
WALL_MM = 2.0
"""Thickness of the wall that is taken out with the lumen."""
NEAR_MM = 80.0
"""How far around the trachea a growth is watched: a leak shows there too."""
SPOT_HU = -700
"""A trachea is darker than this in the mean, even blurred over 4 mm voxels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Airways:
    """Airways as a mask.

    Attributes
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Lumen and inner wall of trachea and main bronchi; all False where none was found.
    found : bool
        Whether there is a trachea.
    middle_voxel : float
        Mean x of the trachea in voxels: the patient's midline; nan where none was found.
    """

    mask: Mask
    found: bool
    middle_voxel: float


def find_airways(
    hu: NDArray[Any], air: Mask, body: Mask, spacing_mm: Spacing, *, max_litre: float
) -> Airways:
    """Find the trachea, follow it to its branches and grow into the main bronchi.

    Two ways that cannot leak together: slice by slice the trachea is followed while its spots of
    air stay small; and from there a region is grown at the highest threshold whose volume stays
    below `max_litre` (the explosion-controlled growth of Mori et al. 2000).

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    air, body : ndarray of bool, shape (z, y, x)
        Air inside the body, and the body.
    spacing_mm : sequence of 3 floats
    max_litre : float
        Litres above which a growth has leaked.

    Returns
    -------
    Airways
    """
    followed = follow_trachea(hu, air, body, spacing_mm)
    if not followed.any():
        return Airways(followed, False, float("nan"))
    trunk = followed | grow(hu, air, followed, spacing_mm, max_litre=max_litre)
    margin = [int(2 * (TRUNK_MM + WALL_MM) / step) + 1 for step in spacing_mm]
    box = morphology.grow_box(morphology.bounds(trunk), margin, air.shape)
    part = morphology.opening(trunk[box], spacing_mm, TRUNK_MM) | followed[box]
    trunk[box] = morphology.dilate(part, spacing_mm, WALL_MM)
    return Airways(trunk, True, float(np.nonzero(followed)[2].mean()))


@dataclasses.dataclass(frozen=True, eq=False)
class Spot:
    """One piece of air in an axial slice.

    Attributes
    ----------
    window : tuple of 2 slices
        Its box (y, x) in the slice.
    mask : ndarray of bool
        Its voxels in the window.
    area_mm2 : float
    middle_mm : ndarray of float64, shape (2,)
        Its middle (y, x) in mm from the slice's corner.
    round : bool
        Whether it could be a trachea cut across.
    """

    window: tuple[slice, slice]
    mask: Mask
    area_mm2: float
    middle_mm: NDArray[np.float64]
    round: bool


def spots_of(
    plane: Mask, hu: NDArray[Any], spacing_mm: Spacing, *, corner: tuple[int, int] = (0, 0)
) -> list[Spot]:
    """Measure the pieces of air of one slice that are small enough for an airway.

    Parameters
    ----------
    plane : ndarray of bool, shape (y, x)
    hu : ndarray of int16, shape (y, x)
    spacing_mm : sequence of 3 floats
        Along (z, y, x).
    corner : tuple of 2 int
        Where `plane` stands in the whole slice.
    """
    low, high = TRACHEA_MM2
    _, dy, dx = spacing_mm
    labels, _ = ndimage.label(plane)
    areas = np.bincount(labels.ravel()) * dy * dx
    result = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if not 0.5 * low <= areas[label] <= high:
            continue
        mask = labels[box] == label
        rows, columns = (
            slice(part.start + start, part.stop + start)
            for part, start in zip(box, corner, strict=True)
        )
        y, x = np.nonzero(mask)
        middle = np.array([(rows.start + y.mean()) * dy, (columns.start + x.mean()) * dx])
        circular = looks_round(mask, areas[label], dy, dx) and areas[label] >= low
        dark = float(hu[box][mask].mean()) <= SPOT_HU
        result.append(
            Spot((rows, columns), mask, float(areas[label]), middle, bool(circular and dark))
        )
    return result


def looks_round(mask: Mask, area_mm2: float, dy: float, dx: float) -> bool:
    """Return whether a spot fills half of its box and the box is not too long."""
    tall, wide = mask.shape[0] * dy, mask.shape[1] * dx
    return bool(max(tall, wide) <= ASPECT * min(tall, wide) and area_mm2 >= 0.5 * tall * wide)


def follow_trachea(hu: NDArray[Any], air: Mask, body: Mask, spacing_mm: Spacing) -> Mask:
    """Follow from the top the round spot of air near the middle that runs furthest down.

    Parameters
    ----------
    hu, air, body : ndarray, shape (z, y, x)
    spacing_mm : sequence of 3 floats

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Trachea and main bronchi while these are spots; all False below `SHORTEST_MM` of height.
    """
    result = np.zeros_like(air)
    if not body.any():
        return result
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    middle_mm = columns.mean() * spacing_mm[2]
    aside_mm = ASIDE * (columns[-1] - columns[0]) * spacing_mm[2]
    best: list[list[Spot]] = []
    used = np.zeros_like(air)
    for z in range(len(air) - 1, -1, -1):
        for spot in spots_of(air[z], hu[z], spacing_mm):
            known = used[z][spot.window][spot.mask].any()
            if known or not spot.round or abs(spot.middle_mm[1] - middle_mm) > aside_mm:
                continue
            path = descend(hu, air, z, spot, spacing_mm)
            paint(used, z, path)
            if len(path) > len(best):
                best, top = path, z
    if len(best) >= 3 and len(best) * spacing_mm[0] >= SHORTEST_MM:
        paint(result, top, best)
    return result


def paint(mask: Mask, top: int, path: list[list[Spot]]) -> None:
    """Set the spots of a path that starts in slice `top`."""
    for depth, spots in enumerate(path):
        for spot in spots:
            mask[top - depth][spot.window] |= spot.mask


def descend(
    hu: NDArray[Any], air: Mask, top: int, first: Spot, spacing_mm: Spacing
) -> list[list[Spot]]:
    """Follow a spot downwards from slice to slice, through its fork, until it joins a lung.

    Where the wall between trachea and lung is thinner than a voxel, the spot is sought below lower
    and lower thresholds before it counts as joined.

    Returns
    -------
    list of list of Spot
        One or two spots a slice, from `top` downwards.
    """
    path = [[first]]
    certain = 1
    for z in range(top - 1, -1, -1):
        following = continuing(air[z], hu[z], path[-1], spacing_mm)
        if following:
            certain = len(path) + 1
        elif (len(path) - certain) * spacing_mm[0] < CONTACT_MM:
            following = split_off(air[z], hu[z], path[-1], spacing_mm)
        if not following:
            break
        path.append(following)
    # What never became a spot of its own again had drilled into the lung.
    return path[:certain]


def split_off(plane: Mask, hu: NDArray[Any], above: list[Spot], spacing_mm: Spacing) -> list[Spot]:
    """Return the spots that go on below the highest of `SPLIT_HU` that parts them from a lung."""
    for threshold in SPLIT_HU:
        following = continuing(plane & (hu < threshold), hu, above, spacing_mm)
        if following:
            return following
    return []


def continuing(plane: Mask, hu: NDArray[Any], above: list[Spot], spacing_mm: Spacing) -> list[Spot]:
    """Return the one or two spots of a slice that go on from those of the slice above."""
    _, dy, dx = spacing_mm
    rows = [edge for spot in above for edge in (spot.window[0].start, spot.window[0].stop)]
    columns = [edge for spot in above for edge in (spot.window[1].start, spot.window[1].stop)]
    # A lung that a window cuts still is larger than any spot.
    reach = (int(REACH_MM / dy), int(REACH_MM / dx))
    corner = (max(0, min(rows) - reach[0]), max(0, min(columns) - reach[1]))
    window = (
        slice(corner[0], max(rows) + reach[0]),
        slice(corner[1], max(columns) + reach[1]),
    )
    widest = 1.8 * max(spot.area_mm2 for spot in above) + 60
    step_mm = 2 * (STEP_MM + 0.8 * spacing_mm[0])
    touched = np.zeros_like(plane)
    for spot in above:
        touched[spot.window] |= spot.mask
    spots = [
        spot
        for spot in spots_of(plane[window], hu[window], spacing_mm, corner=corner)
        if touched[spot.window][spot.mask].any()
        and spot.area_mm2 <= widest
        and min(np.abs(spot.middle_mm - old.middle_mm).max() for old in above) <= step_mm
    ]
    return sorted(spots, key=lambda spot: -spot.area_mm2)[:2]


def grow(hu: NDArray[Any], air: Mask, seed: Mask, spacing_mm: Spacing, *, max_litre: float) -> Mask:
    """Grow the airways from the trachea at the highest threshold that does not leak.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    air, seed : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    max_litre : float

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        All False if every threshold leaks.
    """
    voxel_litre = float(np.prod(spacing_mm)) * 1e-6
    followed = morphology.bounds(seed)
    margin = [int(NEAR_MM / step) for step in spacing_mm]
    down, *across = morphology.grow_box(followed, margin, air.shape)
    box = (slice(down.start, followed[0].stop), *across)
    smooth = ndimage.gaussian_filter(
        hu[box].astype(np.float32), [SMOOTH_MM / step for step in spacing_mm]
    )
    result = np.zeros_like(air)
    for threshold in GROWTH_HU:
        labels, _ = ndimage.label((smooth < threshold) & air[box])
        kept = np.unique(labels[seed[box]])
        region = np.isin(labels, kept[kept > 0])
        if region.sum() * voxel_litre <= max_litre:
            result[box] = region
            break
    return result
