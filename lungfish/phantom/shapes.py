"""Signed distances of simple shapes: negative inside, in mm, near the surface to a few per cent.

Positions are (x, y, z) in mm along left, posterior, superior, given as three arrays that broadcast
against each other. The ellipsoid's distance is the first-order one of I. Quilez, "Ellipsoid SDF":
exact at the surface, an estimate away from it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Point = tuple[float, float, float]


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`, of any shape."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def ellipse(
    x: Array, y: Array, half_x: Array | float, half_y: Array | float, power: float
) -> Array:
    """Return the distance to a superellipse along the ray from its middle, in mm.

    Parameters
    ----------
    x, y : ndarray
        Relative to the middle, in mm.
    half_x, half_y : ndarray or float
        Semi-axes, in mm.
    power : float
        2 is an ellipse, more is squarer.
    """
    level = np.abs(x / half_x) ** power + np.abs(y / half_y) ** power
    ratio = np.maximum(level, 1e-6) ** (1 / power)
    radius = np.sqrt(x * x + y * y)
    return np.asarray(radius - np.maximum(radius, 1e-3) / ratio)


def ellipse_radius(angle: Array, half_x: Array, half_y: Array, power: float) -> Array:
    """Return how far a superellipse reaches at an angle from the x axis, in mm."""
    level = np.abs(np.cos(angle) / half_x) ** power + np.abs(np.sin(angle) / half_y) ** power
    return np.asarray(level ** (-1 / power))


def ellipsoid(
    x: Array, y: Array, z: Array, half: Sequence[float], axes: Array | None = None
) -> Array:
    """Return the distance to an ellipsoid at the origin.

    Parameters
    ----------
    x, y, z : ndarray
        Relative to its middle, in mm.
    half : sequence of 3 floats
        Semi-axes, in mm.
    axes : ndarray, shape (3, 3), optional
        Rows are the unit directions of the semi-axes; by default x, y and z.
    """
    if axes is not None:
        x, y, z = (row[0] * x + row[1] * y + row[2] * z for row in np.asarray(axes, np.float32))
    a, b, c = (np.float32(value) for value in half)
    first = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
    second = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
    return np.asarray(first * (first - 1) / np.maximum(second, 1e-6))


def cone(
    x: Array, y: Array, z: Array, start: Point, end: Point, radii: tuple[float, float]
) -> Array:
    """Return the distance to a tube with round ends whose radius runs between two values, in mm."""
    ax, ay, az = (np.float32(value) for value in start)
    dx, dy, dz = (np.float32(b - a) for a, b in zip(start, end, strict=True))
    px, py, pz = x - ax, y - ay, z - az
    length = max(float(dx * dx + dy * dy + dz * dz), 1e-6)
    t = (px * dx + py * dy + pz * dz) * np.float32(1 / length)
    np.clip(t, 0, 1, out=t)
    gap = (px - t * dx) ** 2
    gap += (py - t * dy) ** 2
    gap += (pz - t * dz) ** 2
    np.sqrt(gap, out=gap)
    gap -= np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])
    return np.asarray(gap)


def union(first: Array, second: Array, blend_mm: float) -> Array:
    """Join two shapes, filling the crease between them over a few mm."""
    crease = np.maximum(blend_mm - np.abs(first - second), 0)
    return np.asarray(np.minimum(first, second) - crease * crease / (4 * blend_mm))


def intersection(first: Array, second: Array, blend_mm: float) -> Array:
    """Keep what two shapes share, rounding the edge between them over a few mm."""
    return -union(-first, -second, blend_mm)
