"""Volumes and label masks as NIfTI files, and masks carried between grids.

Inside the library positions are LPS mm; on disk NIfTI is RAS, as its standard says. SimpleITK
makes that change, here and nowhere else.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.records import atomic
from lungfish.volume import Volume, spacing_of

Labels = NDArray[np.uint8]


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


def _write(path: Path, image: sitk.Image, description: str) -> None:
    if description:
        image.SetMetaData(
            "ITK_FileNotes", description[:79]
        )  # NIfTI-1 holds 80 bytes with the final zero
    with atomic(path) as temporary:
        try:
            # Level 1: a third of the time of the default for 3 % more bytes on CT.
            sitk.WriteImage(image, str(temporary), useCompression=True, compressionLevel=1)
        except RuntimeError:  # what SimpleITK raises for anything
            free_gb = shutil.disk_usage(path.parent).free / 1e9
            raise InputError(
                f"{path} cannot be written ({free_gb:.2f} GB are free there): make room or get "
                "permission, then type the same command again"
            ) from None


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
    _write(path, _image(volume.hu, volume.affine), description)


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
    _write(path, _image(labels.astype(np.uint8, copy=False), affine), description)


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
