"""Lungs from a volume of HU: the recipe, and what is tried where it fails."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lungfish.errors import Refusal
from lungfish.lungs.edges import closed_lungs, draw_edges
from lungfish.lungs.filling import airless_lung
from lungfish.lungs.gas import remove_gas
from lungfish.lungs.measures import measure
from lungfish.lungs.morphology import Spacing
from lungfish.lungs.orientation import Turn, turn_of
from lungfish.lungs.settings import Settings
from lungfish.lungs.sides import Labels, find_lungs
from lungfish.lungs.surroundings import look_around
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

    Where the first threshold gives no lung, only one, or a mask that is rejected, those of
    ``settings.fallback_hu`` are tried in order. A mask of theirs is taken if it is better, and is
    at best for review.

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
        ``reject``. Its ``path`` says which threshold gave the mask.

    Raises
    ------
    Refusal
        ``no-lungs`` if nothing like a lung is there.
    """
    turn = turn_of(volume.affine)
    first = best = attempt(volume, turn, settings=settings)
    for threshold_hu in settings.fallback_hu:
        if lungs_of(best, settings) == 2:
            break
        other = attempt(
            volume, turn, settings=dataclasses.replace(settings, threshold_hu=threshold_hu)
        )
        if best is None and lungs_of(other, settings) == 0:
            best = other  # rejected, with its measures and its picture
        elif other is not None and lungs_of(other, settings) > lungs_of(best, settings):
            best = LungMask(other.labels, doubted(other.record, first, settings))
    if best is None:
        raise Refusal(
            "no-lungs",
            f"no air below {settings.threshold_hu} HU inside the body looks like a lung: "
            "check that the series shows the chest and that its rescale values are right",
        )
    return best


def attempt(volume: Volume, turn: Turn, *, settings: Settings) -> LungMask | None:
    """Find, measure and judge the lungs at one threshold; None where nothing is like a lung."""
    spacing_mm = turn.spacing(volume.spacing_mm)
    # Many small systems of equations: with threads of their own they take three times as long.
    with threadpool_limits(1, user_api="blas"):
        found = search(turn.forward(volume.hu), spacing_mm, settings=settings)
    if not found.labels.any():
        return None
    labels = np.ascontiguousarray(turn.back(found.labels))
    measures = measure(volume, labels, leak_voxels=found.leak_voxels)
    record = judge(measures, trachea=found.trachea, settings=settings)
    how = {"method": settings.method, "path": f"threshold {settings.threshold_hu} HU"}
    return LungMask(labels, record | measures | how)


def lungs_of(mask: LungMask | None, settings: Settings) -> int:
    """Return how many lungs a mask shows: none where it is rejected, one where one is tiny."""
    if mask is None or mask.record["verdict"] == "reject":
        return 0
    right, left = mask.record["right_litre"], mask.record["left_litre"]
    smaller = min(right, left)
    return 2 if smaller and smaller >= settings.one_lung_share * (right + left) else 1


def doubted(record: Record, first: LungMask | None, settings: Settings) -> Record:
    """Return the record of a fall-back: for review, with what was wrong with the first mask."""
    wrong = "; ".join(first.record["reasons"]) if first else "no lung was found"
    reason = f"{record['path']}, since at {settings.threshold_hu} HU: {wrong}"
    return record | {
        "path": f"fall-back: {record['path']}",
        "verdict": "review",
        "reasons": [f"the mask is that of a fall-back, {reason}", *record["reasons"]],
    }


def search(hu: NDArray[Any], spacing_mm: Spacing, *, settings: Settings) -> Found:
    """Find the lungs on the patient's axes, in blocks, and draw their edges on the grid itself.

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
    scan = look_around(hu, spacing_mm, settings=settings)
    step, airways = scan.step, scan.airways
    kept = remove_gas(scan.hu, scan.air & ~airways.mask, step, gas_hu=settings.gas_hu)
    lungs = find_lungs(scan.hu, kept, step, middle_voxel=scan.middle, gas_hu=settings.gas_hu)
    closing_mm = settings.closing_mm
    airless = airless_lung(scan.hu, lungs, airways.mask, scan.body, step, closing_mm=closing_mm)
    closed, leak = closed_lungs(lungs, airless, airways.mask, step, closing_mm=closing_mm)
    labels = draw_edges(
        hu, lungs, closed, airways.mask, scan.factors, threshold_hu=settings.threshold_hu
    )
    return Found(labels, leak * int(np.prod(scan.factors)), airways.found)
