"""Which slices can stand in one volume, and which of several volumes is the chest."""

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import Header
from lungfish.dicom.kernels import softness
from lungfish.errors import Refusal

Group = list[Header]
AXIAL_COSINE = 0.8
CHEST_MM = 300.0
"""What a chest is high; a scan that covers more is no better for it."""
PROJECTIONS = frozenset({"MIP", "MINIP", "MPR THICK", "AVERAGE", "PROJECTION IMAGE", "CSA MIP"})
OTHER_PLANE_DEGREES = 20.0
BEYOND_MM = 10.0


def normal(header: Header) -> NDArray[np.float64]:
    """Return the slice's unit normal, row direction x column direction (PS3.3 C.7.6.2.1.1)."""
    (a, b, c), (d, e, f) = header.orientation[:3], header.orientation[3:]
    cross = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    return np.asarray(cross / np.sqrt(cross @ cross))


def places_mm(group: Group) -> NDArray[np.float64]:
    """Return where slices lie along the normal of the first, in mm."""
    return np.array([header.position_mm for header in group]) @ normal(group[0])


def group_slices(headers: Sequence[Header]) -> list[Group]:
    """Put slices together that can stand in one volume.

    Equal series, frame of reference, orientation to 1e-3, matrix and pixel spacing to 1e-4 mm.
    Where acquisitions or phases of one series overlap in space they are told apart too.
    """
    groups: dict[tuple[object, ...], Group] = defaultdict(list)
    for header in headers:
        spacing = tuple(round(value, 4) for value in header.pixel_spacing_mm)
        key = (header.series_uid, header.frame_uid, header.rows, header.columns, spacing)
        groups[key].append(header)
    return [
        part
        for group in groups.values()
        for alike in _by_orientation(group)
        for part in _by_acquisition(alike)
    ]


def _by_orientation(group: Group) -> list[Group]:
    """Split where direction cosines differ by more than what rounding makes of them.

    Against the first slice of each part and not by rounded values, on whose edges noise falls.
    """
    parts: list[Group] = []
    for header in group:
        for part in parts:
            pairs = zip(header.orientation, part[0].orientation, strict=True)
            if max(abs(a - b) for a, b in pairs) <= 1e-3:
                part.append(header)
                break
        else:
            parts.append([header])
    return parts


def _by_acquisition(group: Group) -> list[Group]:
    """Split by acquisition and phase where these overlap along the normal."""
    parts: dict[tuple[int | None, int | None], Group] = defaultdict(list)
    for header in group:
        parts[header.acquisition, header.temporal].append(header)
    if len(parts) == 1:
        return [group]
    direction = normal(group[0])
    along = [[float(np.dot(h.position_mm, direction)) for h in part] for part in parts.values()]
    spans = sorted((min(places), max(places)) for places in along)
    overlap = any(after[0] <= before[1] for before, after in itertools.pairwise(spans))
    return list(parts.values()) if overlap else [group]


@dataclasses.dataclass(frozen=True)
class Merit:
    """What the choice between series looks at, in this order; more is better.

    Attributes
    ----------
    plain : bool
        No projection (MIP) of thick slabs.
    axial : bool
        The normal lies within 37 degrees of the body's axis.
    thin : bool
        Slices no farther apart than `index.thin_mm`.
    chest_mm : int
        Extent along the normal, at most 300 mm, rounded to 10 mm.
    soft : int
        1 for a soft kernel, 0 for one that is not known, -1 for a sharp one.
    slices : int
        How many.
    """

    plain: bool
    axial: bool
    thin: bool
    chest_mm: int
    soft: int
    slices: int


def merit(group: Group, *, thin_mm: float) -> Merit:
    """Return what speaks for a group."""
    first = group[0]
    places = np.sort(places_mm(group))
    distance = float(np.median(np.diff(places))) if len(places) > 1 else np.inf
    return Merit(
        plain=not PROJECTIONS & {part.upper() for part in first.image_type},
        axial=bool(abs(normal(first)[2]) > AXIAL_COSINE),
        thin=distance <= thin_mm,
        chest_mm=10 * round(min(float(np.ptp(places)), CHEST_MM) / 10),
        soft=softness(first.kernel),
        slices=len(group),
    )


def choose(groups: Sequence[Group], series: str, *, thin_mm: float) -> tuple[Group, str]:
    """Choose the group that becomes the volume.

    The rule: the series asked for; else by `Merit`, its fields in their order; else the lower
    series UID and acquisition, so that the choice never depends on file names.

    Parameters
    ----------
    groups : sequence of groups
        As `group_slices` gives them; not empty.
    series : str
        SeriesInstanceUID wanted, or empty.
    thin_mm : float
        Largest distance of slices that counts as thin, in mm.

    Returns
    -------
    group : list of Header
    rule : str
        Which point decided against the next best, with both numbers.

    Raises
    ------
    Refusal
        ``series-not-found`` if the series asked for is not there.
    """
    wanted = [group for group in groups if series in ("", group[0].series_uid)]
    if not wanted:
        found = len({group[0].series_uid for group in groups})
        raise Refusal(
            "series-not-found",
            f"the series named in the sheet is not among the {found} found here: correct the "
            "series column or leave it empty",
        )

    def rank(group: Group) -> tuple[object, ...]:
        values = dataclasses.astuple(merit(group, thin_mm=thin_mm))
        return (*values, [-ord(letter) for letter in group[0].series_uid], *_earlier(group))

    ranked = sorted(wanted, key=rank, reverse=True)
    if series:
        return ranked[0], "named in the sheet"
    return ranked[0], _deciding(ranked, thin_mm)


def _earlier(group: Group) -> tuple[int, int]:
    return -(group[0].acquisition or 0), -(group[0].temporal or 0)


def _deciding(ranked: Sequence[Group], thin_mm: float) -> str:
    """Return the first point of merit in which the best differs from the next."""
    if len(ranked) == 1:
        return "the only one"
    best, second = (dataclasses.asdict(merit(group, thin_mm=thin_mm)) for group in ranked[:2])
    for point, value in best.items():
        if value != second[point]:
            return f"{point}: {value} against {second[point]}"
    return "the first of equals"


def difference(one: Header, other: Header) -> str:
    """Return in which way two slices of one series cannot stand in one volume."""
    if angle_degrees(one, other) >= OTHER_PLANE_DEGREES:
        return "orientation"
    if (one.rows, one.columns) != (other.rows, other.columns):
        return "matrix"
    if one.frame_uid != other.frame_uid:
        return "frame of reference"
    if max(abs(a - b) for a, b in zip(one.orientation, other.orientation, strict=True)) > 1e-3:
        return "orientation"
    pairs = zip(one.pixel_spacing_mm, other.pixel_spacing_mm, strict=True)
    if max(abs(a - b) for a, b in pairs) > 5e-5:
        return "pixel spacing"
    return "acquisition"


def angle_degrees(one: Header, other: Header) -> float:
    """Return the angle between the planes of two slices, 0 to 90 degrees."""
    cosine = abs(float(np.dot(normal(one), normal(other))))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def reaches_beyond(group: Group, groups: Sequence[Group]) -> list[str]:
    """Tell where another acquisition of the chosen series reaches farther along the body."""
    said = []
    own = np.array([header.position_mm for header in group]) @ normal(group[0])
    for other in groups:
        if other is group or other[0].series_uid != group[0].series_uid:
            continue
        if difference(group[0], other[0]) != "acquisition":
            continue
        far = np.array([header.position_mm for header in other]) @ normal(group[0])
        beyond = max(float(own.min() - far.min()), float(far.max() - own.max()))
        if beyond > BEYOND_MM:
            said.append(
                f"another acquisition of this series ({len(other)} slices) reaches {beyond:.0f} mm "
                "farther along the body than the one that is used"
            )
    return said


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
        "lossy": any(header.lossy for header in group),
    }
