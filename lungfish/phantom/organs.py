"""Painting the soft parts: skin, fat, muscle, lungs, heart, great vessels, abdomen, table."""

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from lungfish.phantom import anatomy
from lungfish.phantom.anatomy import Build
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.shapes import Array, ellipsoid, intersection, smoothstep
from lungfish.randomness import generator

AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, HEART_HU, LIVER_HU = -1000, -100, 52, 40, 44, 58


def texture(lattice: Lattice, random: np.random.Generator, *, width: float) -> Floats:
    """Return smooth noise on the lattice with mean 0 and standard deviation 1.

    Parameters
    ----------
    lattice : Lattice
        Where.
    random : numpy.random.Generator
        Source of chance.
    width : float
        Standard deviation of the smoothing in lattice steps.
    """
    noise = gaussian_filter(random.standard_normal(lattice.shape, np.float32), width)
    return np.asarray(noise / noise.std(), np.float32)


def paint_table(canvas: Canvas, build: Build, *, gap_mm: float = 5.0) -> None:
    """Paint the scanner's table: a cradle of foam in a shell of carbon fibre, below the back."""
    x, y = canvas.x_mm[None, :], canvas.y_mm[:, None]
    back = 103 * build.depth + 0.4 * build.fat_mm
    top = y - (back + gap_mm - 0.0006 * x * x)
    inside = np.maximum(np.maximum(-top, top - 24 + 0.0004 * x * x), np.abs(x) - 195)
    shell = canvas.coverage(inside) - canvas.coverage(inside + 2.0)
    core = canvas.coverage(inside + 2.0)
    np.add(canvas.hu, 750 * shell + 70 * core, out=canvas.hu)


def paint_trunk(
    canvas: Canvas, lattice: Lattice, build: Build, random: np.random.Generator
) -> None:
    """Paint skin, fat, the muscles with streaks of fat, and what fills the rib cage."""
    x, y, z = lattice.axes
    skin = anatomy.skin(x, y, z, build)
    lattice.paint(canvas, skin, [(0, 10), (2.0, FAT_HU)])
    streaks = smoothstep(0.6, 1.5, texture(lattice, random, width=1.1))
    wall = MUSCLE_HU - (0.4 + 0.03 * build.fat_mm) * 130 * streaks
    lattice.paint(canvas, anatomy.muscle(x, y, z, build), [(0, wall.astype(np.float32))])
    axilla = ellipsoid(np.abs(x) - 112, y + 8, z - 48, (13, 26, 50))
    lattice.paint(canvas, axilla, [(0, FAT_HU)])
    lattice.paint(canvas, anatomy.cage(x, y, z, build), [(0, MUSCLE_HU), (2.5, FAT_HU + 5)])


def paint_abdomen(canvas: Canvas, lattice: Lattice, build: Build, *, gas: bool = True) -> None:
    """Paint the diaphragm, the liver on the right, the stomach and the spleen on the left.

    Without `gas` the stomach holds fluid only.
    """
    x, y, z = lattice.axes
    below = np.maximum(anatomy.diaphragm(x, y, z, build), anatomy.cage(x, y, z, build))
    lattice.paint(canvas, below, [(0, MUSCLE_HU), (3.0, FAT_HU + 5)])
    belly = below + 3.5
    edge = x - 30 + 0.25 * (z + 120) + 0.35 * (y + 30)
    liver = intersection(belly, np.maximum(edge, y - 66 + 0.2 * (x + 60)), 14)
    lattice.paint(canvas, liver, [(0, LIVER_HU)])
    half = (40.0, 42.0, 52.0)
    stomach = intersection(
        belly + 3, ellipsoid(x - 58, y + 18, z - build.left_dome_mm + 46, half), 6
    )
    # The patient lies on the back: gas stands in front, the level is a plane.
    bubble = np.maximum(stomach + 4, y + 26)
    lattice.paint(canvas, stomach, [(0, 45), (4, 15)])
    if gas:
        lattice.paint(canvas, bubble, [(0, AIR_HU)])
    spleen = ellipsoid(x - 88, y - 40, z - build.left_dome_mm + 42, (30, 38, 46))
    lattice.paint(canvas, intersection(belly + 2, spleen, 6), [(0, 50)])


def paint_heart(
    canvas: Canvas, lattice: Lattice, build: Build, *, contrast_hu: float | None = None
) -> None:
    """Paint heart with its coating of fat, the great vessels and the oesophagus.

    With contrast medium the blood has `contrast_hu`, and the heart, of which the blood is the
    larger part, somewhat less.
    """
    blood, muscle = (BLOOD_HU, HEART_HU) if contrast_hu is None else (contrast_hu, contrast_hu - 40)
    x, y, z = lattice.axes
    sac = anatomy.heart(x, y, z, build)
    # The groove between atria and ventricles holds fat and the coronary arteries.
    groove = np.abs(0.62 * (x - 6) - 0.6 * (y + 22) - 0.5 * (z + 62)) - 2.2
    groove = np.maximum(groove, -sac - 9)
    lattice.paint(canvas, sac - 2.5, [(0, MUSCLE_HU), (1.2, FAT_HU + 5), (3.0, muscle)])
    lattice.paint(canvas, np.maximum(groove, sac), [(0, FAT_HU + 20)])
    for start, end, radii in anatomy.great_vessels(build):
        canvas.tube(start, end, radii, [(0, BLOOD_HU + 6), (1.5, blood)])
    top = anatomy.BOWED_OESOPHAGUS if build.junction_mm is not None else ((4, 31, 120),)
    for start, end in pairwise((*top, (3, 30, -60))):
        canvas.tube(start, end, (8, 8), [(0, 42)])
    canvas.tube((3, 30, -60), (14, 18, -150), (8, 8), [(0, 42)])


def paint_lungs(
    canvas: Canvas, lattice: Lattice, build: Build, lungs: list[Array], *, seed: int, patient: str
) -> None:
    """Paint the parenchyma: denser towards the back, where the blood sinks, and textured."""
    _, y, _ = lattice.axes
    random = generator(seed, "phantom", patient, "parenchyma")
    coarse = texture(lattice, random, width=3.0)
    fine = texture(lattice, random, width=0.7)
    hu = build.lung_hu + 0.22 * y + 10 * coarse + 20 * fine
    for distance in lungs:
        lattice.paint(canvas, distance, [(0, hu.astype(np.float32))])
        paint_fissure(canvas, lattice, distance, 3 * coarse)


def paint_fissure(canvas: Canvas, lattice: Lattice, lung: Array, wave_mm: Array) -> None:
    """Paint the oblique fissure, a sheet thinner than a voxel that falls towards the front."""
    _, y, z = lattice.axes
    sheet = (0.7 * (z + 40) - 0.7 * (y + 2) + wave_mm).astype(np.float32)
    box = lattice.box(canvas, lung)
    if box is None:
        return
    for part, (depth, away) in lattice.slabs(canvas, box, lung, sheet):
        inside = np.maximum(np.abs(away) - np.float32(0.4), depth + np.float32(1))
        canvas.blend(part, canvas.coverage(inside), -640)


def paint_neck(canvas: Canvas) -> None:
    """Paint the thyroid and the muscles that reach into the upper opening of the chest."""
    for side in (anatomy.RIGHT, anatomy.LEFT):
        canvas.tube((side * 9, -42, 58), (side * 16, -38, 125), (6, 10), [(0, MUSCLE_HU)])
        canvas.tube((side * 42, 14, 92), (side * 32, 22, 130), (6, 15), [(0, MUSCLE_HU)])
        canvas.tube((side * 15, 4, 92), (side * 16, 2, 125), (6, 9), [(0, 95)])


def paint_organs(
    canvas: Canvas, lattice: Lattice, build: Build, lungs: list[Array], *, seed: int, patient: str
) -> None:
    """Paint all soft parts of the chest but the trees of bronchi and vessels, back to front."""
    paint_table(canvas, build)
    paint_trunk(canvas, lattice, build, generator(seed, "phantom", patient, "trunk"))
    paint_abdomen(canvas, lattice, build)
    paint_heart(canvas, lattice, build)
    paint_neck(canvas)
    paint_lungs(canvas, lattice, build, lungs, seed=seed, patient=patient)
