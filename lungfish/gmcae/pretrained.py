"""Somebody else's encoder, checked before it is used."""

import hashlib
import json
from pathlib import Path
from typing import Any

import keras

from lungfish.errors import InputError
from lungfish.gmcae.encoder import SPACING_TOLERANCE_MM, Encoder
from lungfish.gmcae.field import receptive_field
from lungfish.intensity import HuMap

EXPECTED = "expected a folder with encoder.keras and gmcae.json, or a .keras file beside the second"


def load_pretrained(path: Path) -> Encoder:
    """Load somebody else's encoder and check what it says of itself.

    Parameters
    ----------
    path : Path
        A folder with ``encoder.keras`` and ``gmcae.json``, or a ``.keras`` file beside a
        ``gmcae.json``. The record says at least ``hu_map`` (``low_hu``, ``high_hu``: what becomes
        -1 and 1, clipped), ``spacing_mm`` and ``stride_voxel``.

    Raises
    ------
    InputError
        If a file is missing, the record does not say one of these, or the network is no encoder of
        volumes of any size whose cells are of that stride.
    """
    file = file_of(path)
    beside = file.with_name("gmcae.json")
    if not (file.is_file() and beside.is_file()):
        raise InputError(f"gmcae.pretrained {path}: {EXPECTED}")
    hu_map, spacing_mm, stride_voxel = _stated(beside)
    try:
        model = keras.saving.load_model(file, compile=False)
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{file} cannot be loaded by Keras {keras.__version__}, which says: {reason}"
        ) from None
    _check_shape(model, stride_voxel, file)
    return Encoder(model, hu_map, spacing_mm, int(model.output_shape[-1]))


def file_of(path: Path) -> Path:
    """Return the encoder's file: the one that is named, or that in a folder."""
    return path / "encoder.keras" if path.is_dir() else path


def check_spacing(encoder: Encoder, spacing_mm: float | None) -> None:
    """Refuse an encoder that learned at another voxel size than that of the volumes.

    Parameters
    ----------
    encoder : Encoder
    spacing_mm : float or None
        Of the volumes; None where they keep their own, and each is compared in the features stage.

    Raises
    ------
    InputError
    """
    if spacing_mm is not None and abs(spacing_mm - encoder.spacing_mm) > SPACING_TOLERANCE_MM:
        raise InputError(
            f"the pretrained encoder learned on voxels of {encoder.spacing_mm:g} mm, but "
            f"volumes.spacing_mm is {spacing_mm:g}: set volumes.spacing_mm: {encoder.spacing_mm:g}"
        )


def digest_of(path: Path) -> str:
    """Return a digest of a file, the first 16 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _stated(path: Path) -> tuple[HuMap, float, int]:
    """Return the HU map, the voxel size in mm and the stride that a record states."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path} is not JSON: state hu_map, spacing_mm, stride_voxel") from None
    record = record if isinstance(record, dict) else {}
    hu_map = record.get("hu_map")
    ends: list[Any] = []
    if isinstance(hu_map, dict):
        ends = [hu_map.get(name) for name in ("low_hu", "high_hu")]
    if not (len(ends) == 2 and all(type(end) is int for end in ends) and ends[0] < ends[1]):
        raise InputError(
            f"{path}: expected hu_map with whole low_hu below high_hu, the HU that the encoder "
            f"learned as -1 and 1, found {hu_map!r}"
        )
    for name, kind in (("spacing_mm", (int, float)), ("stride_voxel", int)):
        if not _positive(record.get(name), kind):
            raise InputError(
                f"{path}: expected {name} above 0, as the encoder was trained, found "
                f"{record.get(name)!r}"
            )
    return HuMap(*ends), float(record["spacing_mm"]), int(record["stride_voxel"])


def _positive(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value > 0


def _check_shape(model: keras.Model, stride_voxel: int, path: Path) -> None:
    """Refuse what is no encoder of volumes of any size with the stated stride."""
    if model.input_shape != (None,) * 4 + (1,) or len(model.output_shape) != 5:
        raise InputError(
            f"{path}: expected an encoder from (n, z, y, x, 1) of any size to (n, d, h, w, "
            f"channels), found one from {model.input_shape} to {model.output_shape}"
        )
    found = receptive_field(model).stride
    if found != stride_voxel:
        raise InputError(
            f"{path}: its layers have a stride of {found} voxels, but its gmcae.json says "
            f"stride_voxel {stride_voxel}: the two do not belong together"
        )
