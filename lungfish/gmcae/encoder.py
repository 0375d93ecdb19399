"""A trained encoder in a folder, with the scale and the voxel size that it learned on."""

import dataclasses
from pathlib import Path

import keras

from lungfish import records
from lungfish.errors import InputError, Refusal

# Its layers of our own are known to Keras once this is imported.
from lungfish.gmcae import network as _registered_layers  # noqa: F401
from lungfish.intensity import HuMap

SCHEMA = "gmcae/1"
SPACING_TOLERANCE_MM = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """What it takes to encode a lung as in training.

    Attributes
    ----------
    model : keras.Model
        From (n, z, y, x, 1) to (n, z / 8, y / 8, x / 8, channels).
    hu_map : HuMap
        From HU to what the model sees.
    spacing_mm : float
        Voxel size it was trained at.
    channels : int
        Features of a cell.
    """

    model: keras.Model
    hu_map: HuMap
    spacing_mm: float
    channels: int


def load_encoder(folder: Path) -> Encoder:
    """Load the encoder that the gmcae stage wrote.

    Parameters
    ----------
    folder : Path
        Holding ``encoder.keras`` and ``gmcae.json``.

    Raises
    ------
    InputError
        If a file is missing.
    Refusal
        If the stage could not train.
    """
    record = records.read_json(folder / "gmcae.json", SCHEMA)
    if record["status"] == "refused":
        raise Refusal(record["code"], record["reason"])
    path = folder / "encoder.keras"
    if not path.is_file():
        raise InputError(f"{path} is missing: run the gmcae stage first")
    model = keras.saving.load_model(path, compile=False)
    hu_map = HuMap(**record["hu_map"])
    return Encoder(model, hu_map, float(record["spacing_mm"]), int(model.output_shape[-1]))
