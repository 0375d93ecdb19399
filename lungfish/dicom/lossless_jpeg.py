"""Lossless JPEG (ISO/IEC 10918-1 annex H), decoded fast and then held against its own length.

The code has no checksum, and decoders make up what a damaged stream lacks. But the pixels that came
out need a known number of bits under the stream's own Huffman table: a stream that was cut has
fewer, and most flipped bits change how many are needed.
"""

import dataclasses
import functools
import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_SPARE_BITS = 64
"""An encoder fills its last byte; some leave a few more."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a stream says of its only scan.

    Attributes
    ----------
    table : bytes
        Of Huffman codes: 16 counts by length, then the categories in order (B.2.4.2).
    predictor : int
        1 to 7 (table H.1).
    precision : int
        Bits of a sample.
    plain : bool
        Neither restarts nor a point transform: the bits can be counted.
    start : int
        Where the coded bits begin.
    """

    table: bytes
    predictor: int
    precision: int
    plain: bool
    start: int


def decode_lossless_jpeg(frame: bytes, out: Array | None = None) -> Array:
    """Decode a lossless JPEG.

    Parameters
    ----------
    frame : bytes
        A whole stream with its end marker.
    out : ndarray of uint16, shape (rows, columns), optional
        To decode into.

    Returns
    -------
    ndarray of uint8 or uint16, shape (rows, columns)

    Raises
    ------
    ValueError
        If the pixels need more or fewer bits than the stream has.
    """
    decoded = np.asarray(imagecodecs.jpeg8_decode(frame, out=out))
    scan = read_scan(frame)
    if scan.plain and decoded.ndim == 2:
        end = frame.rfind(b"\xff\xd9")
        # FF is followed by a stuffed 00, which carries nothing (B.1.1.5).
        there = 8 * (end - scan.start - frame.count(b"\xff\x00", scan.start, end))
        spare = there - needed_bits(decoded, scan)
        if not 0 <= spare < MOST_SPARE_BITS:
            raise ValueError(f"the compressed stream is damaged: {spare} bits are left over")
    return decoded


def read_scan(frame: bytes) -> Scan:
    """Read the marker segments up to the coded bits (B.2).

    Raises
    ------
    ValueError
        If there is no scan of one component with its table.
    """
    at, precision, restarts = 2, 0, False
    tables: dict[int, bytes] = {}
    try:
        while frame[at] == 0xFF:
            marker, length = frame[at + 1], struct.unpack_from(">H", frame, at + 2)[0]
            if marker == 0xC3:
                precision = frame[at + 4]
            elif marker == 0xC4:
                tables |= _tables(frame[at + 4 : at + 2 + length])
            elif marker == 0xDD:
                restarts = restarts or frame[at + 4 : at + 6] != b"\0\0"
            elif marker == 0xDA and frame[at + 4] == 1:
                select, _, transform = frame[at + 7 : at + 10]
                table = tables[frame[at + 6] >> 4]
                plain = not restarts and not transform & 15 and 1 <= select <= 7
                return Scan(table, select, precision, plain, at + 2 + length)
            at += 2 + length
    except (struct.error, IndexError, KeyError):
        pass
    raise ValueError("the compressed stream has no scan of one component")


def _tables(segment: bytes) -> dict[int, bytes]:
    """Return the Huffman tables of a DHT segment by their number (B.2.4.2)."""
    found, at = {}, 0
    while at + 17 <= len(segment):
        size = 17 + sum(segment[at + 1 : at + 17])
        found[segment[at] & 15] = segment[at + 1 : at + size]
        at += size
    return found


@functools.lru_cache(16)
def _bits_of(table: bytes) -> NDArray[np.uint8]:
    """Return how many bits each difference modulo 2^16 takes: its code and its category (H.1.2.2).

    Shape (65536,); a difference without a code counts as 255 bits, so that no sum fits.
    """
    lengths = np.full(17, 255, np.uint8)
    categories = iter(table[16:])
    for length, count in enumerate(table[:16], start=1):
        for _, category in zip(range(count), categories, strict=False):
            if category <= 16:
                lengths[category] = length + (category if category < 16 else 0)
    signed = np.abs(np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32))
    return lengths[np.frexp(signed)[1]]


def needed_bits(pixels: Array, scan: Scan) -> int:
    """Return how many bits a scan needs for these pixels, without the last byte's filling."""
    values = pixels.astype(np.uint16, copy=False)
    difference = np.empty_like(values)
    difference[0, 0] = (int(values[0, 0]) - (1 << (scan.precision - 1))) & 0xFFFF
    # The first row is predicted from the left, the first column from above (H.1.2.1).
    np.subtract(values[0, 1:], values[0, :-1], out=difference[0, 1:])
    np.subtract(values[1:, 0], values[:-1, 0], out=difference[1:, 0])
    np.subtract(values[1:, 1:], _predicted(values, scan.predictor), out=difference[1:, 1:])
    return int(_bits_of(scan.table)[difference].sum(dtype=np.int64))


def _predicted(values: NDArray[np.uint16], predictor: int) -> NDArray[np.uint16]:
    """Return the predictions of all pixels but the first row and column (table H.1)."""
    if predictor == 1:
        return values[1:, :-1]
    if predictor == 2:
        return values[:-1, 1:]
    if predictor == 3:
        return values[:-1, :-1]
    left, above, corner = (
        part.astype(np.int32) for part in (values[1:, :-1], values[:-1, 1:], values[:-1, :-1])
    )
    predicted = {
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]
    return predicted.astype(np.uint16)
