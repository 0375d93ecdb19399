"""From slices of one group to their order and their grid, or the reason why they are none.

Nothing but ImagePositionPatient, ImageOrientationPatient and PixelSpacing is asked: SliceThickness,
SpacingBetweenSlices, SliceLocation, InstanceNumber and GantryDetectorTilt are compared with what
was found, and a contradiction is told.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import Header
from lungfish.dicom.series import Group, normal, places_mm
from lungfish.errors import Refusal

Array = NDArray[np.float64]
SAME_PLACE_MM = 0.01
"""Slices nearer than this along the normal stand at one place."""
GAP = 1.5
"""A step longer than this many usual ones is a gap; shorter than half of one, an intruder."""


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of ordered slices.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
        Maps (column, row, step, 1) to LPS mm.
    size : tuple of 3 int
        Slices, rows, columns.
    spacing_mm : tuple of 3 floats
        Lengths of the steps along (slice, row, column).
    places : tuple of floats
        Where the slices lie, in steps of the affine; 0, 1, 2, ... where the spacing is regular.
    regular : bool
        Whether they do.
    tilt_degrees : float
        Between the slices' normal and the line along which they follow one another.
    oblique_degrees : float
        Between the slices' axes and the patient's, the largest.
    largest_gap_mm : float
        Largest distance of neighbours along that line.
    gap_files : tuple of 2 int
        The numbers of the files beside it.
    filled : tuple of pairs of floats
        Places between which slices are missing and would be invented.
    missing : int
        How many slices that are.
    """

    affine: Array
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    places: tuple[float, ...]
    regular: bool
    tilt_degrees: float
    oblique_degrees: float
    largest_gap_mm: float
    gap_files: tuple[int, int]
    filled: tuple[tuple[float, float], ...]
    missing: int


def order(group: Group) -> Group:
    """Sort slices along their normal; InstanceNumber only breaks ties."""
    places = places_mm(group)
    keys = [
        (round(float(place), 3), header.instance or 0, header.instance_uid, header.number)
        for place, header in zip(places, group, strict=True)
    ]
    return [header for _, header in sorted(zip(keys, group, strict=True), key=lambda pair: pair[0])]


def find_geometry(
    slices: Sequence[Header],
    *,
    minimum_slices: int,
    tolerance_mm: float,
    max_gap_slices: int,
) -> Geometry:
    """Check that ordered slices stand on one line, and return their grid.

    Parameters
    ----------
    slices : sequence of Header
        Ordered, without duplicates, of one orientation.
    minimum_slices : int
        Fewer are refused.
    tolerance_mm : float
        How far a slice may lie off its regular place before its true place is used.
    max_gap_slices : int
        How many slices in a row may be missing; 0 refuses every gap.

    Raises
    ------
    Refusal
        ``too-few-slices``, ``duplicate-positions``, ``missing-slices`` or ``irregular-spacing``,
        with the number that decided.
    """
    count = len(slices)
    if count < max(minimum_slices, 2):
        raise Refusal(
            "too-few-slices",
            f"{count} slice{'s' * (count != 1)} at different places, at least {minimum_slices} are "
            "needed: give the folder of a whole chest series",
        )
    positions = np.array([header.position_mm for header in slices])
    along, direction = _line(positions, slices, tolerance_mm)
    steps = np.diff(along)
    usual = float(np.median(steps))
    filled = _check_steps(steps, usual, slices, max_gap_slices)
    regular_step = float(along[-1]) / (count - 1)
    regular = not filled and _on_grid(along, regular_step, tolerance_mm)
    step_mm = regular_step if regular else usual
    places = np.arange(count, dtype=float) if regular else along / usual
    widest = int(steps.argmax())
    affine, spacing = _affine(slices[0], positions[0], direction * step_mm)
    return Geometry(
        affine=affine,
        size=(count, slices[0].rows, slices[0].columns),
        spacing_mm=spacing,
        places=tuple(places.tolist()),
        regular=regular,
        tilt_degrees=_angle_degrees(direction, normal(slices[0])),
        oblique_degrees=_oblique_degrees(affine),
        largest_gap_mm=float(steps[widest]),
        gap_files=(slices[widest].number, slices[widest + 1].number),
        filled=tuple((float(places[k]), float(places[k + 1])) for k in filled),
        missing=sum(round(float(steps[k]) / usual) - 1 for k in filled),
    )


def _line(positions: Array, slices: Sequence[Header], tolerance_mm: float) -> tuple[Array, Array]:
    """Return how far along their line the slices lie, in mm, and its direction."""
    pairs = np.diff(positions @ normal(slices[0]))
    if pairs.min() < SAME_PLACE_MM:
        pair = int(pairs.argmin())
        raise Refusal(
            "duplicate-positions",
            f"files {slices[pair].number} and {slices[pair + 1].number} lie at one place "
            f"({pairs[pair]:.3f} mm apart) with different pixels: remove the wrong one, or name "
            "the series in the sheet",
        )
    way = positions[-1] - positions[0]
    direction = way / np.linalg.norm(way)
    offsets = positions - positions[0]
    along = offsets @ direction
    aside = np.linalg.norm(offsets - along[:, None] * direction, axis=1)
    worst = int(aside.argmax())
    if aside[worst] > tolerance_mm:
        raise Refusal(
            "irregular-spacing",
            f"file {slices[worst].number} lies {aside[worst]:.2f} mm beside the line of the other "
            f"slices, {tolerance_mm:g} mm is allowed (index.tolerance_mm): the patient or the "
            "table moved, choose another series",
        )
    return along, direction


def _check_steps(
    steps: Array, usual: float, slices: Sequence[Header], max_gap_slices: int
) -> list[int]:
    """Refuse gaps and intruders; return the indices of the gaps that may be filled."""
    narrow = int(steps.argmin())
    if steps[narrow] < usual / 2:
        raise Refusal(
            "irregular-spacing",
            f"files {slices[narrow].number} and {slices[narrow + 1].number} lie "
            f"{steps[narrow]:.2f} mm apart where slices are {usual:.2f} mm apart: two series seem "
            "mixed, separate them into two folders",
        )
    gaps = [int(k) for k in np.flatnonzero(steps > GAP * usual)]
    for k in gaps:
        ratio = float(steps[k]) / usual
        fits = abs(ratio - round(ratio)) <= 0.25 and round(ratio) - 1 <= max_gap_slices
        if not fits:
            missing = max(round(ratio) - 1, 1)
            raise Refusal(
                "missing-slices",
                f"{steps[k]:.2f} mm between files {slices[k].number} and {slices[k + 1].number} "
                f"where slices are {usual:.2f} mm apart, about {missing} missing "
                f"({len(gaps)} gap{'s' * (len(gaps) != 1)} in all): find the missing slices",
            )
    return gaps


def _on_grid(along: Array, step_mm: float, tolerance_mm: float) -> bool:
    return bool(np.abs(along - step_mm * np.arange(len(along))).max() <= tolerance_mm)


def _affine(header: Header, origin: Array, step: Array) -> tuple[Array, tuple[float, float, float]]:
    row_mm, column_mm = header.pixel_spacing_mm  # between rows, between columns: PS3.3 10.7.1.3
    row, column = _square(header)
    affine = np.eye(4)
    affine[:3, 0] = row * column_mm
    affine[:3, 1] = column * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return affine, (float(np.linalg.norm(step)), row_mm, column_mm)


def _square(header: Header) -> tuple[Array, Array]:
    """Return the direction cosines as exact perpendicular unit vectors: rounding is taken off."""
    row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _angle_degrees(one: Array, other: Array) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))


def _oblique_degrees(affine: Array) -> float:
    """Return the largest angle between an in-plane axis and the nearest axis of the patient."""
    axes = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=0).min(), -1, 1))))


def findings(slices: Sequence[Header], geometry: Geometry) -> list[str]:
    """Return what a person should know though the volume is right, a sentence each."""
    said: list[str] = []
    instances = [header.instance for header in slices if header.instance is not None]
    if instances not in (sorted(instances), sorted(instances, reverse=True)):
        said.append("InstanceNumber does not follow the positions; the positions were used")
    distance = geometry.spacing_mm[0]
    stated = slices[0].stated_spacing_mm
    if stated is not None and abs(stated - distance) > 0.05 * distance:
        said.append(
            f"SpacingBetweenSlices says {stated:g} mm, the positions say {distance:.3f} mm; the "
            "positions were used"
        )
    thickness = slices[0].thickness_mm
    if thickness is not None and 0 < thickness < 0.9 * distance:
        said.append(
            f"slices of {thickness:g} mm lie {distance:.2f} mm apart: what lies between them was "
            "not measured"
        )
    tilt = slices[0].stated_tilt_degrees or 0.0
    if abs(abs(tilt) - geometry.tilt_degrees) > 1:
        said.append(
            f"GantryDetectorTilt says {tilt:g} degrees, the positions say "
            f"{geometry.tilt_degrees:.1f}; the positions were used"
        )
    if slices[0].inverted:
        said.append("MONOCHROME1: only the display is inverted, the HU are not")
    if any(header.lossy for header in slices):
        said.append("the pixels were compressed with loss: HU differ from what was measured")
    return said
