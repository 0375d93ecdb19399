"""Ordered slices to one volume of HU along the patient's axes."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.acquired import Acquired, read_acquired
from lungfish.dicom.plausibility import review, sample_counts
from lungfish.errors import Refusal
from lungfish.records import Record, accepted, require_ok
from lungfish.resampling import Interpolation, to_patient_grid
from lungfish.volume import AIR_HU, Volume, spacing_of, to_index, to_mm

__all__ = [
    "SCHEMA",
    "Settings",
    "acquired_digest",
    "build_volume",
    "content_hash",
    "filled_mask",
    "fingerprint",
    "read_acquired",
]
SCHEMA = "volumes/1"
FINGERPRINT_EDGES_HU = (-1024, -950, -900, -850, -800, -700, -500, -200, -50, 50, 200, 500)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How slices become a volume.

    Attributes
    ----------
    spacing_mm : float or "native"
        Edge of the isotropic voxels in mm, or ``native`` to keep the acquired spacings.
    interpolation : "cubic", "linear" or "lanczos3"
        Cubic B-spline through the samples; linear; Lanczos-3, sharper, with more ringing.
    max_gb : float
        Declared size of the acquired HU in GB above which a scan is refused before decoding.
    """

    spacing_mm: float | Literal["native"] = 1.0
    interpolation: Interpolation = "cubic"
    max_gb: float = 4.0


def build_volume(
    folder: Path, index: Record, *, settings: Settings, salt: str = "", threads: int = 1
) -> tuple[Volume, Record]:
    """Build one patient's volume.

    Parameters
    ----------
    folder : Path
        The folder or zip that was indexed.
    index : dict
        Record of the index stage.
    settings : Settings
        Of this stage.
    salt : str
        The index stage's salt, to know each file again by the hash of its SOPInstanceUID.
    threads : int
        That decode slices.

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
    spacing = None if settings.spacing_mm == "native" else float(settings.spacing_mm)
    check_size(index["geometry"], spacing_mm=spacing, max_gb=settings.max_gb)
    acquired = read_acquired(folder, index, max_gb=settings.max_gb, salt=salt, threads=threads)
    counts = sample_counts(acquired.hu)
    volume = to_patient_grid(
        acquired.hu,
        acquired.affine,
        spacing_mm=spacing,
        interpolation=settings.interpolation,
        slice_axis=acquired.slice_axis,
        places=None if acquired.places is None else np.array(acquired.places),
    )
    record = accepted() | {
        "spacing_mm": volume.spacing_mm,
        "size": volume.hu.shape,
        "affine": volume.affine.round(6),
        "acquired_spacing_mm": [round(step, 6) for step in spacing_of(acquired.affine)],
        "acquired_size": acquired.hu.shape,
        "content_hash": content_hash(acquired),
        "fingerprint": fingerprint(counts),
        "saturated": acquired.saturated,
        "spilled": acquired.spilled,
        "filled": index["geometry"]["missing"],
    }
    return volume, record | review(counts)


def check_size(geometry: Record, *, spacing_mm: float | None, max_gb: float) -> None:
    """Refuse a scan whose volume along the patient's axes would be too large.

    Parameters
    ----------
    geometry : dict
        Of the index record.
    spacing_mm : float or None
        Of the volume in mm; None for the acquired spacings.
    max_gb : float
        GB of int16 HU allowed.

    Raises
    ------
    Refusal
        ``too-large``.
    """
    _, rows, columns = geometry["size"]
    ends = np.array([columns - 1, rows - 1, geometry["places"][-1]])
    affine = np.array(geometry["affine"])[:3, :3]
    acquired = np.linalg.norm(affine, axis=0)
    nearest = np.abs(affine / acquired).argmax(axis=1)  # the index axis along x, y and z
    steps = acquired[nearest] if spacing_mm is None else np.full(3, spacing_mm)
    gigabytes = 2e-9 * float(np.prod(np.abs(affine) @ ends / steps + 1))
    if gigabytes > max_gb:
        raise Refusal(
            "too-large",
            f"the volume would have {gigabytes:.1f} GB of HU, {max_gb:.1f} GB is allowed: raise "
            "volumes.max_gb if this is right",
        )


def content_hash(acquired: Acquired) -> str:
    """Return the SHA-256 of the acquired HU and of the geometry rounded to 1e-3 mm.

    Equal for one scan however its files are named, ordered or encoded.
    """
    digest = hashlib.sha256(np.asarray(acquired.hu.shape, "<i8").tobytes())
    digest.update(_thousandths(acquired.affine))
    if acquired.places is not None:
        step_mm = spacing_of(acquired.affine)[acquired.slice_axis]
        digest.update(_thousandths(np.array(acquired.places) * step_mm))
    digest.update(acquired.hu.astype("<i2", copy=False).data)
    return digest.hexdigest()


def _thousandths(value_mm: NDArray[np.float64]) -> bytes:
    """Return lengths rounded to 1e-3 mm.

    The edge between two thousandths lies at 0.43 of one: spacings and origins are often multiples
    of 1/16 mm or so, and on an edge at 0.5 the last bit of a sum would decide.
    """
    return np.rint(value_mm * 1e3 + 0.07).astype("<i8").tobytes()


def acquired_digest(
    folder: Path, index: Record, *, settings: Settings, salt: str = "", threads: int = 1
) -> str:
    """Return the content hash of the files as they are now, without building the volume.

    Raises
    ------
    Refusal
        As `build_volume`.
    """
    require_ok(index)
    acquired = read_acquired(folder, index, max_gb=settings.max_gb, salt=salt, threads=threads)
    return content_hash(acquired)


def fingerprint(counts: NDArray[np.int64]) -> list[float]:
    """Return the shares of voxels in 12 ranges of HU, sum 1; no image can be made of it.

    Parameters
    ----------
    counts : ndarray of int64, shape (4096,)
        As `dicom.plausibility.sample_counts` gives them.
    """
    edges = np.array(FINGERPRINT_EDGES_HU) - AIR_HU
    shares = np.add.reduceat(counts, edges) / max(int(counts.sum()), 1)
    return [round(float(share), 6) for share in shares]


def filled_mask(volume: Volume, index: Record) -> NDArray[np.uint8]:
    """Return where a volume was interpolated across missing slices.

    Parameters
    ----------
    volume : Volume
        Built from `index`.
    index : dict
        Record of the index stage, with ``index.gaps: mark``.

    Returns
    -------
    ndarray of uint8, shape of the volume
        1 where no slice was measured: strictly between the slices beside a gap.
    """
    mask = np.zeros(volume.hu.shape, np.uint8)
    affine = np.array(index["geometry"]["affine"], np.float64)
    grid = np.moveaxis(np.indices((1, *mask.shape[1:]))[:, 0], 0, -1)
    for z, plane in enumerate(mask):
        grid[..., 0] = z
        places = to_index(affine, to_mm(volume.affine, grid))[..., 0]
        for first, last in index["geometry"]["filled"]:
            plane |= (places > first + 1e-6) & (places < last - 1e-6)
    return mask
