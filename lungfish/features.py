"""The encoder run over whole lungs, in tiles whose result equals that of one piece."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.gmcae.encoder import SPACING_TOLERANCE_MM, Encoder
from lungfish.gmcae.field import Span, receptive_field
from lungfish.intensity import HuMap
from lungfish.records import accepted, refused
from lungfish.stores import new_store
from lungfish.volume import AIR_HU, Volume, to_mm

SCHEMA = "features/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How lungs are encoded.

    Attributes
    ----------
    tile_voxel : int
        Edge of a tile in voxels, a multiple of 8; larger tiles waste less on their halo and take
        more memory, by the cube.
    """

    tile_voxel: int = 64

    def __post_init__(self) -> None:
        if self.tile_voxel < 8 or self.tile_voxel % 8:
            raise InputError(
                f"features.tile_voxel: expected a multiple of 8, found {self.tile_voxel}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The encoded lungs of one patient.

    Attributes
    ----------
    grid : ndarray of float32, shape (d, h, w, channels)
        A cell for each 8 x 8 x 8 voxels of the lungs' box, axes (z, y, x).
    inside : ndarray of float32, shape (d, h, w)
        Share of the cell's voxels inside the lungs, 0 to 1.
    corner_mm : ndarray of float64, shape (3,)
        LPS centre of the first cell.
    step_mm : float
        Distance of neighbouring cells.
    """

    grid: NDArray[np.float32]
    inside: NDArray[np.float32]
    corner_mm: NDArray[np.float64]
    step_mm: float


def encode(
    model: keras.Model, hu: NDArray[np.int16], *, hu_map: HuMap, tile_voxel: int
) -> NDArray[np.float32]:
    """Encode an array of any size in tiles, equal to encoding it in one piece.

    Each tile takes a halo of real voxels with it, and the cells of the halo are dropped; at the
    array's own border no halo is taken, so that the layers pad there as they would in one piece.
    Only a tile is ever held on the network's scale, so that the memory beside `hu` and the result
    does not grow with the lung.

    Parameters
    ----------
    model : keras.Model
        Encoder for any size.
    hu : ndarray of int16, shape (z, y, x)
        Each length a multiple of the encoder's stride.
    hu_map : HuMap
        From HU to what the model sees.
    tile_voxel : int
        Edge of a tile, a multiple of the stride.

    Returns
    -------
    ndarray of float32, shape (z / stride, y / stride, x / stride, channels)

    Raises
    ------
    InputError
        If a length or the tile is no multiple of the stride: the lattice of cells would shift.
    """
    field = receptive_field(model)
    if any(length % field.stride for length in (*hu.shape, tile_voxel)):
        raise InputError(
            f"expected lengths and tiles in multiples of {field.stride} voxels, found "
            f"{hu.shape} in tiles of {tile_voxel}: pad the end with air"
        )
    cells = tuple(length // field.stride for length in hu.shape)
    grid = np.empty((*cells, model.output_shape[-1]), np.float32)
    for tile in itertools.product(*(_spans(length, tile_voxel) for length in hu.shape)):
        with_halo = [
            (max(0, start - field.halo[0]), min(length, end + field.halo[1]))
            for (start, end), length in zip(tile, hu.shape, strict=True)
        ]
        values = hu_map.to_network(hu[tuple(slice(*span) for span in with_halo)])
        code = keras.ops.convert_to_numpy(model(values[None, ..., None], training=False))[0]
        own = tuple(
            slice((start - low) // field.stride, (end - low) // field.stride)
            for (start, end), (low, _) in zip(tile, with_halo, strict=True)
        )
        place = tuple(slice(start // field.stride, end // field.stride) for start, end in tile)
        grid[place] = code[own]
    return grid


def _spans(length: int, tile: int) -> list[Span]:
    return [(start, min(start + tile, length)) for start in range(0, length, tile)]


def encode_lungs(
    encoder: Encoder,
    volume: Volume,
    labels: NDArray[np.uint8],
    box_voxel: Sequence[Sequence[int]],
    *,
    settings: Settings,
) -> Features:
    """Encode the box of both lungs.

    Parameters
    ----------
    encoder : Encoder
        With the scale and the voxel size it was trained at.
    volume : Volume
        At that voxel size.
    labels : ndarray of uint8, shape (z, y, x)
        Lungs > 0, on the volume's grid.
    box_voxel : two sequences of 3 int
        First and end-exclusive last index (z, y, x) of the lungs' box.
    settings : Settings
        Of this stage.

    Raises
    ------
    InputError
        If mask and volume differ in shape.
    Refusal
        ``other-spacing`` if the volume's voxels are not those the encoder was trained at.
    """
    if labels.shape != volume.hu.shape:
        raise InputError(
            f"mask and volume differ in shape: {labels.shape} against {volume.hu.shape}; "
            "rerun the lungs stage"
        )
    off = max(abs(step - encoder.spacing_mm) for step in volume.spacing_mm)
    if off > SPACING_TOLERANCE_MM:
        raise Refusal(
            "other-spacing",
            f"voxels of {volume.spacing_mm[0]:.3f} x {volume.spacing_mm[1]:.3f} x "
            f"{volume.spacing_mm[2]:.3f} mm, but the encoder was trained at "
            f"{encoder.spacing_mm:.3f} mm: set volumes.spacing_mm to that",
        )
    stride = receptive_field(encoder.model).stride
    low, high = (np.asarray(corner) for corner in box_voxel)
    box = tuple(slice(start, end) for start, end in zip(low, high, strict=True))
    # To a multiple of the stride, and at the end only: else strided layers shift their lattice.
    padding = [(0, -length % stride) for length in high - low]
    hu = np.pad(volume.hu[box], padding, constant_values=AIR_HU)
    lung = np.pad(labels[box] > 0, padding)
    cells = [part for length in lung.shape for part in (length // stride, stride)]
    inside = lung.reshape(cells).mean(axis=(1, 3, 5), dtype=np.float32)
    return Features(
        grid=encode(encoder.model, hu, hu_map=encoder.hu_map, tile_voxel=settings.tile_voxel),
        inside=inside,
        corner_mm=to_mm(volume.affine, low + (stride - 1) / 2),
        step_mm=stride * encoder.spacing_mm,
    )


def write_features(path: Path, patients: Mapping[str, Features | Refusal]) -> None:
    """Write a store with a group for each patient, refused ones included."""
    with new_store(path) as store:
        store.attrs["schema"] = SCHEMA
        for patient in sorted(patients):
            found = patients[patient]
            group = store.create_group(patient)
            if isinstance(found, Refusal):
                group.attrs.update(refused(found))
            else:
                group.attrs.update(accepted() | {"step_mm": found.step_mm})
                for name in ("grid", "inside", "corner_mm"):
                    group.create_dataset(name, data=getattr(found, name))


def read_features(path: Path, patients: Sequence[str] | None = None) -> dict[str, Features]:
    """Read a store.

    Parameters
    ----------
    path : Path
        As `write_features` wrote it.
    patients : sequence of str, optional
        Only these; all by default.

    Returns
    -------
    dict of str to Features
        Of the patients that were not refused.

    Raises
    ------
    InputError
        If the file is missing or is no feature store.
    """
    return dict(_read(path, None if patients is None else set(patients)))


def _read(path: Path, patients: set[str] | None) -> Iterator[tuple[str, Features]]:
    if not path.is_file():
        raise InputError(f"{path} is missing: rerun the features stage")
    with h5py.File(path, "r") as store:
        if store.attrs.get("schema") != SCHEMA:
            raise InputError(f"{path}: expected a feature store of schema {SCHEMA!r}")
        for patient, group in store.items():
            if group.attrs["status"] == "ok" and (patients is None or patient in patients):
                yield (
                    patient,
                    Features(
                        grid=group["grid"][:],
                        inside=group["inside"][:],
                        corner_mm=group["corner_mm"][:],
                        step_mm=float(group.attrs["step_mm"]),
                    ),
                )
