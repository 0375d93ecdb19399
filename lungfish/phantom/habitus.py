"""What lies around the lungs and may be taken for them: arms, table and mattress, gut with gas."""

import numpy as np

from lungfish.phantom import anatomy
from lungfish.phantom.anatomy import LEFT, RIGHT, Build
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.organs import AIR_HU, FAT_HU, MUSCLE_HU
from lungfish.phantom.plants import litres, solve
from lungfish.phantom.shapes import Array, ellipsoid, intersection, union

ARM_MM = 43.0
"""Radius of the upper arm."""
MATTRESS_HU = -940


def paint_mattress(canvas: Canvas, build: Build, *, gap_mm: float) -> None:
    """Paint a flat table top of carbon fibre with a soft mattress of foam on it."""
    x, y = canvas.x_mm[None, :], canvas.y_mm[:, None]
    top = y - (103 * build.depth + 0.4 * build.fat_mm + gap_mm)
    wide = np.abs(x) - 215
    foam = canvas.coverage(np.maximum(np.maximum(-top, top - 22), wide))
    cover = foam - canvas.coverage(np.maximum(np.maximum(-top, top - 22), wide) + 1.0)
    plate = canvas.coverage(np.maximum(np.maximum(22 - top, top - 24.5), wide))
    core = canvas.coverage(np.maximum(np.maximum(24.5 - top, top - 55), wide))
    under = canvas.coverage(np.maximum(np.maximum(55 - top, top - 57.5), wide))
    added = (MATTRESS_HU + 1000) * foam + 300 * cover + 700 * (plate + under) + 45 * core
    np.add(canvas.hu, added, out=canvas.hu)


def paint_arms(canvas: Canvas, build: Build, random: np.random.Generator, *, gap_mm: float) -> None:
    """Paint both arms along the trunk: skin, fat, muscle, humerus, elbow, forearm."""
    for side in (RIGHT, LEFT):
        middle = build.width * 157 + 0.5 * build.fat_mm + gap_mm + ARM_MM
        back = float(random.uniform(0, 25))
        shoulder = (side * 152.0, back + 5, 100.0)
        elbow = (side * middle, back + float(random.uniform(0, 15)), -175.0)
        high = (side * (middle - 4), back, 40.0)
        wrist = (side * (middle - 10), back - 45.0, -330.0)
        fat = 0.5 * build.fat_mm + 2.5
        layers = [(0.0, 10.0), (2.0, float(FAT_HU)), (2.0 + fat, float(MUSCLE_HU))]
        canvas.tube(high, elbow, (ARM_MM, ARM_MM - 6), layers)
        canvas.tube(elbow, wrist, (ARM_MM - 6, ARM_MM - 10), layers)
        joint = (high[0] - side * 14, high[1], high[2] + 45)
        canvas.tube(high, joint, (ARM_MM + 1, ARM_MM + 4), layers)
        bone = [(0.0, 1000 * build.bone), (4.0, 120.0)]
        canvas.tube(joint, elbow, (12, 11), bone)
        canvas.tube(shoulder, joint, (22, 22), [(0.0, 500 * build.bone), (2.0, 240 * build.bone)])
        for shift in (-9.0, 9.0):
            ends = ((elbow[0] + shift, *elbow[1:]), (wrist[0] + shift, *wrist[1:]))
            canvas.tube(*ends, (8, 6), [(0.0, 1000 * build.bone), (3.0, 150.0)])


def gut(lattice: Lattice, build: Build, random: np.random.Generator, *, litre: float) -> Floats:
    """Return the distance to the gas in stomach and colon, close below the diaphragm.

    The stomach's bubble stands in front, as the patient lies on the back; from 0.3 litres on
    gas also stands in the colon before the liver (as Chilaiditi described).
    """
    x, y, z = lattice.axes
    left, right = build.left_dome_mm, build.right_dome_mm
    shake = random.uniform(-6, 6, (12, 3))
    places = [(56, -20, left - 34, 1.4)]  # fundus of the stomach
    places += [(74 + 9 * k, 26 - 12 * k, left - 46 - 11 * k, 0.8) for k in range(3)]  # left flexure
    places += [(44 - 21 * k, -58, left - 60, 0.75) for k in range(3)]  # transverse colon
    if litre > 0.3:
        places += [(-40 - 18 * k, -60 + 9 * k, right - 38, 0.8) for k in range(3)]  # right flexure
    # The wall and the diaphragm, 5 mm together, are all that parts gut from lung.
    below = np.maximum(anatomy.diaphragm(x, y, z, build) * 1.4, anatomy.cage(x, y, z, build)) + 5

    def gas(size: float) -> Array:
        found = None
        for (a, b, c, big), (da, db, dc) in zip(places, shake, strict=False):
            half = (22 * size * big, 20 * size * big, 19 * size * big)
            one = ellipsoid(x - a - da, y - b - db, z - c - dc, half)
            found = one if found is None else union(found, one, 3)
        return intersection(np.asarray(found), below, 4)

    size = solve(lambda k: litres(lattice, gas(k), build), litre, 0.1, 2.5)
    return np.asarray(gas(size), np.float32)


def paint_gut(canvas: Canvas, lattice: Lattice, gas: Floats) -> None:
    """Paint the fat around the gut, its wall and the gas in it."""
    lattice.paint(canvas, gas - np.float32(7), [(0, FAT_HU), (4.5, 38), (7, AIR_HU)])
