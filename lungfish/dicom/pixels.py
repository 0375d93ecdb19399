"""Stored values, decoded by named decoders, and their Hounsfield units in place."""

import dataclasses
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.checks import NATIVE_SYNTAXES
from lungfish.dicom.encapsulated import check_jpeg, frame_spans, read_frame
from lungfish.dicom.headers import Header, Stored
from lungfish.dicom.lossless_jpeg import decode_lossless_jpeg
from lungfish.dicom.sources import UNREADABLE_ZIP, FileStream, InflatedStream, Stream
from lungfish.errors import Refusal
from lungfish.volume import AIR_HU

Array = NDArray[Any]
Plane = NDArray[np.int16]
Spans = list[tuple[int, int]]
INT16_MIN, INT16_MAX = -32768, 32767
RLE_LOSSLESS = "1.2.840.10008.1.2.5"

_LISTENING = threading.Lock()


def decode_htj2k(frame: bytes, out: Array | None = None) -> Any:
    """Decode HTJ2K, and raise what the decoder meets.

    OpenJPH's errors arise where imagecodecs cannot raise them, so that Python would only print
    them and go on with what is missing made up.
    """
    heard: list[str] = []
    with _LISTENING:
        before = sys.unraisablehook
        sys.unraisablehook = lambda unraisable: heard.append(unraisable.exc_type.__name__)
        try:
            decoded = imagecodecs.htj2k_decode(frame, out=out)
        finally:
            sys.unraisablehook = before
    if heard:
        raise ValueError(f"the decoder says {heard[0]}")
    return decoded


# By name and not by what happens to be installed: what a decoder does with damaged data differs.
DECODERS: dict[str, Callable[..., Any]] = {
    "1.2.840.10008.1.2.4.57": decode_lossless_jpeg,
    "1.2.840.10008.1.2.4.70": decode_lossless_jpeg,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": decode_htj2k,
    "1.2.840.10008.1.2.4.202": decode_htj2k,
    "1.2.840.10008.1.2.4.203": decode_htj2k,
}

# What damaged pixels raise: imagecodecs' errors are RuntimeErrors.
UNDECODABLE = (ValueError, RuntimeError, struct.error, IndexError, *UNREADABLE_ZIP)


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a slice's conversion had to do.

    Attributes
    ----------
    saturated : int
        Pixels above what int16 holds, set to 32767.
    spilled : bool
        Whether bits above BitsStored were set, and cut off.
    """

    saturated: int
    spilled: bool


def read_hu(stream: Stream, header: Header, plane: Plane) -> Tally:
    """Read one slice's HU into an array.

    Parameters
    ----------
    stream : Stream
        The header's file, open.
    header : Header
        Of a slice that was found usable.
    plane : ndarray of int16, shape (rows, columns)
        Filled with HU of at least -1024: padding and what lies below is air outside the field of
        view. Fastest where it is contiguous.

    Returns
    -------
    Tally

    Raises
    ------
    Refusal
        ``undecodable`` if the pixels cannot be decoded whole.
    """
    words = plane if plane.flags.c_contiguous else np.empty(plane.shape, np.int16)
    try:
        _fill(words, stream, header.stored)
    except UNDECODABLE as error:
        raise Refusal(
            "undecodable",
            f"the pixels of file {header.number} cannot be decoded ({_told(error)}): copy the file "
            "again from its source",
        ) from error
    tally = to_hu(words, header.stored)
    if words is not plane:
        plane[...] = words
    return tally


def _told(error: BaseException) -> str:
    """Return our own words for what is wrong; a decoder's may hold anything."""
    own = type(error) is ValueError
    return str(error) if own else f"the decoder says {type(error).__name__}"


def _fill(words: Plane, stream: Stream, stored: Stored) -> None:
    """Fill an array with a frame's stored 16-bit words, whatever their sign."""
    if words.shape != (stored.rows, stored.columns):
        raise ValueError(f"{stored.rows} x {stored.columns} pixels instead of {words.shape}")
    if stored.syntax in NATIVE_SYNTAXES:
        _fill_native(words, stream, stored)
        return
    spans = frame_spans(stream, stored.at, stored.frames)[stored.frame]
    frame = read_frame(stream, spans, most=2 * words.nbytes + (1 << 16))
    decoded = _decode(frame, stored.syntax, words)
    if not np.shares_memory(decoded, words):
        words[...] = decoded.view(np.int16) if decoded.dtype == np.uint16 else decoded


def _fill_native(words: Plane, stream: Stream, stored: Stored) -> None:
    offset = stored.at + stored.frame * words.nbytes
    if stored.deflated_at is not None:
        stream = InflatedStream(stream, stored.deflated_at)
    if isinstance(stream, FileStream):
        count = stream.readinto(offset, words.data.cast("B"))
    else:
        raw = stream.read(offset, words.nbytes)
        count = len(raw)
        words.reshape(-1)[: count // 2] = np.frombuffer(raw, "<i2", count=count // 2)
    if count != words.nbytes:
        raise ValueError(f"{count} bytes of pixels instead of {words.nbytes}")
    if stored.big_endian:
        words.byteswap(inplace=True)


def _decode(frame: bytes, syntax: str, words: Plane) -> Array:
    """Decode one compressed frame, straight into `words` where its samples are alike."""
    rows, columns = words.shape
    if syntax == RLE_LOSSLESS:
        return _decode_rle(frame, rows * columns).reshape(rows, columns)
    if syntax not in DECODERS:
        raise ValueError(f"transfer syntax {syntax} is not among those that CT comes in")
    check_jpeg(frame, (rows, columns))
    decode = DECODERS[syntax]
    try:
        return np.asarray(decode(frame, out=words.view(np.uint16)))
    except ValueError:  # 8 bits, or signed: the decoder shall choose its type, or say what is wrong
        decoded = np.asarray(decode(frame))
    if decoded.shape != (rows, columns) or decoded.dtype not in (np.uint8, np.uint16, np.int16):
        raise ValueError(f"{decoded.shape} {decoded.dtype} decoded instead of {words.shape}")
    return decoded


def _decode_rle(frame: bytes, pixels: int) -> Array:
    """Decode the two byte planes of a 16-bit RLE frame (PS3.5 annex G), most significant first."""
    if len(frame) < 64:
        raise ValueError("the RLE header is cut off")
    segments, first, second = struct.unpack_from("<III", frame)
    if segments != 2 or not 64 <= first <= second < len(frame):
        raise ValueError("the RLE header does not describe two byte planes")
    decoded = np.frombuffer(imagecodecs.dicomrle_decode(frame, np.dtype("<u2")), np.uint16)
    if decoded.size != pixels:
        raise ValueError(f"{decoded.size} pixels decoded instead of {pixels}")
    return decoded


def to_hu(words: Plane, stored: Stored) -> Tally:
    """Turn stored words into HU in place: stored x slope + intercept (PS3.3 C.11.1.1.2).

    Padding becomes air before anything can interpolate it.

    Parameters
    ----------
    words : ndarray of int16, contiguous
        16-bit words as stored; unsigned ones are meant where `stored` says so.
    stored : Stored
        Sign, bits, padding, slope and intercept.
    """
    spilled = _significant_bits(words, stored)
    values: Array = words if stored.signed else words.view(np.uint16)
    padding = None
    if stored.padding is not None:
        first, last = stored.padding
        padding = values == first if first == last else (values >= first) & (values <= last)
    saturated = _rescale(words, values, stored)
    if padding is not None:
        if saturated:
            saturated -= int(np.count_nonzero(words[padding] == INT16_MAX))
        np.copyto(words, AIR_HU, where=padding)
    return Tally(saturated, spilled)


def _significant_bits(words: Plane, stored: Stored) -> bool:
    """Drop what stands above BitsStored and extend the sign (PS3.5 8.1.1); say whether it was."""
    spare = 16 - stored.bits_stored
    if not spare:
        return False
    if not stored.signed:
        highest = (1 << stored.bits_stored) - 1
        spilled = bool(words.view(np.uint16).max() > highest)
        if spilled:
            words &= np.int16(highest)
        return spilled
    high = words.view(np.uint16) >> stored.bits_stored
    np.left_shift(words, spare, out=words)
    np.right_shift(words, spare, out=words)
    extended = words.view(np.uint16) >> stored.bits_stored
    return bool(((high != 0) & (high != extended)).any())


def _rescale(words: Plane, values: Array, stored: Stored) -> int:
    """Rescale into `words`, of which `values` is a view; return how many pixels saturated."""
    intercept = stored.intercept
    if stored.slope == 1 and intercept.is_integer() and abs(intercept) <= 2 * INT16_MAX:
        low, high = _range(values, stored)
        if low + intercept >= INT16_MIN and high + intercept <= INT16_MAX:
            # Within range the sum is exact, whether the words are read as signed or not.
            words += np.uint16(int(intercept) & 0xFFFF).view(np.int16)
            if low + intercept < AIR_HU:
                np.maximum(words, AIR_HU, out=words)
            return 0
    hu = np.rint(values * np.float64(stored.slope) + intercept)
    saturated = int(np.count_nonzero(hu > INT16_MAX))
    words[...] = np.clip(hu, AIR_HU, INT16_MAX)
    return saturated


def _range(values: Array, stored: Stored) -> tuple[int, int]:
    """Return bounds of the stored values: those of their bits where these suffice."""
    if stored.bits_stored < 15:
        half = 1 << (stored.bits_stored - 1)
        return (-half, half - 1) if stored.signed else (0, 2 * half - 1)
    return int(values.min()), int(values.max())
