"""Why a slice cannot be used: each answer is a stable code and words, or two empty texts."""

import math
from collections.abc import Mapping, Sequence

from lungfish.dicom import values as read
from lungfish.dicom.elements import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    UNDEFINED,
    Elements,
)
from lungfish.dicom.encapsulated import find_end

NATIVE_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})
MOST_PIXELS = 1 << 26
"""8192 x 8192: no CT has more, and a slice that declares them wants memory and no reader."""
MOST_PADDING = 64
"""Bytes after the pixels that some writers leave; more of them contradict the matrix."""
COSINE_TOLERANCE = 2e-3
"""How far direction cosines may be from perpendicular unit vectors: rounding to 3 decimals."""
RESCALE_TYPES = ("OD", "HU_MOD", "US", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""What PS3.3 C.11.1.1.2 defines; free text of a file is never quoted."""
LACKING = "incomplete-header"


def geometry_problem(values: Mapping[str, bytes]) -> tuple[str, str]:
    """Return the code and words for why a slice has no HU or no place, or two empty texts."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    for keyword, count in needed.items():
        if not read.numbers(values, keyword, count):
            return LACKING, f"no usable {keyword}"
    if min(read.numbers(values, "PixelSpacing", 2)) <= 0:
        return LACKING, "no usable PixelSpacing"
    for keyword in ("RescaleSlope", "RescaleIntercept"):  # type 1, PS3.3 C.8.2.1
        if read.number(values, keyword) is None:
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
    return ("damaged-files", "truncated") if cut else ("", "")
