"""What is in a folder: the fate of every file, the chosen series, its order and its grid.

1. read the header of every file; 2. group CT slices that can stand in one volume; 3. choose a
group by a stated rule; 4. drop true copies; 5. order along the normal and find the grid.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lungfish.dicom.geometry import SAME_PLACE_MM, Geometry, find_geometry, findings, order
from lungfish.dicom.headers import Header, hash_uid, read_headers
from lungfish.dicom.pixels import read_hu
from lungfish.dicom.series import (
    OTHER_PLANE_DEGREES,
    Group,
    angle_degrees,
    choose,
    describe,
    difference,
    group_slices,
    merit,
    places_mm,
    reaches_beyond,
)
from lungfish.errors import InputError, Refusal
from lungfish.records import Record, accepted, refused

__all__ = ["SCHEMA", "Settings", "drop_copies", "hash_uid", "index_folder"]
SCHEMA = "index/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a series is chosen and checked.

    Attributes
    ----------
    minimum_slices : int
        Fewer slices are no chest, 2 or more.
    thin_mm : float
        Slices no farther apart than this, in mm, are thin: thin series are preferred.
    tolerance_mm : float
        How far a slice may lie off its regular place, in mm, before its true place is used.
    gaps : "refuse" or "mark"
        Whether a scan with missing slices is refused, or filled and the filling marked.
    max_gap_slices : int
        With ``mark``: how many slices in a row may be filled.
    salt : str
        Mixed into the hash of every UID, so that outsiders cannot look them up.
    """

    minimum_slices: int = 5
    thin_mm: float = 3.0
    tolerance_mm: float = 0.1
    gaps: Literal["refuse", "mark"] = "refuse"
    max_gap_slices: int = 1
    salt: str = ""


def index_folder(folder: Path, *, settings: Settings, series: str = "") -> Record:
    """Index one patient's folder or zip.

    Parameters
    ----------
    folder : Path
        Holding DICOM files and whatever else, nested or not, zipped or not; or a zip.
    settings : Settings
        Of this stage.
    series : str
        SeriesInstanceUID to use, or empty for the rule of `dicom.series.choose`.

    Returns
    -------
    dict
        The record of ``index/{patient}.json``: status, code, reason, the fate of each file by
        number, slices in order, geometry and acquisition. A refusal is in the record, not raised,
        since the fates are worth having all the more then.

    Raises
    ------
    InputError
        If there is neither a folder nor a file.
    """
    if not folder.exists():
        raise InputError(
            "neither a folder nor a zip is there: correct the dicom column of the sheet"
        )
    fates: dict[int, str] = {}
    headers: list[Header] = []
    for number, found in read_headers(folder):
        if isinstance(found, Header):
            headers.append(found)
            fates[number] = "other series"
        else:
            fates[number] = found
    record: Record = {"series": None, "slices": [], "geometry": None, "acquisition": None}
    record |= {"findings": [], "others": []}
    try:
        group, groups, rule = _select(headers, fates, settings, series)
        record["findings"] = reaches_beyond(group, groups)
        record["others"] = [_other(one, fates, settings) for one in groups if one is not group]
        slices, geometry = _clean(group, fates, settings)
        record["findings"] += findings(slices, geometry)
        record |= accepted() | _describe(slices, geometry, settings)
        record["series"] |= {"rule": rule, "series_found": _count_series(headers)}
    except Refusal as refusal:
        record |= refused(refusal)
    record["files"] = [{"number": number, "fate": fates[number]} for number in sorted(fates)]
    return record


def _select(
    headers: list[Header], fates: dict[int, str], settings: Settings, series: str
) -> tuple[Group, list[Group], str]:
    """Choose the slices of the volume; write down the fate of the others."""
    if not headers:
        _refuse_nothing(fates)
    fates.update({header.number: header.problem for header in headers if header.problem})
    usable = [header for header in headers if not header.code]
    if not usable:
        _refuse_problem(headers, headers)
    groups = group_slices(usable)
    group, rule = choose(groups, series, thin_mm=settings.thin_mm)
    fates.update({header.number: "chosen" for header in group})
    hurt = [h for h in headers if h.code and h.series_uid == group[0].series_uid]
    if hurt:
        _refuse_problem(hurt, headers)
    _refuse_damaged(fates)
    _name_others(group, groups, fates)
    return group, groups, rule


def _refuse_nothing(fates: dict[int, str]) -> None:
    _refuse_damaged(fates)
    counts = Counter(fates.values())
    listing = ", ".join(f"{counts[fate]} {fate}" for fate in sorted(counts)) or "no file at all"
    raise Refusal("no-ct", f"no CT slice in the folder ({listing}): give the folder of the series")


def _refuse_problem(hurt: Sequence[Header], headers: Sequence[Header]) -> None:
    """Refuse a series of which only some slices can be used: a hole would be the result."""
    first = hurt[0]
    alike = [header for header in hurt if header.code == first.code]
    remedy = {
        "damaged-files": "copy the folder again",
        "not-hu": "export the series again as HU",
    }.get(first.code, "export the series again with complete headers")
    found = "are cut off or damaged" if first.code == "damaged-files" else f"have {first.problem}"
    raise Refusal(
        first.code,
        f"{len(alike)} of {len(headers)} CT slices {found} (first: file {first.number}): {remedy}",
    )


def _refuse_damaged(fates: dict[int, str]) -> None:
    """Refuse where a file's header cannot be read: it may be a slice of this very series."""
    damaged = [number for number, fate in fates.items() if fate in ("truncated", "undecodable")]
    if damaged:
        raise Refusal(
            "damaged-files",
            f"{len(damaged)} file(s) are cut off or damaged (first: file {damaged[0]}) and may be "
            "slices of this series: copy the folder again",
        )


def _name_others(group: Group, groups: Sequence[Group], fates: dict[int, str]) -> None:
    """Name the fate of what was not chosen; refuse a series that does not hold together."""
    used = {header.number for header in group}
    for other in groups:
        if other is group or other[0].series_uid != group[0].series_uid:
            continue
        kind = difference(group[0], other[0])
        fates.update({h.number: f"other {kind}" for h in other if h.number not in used})
        apart = angle_degrees(group[0], other[0]) >= OTHER_PLANE_DEGREES
        if kind != "acquisition" and not apart:
            raise Refusal(
                f"mixed-{kind.replace(' ', '-')}",
                f"{len(other)} slices of the series have another {kind} than the other "
                f"{len(group)}: separate them into two folders",
            )


def _clean(group: Group, fates: dict[int, str], settings: Settings) -> tuple[Group, Geometry]:
    """Order the chosen slices, drop copies and find their grid."""
    slices = drop_copies(order(group), fates)
    geometry = find_geometry(
        slices,
        minimum_slices=settings.minimum_slices,
        tolerance_mm=settings.tolerance_mm,
        max_gap_slices=settings.max_gap_slices if settings.gaps == "mark" else 0,
    )
    fates.update({header.number: "used" for header in slices})
    return slices, geometry


def drop_copies(slices: Group, fates: dict[int, str]) -> Group:
    """Keep one of the files that hold the same HU at the same place.

    Files at one place with different HU are both kept, and refused as ``duplicate-positions`` when
    the grid is found: nobody can know which is right.
    """
    kept: Group = []
    places = places_mm(slices)
    last_place = -np.inf
    for header, place in zip(slices, places, strict=True):
        if place - last_place < SAME_PLACE_MM and _same_pixels(header, kept[-1]):
            fates[header.number] = f"duplicate of {kept[-1].number}"
            continue
        kept.append(header)
        last_place = place
    return kept


def _same_pixels(one: Header, other: Header) -> bool:
    """Compare HU, since a copy may be stored in another way; what cannot be read is no copy."""
    planes = []
    for header in (one, other):
        plane = np.empty((header.rows, header.columns), np.int16)
        try:
            with header.source.open() as stream:
                read_hu(stream, header, plane)
        except Refusal:
            return False
        planes.append(plane)
    return bool(np.array_equal(planes[0], planes[1]))


def _count_series(headers: Sequence[Header]) -> int:
    return len({header.series_uid for header in headers})


def _other(group: Group, fates: dict[int, str], settings: Settings) -> Record:
    """Describe a group that was not chosen."""
    points = merit(group, thin_mm=settings.thin_mm)
    return {
        "uid_hash": hash_uid(group[0].series_uid, settings.salt),
        "fate": fates[group[0].number],
        "slices": len(group),
        "extent_mm": round(float(np.ptp(places_mm(group))), 3),
        "kernel": group[0].kernel,
        "axial": points.axial,
        "thickness_mm": group[0].thickness_mm,
    }


def _describe(slices: Group, geometry: Geometry, settings: Settings) -> Record:
    instances = [header.instance for header in slices if header.instance is not None]
    monotone = instances in (sorted(instances), sorted(instances, reverse=True))
    places = places_mm(slices)
    return {
        "series": {
            "uid_hash": hash_uid(slices[0].series_uid, settings.salt),
            "slices": len(slices),
            "instance_numbers_agree": monotone,
        },
        "slices": [
            {
                "file": header.number,
                "frame": header.stored.frame,
                "place_mm": round(float(place), 4),
                "position_mm": [round(value, 4) for value in header.position_mm],
                "uid_hash": header.uid_hash(settings.salt),
            }
            for header, place in zip(slices, places, strict=True)
        ],
        "geometry": {
            # Nine decimals: an error in the step counts hundreds of times at the other end.
            "affine": geometry.affine.round(9).tolist(),
            "spacing_mm": [round(step, 6) for step in geometry.spacing_mm],
            "size": geometry.size,
            "regular": geometry.regular,
            "places": [round(place, 9) for place in geometry.places],
            "tilt_degrees": round(geometry.tilt_degrees, 3),
            "oblique_degrees": round(geometry.oblique_degrees, 3),
            "largest_gap_mm": round(geometry.largest_gap_mm, 4),
            "gap_files": geometry.gap_files,
            "filled": geometry.filled,
            "missing": geometry.missing,
        },
        "acquisition": describe(slices),
    }
