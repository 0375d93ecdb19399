"""Why a slice cannot be used: each answer is a stable code and words, or two empty texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from lungfish.dicom import values as read
from lungfish.dicom.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG_VRS,
    PIXEL_DATA,
    SHORT_VRS,
    UNDEFINED,
    Elements,
)
from lungfish.dicom.encapsulated import find_end
from lungfish.dicom.sources import InflatedStream

NATIVE_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})
FARTHEST_MM, SPACING_MM, STEEPEST = 1e5, (0.01, 100.0), 1e6
"""Beyond these a position, a pixel spacing and a rescale value belong to no scanner."""
MOST_PIXELS = 1 << 26
"""8192 x 8192: no CT has more, and a slice that declares them wants memory and no reader."""
MOST_PADDING = 64
"""Bytes after the pixels that some writers leave; more of them contradict the matrix."""
MOST_TAIL = 1024
COSINE_TOLERANCE = 2e-3
"""How far direction cosines may be from perpendicular unit vectors: rounding to 3 decimals."""
RESCALE_TYPES = ("OD", "HU_MOD", "US", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""What PS3.3 C.11.1.1.2 defines; free text of a file is never quoted."""
SHORTS = (
    "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "Rows",
    "Columns", "PixelPaddingValue", "PixelPaddingRangeLimit",
)  # fmt: skip
"""Of two bytes each (PS3.6); what has another length is not taken for absent."""
LACKING = "incomplete-header"


def geometry_problem(values: Mapping[str, bytes]) -> tuple[str, str]:
    """Return the code and words for why a slice has no HU or no place, or two empty texts."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    for keyword, count in needed.items():
        if not read.numbers(values, keyword, count):
            return LACKING, f"no usable {keyword}"
    if max(map(abs, read.numbers(values, "ImagePositionPatient", 3))) > FARTHEST_MM:
        return LACKING, "no usable ImagePositionPatient"
    spacing = read.numbers(values, "PixelSpacing", 2)
    if not SPACING_MM[0] <= min(spacing) <= max(spacing) <= SPACING_MM[1]:
        return LACKING, "no usable PixelSpacing"
    for keyword in ("RescaleSlope", "RescaleIntercept"):  # type 1, PS3.3 C.8.2.1
        if read.number(values, keyword) is None:
            return LACKING, f"no usable {keyword}"
        if abs(read.number(values, keyword) or 0) > STEEPEST:
            return LACKING, f"no usable {keyword}"
    if read.number(values, "RescaleSlope") == 0:
        return LACKING, "a RescaleSlope of 0"
    kind = read.text(values, "RescaleType")
    if kind not in ("", "HU"):
        named = f"RescaleType {kind}" if kind in RESCALE_TYPES else "an unknown RescaleType"
        return "not-hu", f"{named} instead of HU"
    if "ModalityLUTSequence" in values:
        return "not-hu", "a Modality LUT instead of a rescale slope"
    return _orientation_problem(read.numbers(values, "ImageOrientationPatient", 6))


def _orientation_problem(orientation: tuple[float, ...]) -> tuple[str, str]:
    """Return the code and words for direction cosines that are not perpendicular unit vectors."""
    row, column = orientation[:3], orientation[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    product = sum(a * b for a, b in zip(row, column, strict=True))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(product)) <= COSINE_TOLERANCE:
        return "", ""
    return "bad-orientation", (
        f"direction vectors of length {lengths[0]:.3f} and {lengths[1]:.3f} with the product "
        f"{product:.3f} where 1, 1 and 0 are expected"
    )


def pixel_problem(elements: Elements, frames: Sequence[Mapping[str, bytes]]) -> tuple[str, str]:
    """Return the code and words for why a file's pixels cannot be read, or two empty texts."""
    values, big = frames[0], elements.big_endian

    def short(keyword: str) -> int | None:
        return read.short(values, keyword, big_endian=big)

    if not elements.pixels_at or not elements.pixels_length:
        return LACKING, "no pixels"
    for keyword in SHORTS:
        if values.get(keyword) and short(keyword) is None:
            return LACKING, f"no usable {keyword}"
    if values.get("NumberOfFrames", b"").strip() and read.whole(values, "NumberOfFrames") is None:
        return LACKING, "no usable NumberOfFrames"
    rows, columns = short("Rows") or 0, short("Columns") or 0
    if not rows or not columns or rows * columns > MOST_PIXELS:
        return LACKING, "no usable Rows and Columns"
    if short("BitsAllocated") != 16 or short("SamplesPerPixel") not in (None, 1):
        return LACKING, "pixels other than one 16-bit sample"
    bits = short("BitsStored")
    if bits is None or not 1 <= bits <= 16 or short("HighBit") not in (None, bits - 1):
        return LACKING, "no usable BitsStored and HighBit"
    if short("PixelRepresentation") not in (0, 1):
        return LACKING, "no usable PixelRepresentation"
    if not read.text(values, "PhotometricInterpretation").startswith("MONOCHROME"):
        return LACKING, "pixels other than grey values"
    if len(frames) == 1 and (read.whole(values, "NumberOfFrames") or 1) != 1:
        return LACKING, "several frames without a place of each"
    return _extent_problem(elements, 2 * len(frames) * rows * columns)


def _extent_problem(elements: Elements, needed: int) -> tuple[str, str]:
    """Hold the pixels' length against the matrix and the file; no pixel is read."""
    at, length, stream = elements.pixels_at, elements.pixels_length, elements.stream
    native = elements.syntax in NATIVE_SYNTAXES
    if native != (length != UNDEFINED):
        return LACKING, f"pixels that are not stored as syntax {elements.syntax} says"
    if not native:
        cut = find_end(stream, at) is None
    elif 0 <= length - needed <= MOST_PADDING:
        cut = len(stream.read(at + length - 1, 1)) < 1
    else:
        return LACKING, f"{length} bytes of pixels where {needed} are declared"
    if cut:
        return "damaged-files", "truncated"
    return ("damaged-files", "undecodable") if native and not _ends_well(elements) else ("", "")


def _ends_well(elements: Elements) -> bool:
    """Say whether nothing follows uncompressed pixels but zeros or an element of a higher tag.

    Else bytes were put into the pixels or taken from them, and all after them are shifted.
    """
    end, stream = elements.pixels_at + elements.pixels_length, elements.stream
    behind = stream.tail(end) if isinstance(stream, InflatedStream) else stream.read(end, MOST_TAIL)
    if behind is None or not behind.strip(b"\0"):
        return behind is not None and len(behind) <= MOST_PADDING
    order: Literal["big", "little"] = "big" if elements.big_endian else "little"
    group, number = (int.from_bytes(behind[at : at + 2], order) for at in (0, 2))
    higher = group << 16 | number > PIXEL_DATA
    if elements.explicit:
        known = behind[4:6] in SHORT_VRS or behind[4:6] in LONG_VRS
    else:
        known = int.from_bytes(behind[4:8], order) + 8 <= stream.size - end
    return higher and known and len(behind) >= 8
