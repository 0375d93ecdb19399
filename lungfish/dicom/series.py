"""Which slices make the volume, in which order, and whether they really make one."""

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import Header
from lungfish.errors import Refusal

Group = list[Header]
POSITION_TOLERANCE_MM = 0.01
"""Slices nearer than this along the normal stand at one place."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The grid of ordered slices.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
        Maps (column, row, slice, 1) to LPS mm.
    spacing_mm : tuple of 3 floats
        Along (slice, row, column).
    size : tuple of 3 int
        Slices, rows, columns.
    largest_gap_mm : float
        Largest distance of neighbouring slices along the normal.
    """

    affine: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]
    largest_gap_mm: float


def normal(header: Header) -> NDArray[np.float64]:
    """Return the slice's unit normal, row direction x column direction (PS3.3 C.7.6.2.1.1)."""
    cross = np.cross(header.orientation[:3], header.orientation[3:])
    return np.asarray(cross / np.linalg.norm(cross))


def place_mm(header: Header) -> float:
    """Return where the slice lies along its own normal, in mm."""
    return float(np.dot(header.position_mm, normal(header)))


def group_slices(headers: Sequence[Header]) -> list[Group]:
    """Put slices together that can stand in one volume.

    Equal series, frame of reference, orientation to 1e-3, matrix and pixel spacing to 1e-4 mm.
    Where two acquisitions of one series overlap in space they are told apart too.
    """
    groups: dict[tuple[object, ...], Group] = defaultdict(list)
    for header in headers:
        orientation = tuple(round(value, 3) + 0.0 for value in header.orientation)
        spacing = tuple(round(value, 4) for value in header.pixel_spacing_mm)
        key = (header.series_uid, header.frame_uid, orientation, header.rows, header.columns)
        groups[(*key, spacing)].append(header)
    return [part for group in groups.values() for part in _acquisitions(group)]


def _acquisitions(group: Group) -> list[Group]:
    """Split a group by AcquisitionNumber where its acquisitions overlap along the normal."""
    parts: dict[int | None, Group] = defaultdict(list)
    for header in group:
        parts[header.acquisition].append(header)
    spans = sorted((min(map(place_mm, part)), max(map(place_mm, part))) for part in parts.values())
    overlap = any(after[0] <= before[1] for before, after in itertools.pairwise(spans))
    return list(parts.values()) if overlap else [group]


def choose(groups: Sequence[Group], series: str) -> Group:
    """Choose the group that becomes the volume.

    The rule, in order: the series asked for; axial before others; more of the patient covered
    (to 10 mm); a soft before a sharp kernel is left to the asker; more slices; the lower series
    UID, so that the choice never depends on file names.

    Parameters
    ----------
    groups : sequence of groups
        As `group_slices` gives them; not empty.
    series : str
        SeriesInstanceUID wanted, or empty.

    Raises
    ------
    Refusal
        ``series-not-found`` if the series asked for is not there.
    """
    wanted = [group for group in groups if series in ("", group[0].series_uid)]
    if not wanted:
        raise Refusal(
            "series-not-found",
            f"the series named in the sheet is not among the {len(groups)} found here: "
            "correct the series column or leave it empty",
        )

    def rank(group: Group) -> tuple[bool, int, int, str, int]:
        places = [place_mm(header) for header in group]
        axial = abs(normal(group[0])[2]) > 0.8
        extent = round((max(places) - min(places)) / 10)
        acquisition = -(group[0].acquisition or 0)
        return axial, extent, len(group), group[0].series_uid, acquisition

    return max(wanted, key=rank)


def order(group: Group) -> Group:
    """Sort slices along their normal; InstanceNumber only breaks ties."""
    return sorted(group, key=lambda header: (round(place_mm(header), 3), header.instance or 0))


def find_geometry(slices: Sequence[Header], *, minimum_slices: int) -> Geometry:
    """Check that ordered slices stand on a regular grid, and return it.

    The spacing is the distance of the first and the last slice over n - 1; SliceThickness,
    SpacingBetweenSlices and SliceLocation are not asked.

    Parameters
    ----------
    slices : sequence of Header
        Ordered, without duplicates.
    minimum_slices : int
        Fewer are refused.

    Raises
    ------
    Refusal
        ``too-few-slices``, ``duplicate-positions``, ``missing-slices``, ``irregular-spacing``,
        ``gantry-tilt`` or ``oblique``, with the number that decided.
    """
    if len(slices) < minimum_slices:
        raise Refusal(
            "too-few-slices",
            f"{len(slices)} slices at different places, at least {minimum_slices} are needed: "
            "give the folder of a whole chest series",
        )
    positions = np.array([header.position_mm for header in slices])
    steps = np.diff([place_mm(header) for header in slices])
    _check_steps(steps, slices)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    _check_line(positions, step)
    _check_direction(slices[0], step)
    return _grid(slices, positions[0], step, float(steps.max()))


def _check_steps(steps: NDArray[np.float64], slices: Sequence[Header]) -> None:
    """Refuse gaps, repeated places and uneven spacing."""
    usual = float(np.median(steps))
    tolerance = max(POSITION_TOLERANCE_MM, 0.1 * usual)
    widest = int(steps.argmax())
    between = f"files {slices[widest].number} and {slices[widest + 1].number}"
    if steps.min() < POSITION_TOLERANCE_MM:
        pair = int(steps.argmin())
        raise Refusal(
            "duplicate-positions",
            f"files {slices[pair].number} and {slices[pair + 1].number} lie at one place with "
            "different pixels: remove the wrong one, or name the series in the sheet",
        )
    if steps[widest] > 1.5 * usual:
        raise Refusal(
            "missing-slices",
            f"{steps[widest]:.2f} mm between {between} where slices are {usual:.2f} mm apart: "
            "find the missing slices",
        )
    if np.abs(steps - usual).max() > tolerance:
        raise Refusal(
            "irregular-spacing",
            f"slices lie {steps.min():.2f} to {steps.max():.2f} mm apart, {tolerance:.2f} mm of "
            f"deviation is allowed; the widest gap is between {between}",
        )


def _check_line(positions: NDArray[np.float64], step: NDArray[np.float64]) -> None:
    """Refuse slices that do not follow one straight line."""
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    worst = float(np.linalg.norm(positions - expected, axis=1).max())
    allowed = max(0.05, 0.1 * float(np.linalg.norm(step)))
    if worst > allowed:
        raise Refusal(
            "irregular-spacing",
            f"a slice lies {worst:.2f} mm off the line of the others, {allowed:.2f} mm is allowed",
        )


def _check_direction(header: Header, step: NDArray[np.float64]) -> None:
    """Refuse a tilted gantry and axes that are not the patient's."""
    cosine = np.dot(step, normal(header)) / np.linalg.norm(step)
    tilt = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if tilt > 0.2:
        raise Refusal(
            "gantry-tilt",
            f"the slices are sheared by {tilt:.1f} degrees (tilted gantry), 0.2 is allowed: "
            "give a series that was acquired or reformatted without tilt",
        )
    axes = np.array([header.orientation[:3], header.orientation[3:], normal(header)])
    off = float(np.degrees(np.arccos(np.clip(np.abs(axes).max(axis=1).min(), -1, 1))))
    if off > 0.5:
        raise Refusal(
            "oblique",
            f"the slices are turned by {off:.1f} degrees against the patient's axes, 0.5 is "
            "allowed: give an axial, coronal or sagittal series",
        )


def _grid(
    slices: Sequence[Header],
    origin: NDArray[np.float64],
    step: NDArray[np.float64],
    largest_gap_mm: float,
) -> Geometry:
    first = slices[0]
    row_mm, column_mm = first.pixel_spacing_mm  # between rows, between columns: PS3.3 10.7.1.3
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * column_mm
    affine[:3, 1] = np.array(first.orientation[3:]) * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = origin
    spacing = (float(np.linalg.norm(step)), row_mm, column_mm)
    size = (len(slices), first.rows, first.columns)
    return Geometry(affine, spacing, size, largest_gap_mm)


def describe(group: Group) -> dict[str, object]:
    """Return how a series was acquired: vendor, kernel, thickness, dose; no identifier."""
    first = group[0]
    thickness = Counter(header.thickness_mm for header in group).most_common(1)[0][0]
    return {
        "manufacturer": first.manufacturer,
        "model": first.model,
        "kernel": first.kernel,
        "thickness_mm": thickness,
        "kvp": first.kvp,
        "mas": first.mas,
        "slices": len(group),
    }
