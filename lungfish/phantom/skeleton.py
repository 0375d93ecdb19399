"""Painting the bones: spine with its canal, twelve pairs of ribs, sternum, scapulae, clavicles."""

from itertools import pairwise

import numpy as np

from lungfish.phantom.anatomy import LEFT, RIGHT, Build, cage_half, spine_y_mm
from lungfish.phantom.canvas import Canvas
from lungfish.phantom.shapes import Array, Point, ellipse, ellipse_radius, ellipsoid

VERTEBRA_MM = 24.0
"""Height of a vertebral body with its disc."""
TOP_VERTEBRA_MM = 96.0
"""Height z of the middle of the first thoracic vertebra."""


def _layers(build: Build, cortex_mm: float = 1.5) -> list[tuple[float, float]]:
    """Return compact bone outside, cancellous bone inside."""
    return [(0, 700 * build.bone), (cortex_mm, 210 * build.bone)]


def paint_spine(canvas: Canvas, build: Build) -> None:
    """Paint vertebral bodies, discs, arches around the canal, and their processes."""
    box = canvas.box((-24, 15, -260), (24, 95, 260))
    x, y, z = canvas.axes(box)
    middle = spine_y_mm(z)
    phase = np.abs((z - TOP_VERTEBRA_MM + VERTEBRA_MM / 2) % VERTEBRA_MM - VERTEBRA_MM / 2)
    column = ellipse(x, y - middle, 17, 15, 2.3)
    body = np.maximum(column, phase - 9.5)
    canvas.blend(box, canvas.coverage(column), 85)
    for inset, hu in _layers(build):
        canvas.blend(box, canvas.coverage(body + np.float32(inset)), hu)
    ring = ellipse(x, y - middle - 24, 9, 9, 2.0)
    arch = np.maximum(ring - 5, phase - 8)
    canvas.blend(box, canvas.coverage(arch), 480 * build.bone)
    canvas.blend(box, canvas.coverage(ring + 0.5), 15)
    cord = ellipse(x, y - middle - 24, 4.5, 4.0, 2.0)
    canvas.blend(box, canvas.coverage(cord), 38)
    for k in range(-1, 13):
        _paint_processes(canvas, build, TOP_VERTEBRA_MM - k * VERTEBRA_MM)


def _paint_processes(canvas: Canvas, build: Build, z: float) -> None:
    """Paint the spinous and the two transverse processes of one vertebra."""
    y = float(spine_y_mm(z))
    layers = _layers(build, 1.2)
    canvas.tube((0, y + 36, z), (0, y + 47, z - 16), (3.5, 3), layers)
    for side in (RIGHT, LEFT):
        canvas.tube((side * 10, y + 27, z), (side * 29, y + 30, z + 3), (4, 3.2), layers)


def rib_path(build: Build, number: int, side: int) -> list[Point]:
    """Return points along the middle of one rib, from the spine to its end in front.

    Parameters
    ----------
    build : Build
        The body.
    number : int
        0 to 11, from the top.
    side : int
        `RIGHT` or `LEFT`.

    Returns
    -------
    list of (x, y, z)
        In mm of the reference body.
    """
    share = np.linspace(0, 1, 15)
    reach = (130, 145, 152, 154, 154, 152, 146, 138, 128, 116, 96, 74)[number]
    drop = (26, 40, 50, 58, 64, 68, 70, 70, 66, 60, 46, 30)[number]
    start = TOP_VERTEBRA_MM + 6 - number * VERTEBRA_MM
    z = start + 5 * np.sin(np.pi * np.minimum(share * 5, 1)) - drop * share**1.25
    angle = np.pi / 2 - np.radians(17 + (reach - 17) * share)
    radius = ellipse_radius(angle, *cage_half(z, build), power=2.3) + 5.0
    x = side * radius * np.cos(angle)
    y = radius * np.sin(angle)
    # The head of the rib leaves the cage's curve and meets the vertebra.
    x[0], y[0] = side * 20, float(spine_y_mm(z[0])) + 16
    return [(float(a), float(b), float(c)) for a, b, c in zip(x, y, z, strict=True)]


def paint_ribs(canvas: Canvas, build: Build) -> None:
    """Paint the ribs, and the cartilage that joins the first ten to the sternum."""
    for number in range(12):
        for side in (RIGHT, LEFT):
            path = rib_path(build, number, side)
            for first, second in pairwise(path):
                canvas.tube(first, second, (4.6, 4.6), _layers(build, 1.4))
            if number < 10:
                _paint_cartilage(canvas, build, path[-1], side, climb_mm=3.5 * number)


def _paint_cartilage(
    canvas: Canvas, build: Build, start: Point, side: int, *, climb_mm: float
) -> None:
    """Paint the cartilage from the end of a rib along the cage to the sternum."""
    first = float(np.arctan2(start[1], side * start[0]))
    angle = np.linspace(first, np.radians(-80), 6)
    z = np.linspace(start[2], min(max(start[2] + climb_mm, -78.0), 60.0), 6)
    radius = ellipse_radius(angle, *cage_half(z, build), power=2.3) + 5.0
    x, y = side * radius * np.cos(angle), radius * np.sin(angle)
    path = [(float(a), float(b), float(c)) for a, b, c in zip(x, y, z, strict=True)]
    for one, two in pairwise(path):
        canvas.tube(one, two, (4.4, 4.4), [(0, 95)])


def paint_front(canvas: Canvas, build: Build) -> None:
    """Paint sternum, clavicles and scapulae."""
    box = canvas.box((-25, -115, -100), (25, -40, 75))
    x, y, z = canvas.axes(box)
    _, half_y = cage_half(z, build)
    plate = ellipse(x, y + half_y + 4, 15 + 6 * (z > 45), 5.5, 2.4)
    plate = np.maximum(plate, np.maximum(z - 66, -88 - z))
    for inset, hu in _layers(build, 1.3):
        canvas.blend(box, canvas.coverage(plate + np.float32(inset)), 0.8 * hu)
    for side in (RIGHT, LEFT):
        canvas.tube((side * 20, -66, 68), (side * 70, -66, 84), (7, 5.5), _layers(build))
        canvas.tube((side * 70, -66, 84), (side * 128, -30, 100), (5.5, 6), _layers(build))
        _paint_scapula(canvas, build, side)


def _paint_scapula(canvas: Canvas, build: Build, side: int) -> None:
    """Paint one shoulder blade, a thin plate that lies on the ribs behind."""
    normal = np.array([side * 0.62, 0.78, 0.1])
    normal /= np.linalg.norm(normal)
    along = np.cross(normal, [0, 0, 1])
    along /= np.linalg.norm(along)
    axes = np.stack([along, normal, np.cross(normal, along)])
    middle = (side * 101.0, 56.0, 72.0)

    def plate(x: Array, y: Array, z: Array) -> Array:
        return ellipsoid(x - middle[0], y - middle[1], z - middle[2], (34, 3.4, 58), axes)

    low = [value - 60 for value in middle]
    high = [value + 60 for value in middle]
    canvas.paint(low, high, plate, 480 * build.bone)
    canvas.tube(
        (side * 92, 70, 84), (side * 128, 42, 100), (4, 5), _layers(build)
    )  # the spine of the scapula


def paint_skeleton(canvas: Canvas, build: Build) -> None:
    """Paint all bones."""
    paint_spine(canvas, build)
    paint_ribs(canvas, build)
    paint_front(canvas, build)
