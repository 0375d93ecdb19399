"""Which labels of a given mask are the right lung and which the left, and do they lie so."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import Refusal
from lungfish.lungs.morphology import Mask
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.volume import to_mm

Affine = NDArray[np.float64]
APART_MM = 20.0
"""Least distance across the patient, in mm, between the middles of a right and a left label."""


@dataclasses.dataclass(frozen=True)
class Convention:
    """Which labels of a mask are the patient's right lung and which the left.

    Attributes
    ----------
    name : str
        In words.
    right, left : tuple of int
    """

    name: str
    right: tuple[int, ...]
    left: tuple[int, ...]


TWO_LUNGS = Convention("1 right, 2 left", (1,), (2,))
LOBES = (
    Convention("lobes of lungmask: 1 and 2 left, 3 to 5 right", (3, 4, 5), (1, 2)),
    Convention("lobes of TotalSegmentator: 10 and 11 left, 12 to 14 right", (12, 13, 14), (10, 11)),
)
"""lungmask: JoHof/lungmask issue 25; TotalSegmentator 2, task total: its table of classes."""
ACCEPTED = (
    "1 right and 2 left (ours, lungmask R231), one label for both lungs, lobes 1 to 5 of lungmask "
    "(1, 2 left) or lobes 10 to 14 of TotalSegmentator 2 (10, 11 left)"
)


def convention_of(labels: Labels) -> Convention:
    """Say which labels are right and left; a convention without a left is one label for both.

    Raises
    ------
    Refusal
        ``mask-empty`` or ``mask-labels``.
    """
    counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in labels)
    found = {int(label) for label in np.flatnonzero(counts)} - {0}
    if not found:
        raise Refusal(
            "mask-empty", "the mask given for this patient is empty: give another, or none"
        )
    if len(found) == 1 and found != {2}:
        return Convention("one label for both lungs", (found.pop(),), ())
    if found <= {1, 2}:
        return TWO_LUNGS
    for lobes in LOBES:
        # With one lobe on a side, two lungs and a stray label would pass for lobes.
        both = min(len(found & set(lobes.right)), len(found & set(lobes.left))) >= 2
        if both and found <= {*lobes.right, *lobes.left}:
            return lobes
    names = ", ".join(map(str, sorted(found)[:12])) + (" ..." if len(found) > 12 else "")
    raise Refusal("mask-labels", f"the mask has the labels {names}: accepted are {ACCEPTED}")


def check_sides(labels: Labels, affine: Affine, convention: Convention) -> None:
    """Refuse a mask whose right labels do not lie to the patient's right of its left ones.

    Each label is looked at by itself, so that lobes numbered in another order are found too.

    Raises
    ------
    Refusal
        ``mask-swapped``.
    """
    across_mm = {
        label: float(to_mm(affine, middle_of_label(labels == label))[0])
        for label in (*convention.right, *convention.left)
        if (labels == label).any()
    }
    for right in set(convention.right) & set(across_mm):
        for left in set(convention.left) & set(across_mm):
            apart_mm = across_mm[left] - across_mm[right]
            if apart_mm < APART_MM:
                where = "right" if apart_mm < 0 else "left"
                raise Refusal(
                    "mask-swapped",
                    f"by its labels ({convention.name}) the middle of the mask's label {left} must "
                    f"lie at least {APART_MM:.0f} mm to the patient's left of label {right}'s, but "
                    f"lies {abs(apart_mm):.0f} mm to the {where}: labels or orientation of the "
                    "file are wrong; correct the file, nothing is swapped here",
                )


def middle_of_label(mask: Mask) -> NDArray[np.float64]:
    """Return the mean index (z, y, x) of a mask that is not empty."""
    counts = (
        np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
        for axis in range(3)
    )
    return np.array([np.average(np.arange(len(one)), weights=one) for one in counts])


def as_sides(labels: Labels, convention: Convention) -> Labels:
    """Return labels as 1 right and 2 left; one label for both lungs as 1."""
    table = np.zeros(256, np.uint8)
    table[list(convention.right)] = RIGHT
    table[list(convention.left)] = LEFT
    return np.asarray(table[labels], np.uint8)


def check_lone_lung(labels: Labels, middle_voxel: float) -> None:
    """Refuse a lone lung, on the patient's axes, that lies on the other side than its label says.

    Raises
    ------
    Refusal
        ``mask-swapped``.
    """
    present = [side for side in (RIGHT, LEFT) if (labels == side).any()]
    if len(present) != 1:
        return
    middle = float(middle_of_label(labels > 0)[2])
    if (middle < middle_voxel) != (present == [RIGHT]):
        side = "right" if present == [RIGHT] else "left"
        raise Refusal(
            "mask-swapped",
            f"the mask has only a {side} lung, label {present[0]}, but it lies on the other side "
            "of the patient's middle: correct the file, nothing is swapped here",
        )
