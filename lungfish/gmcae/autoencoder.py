"""A whole trained autoencoder in a folder, decoder included, and which one may judge a patient."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

import keras

from lungfish import records
from lungfish.errors import InputError, Refusal
from lungfish.gmcae.encoder import SCHEMA, SPACING_TOLERANCE_MM
from lungfish.gmcae.heads import Head, head_of
from lungfish.gmcae.network import VOXELS
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.settings import load
from lungfish.volume import Volume


@dataclasses.dataclass(frozen=True, eq=False)
class Autoencoder:
    """What it takes to judge patches as in training.

    Attributes
    ----------
    network : keras.Model
        From (n, 32, 32, 32, 1).
    head : Head
        That reads its output.
    hu_map : HuMap
        From HU to what the network sees.
    spacing_mm : float
        Voxel size it was trained at.
    trained_on : frozenset of str
        Patients whose patches it learned from, or whose validation loss chose its weights.
    """

    network: keras.Model
    head: Head
    hu_map: HuMap
    spacing_mm: float
    trained_on: frozenset[str]

    def require_spacing(self, volume: Volume) -> None:
        """Refuse a volume whose voxels are not those that the network was trained at.

        Raises
        ------
        Refusal
            ``other-spacing``.
        """
        steps = volume.spacing_mm
        if max(abs(step - self.spacing_mm) for step in steps) > SPACING_TOLERANCE_MM:
            raise Refusal(
                "other-spacing",
                f"voxels of {steps[0]:.3f} x {steps[1]:.3f} x {steps[2]:.3f} mm, but the "
                f"autoencoder was trained at {self.spacing_mm:.3f} mm: set volumes.spacing_mm to "
                "that",
            )


def load_autoencoder(folder: Path) -> Autoencoder:
    """Load the whole network that the gmcae stage wrote.

    Parameters
    ----------
    folder : Path
        Holding ``gmcae.keras`` and ``gmcae.json``.

    Raises
    ------
    InputError
        If a file is missing.
    Refusal
        If the stage could not train, or took somebody else's encoder, which has no decoder.
    """
    record = records.read_json(folder / "gmcae.json", SCHEMA)
    records.require_ok(record)
    if "pretrained" in record:
        raise Refusal(
            "no-decoder",
            "the encoder came without its decoder (gmcae.pretrained), so nothing can be compared "
            "with its input: train an autoencoder here to have a map",
        )
    path = folder / "gmcae.keras"
    if not path.is_file():
        raise InputError(f"{path} is missing: run the gmcae stage first")
    network = keras.saving.load_model(path, compile=False)
    known = {field.name for field in dataclasses.fields(Settings)}
    stated = {key: value for key, value in record["settings"].items() if key in known}
    judged_by = (record.get("training") or {}), (record.get("validation") or {})
    return Autoencoder(
        network=network,
        head=head_of(load(Settings, json.dumps(stated)), voxels=VOXELS),
        hu_map=HuMap(**record["hu_map"]),
        spacing_mm=float(record["spacing_mm"]),
        trained_on=frozenset(name for part in judged_by for name in part.get("patients", ())),
    )


def scope_for(fold: str, scopes: Collection[str]) -> str:
    """Return which of the trained scopes may judge a patient.

    Parameters
    ----------
    fold : str
        Of the cohort table, empty for a patient in no fold.
    scopes : collection of str
        Of all autoencoders that there are.

    Returns
    -------
    str
        ``fold-K``, which has not seen the patients of fold K, where it exists; else ``cohort``,
        which has seen everybody: `Autoencoder.trained_on` says so.
    """
    own = f"fold-{fold}"
    return own if fold and own in scopes else "cohort"
