"""Write one digital chest CT of 300 x 512 x 512 in every encoding that CT comes in.

Body, two lungs with texture, a spine, 12 bits, 0.7 x 0.7 x 1.25 mm; 25 HU of noise in the body and
8 HU in the air around it, where less is absorbed. Every folder holds the same HU, so that what
readers return can be compared by one number. About 450 MB in all; a folder that is there already is
kept.
"""

import argparse
import concurrent.futures
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

SLICES, SIDE = 300, 512
SPACING_MM = (1.25, 0.7, 0.7)
ORIGIN_MM = (-179.2, -179.2, -150.0)
INTERCEPT_HU = -1024
NOISE_HU, AIR_NOISE_HU = 25, 8
SEED = 20171009
SERIES_UID = "1.2.826.0.1.3680043.10.511.1"
Plane = NDArray[np.uint16]


def encode_rle(plane: Plane) -> bytes:
    """Return the RLE frame (PS3.5 annex G): a header, then each byte plane packed row by row."""
    segments = []
    for byte in (plane >> 8, plane & 255):  # most significant first
        packed = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in byte.astype("u1"))
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = [64, 64 + len(segments[0])]
    return np.array([2, *offsets] + [0] * 13, "<u4").tobytes() + b"".join(segments)


def encode_jpeg2000(plane: Plane) -> bytes:
    """Return a lossless JPEG 2000 code stream of 12 bits."""
    return bytes(
        imagecodecs.jpeg2k_encode(plane, reversible=True, codecformat="j2k", bitspersample=12)
    )


ENCODINGS: dict[str, tuple[str, Callable[[Plane], bytes] | None]] = {
    "uncompressed": (ExplicitVRLittleEndian, None),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG lossless": (
        "1.2.840.10008.1.2.4.70",
        lambda plane: imagecodecs.jpeg_encode(plane, lossless=True, predictor=1, bitspersample=12),
    ),
    "HTJ2K": (
        "1.2.840.10008.1.2.4.201",
        lambda plane: imagecodecs.htj2k_encode(plane, reversible=True),
    ),
    "RLE": ("1.2.840.10008.1.2.5", encode_rle),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", encode_jpeg2000),
}
"""Name: transfer syntax, and what encodes one plane of 12 bits (None: as it is)."""


def folder_of(scratch: Path, encoding: str) -> Path:
    """Return where an encoding's folder lies below the scratch folder."""
    return scratch / "ct" / encoding.lower().replace(" ", "-")


def _inside(centre: Sequence[float], radius: Sequence[float], k: int) -> NDArray[np.bool_]:
    """Return which voxels of plane `k` lie in an ellipsoid; all in shares of the volume's edge."""
    along = (k / (SLICES - 1) - centre[0]) / radius[0]
    y, x = np.ogrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    rest = ((y - centre[1]) / radius[1]) ** 2 + ((x - centre[2]) / radius[2]) ** 2
    return np.asarray(rest + along**2 < 1)


def _texture() -> NDArray[np.float32]:
    """Return a tile of 64^3 with structure of a few voxels, mean 0 and spread 70 HU."""
    white = np.random.default_rng([SEED, 0]).standard_normal((64, 64, 64), np.float32)
    smooth = ndimage.gaussian_filter(white, 1.5, mode="wrap")
    return np.asarray(70 * smooth / smooth.std(), np.float32)


def stored_plane(k: int, texture: NDArray[np.float32]) -> Plane:
    """Return the stored 12-bit values of plane `k`, shape (512, 512); HU are 1024 less."""
    body = _inside((0.5, 0.5, 0.5), (2.0, 0.34, 0.46), k)
    hu = np.where(body, np.float32(40), np.float32(-1000))
    tile = np.tile(texture[k % 64], (SIDE // 64, SIDE // 64))
    for side in (0.29, 0.71):
        lung = _inside((0.5, 0.48, side), (0.48, 0.24, 0.15), k)
        hu[lung] = -850 + tile[lung]
    hu[_inside((0.5, 0.74, 0.5), (2.0, 0.06, 0.05), k)] = 400
    noise = np.random.default_rng([SEED, 1, k]).standard_normal(hu.shape, np.float32)
    hu += np.where(body, np.float32(NOISE_HU), np.float32(AIR_NOISE_HU)) * noise
    hu[~_inside((0.5, 0.5, 0.5), (9.0, 0.5, 0.5), k)] = INTERCEPT_HU  # outside the scanner's field
    return np.clip(np.rint(hu) - INTERCEPT_HU, 0, 4095).astype(np.uint16)


def _dataset(k: int, plane: Plane, encoding: str) -> Dataset:
    syntax, encode = ENCODINGS[encoding]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{SERIES_UID}.{k + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{SERIES_UID}.0.1", SERIES_UID
    dataset.FrameOfReferenceUID = f"{SERIES_UID}.0.2"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = "Benchmark", "benchmark"
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 2, 1, k + 1
    dataset.SliceThickness, dataset.KVP, dataset.ConvolutionKernel = SPACING_MM[0], 120, "STANDARD"
    x, y, z = ORIGIN_MM
    dataset.ImagePositionPatient = [x, y, round(z + k * SPACING_MM[0], 4)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = list(SPACING_MM[1:])
    dataset.Rows, dataset.Columns = plane.shape
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, INTERCEPT_HU, "HU"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    if encode is None:
        dataset.PixelData = plane.astype("<u2").tobytes()
    else:
        dataset.PixelData = encapsulate([bytes(encode(plane))])
    dataset["PixelData"].VR = "OW" if encode is None else "OB"
    return dataset


def make(scratch: Path, encodings: Sequence[str] = tuple(ENCODINGS)) -> None:
    """Write the folders that are not there yet.

    The files' names say nothing about the order of the slices, as in the wild.

    Parameters
    ----------
    scratch : Path
        The folders stand in ``ct/`` below it.
    encodings : sequence of str
        Keys of `ENCODINGS`.
    """
    for encoding in encodings:
        folder = folder_of(scratch, encoding)
        if folder.is_dir():
            continue
        unfinished = folder.with_name(f".{folder.name}")
        unfinished.mkdir(parents=True, exist_ok=True)
        texture = _texture()

        def write(
            k: int, *, to: Path = unfinished, named: str = encoding, tile: Any = texture
        ) -> None:
            name = f"{(k * 97) % SLICES:04d}.dcm"  # 97 and 300 share no factor: a permutation
            dataset = _dataset(k, stored_plane(k, tile), named)
            dataset.save_as(to / name, enforce_file_format=True)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(SLICES)))
        unfinished.rename(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Write every encoding and say how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder to write into")
    args = parser.parse_args(argv)
    make(args.scratch)
    for encoding in ENCODINGS:
        files = list(folder_of(args.scratch, encoding).iterdir())
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        print(f"{encoding}: {len(files)} files, {megabytes:.0f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
