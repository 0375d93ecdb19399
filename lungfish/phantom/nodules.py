"""Nodules: what tells malignant from benign is margin, density and shape, never size alone.

Both kinds draw their diameters from one distribution. Malignant: spiculated or lobulated margin,
part-solid or heterogeneous density, irregular shape. Benign: smooth margin, uniform solid density,
sometimes calcified, round or oval. The vocabulary is that of the Fleischner Society's glossary
(Hansell et al., Radiology 246, 2008).
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom.anatomy import Build
from lungfish.phantom.canvas import Box, Canvas, Floats, Lattice
from lungfish.phantom.settings import Settings
from lungfish.phantom.shapes import Array, Point
from lungfish.randomness import generator

Directions = NDArray[np.float64]
GROUND_GLASS_HU = -560.0


@dataclasses.dataclass(frozen=True, eq=False)
class Nodule:
    """One nodule, in mm of the reference body.

    Attributes
    ----------
    malignant : bool
    centre : tuple of 3 floats
        (x, y, z).
    radius : float
        Of the ball of equal volume.
    margin : str
        ``smooth``, ``lobulated`` or ``spiculated``.
    density : str
        ``solid``, ``calcified``, ``part-solid`` or ``heterogeneous``.
    shape : str
        ``round``, ``oval`` or ``irregular``.
    solid_hu : float
        Of its solid tissue.
    stretch : ndarray, shape (3, 3)
        Maps an offset from the centre to one at which the nodule is nearly a ball.
    bumps : ndarray, shape (n, 3)
        Unit directions of lobules and spicules.
    heights, sharpness : ndarray, shape (n,)
        How far each reaches out, as a share of the radius, and how narrow it is.
    core : tuple of 3 floats
        Middle of the core (solid, calcified or necrotic), relative to the centre.
    core_radius : float
    """

    malignant: bool
    centre: Point
    radius: float
    margin: str
    density: str
    shape: str
    solid_hu: float
    stretch: NDArray[np.float64]
    bumps: Directions
    heights: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    core: Point
    core_radius: float

    @property
    def reach(self) -> float:
        """Farthest that the nodule can reach from its centre, in mm."""
        longest = self.radius / np.linalg.svd(self.stretch, compute_uv=False)[-1]
        tips = relief(self, *self.bumps.T) if len(self.bumps) else np.ones(1)
        return float(longest * tips.max())


def directions(random: np.random.Generator, count: int) -> Directions:
    """Draw unit vectors spread unevenly over the sphere: a turned, shaken Fibonacci lattice."""
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * k / max(count, 1)), np.pi * (1 + 5**0.5) * k
    points = np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], 1
    )
    points = points @ _rotation(random) + 0.6 / max(count, 4) ** 0.5 * random.standard_normal(
        (count, 3)
    )
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float64)


def _rotation(random: np.random.Generator) -> NDArray[np.float64]:
    turned, _ = np.linalg.qr(random.standard_normal((3, 3)))
    return np.asarray(turned, np.float64)


def _margin(
    random: np.random.Generator, margin: str
) -> tuple[Directions, NDArray[np.float64], NDArray[np.float64]]:
    """Draw directions, heights and sharpness of lobules and spicules."""
    if margin == "smooth":
        return np.zeros((0, 3)), np.zeros(0), np.zeros(0)
    lobules = int(random.integers(5, 8))
    spicules = int(random.integers(14, 23)) if margin == "spiculated" else 0
    high = 0.28 if spicules else 0.6
    heights = np.concatenate(
        [random.uniform(0.5 * high, high, lobules), random.uniform(0.6, 1.2, spicules)]
    )
    sharpness = np.concatenate([np.full(lobules, 11.0), random.uniform(45, 90, spicules)])
    bumps = [directions(random, lobules), directions(random, spicules)]
    return np.concatenate(bumps), heights, sharpness


def relief(nodule: Nodule, x: Array, y: Array, z: Array) -> Array:
    """Return the nodule's extent towards each direction as a multiple of its smooth radius.

    Parameters
    ----------
    nodule : Nodule
    x, y, z : ndarray
        Components of unit vectors.
    """
    extent = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape), np.float32)
    for (a, b, c), height, sharp in zip(
        nodule.bumps, nodule.heights, nodule.sharpness, strict=True
    ):
        angle = np.float32(a) * x + np.float32(b) * y + np.float32(c) * z - np.float32(1)
        extent += np.float32(height) * np.exp(np.float32(sharp) * angle)
    return extent


def equal_volume(nodule: Nodule) -> Nodule:
    """Return the nodule scaled so that its volume is that of the ball of its radius."""
    x, y, z = directions(np.random.default_rng(0), 4000).T
    volume = float(np.mean(relief(nodule, x, y, z).astype(np.float64) ** 3))
    volume /= abs(float(np.linalg.det(nodule.stretch)))
    return dataclasses.replace(nodule, stretch=nodule.stretch * volume ** (1 / 3))


def draw_nodule(
    random: np.random.Generator, settings: Settings, *, malignant: bool, scale: float
) -> Nodule:
    """Draw one nodule, its place left at the origin.

    Parameters
    ----------
    random : numpy.random.Generator
        Used in the same way for both kinds up to the diameter, which therefore cannot tell them
        apart.
    settings : Settings
    malignant : bool
    scale : float
        Size of the body: the settings' diameters are those of the scan.
    """
    sizes = np.log([settings.smallest_mm, settings.largest_mm])
    radius = float(np.exp(random.uniform(*sizes))) / 2 / scale
    if malignant:
        margin = str(random.choice(["spiculated", "spiculated", "lobulated"]))
        density = str(random.choice(["part-solid", "heterogeneous"]))
        shape, spread = "irregular", 0.2
    else:
        margin, density = "smooth", str(random.choice(["solid", "solid", "calcified"]))
        shape, spread = (("round", 0.0), ("oval", 0.16))[int(random.integers(2))]
    axes = np.exp(spread * np.array([1.0, -0.3, -0.7]) * random.uniform(0.6, 1.2))
    turned = _rotation(random)
    bumps, heights, sharpness = _margin(random, margin)
    core = 0.25 * radius * directions(random, 1)[0]
    nodule = Nodule(
        malignant, (0.0, 0.0, 0.0), radius, margin, density, shape,
        float(random.uniform(20, 60)), turned.T @ np.diag(1 / axes) @ turned,
        bumps, heights, sharpness,
        (float(core[0]), float(core[1]), float(core[2])),
        radius * float(random.uniform(0.45, 0.6)),
    )  # fmt: skip
    return equal_volume(nodule)


def draw_nodules(
    lattice: Lattice, lungs: list[Floats], build: Build, settings: Settings,
    *, seed: int, patient: str, malignant: bool,
) -> list[Nodule]:  # fmt: skip
    """Draw the nodules of a patient and place them within the lungs, apart from each other.

    Their number and their sizes follow the same law in all patients. A malignant patient's first
    nodule is malignant and each further one with probability one half.
    """
    random = generator(seed, "phantom", patient, "nodules")
    count = int(random.integers(1, settings.nodules + 1))
    kinds = [malignant and (k == 0 or bool(random.integers(2))) for k in range(count)]
    depth = np.minimum.reduce(lungs)
    placed: list[Nodule] = []
    for kind in kinds:
        nodule = draw_nodule(random, settings, malignant=kind, scale=build.scale)
        placed.append(
            dataclasses.replace(nodule, centre=_place(lattice, depth, nodule, placed, random))
        )
    return placed


def _place(
    lattice: Lattice, depth: Floats, nodule: Nodule, placed: list[Nodule],
    random: np.random.Generator,
) -> Point:  # fmt: skip
    """Choose a place in the lung, deep enough, apart from the hila and from other nodules.

    Where no place is so good, the deepest of those that touch no other nodule is taken.
    """
    x, y, z = (np.broadcast_to(axis, lattice.shape) for axis in lattice.axes)
    room = np.minimum(-depth - nodule.reach - 2.0, np.hypot(np.abs(x) - 40, z + 25) - 30)
    for other in placed:
        a, b, c = other.centre
        gap = np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) - other.reach - nodule.reach
        room = np.minimum(room, gap - 3)
    good = np.argwhere(room > 0)
    if len(good):
        k, j, i = good[random.integers(len(good))]
    else:
        k, j, i = np.unravel_index(int(np.argmax(room)), room.shape)
    return float(lattice.x_mm[i]), float(lattice.y_mm[j]), float(lattice.z_mm[k])


def extent(nodule: Nodule, canvas: Canvas) -> Box:
    """Return the part of the canvas that the nodule can reach."""
    low = [value - nodule.reach for value in nodule.centre]
    high = [value + nodule.reach for value in nodule.centre]
    return canvas.box(low, high)


def paint_nodule(canvas: Canvas, nodule: Nodule, random: np.random.Generator) -> tuple[Box, Floats]:
    """Paint a nodule, supersampled within the slice so that its spicules stay thin.

    Returns
    -------
    box : Box
        The part of the canvas that it can reach.
    coverage : ndarray of float32
        The share of each voxel there that it covers.
    """
    box = extent(nodule, canvas)
    parts = max(1, int(np.ceil(canvas.pixel_mm / 0.8)))
    total = np.zeros([part.stop - part.start for part in box], np.float32)
    colour = np.zeros_like(total)
    axes = canvas.axes(box)
    steps = (np.arange(parts) + 0.5) / parts - 0.5
    for dy in steps * canvas.pixel_mm:
        for dx in steps * canvas.pixel_mm:
            shift = np.array([dx, dy, 0]) - nodule.centre
            x, y, z = (axis + np.float32(s) for axis, s in zip(axes, shift, strict=True))
            covered, hu = _sample(nodule, x, y, z, width=canvas.pixel_mm / parts)
            total += covered
            colour += covered * hu
    coverage = np.asarray(total / parts**2, np.float32)
    colour /= np.maximum(total, 1e-6)
    colour += 12 * random.standard_normal(colour.shape, np.float32)
    canvas.blend(box, coverage, colour)
    return box, coverage


def _sample(nodule: Nodule, x: Array, y: Array, z: Array, *, width: float) -> tuple[Floats, Floats]:
    """Return coverage and HU of a nodule at offsets from its centre."""
    m = nodule.stretch.astype(np.float32)
    u, v, w = (row[0] * x + row[1] * y + row[2] * z for row in m)
    length = np.sqrt(u * u + v * v + w * w)
    inverse = 1 / np.maximum(length, 1e-3)
    distance = length - np.float32(nodule.radius) * relief(
        nodule, u * inverse, v * inverse, w * inverse
    )
    covered = np.clip(0.5 - distance / width, 0, 1)
    a, b, c = nodule.core
    from_core = np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2)
    core = np.clip(0.5 - (from_core - nodule.core_radius) / 1.5, 0, 1)
    body, inner = _densities(nodule)
    if nodule.margin == "spiculated":
        # Spicules are strands of connective tissue, dense even around ground glass.
        strand = np.clip((length / np.float32(nodule.radius) - 1.1) / 0.15, 0, 1)
        body = body + (nodule.solid_hu - body) * strand
    return np.asarray(covered, np.float32), np.asarray(body + (inner - body) * core, np.float32)


def _densities(nodule: Nodule) -> tuple[Array | float, float]:
    """Return the HU of the nodule's body and of its core."""
    solid = nodule.solid_hu
    return {
        "solid": (solid, solid),
        "calcified": (solid, 420.0),
        "part-solid": (GROUND_GLASS_HU, solid),
        "heterogeneous": (solid, -180.0),
    }[nodule.density]
