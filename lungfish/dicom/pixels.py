"""One slice's stored values, decoded by a named decoder, and their Hounsfield units."""

import functools
import hashlib
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from lungfish.dicom.headers import UNREADABLE
from lungfish.errors import Refusal
from lungfish.volume import AIR_HU

Array = NDArray[Any]
INT16_MAX = 32767


def _jpeg_lossless(frame: bytes) -> Array:
    return np.asarray(imagecodecs.jpegsof3_decode(frame))


# By name and not by what happens to be installed: what a decoder does with damaged data differs.
DECODERS: dict[str, Callable[[bytes], Array]] = {
    "1.2.840.10008.1.2.4.57": _jpeg_lossless,
    "1.2.840.10008.1.2.4.70": _jpeg_lossless,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.htj2k_decode,
}
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def read_hu(path: Path, number: int) -> tuple[NDArray[np.int16], int, str]:
    """Read one slice's HU.

    Parameters
    ----------
    path : Path
        A CT slice whose header was found usable.
    number : int
        What to call the file in an error.

    Returns
    -------
    hu : ndarray of int16, shape (rows, columns)
        At least -1024: padding and what lies below is air outside the field of view.
    saturated : int
        Pixels above what int16 holds, set to 32767.
    instance_uid : str
        SOPInstanceUID, so that the caller can see that it is the file the index saw.

    Raises
    ------
    Refusal
        ``undecodable`` if the pixels cannot be decoded whole.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pydicom warns where it repairs; nothing is repaired
            dataset = pydicom.dcmread(path)
            stored = stored_values(dataset)
    except (*UNREADABLE, Warning, RuntimeError, struct.error) as error:
        raise Refusal(
            "undecodable",
            f"the pixels of file {number} cannot be decoded ({type(error).__name__}): "
            "copy the file again from its source",
        ) from error
    hu, saturated = rescale_to_hu(stored, dataset)
    return hu, saturated, str(dataset.SOPInstanceUID)


def stored_values(dataset: Dataset) -> Array:
    """Decode a data set's pixels into int16 or uint16 of shape (rows, columns).

    Raises
    ------
    ValueError
        If the decoded frame has not the size that the header declares, or its end is missing.
    """
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    shape = (int(dataset.Rows), int(dataset.Columns))
    if not pydicom.uid.UID(syntax).is_encapsulated:
        kind = ">u2" if syntax == BIG_ENDIAN else "<u2"
        raw = np.frombuffer(dataset.PixelData, kind, count=shape[0] * shape[1]).astype(np.uint16)
    else:
        raw = _decode(dataset, syntax, shape)
    return _significant_bits(raw.reshape(shape), dataset)


def _decode(dataset: Dataset, syntax: str, shape: tuple[int, int]) -> Array:
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax == RLE_LOSSLESS:
        raw = np.frombuffer(_unpack_rle(frame, shape[0] * shape[1]), "<u2")
        return raw
    if syntax not in DECODERS:
        raise ValueError(f"transfer syntax {syntax} is not among those that CT comes in")
    # Every JPEG family ends in the marker FFD9, then at most one pad byte. Some decoders fill what
    # a cut stream lacks without a word.
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("the compressed stream has no end")
    raw = np.asarray(DECODERS[syntax](frame))
    if raw.size != shape[0] * shape[1] or raw.dtype.itemsize > 2:
        raise ValueError(f"decoded {raw.shape} {raw.dtype}, declared {shape}")
    return raw.astype(np.int16).view(np.uint16) if raw.dtype.kind == "i" else raw.astype(np.uint16)


def _unpack_rle(frame: bytes, pixels: int) -> bytes:
    """Decode the two byte planes of a 16-bit RLE frame (PS3.5 annex G), most significant first."""
    decoded = bytes(imagecodecs.dicomrle_decode(frame, np.dtype("<u2")))
    if len(decoded) != 2 * pixels:
        raise ValueError(f"decoded {len(decoded)} bytes, declared {2 * pixels}")
    return decoded


def _significant_bits(raw: Array, dataset: Dataset) -> Array:
    """Drop what stands above BitsStored and extend the sign (PS3.5 8.1.1)."""
    spare = 16 - int(dataset.get("BitsStored") or 16)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        return (raw << spare).view(np.int16) >> spare
    return (raw << spare) >> spare


def rescale_to_hu(stored: Array, dataset: Dataset) -> tuple[NDArray[np.int16], int]:
    """Turn stored values into HU = stored x RescaleSlope + RescaleIntercept (PS3.3 C.11.1.1.2).

    Padding becomes air before anything else can interpolate it.

    Returns
    -------
    hu : ndarray of int16
    saturated : int
        How many pixels exceeded 32767 HU.
    """
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    hu = np.rint(stored.astype(np.float64) * slope + intercept)
    hu[_padding(stored, dataset)] = AIR_HU
    saturated = int(np.count_nonzero(hu > INT16_MAX))
    return np.clip(hu, AIR_HU, INT16_MAX).astype(np.int16), saturated


def _padding(stored: Array, dataset: Dataset) -> NDArray[np.bool_]:
    """Return where padding stands (PS3.3 C.7.5.1.1.2), its value read in the pixels' own sign.

    Writers often state the value with the other sign: 63536 stands for -2000.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    wrap = functools.partial(_in_sign, signed=stored.dtype == np.int16)
    ends = sorted((wrap(value), wrap(value if limit is None else limit)))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))


def _in_sign(value: int | bytes, *, signed: bool) -> int:
    number = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
    number &= 0xFFFF
    return number - 0x10000 if signed and number > 0x7FFF else number


def pixel_digest(path: Path) -> str:
    """Return a digest of a file's stored pixel bytes, to tell a copy from a contradiction."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, specific_tags=["PixelData"])
    return hashlib.sha256(dataset.get("PixelData", b"")).hexdigest()
