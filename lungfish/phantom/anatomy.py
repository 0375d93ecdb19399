"""Where the large parts of the reference chest lie, as signed distances.

Coordinates are the reference body's: x to the patient's left, y to the back, z to the head, in mm,
the carina near (0, 16, 0). The lungs are what the rib cage, the two domes of the diaphragm and
the mediastinum leave free, as in life, so that the heart indents the left lung and the right dome
stands higher without being told so.
"""

import dataclasses
from itertools import pairwise

import numpy as np

from lungfish.phantom.shapes import (
    Array,
    Point,
    cone,
    ellipse,
    ellipsoid,
    intersection,
    smoothstep,
    union,
)
from lungfish.randomness import generator

RIGHT, LEFT = -1, 1
"""Sides of the patient, by the sign of x."""

Tube = tuple[Point, Point, tuple[float, float]]

GREAT_VESSELS: tuple[Tube, ...] = (
    ((-4, -14, -45), (-14, -20, -8), (15, 16)),  # ascending aorta
    ((-14, -20, -8), (-12, -16, 26), (16, 15)),
    ((-12, -16, 26), (2, 2, 45), (15, 14)),  # arch
    ((2, 2, 45), (20, 26, 42), (14, 13)),
    ((20, 26, 42), (27, 40, 26), (13, 12)),
    ((27, 40, 26), (26, 42, -60), (12, 11.5)),  # descending aorta
    ((26, 42, -60), (12, 36, -200), (11.5, 10)),
    ((-27, -10, -40), (-26, -8, 30), (10, 9)),  # superior vena cava
    ((-26, -8, 30), (-24, -4, 120), (8, 6)),
    ((26, -6, 66), (-24, -14, 40), (6, 7)),  # left brachiocephalic vein
    ((26, -6, 66), (30, 0, 120), (6, 6)),
    ((-24, 6, -190), (-22, 0, -90), (11, 11)),  # inferior vena cava
    ((16, -34, -45), (14, -22, -12), (15, 14)),  # pulmonary trunk
    ((14, -22, -12), (26, 4, 4), (13, 11)),
    ((26, 4, 4), (46, 18, -10), (11, 8)),  # left pulmonary artery
    ((14, -14, -10), (-22, 4, -14), (11, 9)),  # right pulmonary artery
    ((-22, 4, -14), (-42, 10, -20), (9, 8)),
    ((-10, -6, 42), (-18, 4, 120), (6.5, 5)),  # brachiocephalic trunk
    ((6, 4, 52), (12, 6, 120), (4.5, 4)),  # left common carotid artery
    ((18, 18, 46), (26, 20, 120), (5, 4.5)),  # left subclavian artery
)


AROUND_A_JUNCTION: tuple[Tube, ...] = (
    ((-14, -14, 42), (-22, 0, 120), (6.5, 5)),  # brachiocephalic trunk
    ((13, -8, 52), (17, 4, 120), (4.5, 4)),  # left common carotid artery
    ((20, 16, 46), (26, 2, 62), (5, 4.5)),  # left subclavian artery
    ((26, 2, 62), (30, 8, 120), (5, 4.5)),
)
"""The last three of the great vessels where the lungs meet behind the trachea."""
BOWED_TRACHEA: tuple[Point, ...] = ((1, 12, 140), (0, -5, 72), (0, -5, 50), (0, 16, 0))
BOWED_OESOPHAGUS: tuple[Point, ...] = ((10, 12, 120), (14, 2, 72), (14, 0, 56), (3, 30, 10))
"""Courses of trachea and oesophagus where the lungs meet behind them."""


@dataclasses.dataclass(frozen=True)
class Build:
    """What differs between bodies; lengths in mm of the reference body.

    Attributes
    ----------
    scale : float
        Size of the body over the reference body's.
    width, depth : float
        Of the trunk over the reference body's.
    fat_mm : float
        Thickness of the fat under the skin in front.
    right_dome_mm, left_dome_mm : float
        Height z of the domes of the diaphragm.
    heart : float
        Size of the heart over the reference heart's.
    lung_hu : float
        Mean of the parenchyma.
    bone : float
        Density of the bones over the reference's.
    junction_mm : float or None
        Where the lungs touch, in front of the heart and behind the trachea: the thickness of
        what lies between them. None: they do not.
    """

    scale: float
    width: float
    depth: float
    fat_mm: float
    right_dome_mm: float
    left_dome_mm: float
    heart: float
    lung_hu: float
    bone: float
    junction_mm: float | None = None


def draw_build(seed: int, patient: str) -> Build:
    """Draw the body of one patient; it depends on the seed and the name alone."""
    random = generator(seed, "phantom", patient, "build")
    right_dome = random.uniform(-104, -90)
    return Build(
        scale=random.uniform(0.95, 1.02),
        width=random.uniform(0.96, 1.02),
        depth=random.uniform(0.94, 1.06),
        fat_mm=random.uniform(5, 15),
        right_dome_mm=right_dome,
        left_dome_mm=right_dome - random.uniform(6, 14),
        heart=random.uniform(0.92, 1.08),
        lung_hu=random.uniform(-875, -845),
        bone=random.uniform(0.85, 1.1),
    )


def spine_y_mm(z: Array | float) -> Array:
    """Return y of the middle of the vertebral bodies at a height: the thoracic kyphosis."""
    return np.asarray(52 - 0.0009 * (np.asarray(z) + 50) ** 2)


def cage_half(z: Array, build: Build) -> tuple[Array, Array]:
    """Return the semi-axes in x and y of the inner face of the rib cage at a height, in mm."""
    closing = smoothstep(0, 125, z)
    waist = smoothstep(-90, -220, z)
    half_x = build.width * (132 - 64 * closing - 4 * waist)
    half_y = build.depth * (88 - 28 * closing - 2 * waist)
    return np.asarray(half_x), np.asarray(half_y)


def cage(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to the inner face of the rib cage."""
    half_x, half_y = cage_half(z, build)
    return ellipse(x, y, half_x, half_y, 2.3)


def skin(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to the skin."""
    half_x = build.width * (157 - 14 * smoothstep(60, 125, z)) + 0.5 * build.fat_mm
    half_y = build.depth * (100 - 20 * smoothstep(20, 125, z)) + 0.4 * build.fat_mm
    breast = 7 * np.exp(-(((np.abs(x) - 75) / 38) ** 2) - ((z + 55) / 45) ** 2)
    front = smoothstep(10, -60, y)
    groove = 5 * np.exp(-((x / 14) ** 2)) * smoothstep(20, 80, y)
    return np.asarray(ellipse(x, y, half_x, half_y, 2.5) - breast * front + groove)


def muscle(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to the outer face of the muscles of the trunk."""
    half_x, half_y = cage_half(z, build)
    shoulder = smoothstep(0, 70, z)
    wide = half_x + 14 + 52 * shoulder
    deep = half_y + 9 + 9 * shoulder
    pectoral = 6 * np.exp(-(((np.abs(x) - 62) / 42) ** 2) - ((z - 35) / 50) ** 2)
    back = 5 * np.exp(-(((np.abs(x) - 30) / 22) ** 2))
    bulge = np.where(y < 0, pectoral, back)
    inside = skin(x, y, z, build) + 2.5 + 0.8 * build.fat_mm * smoothstep(60, -20, y)
    return np.asarray(np.maximum(ellipse(x, y, wide, deep, 2.4) - bulge, inside))


def diaphragm_z_mm(x: Array, y: Array, build: Build) -> Array:
    """Return the height of the diaphragm's upper face: two domes that fall to the recesses."""
    heights = []
    for side, dome in ((RIGHT, build.right_dome_mm), (LEFT, build.left_dome_mm)):
        away = side * x - 58
        wide = np.where(away > 0, 74, 92)
        deep = np.where(y > -14, 80, 92)
        fall = (away / wide) ** 2 + ((y + 14) / deep) ** 2
        heights.append(dome - 50 * fall * (0.55 + 0.45 * np.minimum(fall, 1)))
    return -union(-heights[0], -heights[1], 8)


def diaphragm(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to what lies below the diaphragm."""
    # The domes are up to 60 degrees steep: their height is about 1.5 times their distance.
    return np.asarray((z - diaphragm_z_mm(x, y, build)) / np.float32(1.4))


def heart(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to the heart: apex to the left, to the front and downwards."""
    axis = np.array([0.72, -0.5, -0.48])
    axis /= np.linalg.norm(axis)
    across = np.cross(axis, [0, 0, 1])
    across /= np.linalg.norm(across)
    axes = np.stack([axis, across, np.cross(axis, across)])
    k = build.heart
    ventricles = ellipsoid(x - 24, y + 32, z + 70, (60 * k, 43 * k, 44 * k), axes)
    atria = ellipsoid(x + 8, y + 4, z + 56, (36 * k, 31 * k, 35 * k))
    return union(ventricles, atria, 8)


def great_vessels(build: Build) -> tuple[Tube, ...]:
    """Return the great vessels; where the lungs touch behind the trachea, they make way."""
    if build.junction_mm is None:
        return GREAT_VESSELS
    return GREAT_VESSELS[:-3] + AROUND_A_JUNCTION


def retrotracheal(x: Array, y: Array, z: Array) -> Array:
    """Return the distance to where the lungs reach behind the trachea, above the aortic arch."""
    return np.asarray(np.maximum(np.maximum(np.abs(x - 3) - 36, np.abs(z - 68) - 20), 4 - y))


def touching_mediastinum(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to the mediastinum without the sheets that keep the lungs apart."""
    middle = np.exp(-(((z + 15) / 32) ** 2))
    column = ellipse(x - 1, y - 6, 27 + 5 * middle, 40, 2.0)
    joined = union(column, heart(x, y, z, build) - 4, 8)
    joined = np.maximum(joined, -retrotracheal(x, y, z))
    for start, end, radii in great_vessels(build):
        joined = union(joined, cone(x, y, z, start, end, radii) - 2.0, 3)
    for start, end in pairwise(BOWED_TRACHEA):
        joined = union(joined, cone(x, y, z, start, end, (12.0, 12.0)), 2)
    spine = ellipse(x, y - spine_y_mm(z) - 10, 21, 28, 2.2)
    joined = union(joined, spine, 3)
    # Behind the heart, fat keeps the pleurae apart as in everybody.
    apart = np.maximum(np.abs(x - 3) - 7.5, np.maximum(-y, z - 40))
    return np.asarray(np.minimum(joined, apart))


def mediastinum(x: Array, y: Array, z: Array, build: Build) -> Array:
    """Return the distance to all that stands between the lungs, spine included."""
    if build.junction_mm is not None:
        return touching_mediastinum(x, y, z, build)
    middle = np.exp(-(((z + 15) / 32) ** 2))
    column = ellipse(x - 1, y - 6, 27 + 5 * middle, 40, 2.0)
    joined = union(column, heart(x, y, z, build) - 4, 8)
    for start, end, radii in GREAT_VESSELS:
        joined = union(joined, cone(x, y, z, start, end, radii) - 2.5, 4)
    spine = ellipse(x, y - spine_y_mm(z) - 10, 21, 32, 2.2)
    # Both pleurae with fat between them: before the heart and behind it the lungs nearly meet.
    sheet = np.abs(x - 3) - 3.5
    joined = union(joined, spine, 8)
    return np.asarray(np.minimum(joined, np.where(y < 0, sheet, sheet - 4)))


def lung(x: Array, y: Array, z: Array, build: Build, side: int) -> Array:
    """Return the distance to one lung, its vessels, bronchi and nodules included.

    Parameters
    ----------
    x, y, z : ndarray of float32
        Positions in mm of the reference body; they broadcast against each other.
    build : Build
        The body.
    side : int
        `RIGHT` or `LEFT`.

    Returns
    -------
    ndarray
        Signed distance in mm, negative inside.
    """
    top = ellipsoid(x - side * 61, y - 6, z + 85, (84, 106, 186))
    if build.junction_mm is not None:
        top = union(top, ellipsoid(x - side * 10, y - 15, z - 66, (30, 18, 26)), 4)
    inside = intersection(cage(x, y, z, build), top, 10)
    inside = intersection(inside, -diaphragm(x, y, z, build), 3)
    touching = build.junction_mm is not None
    inside = intersection(inside, -mediastinum(x, y, z, build), 2 if touching else 5)
    return np.asarray(np.maximum(inside, -side * (x - 3) + (build.junction_mm or 0) / 2))
