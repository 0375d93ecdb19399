"""Volumes and label masks as NIfTI files, and masks carried between grids.

Inside the library positions are LPS mm; on disk NIfTI is RAS, as its standard says. That change
is made here and nowhere else. SimpleITK reads; the 352 bytes of header are written here, since
ISA-L compresses what follows in a sixth of the time that SimpleITK's zlib takes.
"""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from isal import isal_zlib
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.records import atomic
from lungfish.volume import Volume, quaternion_of, spacing_of

Labels = NDArray[np.uint8]
NIFTI_TYPE = {"uint8": 2, "int16": 4, "float32": 16}
LONGEST_AXIS = 32767
BLOCK_BYTES = 1 << 20
RIGHT_ANGLE_TOLERANCE = 1e-4
"""Cosine between two axes up to which a grid counts as rectangular."""


def _image(array: NDArray[Any], affine: NDArray[np.float64]) -> sitk.Image:
    """Return a SimpleITK image of an array (z, y, x) at an affine in LPS mm."""
    image = sitk.GetImageFromArray(array)
    spacing = spacing_of(affine)[::-1]
    image.SetSpacing(spacing)
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    direction = affine[:3, :3] / np.array(spacing)
    image.SetDirection([float(value) for value in direction.ravel()])
    return image


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    """Return the affine in LPS mm, index order x, y, z, of a SimpleITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def _write(path: Path, array: NDArray[Any], affine: NDArray[np.float64], description: str) -> None:
    header = nifti_header(array.shape, array.dtype, affine, description)
    with atomic(path) as temporary:
        try:
            with temporary.open("wb") as stream:
                stream.writelines(_gzipped(header, array))
        except OSError:
            free_gb = shutil.disk_usage(path.parent).free / 1e9
            raise InputError(
                f"{path} cannot be written ({free_gb:.2f} GB are free there): make room or get "
                "permission, then type the same command again"
            ) from None


def _gzipped(header: bytes, array: NDArray[Any]) -> Iterator[bytes]:
    """Yield a gzip file of the header and the array, some planes at a time.

    The gzip header holds neither a name nor a time, so that equal volumes give equal bytes.
    """
    # 31 asks for a gzip wrapper. Level 1: 8 % more bytes of CT than SimpleITK's zlib.
    gzip = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    yield gzip.compress(header)
    little = array.dtype.newbyteorder("<")
    planes = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), planes):
        yield gzip.compress(np.ascontiguousarray(array[start : start + planes], little))
    yield gzip.flush()


def nifti_header(
    shape: tuple[int, ...], dtype: np.dtype[Any], affine: NDArray[np.float64], description: str
) -> bytes:
    """Return the header of a single-file NIfTI-1 image and the word that no extension follows.

    sform and qform state one affine, so that readers agree whichever they believe. Of an oblique
    grid sform is the more exact: a quaternion in float32 loses turns below 0.001 radian.

    Parameters
    ----------
    shape : tuple of 3 int
        Of the array (z, y, x), at most 32767 along each.
    dtype : dtype
        int16, uint8 or float32.
    affine : ndarray, shape (4, 4)
        LPS mm, index order x, y, z; its axes at right angles.
    description : str
        Cut after 79 bytes.

    Returns
    -------
    bytes
        352 of them, little endian (nifti1.h: ``struct nifti_1_header``).

    Raises
    ------
    InputError
        If NIfTI-1 cannot hold the size.
    ValueError
        If the axes are not at right angles: a qform cannot say so, and readers would disagree.
    """
    if max(shape) > LONGEST_AXIS:
        raise InputError(
            f"NIfTI-1 holds at most {LONGEST_AXIS} voxels along an axis, found {max(shape)}: "
            "choose a larger spacing"
        )
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    quaternion, handedness = _quaternion(ras)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *reversed(shape), 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, NIFTI_TYPE[dtype.name], 8 * dtype.itemsize)
    struct.pack_into("<4f", header, 76, handedness, *reversed(spacing_of(affine)))
    struct.pack_into("<3f", header, 108, 352, 1, 0)  # where voxels begin, slope, intercept
    header[123] = 2  # xyzt_units: mm
    text = description.encode()[:79]
    header[148 : 148 + len(text)] = text
    # Codes 1: scanner anatomical coordinates.
    struct.pack_into("<2h6f", header, 252, 1, 1, *quaternion, *ras[:3, 3])
    struct.pack_into("<12f", header, 280, *ras[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)


def _quaternion(ras: NDArray[np.float64]) -> tuple[tuple[float, float, float], float]:
    """Return quatern_b, c, d of an affine and pixdim[0], which is -1 where it mirrors."""
    directions = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > RIGHT_ANGLE_TOLERANCE:
        raise ValueError("affine: expected axes at right angles, found a sheared grid")
    handedness = 1.0 if np.linalg.det(directions) > 0 else -1.0
    directions[:, 2] *= handedness
    _, x, y, z = quaternion_of(directions).tolist()
    return (x, y, z), handedness


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise InputError(f"{path} is missing: expected a NIfTI file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"{path} cannot be read as an image: expected a NIfTI file") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected one 3-D image, found {image.GetDimension()} axes")
    return image


def write_volume(path: Path, volume: Volume, *, description: str = "") -> None:
    """Write a volume of HU as int16 NIfTI.

    Parameters
    ----------
    path : Path
        Ending in ``.nii.gz``.
    volume : Volume
        What.
    description : str
        For the header's ``descrip`` field; cut after 79 characters.
    """
    _write(path, volume.hu, volume.affine, description)


def read_volume(path: Path) -> Volume:
    """Read a volume of HU that `write_volume` wrote.

    Raises
    ------
    InputError
        If the file is missing, is not an image or does not hold 16-bit integers.
    """
    image = _read(path)
    if image.GetPixelID() != sitk.sitkInt16:
        kind = image.GetPixelIDTypeAsString()
        raise InputError(f"{path}: expected 16-bit signed integer HU, found {kind}")
    return Volume(np.asarray(sitk.GetArrayFromImage(image)), _affine(image))


def write_mask(
    path: Path, labels: Labels, affine: NDArray[np.float64], *, description: str = ""
) -> None:
    """Write labels, uint8 of shape (z, y, x), at an affine in LPS mm."""
    _write(path, labels.astype(np.uint8, copy=False), affine, description)


def read_mask(path: Path) -> tuple[Labels, NDArray[np.float64]]:
    """Read labels of any integer type.

    Returns
    -------
    labels : ndarray of uint8, shape (z, y, x)
    affine : ndarray of float64, shape (4, 4)
        LPS mm, index order x, y, z.

    Raises
    ------
    InputError
        If the file is missing, is not an image or holds other values than 0 to 255.
    """
    image = _read(path)
    array = sitk.GetArrayFromImage(image)
    if array.min() < 0 or array.max() > 255 or not np.array_equal(array, np.rint(array)):
        raise InputError(f"{path}: expected whole labels from 0 to 255")
    return array.astype(np.uint8), _affine(image)


def write_map(
    path: Path, values: NDArray[np.float32], affine: NDArray[np.float64], *, description: str = ""
) -> None:
    """Write a float32 map, shape (z, y, x), at an affine in LPS mm; nan is written as 0.

    Many viewers cannot window an image that holds nan, and some read it as the lowest integer.
    """
    if any(np.isnan(plane).any() for plane in values):
        values = np.nan_to_num(values, nan=0.0)
    _write(path, values.astype(np.float32, copy=False), affine, description)


def read_map(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a map that `write_map` wrote: float32 (z, y, x), and its affine in LPS mm.

    Raises
    ------
    InputError
        If the file is missing or is not an image.
    """
    image = _read(path)
    return np.asarray(sitk.GetArrayFromImage(image), np.float32), _affine(image)


def read_given_mask(path: Path) -> tuple[Labels, NDArray[np.float64]]:
    """Read a mask of the user's own as `read_mask` does; the patient is refused if that fails.

    Raises
    ------
    InputError
        If the file is missing.
    Refusal
        ``mask-unreadable``; the reason goes into results, and so does not name the file.
    """
    try:
        return read_mask(path)
    except InputError as error:
        if not path.is_file():
            raise
        # The path may hold a patient's name.
        reason = str(error).replace(str(path), "the mask given for this patient")
        raise Refusal("mask-unreadable", reason) from None


def carry_mask(
    labels: Labels,
    affine: NDArray[np.float64],
    *,
    shape: tuple[int, int, int],
    to_affine: NDArray[np.float64],
) -> Labels:
    """Carry labels to another grid of the same patient, each voxel taking its nearest label.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    affine : ndarray, shape (4, 4)
        LPS mm, of the labels' grid.
    shape : tuple of 3 int
        Of the wanted grid (z, y, x).
    to_affine : ndarray, shape (4, 4)
        LPS mm, of the wanted grid.

    Returns
    -------
    ndarray of uint8, shape `shape`
        0 outside the source.
    """
    reference = _image(np.zeros(shape, np.uint8), to_affine)
    source = _image(labels, affine)
    moved = sitk.Resample(source, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayFromImage(moved), np.uint8)


def write_refused(path: Path, code: str, *, mask: bool) -> None:
    """Write the one-voxel image that stands for a refused patient, the code in its header."""
    description = f"refused: {code}"
    if mask:
        write_mask(path, np.zeros((1, 1, 1), np.uint8), np.eye(4), description=description)
    else:
        write_volume(
            path, Volume(np.full((1, 1, 1), -1024, np.int16), np.eye(4)), description=description
        )
