"""Ordered slices to one volume of HU along the patient's axes."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import list_files
from lungfish.dicom.pixels import read_hu
from lungfish.errors import Refusal
from lungfish.index import hash_uid
from lungfish.records import Record, accepted, require_ok
from lungfish.volume import Volume, resample_isotropic

SCHEMA = "volumes/1"
FINGERPRINT_EDGES_HU = (-1024, -950, -900, -850, -800, -700, -500, -200, -50, 50, 200, 500, 32768)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How slices become a volume.

    Attributes
    ----------
    spacing_mm : float or "native"
        Edge of the isotropic voxels in mm, or ``native`` to keep the acquired grid.
    interpolation : "cubic" or "linear"
        Cubic B-spline through the samples, or linear.
    max_gb : float
        Declared size of the acquired HU in GB above which a scan is refused before decoding.
    """

    spacing_mm: float | Literal["native"] = 1.0
    interpolation: Literal["cubic", "linear"] = "cubic"
    max_gb: float = 4.0


def build_volume(
    folder: Path, index: Record, *, settings: Settings, salt: str = ""
) -> tuple[Volume, Record]:
    """Build one patient's volume.

    Parameters
    ----------
    folder : Path
        The one that was indexed.
    index : dict
        Record of the index stage.
    settings : Settings
        Of this stage.
    salt : str
        The index stage's salt, to know each file again by the hash of its SOPInstanceUID.

    Returns
    -------
    volume : Volume
        Along the patient's axes, isotropic unless ``native``.
    record : dict
        Of ``volumes/{patient}.json``.

    Raises
    ------
    Refusal
        If the index refused, the scan is too large, a file changed since or cannot be decoded.
    """
    require_ok(index)
    acquired, saturated = read_slices(folder, index, max_gb=settings.max_gb, salt=salt)
    straight = along_patient_axes(acquired)
    digest = content_hash(straight)
    volume = straight
    if settings.spacing_mm != "native":
        order = 3 if settings.interpolation == "cubic" else 1
        volume = resample_isotropic(straight, float(settings.spacing_mm), order=order)
    record = accepted() | {
        "spacing_mm": volume.spacing_mm,
        "size": volume.hu.shape,
        "affine": volume.affine.round(6),
        "acquired_spacing_mm": [round(step, 6) for step in straight.spacing_mm],
        "acquired_size": straight.hu.shape,
        "content_hash": digest,
        "fingerprint": fingerprint(straight),
        "saturated": saturated,
        "filled": 0,
    }
    return volume, record


def read_slices(folder: Path, index: Record, *, max_gb: float, salt: str) -> tuple[Volume, int]:
    """Decode the indexed slices into one array, in their order.

    Raises
    ------
    Refusal
        ``too-large``, ``changed-since-index`` or ``undecodable``.
    """
    size = tuple(index["geometry"]["size"])
    declared_gb = 2e-9 * float(np.prod(size, dtype=np.float64))
    if declared_gb > max_gb:
        raise Refusal(
            "too-large",
            f"the header declares {declared_gb:.1f} GB of HU, {max_gb:.1f} GB is allowed: "
            "raise volumes.max_gb if this is right",
        )
    files = dict(enumerate(list_files(folder), start=1))
    hu = np.empty(size, np.int16)
    saturated = 0
    for plane, entry in zip(hu, index["slices"], strict=True):
        number = entry["file"]
        if number not in files:
            raise _changed(number)
        values, high, uid = read_hu(files[number], number)
        if hash_uid(uid, salt) != entry["uid_hash"] or values.shape != plane.shape:
            raise _changed(number)
        plane[:] = values
        saturated += high
    return Volume(hu, np.array(index["geometry"]["affine"], np.float64)), saturated


def _changed(number: int) -> Refusal:
    return Refusal(
        "changed-since-index",
        f"file {number} is not the one that was indexed: rerun the index stage for this patient",
    )


def along_patient_axes(volume: Volume) -> Volume:
    """Turn and flip an axis-aligned volume so that (z, y, x) run to head, back and left.

    Works by views and one copy; no value is interpolated.
    """
    columns = volume.affine[:3, :3]
    # Which index axis runs along patient axis x, y, z; the affine's index order is x, y, z too.
    axis_of = [int(np.abs(columns[patient]).argmax()) for patient in range(3)]
    array = volume.hu.transpose([2 - axis for axis in reversed(axis_of)])
    affine = volume.affine.copy()
    affine[:3, :3] = columns[:, axis_of]
    for patient in range(3):
        if affine[patient, patient] < 0:
            array = np.flip(array, axis=2 - patient)
            count = array.shape[2 - patient]
            affine[:3, 3] += affine[:3, patient] * (count - 1)
            affine[:3, patient] *= -1
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    affine[:3, :3] = np.diag(steps)  # what is left of the direction is rounding noise
    return Volume(np.ascontiguousarray(array), affine)


def content_hash(volume: Volume) -> str:
    """Return the SHA-256 of the acquired HU and of the geometry rounded to 1e-3 mm.

    Equal for one scan however its files are named, ordered or encoded.
    """
    digest = hashlib.sha256(np.asarray(volume.hu.shape, "<i8").tobytes())
    digest.update(np.rint(volume.affine * 1e3).astype("<i8").tobytes())
    digest.update(volume.hu.astype("<i2", copy=False).tobytes())
    return digest.hexdigest()


def fingerprint(volume: Volume) -> list[float]:
    """Return the shares of voxels in 12 ranges of HU, sum 1; no image can be made of it."""
    hu: NDArray[Any] = volume.hu
    counts, _ = np.histogram(hu, bins=FINGERPRINT_EDGES_HU)
    return [round(float(share), 6) for share in counts / hu.size]
