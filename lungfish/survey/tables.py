"""The rows of the survey: what each slice and each series says of itself and where it lies."""

import dataclasses
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.geometry import GAP, SAME_PLACE_MM
from lungfish.dicom.headers import Header
from lungfish.dicom.series import AXIAL_COSINE, normal, places_mm
from lungfish.index import hash_uid
from lungfish.records import Record

Array = NDArray[np.float64]

SLICE_COLUMNS = (
    "patient", "series", "file", "frame", "uid_hash", "instance", "acquisition", "temporal",
    "place_mm", "step_mm", "x_mm", "y_mm", "z_mm", "row_x", "row_y", "row_z", "column_x",
    "column_y", "column_z", "row_spacing_mm", "column_spacing_mm", "rows", "columns",
    "thickness_mm", "stated_spacing_mm", "stated_tilt_degrees", "manufacturer", "model", "kernel",
    "kvp", "mas", "image_type", "syntax", "lossy", "bits_stored", "signed", "slope",
    "intercept_hu", "padding", "inverted", "problem", "lacks",
)  # fmt: skip
SERIES_COLUMNS = (
    "patient", "series", "uid_hash", "files", "slices", "plane", "step_mm", "step_low_mm",
    "step_high_mm", "gaps", "same_place", "row_spacing_mm", "column_spacing_mm", "rows", "columns",
    "extent_x_mm", "extent_y_mm", "extent_z_mm", "tilt_degrees", "stated_tilt_degrees",
    "thickness_mm", "stated_spacing_mm", "manufacturer", "model", "kernel", "kvp", "mas",
    "mas_low", "mas_high", "acquisitions", "image_type", "syntax", "lossy", "bits_stored",
    "signed", "mixed", "problem", "lacks",
)  # fmt: skip
OTHER_COLUMNS = ("patient", "fate", "files")
MIXABLE = (
    "rows", "columns", "row_spacing_mm", "column_spacing_mm", "thickness_mm", "manufacturer",
    "model", "kernel", "kvp", "image_type", "syntax", "bits_stored", "signed", "slope",
    "intercept_hu",
)  # fmt: skip
DESCRIPTIVE = {
    "thickness_mm": "SliceThickness", "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName", "kernel": "ConvolutionKernel", "kvp": "KVP",
    "mas": "Exposure", "instance": "InstanceNumber", "image_type": "ImageType",
}  # fmt: skip
"""What a slice can do without, but a description of the cohort cannot."""
PLANES = ("sagittal", "coronal", "axial")
SYNTAX_NAMES = {
    "1.2.840.10008.1.2": "implicit little endian", "1.2.840.10008.1.2.1": "explicit little endian",
    "1.2.840.10008.1.2.1.99": "deflated", "1.2.840.10008.1.2.2": "explicit big endian",
    "1.2.840.10008.1.2.5": "RLE", "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended", "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless", "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless", "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000, lossy allowed", "1.2.840.10008.1.2.4.201": "HTJ2K",
    "1.2.840.10008.1.2.4.202": "HTJ2K", "1.2.840.10008.1.2.4.203": "HTJ2K, lossy allowed",
}  # fmt: skip
"""PS3.6 table A-1."""


@dataclasses.dataclass(frozen=True)
class PatientSurvey:
    """The rows of one patient.

    Attributes
    ----------
    slices : list of dict
        With the keys `SLICE_COLUMNS`, in the order of series and place.
    series : list of dict
        With the keys `SERIES_COLUMNS`.
    others : list of dict
        With the keys `OTHER_COLUMNS`: how many files are something else than CT slices.
    """

    slices: list[Record]
    series: list[Record]
    others: list[Record]


def survey_patient(
    patient: str, found: Iterable[tuple[int, Header | str]], *, salt: str = ""
) -> PatientSurvey:
    """Describe all that is in one patient's folder.

    Parameters
    ----------
    patient : str
        The sheet's name.
    found : iterable of (int, Header or str)
        As `dicom.headers.read_headers` yields it.
    salt : str
        Mixed into the hash of every UID.

    Returns
    -------
    PatientSurvey
        Series are numbered from 1 in the order in which they appear among the files.
    """
    groups: dict[str, list[Header]] = defaultdict(list)
    fates: Counter[str] = Counter()
    for _, header in found:
        if isinstance(header, Header):
            groups[header.series_uid].append(header)
        else:
            fates[header] += 1
    slices: list[Record] = []
    series: list[Record] = []
    for number, group in enumerate(groups.values(), start=1):
        rows, row = survey_series(group, salt=salt)
        name = {"patient": patient, "series": number}
        slices += [name | each for each in rows]
        series.append(name | row)
    others = [
        {"patient": patient, "fate": fate, "files": count} for fate, count in sorted(fates.items())
    ]
    return PatientSurvey(slices, series, others)


def survey_series(group: Sequence[Header], *, salt: str) -> tuple[list[Record], Record]:
    """Return a row a slice, in the order of their places, and the row of their series.

    Slices without a usable place, or of another orientation than most, come last and have no
    place.
    """
    placed, rest = _placed(group)
    places = places_mm(placed) if placed else np.zeros(0)
    order = np.argsort(places, kind="stable")
    ordered, places = [placed[k] for k in order], places[order]
    rows = [slice_row(header, salt=salt) for header in [*ordered, *rest]]
    for k, place in enumerate(places):
        step = None if k == 0 else float(place - places[k - 1])
        rows[k] |= {"place_mm": float(place - places[0]), "step_mm": step}
    series = _series_row(rows, group, salt) | _steps(places) | _grid(ordered)
    if rest:
        series["mixed"] = ", ".join(filter(None, [series["mixed"], "orientation or position"]))
    return rows, series


def _placed(group: Sequence[Header]) -> tuple[list[Header], list[Header]]:
    """Tell the slices of the commonest orientation from the rest."""
    kinds = [_orientation_kind(header) for header in group]
    usable = Counter(kind for kind in kinds if kind is not None)
    if not usable:
        return [], list(group)
    common = usable.most_common(1)[0][0]
    placed = [header for header, kind in zip(group, kinds, strict=True) if kind == common]
    return placed, [header for header, kind in zip(group, kinds, strict=True) if kind != common]


def _orientation_kind(header: Header) -> tuple[float, ...] | None:
    """Return the direction cosines to one decimal, or None where they span no plane."""
    if len(header.position_mm) != 3 or len(header.orientation) != 6:
        return None
    row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    if not np.linalg.norm(np.cross(row, column)) > 0.5:
        return None
    return tuple(round(value, 1) + 0.0 for value in header.orientation)


def slice_row(header: Header, *, salt: str) -> Record:
    """Return what one slice says of itself, without its place among the others."""
    row = _identity(header, salt) | _geometry(header) | _acquisition(header) | _storage(header)
    absent = [element for key, element in DESCRIPTIVE.items() if row[key] in (None, "")]
    return row | {"problem": header.problem, "lacks": ", ".join(absent)}


def _identity(header: Header, salt: str) -> Record:
    return {
        "file": header.number,
        "frame": header.stored.frame + 1,
        "uid_hash": hash_uid(header.instance_uid, salt),
        "instance": header.instance,
        "acquisition": header.acquisition,
        "temporal": header.temporal,
    }


def _geometry(header: Header) -> Record:
    names = {
        ("x_mm", "y_mm", "z_mm"): header.position_mm,
        ("row_x", "row_y", "row_z", "column_x", "column_y", "column_z"): header.orientation,
        ("row_spacing_mm", "column_spacing_mm"): header.pixel_spacing_mm,  # PS3.3 10.7.1.3
    }
    found = {
        name: value
        for keys, values in names.items()
        for name, value in zip(keys, values, strict=False)
    }
    return found | {"rows": header.rows or None, "columns": header.columns or None}


def _acquisition(header: Header) -> Record:
    return {
        "thickness_mm": header.thickness_mm,
        "stated_spacing_mm": header.stated_spacing_mm,
        "stated_tilt_degrees": header.stated_tilt_degrees,
        "manufacturer": header.manufacturer,
        "model": header.model,
        "kernel": header.kernel,
        "kvp": header.kvp,
        "mas": header.mas,
        "image_type": "/".join(header.image_type),
    }


def _storage(header: Header) -> Record:
    stored = header.stored
    return {
        "syntax": SYNTAX_NAMES.get(stored.syntax, "other"),
        "lossy": header.lossy,
        "bits_stored": stored.bits_stored,
        "signed": stored.signed,
        "slope": stored.slope or None,  # 0 stands for a slope that is not there
        "intercept_hu": stored.intercept if stored.slope else None,
        "padding": None if stored.padding is None else " to ".join(map(str, stored.padding)),
        "inverted": header.inverted,
    }


def _series_row(rows: Sequence[Record], group: Sequence[Header], salt: str) -> Record:
    """Return what a series says of itself: its commonest values, and in which it is not one."""
    kept = [name for name in SERIES_COLUMNS if name in SLICE_COLUMNS[3:]]
    common = {name: Counter(row.get(name) for row in rows).most_common(1)[0][0] for name in kept}
    mixed = [name for name in MIXABLE if len({row.get(name) for row in rows}) > 1]
    doses = [row["mas"] for row in rows if row["mas"] is not None]
    return common | {
        "uid_hash": hash_uid(group[0].series_uid, salt),
        "files": len({header.number for header in group}),
        "slices": len(rows),
        "mas": statistics.median(doses) if doses else None,
        "mas_low": min(doses, default=None),
        "mas_high": max(doses, default=None),
        "acquisitions": len({(header.acquisition, header.temporal) for header in group}),
        "lossy": any(row["lossy"] for row in rows),
        "mixed": ", ".join(mixed),
        "problem": _tally(row["problem"] for row in rows),
        "lacks": _tally(part for row in rows for part in row["lacks"].split(", ")),
    }


def _tally(texts: Iterable[str]) -> str:
    """Return how many slices say what, the commonest first."""
    counts = Counter(text for text in texts if text)
    return "; ".join(f"{text} ({count})" for text, count in counts.most_common())


def _steps(places: Array) -> Record:
    """Return the distances of neighbouring places, and where slices are missing or too many."""
    steps = np.diff(places)
    apart = steps[steps >= SAME_PLACE_MM]
    if not apart.size:
        return {"same_place": steps.size}
    usual = float(np.median(apart))
    return {
        "step_mm": usual,
        "step_low_mm": float(apart.min()),
        "step_high_mm": float(apart.max()),
        "gaps": int((apart > GAP * usual).sum()),
        "same_place": int(steps.size - apart.size),
    }


def _grid(ordered: Sequence[Header]) -> Record:
    """Return plane, extent and tilt of ordered slices of one orientation."""
    if not ordered:
        return {"plane": ""}
    across = normal(ordered[0])
    axis = int(np.abs(across).argmax())
    way = np.subtract(ordered[-1].position_mm, ordered[0].position_mm)
    length = float(np.linalg.norm(way))
    # Two slices at one place have no direction, and so no tilt.
    cosine = abs(float(way @ across)) / length if length >= SAME_PLACE_MM else None
    extent = dict(zip(("extent_x_mm", "extent_y_mm", "extent_z_mm"), _extent(ordered), strict=True))
    return extent | {
        "plane": PLANES[axis] if abs(across[axis]) > AXIAL_COSINE else "oblique",
        "tilt_degrees": None if cosine is None else math.degrees(math.acos(min(cosine, 1.0))),
    }


def _extent(ordered: Sequence[Header]) -> tuple[float | None, ...]:
    """Return how far a series reaches along the patient's axes, first to last voxel centre."""
    corners = [corner for header in ordered for corner in _corners(header)]
    if not corners:
        return (None, None, None)
    return tuple(float(reach) for reach in np.ptp(np.array(corners), axis=0))


def _corners(header: Header) -> list[Array]:
    if len(header.pixel_spacing_mm) != 2:
        return []
    origin, row, column = np.array(
        [header.position_mm, header.orientation[:3], header.orientation[3:]]
    )
    along = row * header.pixel_spacing_mm[1] * max(header.columns - 1, 0)
    down = column * header.pixel_spacing_mm[0] * max(header.rows - 1, 0)
    return [origin, origin + along, origin + down, origin + along + down]
