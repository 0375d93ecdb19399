"""Trees of bronchi, arteries and veins that fill the lungs.

A tree grows towards points scattered in the lung: each branch heads for the middle of its points,
then the points are halved across their longest extent and each half is served by a child, until
one point is left (after H. Kitaoka et al., J Appl Physiol 87, 1999). Radii follow the number of
points served to the power 0.38, near Murray's cube root law.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom.anatomy import LEFT, RIGHT
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.shapes import Array, Point, cone
from lungfish.randomness import generator

TRACHEA: tuple[Point, Point] = ((1, 12, 140), (0, 16, 0))
MAIN_BRONCHI: dict[int, tuple[Point, Point]] = {
    RIGHT: ((0, 16, 0), (-35, 18, -25)),
    LEFT: ((0, 16, 0), (44, 22, -29)),
}
TRACHEA_RADIUS_MM, RIGHT_MAIN_RADIUS_MM, LEFT_MAIN_RADIUS_MM = 8.5, 6.8, 6.0
LAST_GENERATION = 4
BRONCHUS_RADIUS_MM = {2: 4.4, 3: 3.0, 4: 2.1}
"""Inner radius by generation; the trachea is 0, the main bronchi are 1."""
TARGETS = 340
"""Points that each tree serves in each lung."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """One tube of a tree, in mm of the reference body.

    Attributes
    ----------
    start, end : tuple of 3 floats
        (x, y, z).
    radii : tuple of 2 floats
        At start and end.
    depth : int
        Branchings between the root and this tube.
    """

    start: Point
    end: Point
    radii: tuple[float, float]
    depth: int


def scatter(
    lattice: Lattice, distance: Floats, random: np.random.Generator, *, count: int, margin_mm: float
) -> NDArray[np.float64]:
    """Draw points evenly in a shape given on the lattice.

    Returns
    -------
    ndarray of float64, shape (count, 3)
        (x, y, z) in mm, at least about `margin_mm` below the surface.
    """
    inside = np.argwhere(distance < -margin_mm)
    chosen = inside[random.choice(len(inside), count, replace=len(inside) < count)]
    z, y, x = (
        axis[chosen[:, k]] for k, axis in enumerate((lattice.z_mm, lattice.y_mm, lattice.x_mm))
    )
    step = float(lattice.x_mm[1] - lattice.x_mm[0])
    return np.stack([x, y, z], 1) + random.uniform(-step / 2, step / 2, (count, 3))


def grow(root: Point, targets: NDArray[np.float64], *, leaf_mm: float) -> list[Branch]:
    """Grow a tree from a root to every target.

    Parameters
    ----------
    root : tuple of 3 floats
        (x, y, z) in mm.
    targets : ndarray, shape (n, 3)
        Where the last branches end.
    leaf_mm : float
        Radius of the last branches.

    Returns
    -------
    list of Branch
        Parents before children.
    """
    branches = []
    waiting = [(np.array(root, float), targets, leaf_mm * len(targets) ** 0.38, 0)]
    while waiting:
        start, points, radius, depth = waiting.pop(0)
        own = leaf_mm * len(points) ** 0.38
        alone = len(points) == 1
        end = points[0] if alone else start + 0.42 * (points.mean(0) - start)
        tip = own * (0.55 if alone else 1.0)
        branches.append(Branch(_point(start), _point(end), (min(radius, 1.15 * own), tip), depth))
        if not alone:
            waiting += [(end, half, own, depth + 1) for half in _halve(points)]
    return branches


def _point(position: Array) -> Point:
    return float(position[0]), float(position[1]), float(position[2])


def _halve(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split points in two halves across their longest extent."""
    centred = points - points.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(centred @ axes[:, -1], kind="stable")
    middle = len(points) // 2
    return points[order[:middle]], points[order[middle:]]


def _bronchi(arteries: list[Branch], end_of_main: Point, side: int) -> list[Branch]:
    """Return the bronchi of generations 2 to 4, each beside the artery of its lobe or segment."""
    origin = np.array(arteries[0].end)
    shift = np.array([-side * 4.0, 5.0, -3.0])
    moved: dict[Point, Point] = {arteries[0].end: end_of_main, arteries[0].start: end_of_main}
    found = []
    for branch in arteries:
        generation = branch.depth + 1
        if not 2 <= generation <= LAST_GENERATION:
            continue
        nearness = 1.0 / (1.0 + 0.02 * float(np.linalg.norm(np.array(branch.end) - origin)))
        moved[branch.end] = _point(np.array(branch.end) + shift * nearness)
        radius = BRONCHUS_RADIUS_MM[generation]
        tube = (moved[branch.start], moved[branch.end])
        found.append(Branch(*tube, (radius, 0.85 * radius), generation))
    return found


@dataclasses.dataclass(frozen=True)
class Trees:
    """All tubes of both lungs; in `bronchi` `depth` is the generation, 0 the trachea."""

    vessels: tuple[Branch, ...]
    bronchi: tuple[Branch, ...]


def draw_trees(lattice: Lattice, lungs: dict[int, Floats], *, seed: int, patient: str) -> Trees:
    """Grow bronchi, arteries and veins of both lungs.

    Parameters
    ----------
    lattice : Lattice
    lungs : dict of side to ndarray
        Distances to each lung on the lattice.
    seed, patient
        Chance depends on them alone.
    """
    random = generator(seed, "phantom", patient, "trees")
    vessels: list[Branch] = []
    bronchi = [Branch(*TRACHEA, (TRACHEA_RADIUS_MM, TRACHEA_RADIUS_MM), 0)]
    for side, distance in lungs.items():
        start, end = MAIN_BRONCHI[side]
        radius = RIGHT_MAIN_RADIUS_MM if side == RIGHT else LEFT_MAIN_RADIUS_MM
        targets = scatter(lattice, distance, random, count=TARGETS, margin_mm=4.0)
        arteries = grow((end[0], end[1] - 6, end[2] + 8), targets, leaf_mm=0.7)
        others = scatter(lattice, distance, random, count=TARGETS, margin_mm=4.0)
        vessels += arteries + grow((side * 34.0, 2.0, -50.0), others, leaf_mm=0.7)
        bronchi.append(Branch(start, end, (radius, 0.92 * radius), 1))
        bronchi += _bronchi(arteries, end, side)
    return Trees(tuple(vessels), tuple(bronchi))


def _wall_mm(radius: float) -> float:
    """Return the thickness of a bronchus's wall: 1.6 mm in the trachea, 0.9 in generation 4."""
    return 0.7 + 0.11 * radius


def paint_trees(canvas: Canvas, trees: Trees, *, blood_hu: float = 40) -> None:
    """Paint the vessels, then the walls of all bronchi, then their lumens, which connect."""
    for vessel in trees.vessels:
        canvas.tube(vessel.start, vessel.end, vessel.radii, [(0, blood_hu)])
    for bronchus in trees.bronchi:
        wide = _thick(bronchus)
        canvas.tube(bronchus.start, bronchus.end, wide, [(0, 25)])
    for bronchus in trees.bronchi:
        canvas.tube(bronchus.start, bronchus.end, bronchus.radii, [(0, -985)])


def _thick(bronchus: Branch) -> tuple[float, float]:
    first, last = bronchus.radii
    return first + _wall_mm(first), last + _wall_mm(last)


def central_airways(x: Array, y: Array, z: Array, trees: Trees) -> Array:
    """Return the distance to trachea and main bronchi, walls included."""
    central = [bronchus for bronchus in trees.bronchi if bronchus.depth <= 1]
    distances = [cone(x, y, z, b.start, b.end, _thick(b)) for b in central]
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*distances)))
