"""What is in a folder: the fate of every file, the chosen series, its order and its grid.

1. read the header of every file; 2. group CT slices that can stand in one volume; 3. choose a
group by a stated rule; 4. drop true copies; 5. order along the normal and check the grid.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from lungfish.dicom.headers import Header, read_headers
from lungfish.dicom.pixels import pixel_digest
from lungfish.dicom.series import (
    POSITION_TOLERANCE_MM,
    Geometry,
    Group,
    choose,
    describe,
    find_geometry,
    group_slices,
    order,
    place_mm,
)
from lungfish.errors import InputError, Refusal
from lungfish.records import Record, accepted, refused

SCHEMA = "index/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a series is chosen and checked.

    Attributes
    ----------
    minimum_slices : int
        Fewer slices are no chest, 2 or more.
    salt : str
        Mixed into the hash of every UID, so that outsiders cannot look them up.
    """

    minimum_slices: int = 5
    salt: str = ""


def hash_uid(uid: str, salt: str) -> str:
    """Return a salted SHA-256 of a UID, the first 32 hexadecimal digits."""
    return hashlib.sha256(f"{salt}\0{uid}".encode()).hexdigest()[:32]


def index_folder(folder: Path, *, settings: Settings, series: str = "") -> Record:
    """Index one patient's folder.

    Parameters
    ----------
    folder : Path
        Holding DICOM files and whatever else, nested or not.
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
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError("the DICOM folder does not exist: correct the dicom column of the sheet")
    fates: dict[int, str] = {}
    headers: list[Header] = []
    for number, found in read_headers(folder):
        if isinstance(found, Header):
            headers.append(found)
            fates[number] = "other series"
        else:
            fates[number] = found
    record: Record = {"series": None, "slices": [], "geometry": None, "acquisition": None}
    try:
        slices, geometry = _select(headers, fates, settings, series)
        record |= accepted() | _describe(slices, geometry, settings, headers)
    except Refusal as refusal:
        record |= refused(refusal)
    record["files"] = [{"number": number, "fate": fates[number]} for number in sorted(fates)]
    return record


def _select(
    headers: list[Header], fates: dict[int, str], settings: Settings, series: str
) -> tuple[Group, Geometry]:
    """Choose, clean and order the slices of the volume; write down each file's fate."""
    if not headers:
        _refuse_nothing(fates)
    usable = [header for header in headers if not header.problem]
    _refuse_problems(headers, usable, fates)
    groups = group_slices(usable)
    group = choose(groups, series)
    _refuse_mixture(group, groups, fates)
    fates.update({header.number: "chosen" for header in group})
    slices = drop_copies(order(group), fates)
    geometry = find_geometry(slices, minimum_slices=settings.minimum_slices)
    fates.update({header.number: "used" for header in slices})
    return slices, geometry


def _refuse_nothing(fates: dict[int, str]) -> None:
    counts = {fate: list(fates.values()).count(fate) for fate in sorted(set(fates.values()))}
    if counts.get("multi-frame"):
        raise Refusal(
            "multi-frame",
            f"{counts['multi-frame']} enhanced multi-frame CT file(s), which are not read yet: "
            "export the series as single-frame CT images",
        )
    listing = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "no file at all"
    raise Refusal("no-ct", f"no CT slice in the folder ({listing}): give the folder of the series")


def _refuse_problems(headers: list[Header], usable: list[Header], fates: dict[int, str]) -> None:
    """Refuse a series of which only some slices can be used: a hole would be the result."""
    broken = [header for header in headers if header.problem]
    for header in broken:
        fates[header.number] = header.problem
    kept = {header.series_uid for header in usable}
    hurt = [header for header in broken if not usable or header.series_uid in kept]
    if hurt:
        raise Refusal(
            "incomplete-header",
            f"{len(hurt)} of {len(headers)} CT slices have {hurt[0].problem} (first: file "
            f"{hurt[0].number}): export the series again with complete headers",
        )
    damaged = [number for number, fate in fates.items() if fate in ("truncated", "undecodable")]
    if damaged:
        raise Refusal(
            "damaged-files",
            f"{len(damaged)} file(s) are cut off or damaged (first: file {damaged[0]}) and may be "
            "slices of this series: copy the folder again",
        )


def _refuse_mixture(group: Group, groups: Sequence[Group], fates: dict[int, str]) -> None:
    """Name the fate of what was not chosen; refuse a series that does not hold together."""
    for other in groups:
        if other is group or other[0].series_uid != group[0].series_uid:
            continue
        difference = _difference(group[0], other[0])
        fates.update({header.number: f"other {difference}" for header in other})
        if difference != "acquisition":
            raise Refusal(
                f"mixed-{difference.replace(' ', '-')}",
                f"{len(other)} slices of the series have another {difference} than the other "
                f"{len(group)}: separate them into two folders",
            )


def _difference(one: Header, other: Header) -> str:
    if (one.rows, one.columns) != (other.rows, other.columns):
        return "matrix"
    if one.frame_uid != other.frame_uid:
        return "frame of reference"
    if max(abs(a - b) for a, b in zip(one.orientation, other.orientation, strict=True)) > 1e-3:
        return "orientation"
    if one.pixel_spacing_mm != other.pixel_spacing_mm:
        return "pixel spacing"
    return "acquisition"


def drop_copies(slices: Group, fates: dict[int, str]) -> Group:
    """Keep one of the files that hold the same pixels at the same place.

    Files at one place with different pixels are both kept, and refused as ``duplicate-positions``
    when the grid is checked: nobody can know which is right.
    """
    kept: Group = []
    for header in slices:
        twin = kept[-1] if kept else None
        near = twin is not None and abs(place_mm(header) - place_mm(twin)) < POSITION_TOLERANCE_MM
        if twin is not None and near and pixel_digest(header.path) == pixel_digest(twin.path):
            fates[header.number] = f"duplicate of {twin.number}"
        else:
            kept.append(header)
    return kept


def _describe(
    slices: Group, geometry: Geometry, settings: Settings, headers: Sequence[Header]
) -> Record:
    instances = [header.instance for header in slices if header.instance is not None]
    monotone = instances in (sorted(instances), sorted(instances, reverse=True))
    return {
        "series": {
            "uid_hash": hash_uid(slices[0].series_uid, settings.salt),
            "slices": len(slices),
            "series_found": len({header.series_uid for header in headers}),
            "instance_numbers_agree": monotone,
        },
        "slices": [
            {
                "file": header.number,
                "place_mm": round(place_mm(header), 4),
                "uid_hash": hash_uid(header.instance_uid, settings.salt),
            }
            for header in slices
        ],
        "geometry": {
            "affine": geometry.affine.round(6),
            "spacing_mm": [round(step, 6) for step in geometry.spacing_mm],
            "size": geometry.size,
            "largest_gap_mm": round(geometry.largest_gap_mm, 4),
        },
        "acquisition": describe(slices),
    }
