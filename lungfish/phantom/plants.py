"""What disease does to the shape of the lungs: effusion, consolidation, masses at the pleura.

All of it is geometry on the body's lattice; what it looks like is painted elsewhere. What is not
named by the design (side, place, lobe, form) is drawn from chance.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from lungfish.phantom import anatomy, nodules
from lungfish.phantom.anatomy import LEFT, RIGHT, Build
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.nodules import Nodule
from lungfish.phantom.shapes import Array, ellipsoid, intersection

SINKING = -0.35
"""How much the lung also rises over the fluid below it, per mm that it floats forwards."""
SMALLEST_LUNG = 0.16
"""Of a pleural space, the share that the largest effusion leaves to the lung."""


def litres(lattice: Lattice, distance: Array, build: Build) -> float:
    """Return the volume inside a shape given on the lattice, in litres of the scan."""
    step = float(lattice.x_mm[1] - lattice.x_mm[0])
    share = np.clip(0.5 - distance / step, 0, 1)
    return float(share.sum(dtype=np.float64)) * (step * build.scale) ** 3 * 1e-6


def solve(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return where a rising function reaches a target, by bisection; an end if it does not."""
    for _ in range(16):
        middle = (low + high) / 2
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def part_of(lattice: Lattice, distance: Array) -> tuple[Lattice, tuple[slice, slice, slice]]:
    """Return the part of the lattice within two steps of a shape, and where it lies."""
    step = float(lattice.x_mm[1] - lattice.x_mm[0])
    near = np.argwhere(distance < 2 * step)
    z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(near.min(0), near.max(0), strict=True))
    return Lattice(lattice.x_mm[x], lattice.y_mm[y], lattice.z_mm[z]), (z, y, x)


def pleural_space(x: Array, y: Array, z: Array, build: Build, side: int) -> Array:
    """Return the distance to the inside of the rib cage above the diaphragm, as if no heart."""
    top = ellipsoid(x - side * 61, y - 6, z + 85, (84, 106, 186))
    inside = intersection(anatomy.cage(x, y, z, build), top, 10)
    return intersection(inside, -anatomy.diaphragm(x, y, z, build), 3)


def float_lung(
    lattice: Lattice, space: Floats, build: Build, side: int, *, litre: float
) -> tuple[Floats, Floats]:
    """Let a lung float on an effusion: a crescent at the back that thins out to the sides.

    The lung is what a pleural space shares with itself moved forwards and upwards; how far, its
    volume decides.

    Parameters
    ----------
    lattice : Lattice
    space : ndarray of float32
        Distance to the pleural space, heart and vessels left out.
    build : Build
    side : int
    litre : float
        Of fluid.

    Returns
    -------
    lung, fluid : ndarray of float32
        Distance to the lung that is left, and the distance to the fluid's surface.
    """
    part, where = part_of(lattice, space)
    x, y, z = part.axes
    whole = litres(part, space[where], build)

    def moved(shift: float) -> Array:
        return pleural_space(x, y + shift, z + SINKING * shift, build, side)

    def fluid(shift: float) -> float:
        return whole - litres(part, np.maximum(space[where], moved(shift)), build)

    wanted = min(litre, (1 - SMALLEST_LUNG) * whole)
    surface = moved(solve(fluid, wanted, 0.0, 190.0))
    lung, depth = space.copy(), np.full(space.shape, -100, np.float32)
    lung[where] = np.maximum(space[where], surface)
    depth[where] = surface
    return lung, depth


@dataclasses.dataclass(frozen=True, eq=False)
class Consolidation:
    """A lobe-like airless region.

    Attributes
    ----------
    share : ndarray of float32
        On the lattice: how much of the lung there is airless, 0 to 1.
    hu : float
    side : int
    lobe : str
        ``upper`` or ``lower``.
    """

    share: Floats
    hu: float
    side: int
    lobe: str


def oblique_fissure(y: Array, z: Array) -> Array:
    """Return the distance to the lower lobe, which lies behind and below the oblique fissure."""
    return np.asarray(0.7 * (z + 40) - 0.7 * (y + 2))


def consolidate(
    lattice: Lattice, lungs: dict[int, Floats], build: Build, random: np.random.Generator,
    rough: Floats, *, litre: float,
) -> Consolidation:  # fmt: skip
    """Fill part of a lobe from the pleura inwards.

    Parameters
    ----------
    lattice : Lattice
    lungs : dict of side to ndarray
        Distances to each lung.
    build : Build
    random : numpy.random.Generator
    rough : ndarray of float32
        Smooth noise on the lattice that roughens the border within the lobe.
    litre : float
        Volume that is filled; at most 0.9 of what the lobe has.
    """
    x, y, z = lattice.axes
    side = int(random.choice([RIGHT, LEFT]))
    lobe = str(random.choice(["upper", "lower"]))
    lower = oblique_fissure(y, z) + 3 * rough
    fields = {"lower": lower, "upper": -lower}
    room = {name: np.maximum(lungs[side], field) for name, field in fields.items()}
    if litres(lattice, room[lobe], build) < 1.1 * litre:
        side, lobe = max(
            ((s, name) for s in lungs for name in fields),
            key=lambda k: litres(lattice, np.maximum(lungs[k[0]], fields[k[1]]), build),
        )
    inside = np.maximum(lungs[side], fields[lobe]).astype(np.float32)
    edge = np.argwhere((lungs[side] < -3) & (lungs[side] > -12) & (fields[lobe] < -12)
                       & (anatomy.cage(x, y, z, build) > -14))  # fmt: skip
    k, j, i = edge[random.integers(len(edge))]
    away = ellipsoid(x - lattice.x_mm[i], y - lattice.y_mm[j], z - lattice.z_mm[k], (60, 75, 80))
    reach = (away + 6 * rough).astype(np.float32)
    wanted = min(litre, 0.9 * litres(lattice, inside, build))
    radius = solve(
        lambda r: litres(lattice, np.maximum(inside, reach - r), build), wanted, -70.0, 150.0
    )
    share = np.clip(0.5 - np.maximum(fields[lobe] / 4, (reach - radius) / 9), 0, 1)
    share = np.where(lungs[side] < 8, share, 0)
    return Consolidation(np.asarray(share, np.float32), float(random.uniform(-50, 60)), side, lobe)


@dataclasses.dataclass(frozen=True, eq=False)
class Mass:
    """A mass that sits on the pleura and bulges into the lung.

    Attributes
    ----------
    form : Nodule
        Place, size, lobules.
    side : int
    """

    form: Nodule
    side: int


def draw_mass(
    lattice: Lattice, lungs: dict[int, Floats], build: Build, random: np.random.Generator,
    *, diameter_mm: float, kind: str,
) -> Mass:  # fmt: skip
    """Draw a mass and the place of its middle, at 0.35 to 0.8 of its radius below the pleura.

    Parameters
    ----------
    lattice : Lattice
    lungs : dict of side to ndarray
    build : Build
    random : numpy.random.Generator
    diameter_mm : float
        Of the ball of equal volume, before the pleura cuts it, in mm of the scan.
    kind : str
        ``chest wall``, ``mediastinum`` or ``apex``.
    """
    radius = diameter_mm / 2 / build.scale
    side = int(random.choice([RIGHT, LEFT]))
    depth = radius * float(random.uniform(0.35, 0.8))
    centre = _site(lattice, lungs[side], build, random, kind=kind, depth=depth, side=side)
    lobules = int(random.integers(4, 8))
    bumps = nodules.directions(random, lobules)
    heights = random.uniform(0.1, 0.3, lobules)
    core = (0.0, 0.0, 0.0)
    form = Nodule(
        True, centre, radius, "lobulated", "solid", "irregular", float(random.uniform(25, 50)),
        np.eye(3), bumps, heights, np.full(lobules, 6.0), core, 0.0,
    )  # fmt: skip
    return Mass(nodules.equal_volume(form), side)


def _site(
    lattice: Lattice, lung: Floats, build: Build, random: np.random.Generator,
    *, kind: str, depth: float, side: int,
) -> tuple[float, float, float]:  # fmt: skip
    """Draw a place at a depth below the pleura of the wall, the mediastinum or the apex."""
    x, y, z = lattice.axes
    wall = np.abs(anatomy.cage(x, y, z, build) - lung)
    middle = np.abs(-anatomy.mediastinum(x, y, z, build) - lung)
    top = float(lattice.z_mm[np.flatnonzero((lung < 0).any((1, 2)))[-1]])
    order = {
        "chest wall": wall + 0.15 * np.maximum(0, z - 40),
        "mediastinum": middle + 0.3 * np.maximum(0, np.abs(z - 5) - 40) + 0 * y,
        "apex": np.maximum(0, top - depth - 6 - z) + 0 * wall,
    }[kind]
    penalty = np.abs(lung + depth) + order + np.where(lung < 0, 0, 50)
    best = np.argsort(penalty, axis=None, kind="stable")[: {"apex": 6}.get(kind, 60)]
    k, j, i = np.unravel_index(int(best[random.integers(len(best))]), lattice.shape)
    return float(lattice.x_mm[i]), float(lattice.y_mm[j]), float(lattice.z_mm[k])


def mass_coverage(canvas: Canvas, mass: Mass) -> tuple[tuple[slice, slice, slice], Floats]:
    """Return the part of the canvas that a mass can reach, and its share of each voxel there."""
    box = nodules.extent(mass.form, canvas)
    x, y, z = (
        axis - np.float32(c) for axis, c in zip(canvas.axes(box), mass.form.centre, strict=True)
    )
    m = float(mass.form.stretch[0, 0])
    length = np.sqrt(x * x + y * y + z * z) * np.float32(m)
    inverse = np.float32(m) / np.maximum(length, 1e-3)
    relief = nodules.relief(mass.form, x * inverse, y * inverse, z * inverse)
    return box, canvas.coverage((length - mass.form.radius * relief) / np.float32(m))
