"""Changes to a digital patient that leave its anatomy plausible, to bring it nearer to real ones.

Nothing is mirrored: a chest seen in a mirror has its heart on the right, and no label swap makes
that a common patient.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lungfish.lungs import morphology
from lungfish.lungs.body import TISSUE_HU
from lungfish.lungs.sides import LEFT, RIGHT
from lungfish.lungs.unet.cases import TrainingCase
from lungfish.lungs.unet.grid import STEP_MM
from lungfish.volume import AIR_HU

Array = NDArray[Any]
Floats = NDArray[np.float32]
Example = tuple[Floats, Floats]
"""HU (z, y, x) on the network's grid; shares of right lung, left lung and what holds no air
(z, y, x, 3), 0..1."""

TURN_DEGREES = (8.0, 6.0, 6.0)
"""Most turn about z, y and x."""
ROOM_VOXEL = (0, 10, 10)
"""Air added around a case, for a thicker body."""
THICKEST_MM = 60.0
"""Most fat and breast put on a body's outside."""
LUMPS = 14
"""Mean number of lumps painted where neither lung nor fluid is."""
LUMP_MM = (8.0, 45.0)
"""Their half axes."""
KNOTS_HU = (-1024, -850, -500, -50, 100, 400)
KNOT_SHIFTS_HU = (15, 50, 60, 25, 25, 80)
"""Standard deviation by which the HU of air, lung, rims, fat, blood and bone are moved."""


def vary(case: TrainingCase, random: np.random.Generator) -> Example:
    """Turn, stretch and cut a case, and change its HU as other patients and scanners would.

    Parameters
    ----------
    case : TrainingCase
    random : numpy.random.Generator

    Returns
    -------
    tuple of ndarray of float32
        HU (z, y, x) on the network's grid, and the shares of right lung, left lung and what holds
        no air (z, y, x, 3).
    """
    hu, shares = place(case, random)
    if random.random() < 0.35:
        kept = slab(len(hu), random)
        hu, shares = hu[kept], shares[kept]
    lung = shares[..., :2].sum(axis=-1)
    elsewhere = shares.max(axis=-1) < 0.01
    if random.random() < 0.6:
        put_on(hu, elsewhere, random)
    paint_elsewhere(hu, elsewhere, random)
    hu = change_hu(hu, lung, random)
    if random.random() < 0.25:
        outside = beyond_circle(hu.shape, random)
        hu[:, outside] = AIR_HU
        shares[:, outside] = 0
    return hu, shares


def place(case: TrainingCase, random: np.random.Generator) -> Example:
    """Sample a case on the network's grid, turned and stretched at random."""
    size_mm = np.array(case.hu.shape) * case.spacing_mm
    scale = np.exp(0.07 * random.standard_normal() + 0.06 * random.standard_normal(3))
    angles = random.uniform(-1, 1, 3) * TURN_DEGREES
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    shape = np.ceil(size_mm * scale / STEP_MM).astype(int) + ROOM_VOXEL
    matrix = turn @ np.diag(STEP_MM / scale) / case.spacing_mm[:, None]
    middle = (np.array(case.hu.shape) - 1) / 2 + random.uniform(-1, 1, 3)
    offset = middle - matrix @ ((shape - 1) / 2)

    def sample(array: Array, outside: float) -> Floats:
        return np.asarray(
            ndimage.affine_transform(
                array, matrix, offset, tuple(shape), np.float32, 1, "constant", outside
            ),
            np.float32,
        )

    # Beyond its first and last slice a turned scan goes on as it ends.
    ends = ((1, 1), (0, 0), (0, 0))
    thick = int(np.ceil(25 / case.spacing_mm[0]))
    wide = tuple((thick * low, thick * high) for low, high in ends)
    offset = offset + np.array([thick, 0, 0])
    hu = sample(np.pad(case.hu, wide, mode="edge"), float(AIR_HU))
    lungs = np.pad(case.lungs, wide, mode="edge")
    masks = (lungs == RIGHT, lungs == LEFT, np.pad(case.airless, wide, mode="edge"))
    shares = [sample(mask.astype(np.float32), 0.0) for mask in masks]
    return hu, np.stack(shares, axis=-1)


def slab(length: int, random: np.random.Generator) -> slice:
    """Return the slices that a partial scan keeps: 40 to 95 % of them, at either end or within."""
    count = max(1, round(length * random.uniform(0.4, 0.95)))
    start = random.choice([0, length - count, int(random.integers(length - count + 1))])
    return slice(int(start), int(start) + count)


def put_on(hu: Floats, elsewhere: NDArray[np.bool_], random: np.random.Generator) -> None:
    """Put fat and gland on the outside of a body, thicker here than there, in place."""
    body = morphology.opening(hu > TISSUE_HU, [STEP_MM] * 3, 8.0)
    filled = morphology.fill_slices(body)
    apart_mm = ndimage.distance_transform_edt(~filled, sampling=STEP_MM)
    thick_mm = THICKEST_MM * random.uniform(0.2, 1) * np.clip(cloud(hu.shape, 9.0, random), 0, 1)
    added = (apart_mm < thick_mm) & elsewhere & ~filled
    hu[added] = random.uniform(-125, -60) + 25 * cloud(hu.shape, 2.0, random)[added]


def paint_elsewhere(hu: Floats, elsewhere: NDArray[np.bool_], random: np.random.Generator) -> None:
    """Paint fat, muscle, organs and gas where neither lung nor fluid is, in place.

    Breasts, shoulders, guts and tables of people are not as drawn; a network that saw only what is
    drawn takes them for lung without air.
    """
    for _ in range(random.poisson(LUMPS)):
        semi = np.exp(random.uniform(np.log(LUMP_MM[0]), np.log(LUMP_MM[1]), 3)) / STEP_MM
        gas = random.random() < 0.15
        level = random.uniform(-1000, -850) if gas else random.uniform(-130, 110)
        semi = semi * (0.5 if gas else 1.0)
        middle = random.uniform(0, 1, 3) * hu.shape
        low = np.maximum(np.floor(middle - semi), 0).astype(int)
        high = np.minimum(np.ceil(middle + semi) + 1, hu.shape).astype(int)
        box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
        z, y, x = np.ogrid[box]
        apart = ((z - middle[0]) / semi[0]) ** 2 + ((y - middle[1]) / semi[1]) ** 2
        inside = (apart + ((x - middle[2]) / semi[2]) ** 2 < 1) & elsewhere[box]
        hu[box][inside] = level + random.uniform(0, 25) * random.standard_normal(inside.sum())
    if random.random() < 0.7:
        soft = elsewhere & (hu > -300)
        hu[soft] += random.uniform(0, 50) * cloud(hu.shape, 4.0, random)[soft]


def change_hu(hu: Floats, lung: Floats, random: np.random.Generator) -> Floats:
    """Change HU: tissues' levels, haze and clutter in the lung, shading, blur and noise."""
    levels = np.array(KNOTS_HU) + random.standard_normal(len(KNOTS_HU)) * KNOT_SHIFTS_HU
    levels[0] = max(levels[0], AIR_HU)
    hu = np.interp(hu, KNOTS_HU, np.maximum.accumulate(levels)).astype(np.float32)
    if random.random() < 0.3:
        hu += lung * random.uniform(0, 350) * np.clip(cloud(hu.shape, 5.0, random), 0, 2)
    if random.random() < 0.4:
        hu += lung * random.uniform(50, 300) * np.clip(cloud(hu.shape, 1.0, random) - 1, 0, 3)
    if random.random() < 0.4:
        hu += random.uniform(0, 20) * cloud(hu.shape, 12.0, random)
    if random.random() < 0.3:
        ndimage.gaussian_filter(hu, random.uniform(0.3, 0.8), output=hu)
    if random.random() < 0.2:
        ndimage.gaussian_filter1d(hu, random.uniform(0.5, 1.2), axis=0, output=hu)
    hu += random.uniform(0, 30) * random.standard_normal(hu.shape, np.float32)
    return hu


def cloud(shape: tuple[int, ...], width_voxel: float, random: np.random.Generator) -> Floats:
    """Return smooth noise of mean 0 and standard deviation 1."""
    step = max(1, int(width_voxel))
    coarse = random.standard_normal([size // step + 2 for size in shape], np.float32)
    smooth = ndimage.gaussian_filter(coarse, width_voxel / step)
    zoomed = ndimage.zoom(smooth, [step if step > 1 else 1] * 3, order=1, grid_mode=True,
                          mode="nearest") if step > 1 else smooth  # fmt: skip
    zoomed = zoomed[: shape[0], : shape[1], : shape[2]]
    return np.asarray((zoomed - zoomed.mean()) / (zoomed.std() + 1e-6), np.float32)


def beyond_circle(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.bool_]:
    """Return what a circular field of view, too small for the patient, leaves out of a slice."""
    _, rows, columns = shape
    y = np.arange(rows)[:, None] - rows / 2 - random.uniform(-5, 5)
    x = np.arange(columns)[None, :] - columns / 2 - random.uniform(-5, 5)
    radius = columns / 2 * random.uniform(0.8, 1.05)
    return np.asarray(y**2 + x**2 > radius**2)
