"""Lungs from a volume of HU: the recipe."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.errors import Refusal
from lungfish.lungs import morphology
from lungfish.lungs.airways import find_airways
from lungfish.lungs.body import body_mask
from lungfish.lungs.measures import measure
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.settings import Settings
from lungfish.lungs.sides import LEFT, RIGHT, Labels, find_lungs
from lungfish.lungs.verdict import judge
from lungfish.records import Record
from lungfish.volume import Volume


@dataclasses.dataclass(frozen=True, eq=False)
class LungMask:
    """Both lungs of one patient and what was measured on them.

    Attributes
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        1 the patient's right lung, 2 the left, 0 elsewhere; on the volume's grid.
    record : dict
        Of ``lungs/{patient}.json``: status, verdict, reasons and measures.
    """

    labels: Labels
    record: Record


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What the search gave on the patient's axes.

    Attributes
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    leak_voxels : int
        Voxels taken out as airway though inside a closed lung.
    trachea : bool
        Whether a trachea was found.
    """

    labels: Labels
    leak_voxels: int
    trachea: bool


def segment(volume: Volume, *, settings: Settings) -> LungMask:
    """Find both lungs, measure them and judge the result.

    Parameters
    ----------
    volume : Volume
        Any spacing, any order of axes: right and left follow from the affine.
    settings : Settings
        Of this stage.

    Returns
    -------
    LungMask
        With ``status: refused`` and code ``lungs-rejected`` in the record where the verdict is
        ``reject``.

    Raises
    ------
    Refusal
        ``no-lungs`` if nothing like a lung is there.
    """
    turn = turn_of(volume.affine)
    hu = turn.forward(volume.hu)
    spacing_mm = turn.spacing(volume.spacing_mm)
    found = search(hu, spacing_mm, settings=settings)
    if not found.labels.any():
        raise Refusal(
            "no-lungs",
            f"no air below {settings.threshold_hu} HU inside the body looks like a lung: "
            "check that the series shows the chest",
        )
    labels = np.ascontiguousarray(turn.back(found.labels))
    measures = measure(volume, labels, leak_voxels=found.leak_voxels)
    record = judge(measures, trachea=found.trachea, settings=settings)
    return LungMask(labels, record | measures | {"method": settings.method})


def search(hu: NDArray[Any], spacing_mm: Spacing, *, settings: Settings) -> Found:
    """Find the lungs on the patient's axes: coarse first, then on the grid itself.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        z to the head, y to the back, x to the patient's left.
    spacing_mm : sequence of 3 floats
    settings : Settings

    Returns
    -------
    Found
        Labels all 0 if there is nothing like a lung.
    """
    factors = morphology.block_factors(spacing_mm, settings.working_mm)
    step = [edge * factor for edge, factor in zip(spacing_mm, factors, strict=True)]
    coarse = morphology.block_mean(hu, factors)
    body = body_mask(coarse, step)
    air = (coarse < settings.threshold_hu) & body
    airways = find_airways(coarse, air, body, step, max_litre=settings.airway_max_litre)
    middle = airways.middle_voxel if airways.found else middle_of(body)
    rough = find_lungs(
        coarse, air & ~airways.mask, step, middle_voxel=middle, gas_hu=settings.gas_hu
    )
    labels = refine(hu, rough, factors, threshold_hu=settings.threshold_hu)
    tubes = np.asarray(morphology.enlarge(airways.mask, factors, hu.shape), np.bool_)
    labels[tubes] = 0
    leak = close_lungs(labels, tubes, spacing_mm, settings.closing_mm)
    return Found(labels, leak, airways.found)


def middle_of(body: Mask) -> float:
    """Return the mean x in voxels of a body, or of the grid where there is none."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    return float(columns.mean()) if len(columns) else body.shape[2] / 2


def refine(
    hu: NDArray[Any], rough: Labels, factors: tuple[int, int, int], *, threshold_hu: int
) -> Labels:
    """Carry labels from blocks of voxels to the voxels: the rim is drawn anew at the threshold.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    rough : ndarray of uint8, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx))
        On the grid of `morphology.block_mean`.
    factors : tuple of 3 int
    threshold_hu : int

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        The inside of `rough` whatever its HU; of its rim, inside and out, what is air.
    """
    if factors == (1, 1, 1):
        return rough.copy()
    lungs = rough > 0
    inner = ndimage.binary_erosion(lungs, border_value=1)
    wide = np.where(lungs, rough, ndimage.grey_dilation(rough, size=(3, 3, 3)))
    fine = np.asarray(morphology.enlarge(wide, factors, hu.shape)).copy()
    sure = np.asarray(morphology.enlarge(inner, factors, hu.shape))
    fine[(hu >= threshold_hu) & ~sure] = 0
    for side in (RIGHT, LEFT):
        mask = fine == side
        fine[mask & ~morphology.largest(mask)] = 0
    return fine


def close_lungs(labels: Labels, airways: Mask, spacing_mm: Spacing, closing_mm: float) -> int:
    """Close each lung over vessels and nodules and fill what it then holds, in place.

    Neither the airways nor the other lung are entered.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Changed.
    airways : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    closing_mm : float

    Returns
    -------
    int
        Voxels of airway that the closed lungs would have held.
    """
    leak = 0
    for side in (RIGHT, LEFT):
        mask = labels == side
        if not mask.any():
            continue
        box = morphology.bounds(mask)
        closed = morphology.close(mask[box], spacing_mm, closing_mm)
        closed = ndimage.binary_fill_holes(closed)
        inside_airway = closed & airways[box]
        leak += int(np.count_nonzero(inside_airway))
        part = labels[box]
        part[closed & ~inside_airway & (part == 0)] = side
    return leak
