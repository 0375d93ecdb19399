"""What fills the diseased lung: emphysema, bullae, compressed or airless lung, bronchograms."""

import dataclasses

import numpy as np

from lungfish.phantom import organs
from lungfish.phantom.anatomy import Build
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.plants import Consolidation, solve
from lungfish.phantom.shapes import Array, Point, ellipsoid
from lungfish.phantom.tree import Trees, scatter

EMPHYSEMA_HU, THRESHOLD_HU = -988.0, -950.0
"""HU of destroyed lung, and below which HU lung counts as destroyed."""
VESSELS = 0.15
"""Share of the lung that vessels, bronchi and their partial volume keep above that HU."""


@dataclasses.dataclass(frozen=True)
class Bulla:
    """A bubble of air in the lung; lengths in mm of the reference body."""

    centre: Point
    half: tuple[float, float, float]


def healthy(lattice: Lattice, build: Build, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return HU of healthy lung on the lattice, denser towards the back, and a smooth texture."""
    _, y, _ = lattice.axes
    coarse = organs.texture(lattice, random, width=3.0)
    fine = organs.texture(lattice, random, width=0.7)
    return np.asarray(build.lung_hu + 0.22 * y + 10 * coarse + 20 * fine, np.float32), coarse


def destroy(
    hu: Floats, inside: Array, lattice: Lattice, random: np.random.Generator, *, share: float
) -> Floats:
    """Return lung of which a share lies below -950 HU, in patches, more of it above.

    Parameters
    ----------
    hu : ndarray of float32
        Of healthy lung on the lattice.
    inside : ndarray of bool
        Where there is lung.
    lattice : Lattice
    random : numpy.random.Generator
    share : float
        The emphysema index, 0 to 1.
    """
    _, _, z = lattice.axes
    where = 0.7 * organs.texture(lattice, random, width=2.6)
    where += 0.5 * organs.texture(lattice, random, width=1.3) + 0.004 * z
    base = hu - np.float32(15)

    def mixed(level: float) -> Array:
        gone = np.clip((where + level) / 0.15 + 0.5, 0, 1)
        return np.asarray(base + gone * (EMPHYSEMA_HU - base), np.float32)

    wanted = min(1.0, share / (1 - VESSELS))
    level = solve(lambda v: float((mixed(v)[inside] < THRESHOLD_HU).mean()), wanted, -6, 6)
    return mixed(level)


def compress(hu: Floats, *, left_share: float, surface: Floats) -> Floats:
    """Return lung pressed together by fluid, most of all beside it.

    Parameters
    ----------
    hu : ndarray of float32
        On the lattice.
    left_share : float
        Volume of the lung over that of its pleural space.
    surface : ndarray of float32
        Distance to the fluid's surface, negative in the lung, in mm.
    """
    air = (hu + 1000) / np.sqrt(max(left_share, 0.1)) - 1000
    beside = 220 * np.exp(np.minimum(surface, 0) / 5)
    return np.asarray(np.minimum(air + beside, -150), np.float32)


def fill(hu: Floats, lesion: Consolidation, rough: Floats) -> Floats:
    """Return lung with a consolidated region."""
    inner = lesion.hu + 8 * rough
    return np.asarray(hu + lesion.share * (inner - hu), np.float32)


def paint_lungs(canvas: Canvas, lattice: Lattice, lungs: dict[int, Floats], hu: Floats) -> None:
    """Paint both lungs at once, so that a line between them keeps its share of the voxels."""
    right, left = lungs.values()
    box = lattice.box(canvas, np.minimum(right, left))
    if box is None:
        return
    for part, (one, two, value) in lattice.slabs(canvas, box, right, left, hu):
        canvas.blend(part, np.minimum(canvas.coverage(one) + canvas.coverage(two), 1), value)


def draw_bullae(
    lattice: Lattice, lungs: dict[int, Floats], random: np.random.Generator, *, share: float
) -> list[Bulla]:
    """Draw bullae of 10 to 60 mm near the pleura, mostly above; the more, the worse the lung."""
    found = []
    field = np.minimum.reduce(list(lungs.values()))
    _, _, z = lattice.axes
    near = np.asarray(np.where((z > -20) & (field > -14), field, 1), np.float32)
    count = 1 + int(share * random.uniform(4, 12))
    for centre in scatter(lattice, near, random, count=count, margin_mm=2.0):
        radius = float(np.exp(random.uniform(np.log(5), np.log(10 + 40 * share))))
        half = radius * np.exp(random.uniform(-0.2, 0.2, 3))
        place = (float(centre[0]), float(centre[1]), float(centre[2]))
        found.append(Bulla(place, (float(half[0]), float(half[1]), float(half[2]))))
    return found


def paint_bullae(canvas: Canvas, lattice: Lattice, lung: Floats, bullae: list[Bulla]) -> None:
    """Paint bullae within the lungs: a thin wall around air."""
    for bulla in bullae:
        reach = 1.2 * max(bulla.half)
        low = [value - reach for value in bulla.centre]
        high = [value + reach for value in bulla.centre]
        box = canvas.box(low, high)
        if any(part.stop <= part.start for part in box):
            continue
        for part, (depth,) in lattice.slabs(canvas, box, lung):
            x, y, z = canvas.axes(part)
            a, b, c = (np.float32(value) for value in bulla.centre)
            ball = ellipsoid(x - a, y - b, z - c, bulla.half)
            inside = canvas.coverage(depth)
            canvas.blend(part, canvas.coverage(ball) * inside, -700)
            canvas.blend(part, canvas.coverage(ball + np.float32(0.8)) * inside, -992)


def paint_bronchograms(
    canvas: Canvas, lattice: Lattice, trees: Trees, lesion: Consolidation,
    random: np.random.Generator,
) -> None:  # fmt: skip
    """Paint air in the bronchi beside the arteries of a consolidated region."""
    for vessel in trees.vessels:
        if not 1 <= vessel.depth <= 6 or random.uniform() > 0.8:
            continue
        middle = (np.array(vessel.start) + np.array(vessel.end)) / 2
        axes = (lattice.z_mm, lattice.y_mm, lattice.x_mm)
        index = tuple(
            int(np.clip(np.searchsorted(axis, value), 0, len(axis) - 1))
            for axis, value in zip(axes, middle[::-1], strict=True)
        )
        if lesion.share[index] < 0.7:
            continue
        radius = max(1.0, 3.0 - 0.3 * vessel.depth)
        start = (vessel.start[0], vessel.start[1] + 3.0, vessel.start[2] - 2.0)
        end = (vessel.end[0], vessel.end[1] + 3.0, vessel.end[2] - 2.0)
        canvas.tube(start, end, (radius, 0.8 * radius), [(0, -960)])
