"""A mask of the user's own in place of ours: understood, carried, checked, measured, judged."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.errors import Refusal
from lungfish.lungs import morphology
from lungfish.lungs.conventions import (
    Affine,
    Convention,
    as_sides,
    check_lone_lung,
    check_sides,
    convention_of,
)
from lungfish.lungs.measures import measure
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.segmentation import LungMask
from lungfish.lungs.settings import Settings
from lungfish.lungs.sides import BOTH_SIDES, LEFT, RIGHT, Labels, split_touching
from lungfish.lungs.surroundings import Surroundings, look_around
from lungfish.lungs.verdict import judge
from lungfish.nifti import carry_mask
from lungfish.records import Record
from lungfish.volume import Volume, to_index, to_mm

INSIDE_SHARE = (0.9, 0.99)
"""Share of the mask in the scan's field: below the first refused, below the second doubted."""
COVERED_SHARE = (0.8, 0.9)
"""Share of the air that the mask touches that it also holds: refused, doubted below. On six real
scans the right mask had 1.00 and, 2 mm too tight all round, 0.88 to 0.92; moved by 40 mm at most
0.74, upside down 0.74, of another patient 0.89, mirrored right to left 0.88."""
AIR_SHARE = (0.4, 0.8)
"""Share of the mask that is air: refused, doubted below. The right mask had 0.93 to 0.99, moved by
40 mm at most 0.74. Consolidation and effusion lower it too, hence no stricter alone."""
AIRWAY_LITRE = 0.015
"""Trachea and main bronchi in a mask, in litres, above which they were not left out; together they
have about 0.04."""
SAMPLES = 500_000
"""Voxels of a mask, at most, whose places are looked at."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a mask lies on the air of a scan; shares 0..1, of all 1 is best.

    Attributes
    ----------
    inside_share : float
        Of the mask, in the scan's field.
    air_share : float
        Of the mask, air.
    covered_share : float
        Of the air that the mask touches, held by the mask.
    """

    inside_share: float
    air_share: float
    covered_share: float


def adopt(volume: Volume, labels: Labels, affine: Affine, *, settings: Settings) -> LungMask:
    """Take a mask of the user's own for both lungs of a scan.

    Parameters
    ----------
    volume : Volume
        Any order of axes.
    labels : ndarray of uint8, shape (z, y, x)
        On any grid in the same patient's coordinates; see `conventions.ACCEPTED` for the labels.
    affine : ndarray of float64, shape (4, 4)
        LPS mm of the labels' grid, index order x, y, z.
    settings : Settings
        Of this stage: the same limits as for our own mask.

    Returns
    -------
    LungMask
        On the volume's grid, with the same measures and verdict as our own, method ``given``.

    Raises
    ------
    Refusal
        ``mask-empty``, ``mask-labels`` (not understood), ``mask-swapped`` (right and left),
        ``mask-apart`` (outside the scan) or ``mask-not-lung`` (not on this scan's air). Nothing
        is turned, swapped or moved to make a mask fit.
    """
    convention = convention_of(labels)
    check_sides(labels, affine, convention)
    sides = as_sides(labels, convention)
    inside_share = share_inside(sides, affine, volume)
    carried = carry_mask(sides, affine, shape=volume.hu.shape, to_affine=volume.affine)
    turn = turn_of(volume.affine)
    spacing_mm = turn.spacing(volume.spacing_mm)
    hu, given = turn.forward(volume.hu), turn.forward(carried)
    scan = look_around(hu, spacing_mm, settings=settings)
    # Of voxels, not of blocks.
    middle_voxel = scan.middle * scan.factors[2] + (scan.factors[2] - 1) / 2
    fit = compare(given > 0, scan, inside_share=inside_share)
    check_fit(fit)
    if len(convention.left) == 0:
        given = split(hu, given > 0, spacing_mm, middle_voxel=middle_voxel)
    check_lone_lung(given, middle_voxel)
    found = np.ascontiguousarray(turn.back(given))
    measures = measure(volume, found, leak_voxels=0)
    record = judge(measures, trachea=scan.airways.found, settings=settings)
    held_litre = airway_litre(given > 0, scan)
    return LungMask(
        found,
        with_doubts(record, doubts_of(fit, held_litre)) | measures | describe_fit(convention, fit),
    )


def share_inside(labels: Labels, affine: Affine, volume: Volume) -> float:
    """Return the share (0..1) of a mask whose voxel centres lie in a volume's field.

    Raises
    ------
    Refusal
        ``mask-apart`` if it is too small to be of this scan.
    """
    places = np.flatnonzero(labels)
    places = places[:: len(places) // SAMPLES + 1]
    index = np.stack(np.unravel_index(places, labels.shape), axis=-1)
    there = to_index(volume.affine, to_mm(affine, index))
    inside = ((there >= -0.5) & (there <= np.array(volume.hu.shape) - 0.5)).all(axis=-1)
    share = float(inside.mean())
    if share < INSIDE_SHARE[0]:
        raise Refusal(
            "mask-apart",
            f"only {share:.0%} of the mask lies in the field of the scan, at least "
            f"{INSIDE_SHARE[0]:.0%} are expected: it belongs to another scan, or its file has lost "
            "its position in the patient",
        )
    return share


def compare(mask: Mask, scan: Surroundings, *, inside_share: float) -> Fit:
    """Compare a mask with the air of the scan; gas that it does not touch is no matter."""
    held = morphology.block_share(mask, scan.factors, percent=50)
    pieces, count = ndimage.label(scan.air & ~scan.airways.mask)
    touched = np.zeros(count + 1, np.bool_)
    touched[np.unique(pieces[held])] = True
    touched[0] = False
    near = touched[pieces]
    return Fit(
        inside_share,
        share(held, scan.air),
        share(near, held),
    )


def share(mask: Mask, other: Mask) -> float:
    """Return the share (0..1) of a mask that another holds; 0 for an empty mask."""
    return int(np.count_nonzero(mask & other)) / max(1, int(np.count_nonzero(mask)))


def check_fit(fit: Fit) -> None:
    """Refuse a mask that does not lie on the scan's air.

    Raises
    ------
    Refusal
        ``mask-not-lung``.
    """
    misplaced = fit.covered_share < COVERED_SHARE[1] and fit.air_share < AIR_SHARE[1]
    if misplaced or fit.covered_share < COVERED_SHARE[0] or fit.air_share < AIR_SHARE[0]:
        raise Refusal(
            "mask-not-lung",
            f"{fit.air_share:.0%} of the mask is air and it holds {fit.covered_share:.0%} of the "
            f"air that it touches (expected {AIR_SHARE[1]:.0%} and {COVERED_SHARE[1]:.0%}): it is "
            "of another patient or scan, shifted, mirrored, leaves lung out, or the HU are wrong",
        )


def split(hu: NDArray[Any], mask: Mask, spacing_mm: Spacing, *, middle_voxel: float) -> Labels:
    """Label a mask of both lungs by the side of the midline on which its pieces lie.

    A piece on both sides is cut along the brightest sheet between the lungs (`split_touching`).

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        On the patient's axes.
    mask : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    middle_voxel : float
        x of the midline.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 right, 2 left.
    """
    result = np.zeros(mask.shape, np.uint8)
    pieces, _ = ndimage.label(mask)
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == label
        middle = middle_voxel - box[2].start
        share = float(piece[:, :, : max(0, round(middle))].sum() / piece.sum())
        if BOTH_SIDES <= share <= 1 - BOTH_SIDES:
            result[box] |= split_touching(hu[box], piece, spacing_mm, middle_voxel=middle)
        else:
            result[box][piece] = RIGHT if share > 0.5 else LEFT
    return result


def airway_litre(mask: Mask, scan: Surroundings) -> float:
    """Return how many litres of trachea and main bronchi a mask holds; 0 is best."""
    block_litre = float(np.prod(scan.step)) * 1e-6
    held = morphology.block_share(mask, scan.factors, percent=50) & scan.airways.mask
    return float(np.count_nonzero(held)) * block_litre


def doubts_of(fit: Fit, held_litre: float) -> list[str]:
    """Return in words, with the numbers, why a person should look at a given mask."""
    doubts = []
    if fit.inside_share < INSIDE_SHARE[1]:
        doubts.append(f"{1 - fit.inside_share:.0%} of the given mask lies outside the scan")
    if fit.covered_share < COVERED_SHARE[1]:
        doubts.append(
            f"the given mask holds only {fit.covered_share:.0%} of the air that it touches (at "
            f"least {COVERED_SHARE[1]:.0%})"
        )
    if fit.air_share < AIR_SHARE[1]:
        doubts.append(
            f"only {fit.air_share:.0%} of the given mask is air (at least {AIR_SHARE[1]:.0%}; less "
            "with effusion or consolidation inside)"
        )
    if held_litre > AIRWAY_LITRE:
        doubts.append(f"the given mask holds {held_litre:.2f} litres of trachea and main bronchi")
    return doubts


def with_doubts(record: Record, doubts: list[str]) -> Record:
    """Return a verdict with more reasons; they turn ok into review and leave reject."""
    verdict = "review" if doubts and record["verdict"] == "ok" else record["verdict"]
    return record | {"verdict": verdict, "reasons": [*record["reasons"], *doubts]}


def describe_fit(convention: Convention, fit: Fit) -> Record:
    """Return the fields that only the record of a given mask has."""
    return {
        "method": "given",
        "path": "given",
        "mask_labels": convention.name,
        "mask_inside_share": round(fit.inside_share, 4),
        "mask_air_share": round(fit.air_share, 4),
        "mask_covered_share": round(fit.covered_share, 4),
    }
