"""The inner face of the rib cage, from ribs and lungs, smooth across what fills the gap."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from lungfish.lungs.morphology import Mask, Spacing

BINS = 120
"""Directions around the middle of the chest."""
BONE_HU = 160
"""Ribs in blocks of a few mm."""
SPINE_MM = 38.0
"""Half the width of what the spine may fill, behind the middle."""
HULL_MM = 20.0
"""Up and down how far the convex hull of the lungs looks for its largest extent."""
RIB_MM = (6.0, 22.0)
"""How far inside and outside that hull the inner faces of ribs may lie."""
RIB_SMOOTH = (16.0, 4.0)
"""Smoothing of the ribs' radius: mm along z, directions around."""
GAP_SMOOTH = (22.0, 7.0)
"""Smoothing of the step between ribs and lung, into gaps: mm along z, directions around."""
TOUCH_MM = 9.0
"""A lung that ends further inside the ribs than this does not touch the wall."""
FAR_MM = 6.0
"""How much further in than the face carried on from around a touching lung may end."""
BARE_MM = 25.0
"""How far inside the hull a bone may be the wall where no lung shows its place."""
RIB_GAP_MM = 8.0
"""Half the height of the gap between two ribs."""

Map = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Wall:
    """The inner face of the rib cage in polar coordinates around the middle of the chest.

    Attributes
    ----------
    inside : ndarray of bool, shape (z, y, x)
        What the face encloses; all False in slices where it is not known.
    beyond : ndarray of bool, shape (z, y, x)
        What lies beyond the first bone that its ray meets after the lung, there or a little
        above or below: shoulder and chest wall.
    """

    inside: Mask
    beyond: Mask


def find_wall(
    hu: NDArray[Any], lungs: Mask, body: Mask, spacing_mm: Spacing, *, middle_voxel: float
) -> Wall:
    """Find the inner face of the rib cage.

    Along every ray from the middle of the chest the face is where the lung ends, if it ends at
    the ribs. Where it ends deeper, something fills the gap, and the face is carried on from
    around: the ribs give its course and the lung beside gives its distance from them.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        On a grid of a few mm.
    lungs, body : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    middle_voxel : float
        x of the patient's midline in voxels.

    Returns
    -------
    Wall
    """
    dz, dy, dx = spacing_mm
    rows = np.flatnonzero(lungs.any(axis=(0, 2)))
    centre = (float(rows.mean()), middle_voxel)
    y, x = np.indices(lungs.shape[1:], np.float32)
    y_mm, x_mm = (y - np.float32(centre[0])) * dy, (x - np.float32(centre[1])) * dx
    radius = np.hypot(y_mm, x_mm)
    turn = (np.arctan2(y_mm, x_mm) / (2 * np.pi)) % 1.0
    ray = np.minimum((turn * BINS).astype(np.intp), BINS - 1)
    lung = outermost(lungs, radius, ray)
    hull = np.stack([convex(line) for line in lung])
    hull = np.maximum(hull, mirrored(hull))
    hull = ndimage.maximum_filter1d(hull, 2 * round(HULL_MM / dz) + 1, axis=0)
    bone = (hu > BONE_HU) & body
    bone &= ~((np.abs(x_mm) < SPINE_MM) & (y_mm > 0))
    # Arms lie further out, a heart with contrast medium further in.
    beyond = radius - hull[:, ray]
    bone &= (beyond > -RIB_MM[0]) & (beyond < RIB_MM[1])
    rib = innermost(bone, radius, ray)
    face = carry_on(rib, lung, dz)
    inside = carried(face, turn) > radius
    return Wall(np.asarray(inside), beyond_bone(hu, body, lung, hull, radius, ray, dz))


def beyond_bone(
    hu: NDArray[Any], body: Mask, lung: Map, hull: Map, radius: Map, ray: NDArray[np.intp],
    dz: float,
) -> Mask:  # fmt: skip
    """Return what lies beyond the first bone on its ray, ribs closed over the gaps between them."""
    after = np.maximum(lung, hull - BARE_MM)
    bone = (hu > BONE_HU) & body & (radius > after[:, ray])
    first = innermost(bone, radius, ray)
    first = ndimage.minimum_filter1d(first, 2 * round(RIB_GAP_MM / dz) + 1, axis=0)
    return np.asarray(radius > first[:, ray])


def outermost(mask: Mask, radius: Map, ray: NDArray[np.intp]) -> Map:
    """Return for every slice and ray the largest radius in a mask, 0 where there is none."""
    result = np.zeros((len(mask), BINS), np.float32)
    z, y, x = np.nonzero(mask)
    np.maximum.at(result, (z, ray[y, x]), radius[y, x])
    return result


def convex(radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the radius along each ray of the convex hull of the points at given radii."""
    angle = (np.arange(BINS) + 0.5) * (2 * np.pi / BINS)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)[radius > 0]
    if len(points) < 3 or np.ptp(points[:, 0]) < 1 or np.ptp(points[:, 1]) < 1:
        return radius
    lines = ConvexHull(points).equations
    facing = lines[:, :1] * np.cos(angle) + lines[:, 1:2] * np.sin(angle)
    reach = np.where(facing > 1e-6, -lines[:, 2:] / np.maximum(facing, 1e-6), np.inf).min(axis=0)
    return np.asarray(np.where(np.isfinite(reach), np.maximum(reach, radius), radius), np.float32)


def mirrored(values: Map) -> Map:
    """Return values per ray with left and right exchanged."""
    return values[:, (BINS // 2 - 1 - np.arange(BINS)) % BINS]


def innermost(mask: Mask, radius: Map, ray: NDArray[np.intp]) -> Map:
    """Return for every slice and ray the smallest radius in a mask, inf where there is none."""
    result = np.full((len(mask), BINS), np.inf, np.float32)
    z, y, x = np.nonzero(mask)
    np.minimum.at(result, (z, ray[y, x]), radius[y, x])
    return result


def carry_on(rib: Map, lung: Map, dz: float) -> Map:
    """Return the face's radius for every slice and ray, 0 where nothing is known."""
    course, weight = spread(np.where(np.isfinite(rib), rib, 0), np.isfinite(rib), RIB_SMOOTH, dz)
    step = course - lung
    touches = (lung > 0) & (weight > 1e-3) & (np.abs(step - typical(step, lung, weight)) < TOUCH_MM)
    gap, near = spread(np.where(touches, step, 0), touches, GAP_SMOOTH, dz)
    known = (weight > 1e-3) & (near > 1e-4)
    bridged = np.where(known, course - gap, 0)
    return np.asarray(np.where(touches, np.maximum(lung, bridged - FAR_MM), bridged), np.float32)


def typical(step: Map, lung: Map, weight: Map) -> float:
    """Return the usual distance from ribs to lung, in mm: most rays touch the wall."""
    usable = (lung > 0) & (weight > 1e-3)
    return float(np.percentile(step[usable], 25)) if usable.any() else 0.0


def spread(values: Map, known: Mask, widths: tuple[float, float], dz: float) -> tuple[Map, Map]:
    """Return values carried into unknown places by a normalised Gaussian, and its weight."""
    sigma = (widths[0] / dz, widths[1])
    mode = ("nearest", "wrap")
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma, mode=mode)
    total = ndimage.gaussian_filter(np.where(known, values, 0).astype(np.float32), sigma, mode=mode)
    return np.asarray(total / np.maximum(weight, 1e-6), np.float32), weight


def carried(face: Map, turn: Map) -> NDArray[np.float32]:
    """Return the face's radius at every voxel, linear between rays; shape (z, y, x)."""
    place = turn * BINS - 0.5
    low = np.floor(place).astype(np.intp)
    share = (place - low).astype(np.float32)
    return np.asarray(
        face[:, low % BINS] * (1 - share) + face[:, (low + 1) % BINS] * share, np.float32
    )
