"""Stored values in every encoding that CT comes in."""

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from tests.situations.scan import stored


def rle(values):
    rows, columns = values.shape
    return RLELosslessEncoder.encode(
        values.view(np.uint16), rows=rows, columns=columns, samples_per_pixel=1, bits_allocated=16,
        bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2",
        number_of_frames=1, encoding_plugin="pydicom",
    )  # fmt: skip


def jpeg_lossless_sv1(values, precision=16):
    """Encode as JPEG lossless, process 14, selection value 1 (ITU-T T.81 annex H).

    Differences from the left neighbour, their length in bits as a code of five bits.
    """
    image = values.view(np.uint16).astype(np.int64)
    rows, columns = image.shape
    left = np.empty_like(image)
    left[:, 1:] = image[:, :-1]
    left[1:, 0] = image[:-1, 0]
    left[0, 0] = 1 << (precision - 1)
    difference = ((image - left + 0x8000) & 0xFFFF) - 0x8000
    difference[difference == -0x8000] = 0x8000  # T.81 H.1.2.2: 32768 has no sign
    bits = np.array([int(value).bit_length() for value in np.abs(difference).ravel()])
    text = "".join(
        f"{size:05b}"
        + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if 0 < size < 16 else "")
        for size, value in zip(bits.tolist(), difference.ravel().tolist(), strict=True)
    )
    text += "1" * (-len(text) % 8)
    entropy = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = b"\xff\xc3\x00\x0b" + bytes([precision]) + rows.to_bytes(2, "big")
    frame += columns.to_bytes(2, "big") + b"\x01\x01\x11\x00"
    table = (
        b"\xff\xc4"
        + (2 + 17 + 17).to_bytes(2, "big")
        + b"\x00"
        + bytes([0, 0, 0, 0, 17] + [0] * 11)
    )
    table += bytes(range(17))
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"
    return b"\xff\xd8" + frame + table + scan + entropy + b"\xff\xd9"


def jpeg2000(values):
    return imagecodecs.jpeg2k_encode(values, reversible=True, codecformat="j2k")


def jpeg2000_lossy(values):
    """Encode with a loss of at most about one stored value."""
    return imagecodecs.jpeg2k_encode(values, level=120, reversible=False, codecformat="j2k")


SYNTAX = {
    "RLE": ("1.2.840.10008.1.2.5", rle),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", jpeg_lossless_sv1),
    "JPEG lossless process 14": (
        "1.2.840.10008.1.2.4.57", lambda values: imagecodecs.ljpeg_encode(values.view(np.uint16)),
    ),
    "JPEG-LS": (
        "1.2.840.10008.1.2.4.80", lambda values: imagecodecs.jpegls_encode(values.view(np.uint16)),
    ),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", jpeg2000),
    "JPEG 2000 lossy": ("1.2.840.10008.1.2.4.91", jpeg2000_lossy),
    "HTJ2K": (
        "1.2.840.10008.1.2.4.201",
        lambda values: imagecodecs.htj2k_encode(values, reversible=True),
    ),
}  # fmt: skip


def frame(values, name):
    """Return one encoded frame."""
    return bytes(SYNTAX[name][1](np.ascontiguousarray(values)))


def compress(dataset, name, *, fragments=1, spoil=lambda stream: stream, values=None):
    """Encode a data set's pixels.

    Parameters
    ----------
    name : str
        A key of `SYNTAX`.
    fragments : int
        Into how many pieces the frame is cut.
    spoil : callable
        What is done to the encoded frame before it is wrapped.
    values : ndarray, optional
        To encode instead of the stored ones: another sign, for example.
    """
    dataset.file_meta.TransferSyntaxUID = UID(SYNTAX[name][0])
    stream = spoil(frame(stored(dataset) if values is None else values, name))
    dataset.PixelData = encapsulate([stream], fragments_per_frame=fragments)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def big_endian(dataset):
    """Turn a data set round."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = (
        stored(dataset).astype(">i2" if dataset.PixelRepresentation else ">u2").tobytes()
    )
    return dataset


def deflate(dataset):
    """Have a data set deflated when it is written."""
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return dataset
