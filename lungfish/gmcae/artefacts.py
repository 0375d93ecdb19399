"""What the gmcae stage leaves on disk: networks, tables, examples and one record."""

import dataclasses
import io
import shutil
from pathlib import Path

import keras
import numpy as np

from lungfish import records
from lungfish.errors import Refusal
from lungfish.gmcae.backend import save_network
from lungfish.gmcae.batches import Patches, evenly, fixed_batches
from lungfish.gmcae.density import SMALLEST_SIGMA
from lungfish.gmcae.encoder import SCHEMA, Encoder
from lungfish.gmcae.field import receptive_field
from lungfish.gmcae.network import STRIDE, build_encoder, encoder_of
from lungfish.gmcae.rivals import rivals
from lungfish.gmcae.samples import draw_samples, write_samples
from lungfish.gmcae.settings import Settings
from lungfish.gmcae.training import BATCH_COLUMNS, EPOCH_COLUMNS, Trained
from lungfish.intensity import HuMap
from lungfish.records import Record
from lungfish.stores import new_store

RIVAL_PATCHES = 1024
"""Most training patches that the rivals are fitted to."""
RIVAL_BATCH = 8


def write(
    folder: Path,
    trained: Trained,
    patches: Patches,
    *,
    settings: Settings,
    hu_map: HuMap,
    spacing_mm: float,
) -> None:
    """Write all files of a scope; each appears whole or not at all, the record last."""
    encoder = encoder_of(trained.network, settings)
    save_network(folder / "gmcae.keras", trained.network)
    save_network(folder / "encoder.keras", encoder)
    records.write_table(folder / "epochs.tsv", EPOCH_COLUMNS, trained.journal.epochs)
    records.write_table(folder / "batches.tsv", BATCH_COLUMNS, trained.journal.batches)
    write_summary(folder / "summary.txt", trained.network)
    write_examples(folder / "examples.h5", trained, patches, settings=settings, hu_map=hu_map)
    best = trained.journal.epochs[trained.journal.best_epoch() - 1]
    record = records.accepted() | {
        "hu_map": dataclasses.asdict(hu_map),
        "spacing_mm": spacing_mm,
        "stride_voxel": STRIDE,
        "settings": dataclasses.asdict(settings),
        "smallest_sigma_hu": SMALLEST_SIGMA * hu_map.hu_per_unit,
        "parameters": {"encoder": encoder.count_params(), "gmcae": trained.network.count_params()},
        "training": {
            "patients": patches.training_patients,
            "patches": len(patches.training),
        },
        "validation": {
            "patients": patches.validation_patients,
            "patches": len(patches.validation),
            "nats_per_voxel": best["val_nats_per_voxel"],
            "bits_per_voxel": best["val_bits_per_voxel"],
            "rmse_hu": best["val_rmse_hu"],
            "components_used": best["components_used"],
            "component_shares": trained.shares.mean(axis=0),
        },
        "rivals": judge_rivals(patches, settings=settings, hu_map=hu_map),
        "best_epoch": trained.journal.best_epoch(),
        "epochs": len(trained.journal.epochs),
    }
    records.write_json(folder / "gmcae.json", SCHEMA, record)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # done: nothing to take up any more


def write_refused(folder: Path, refusal: Refusal) -> None:
    """Write what stands for a scope without training patients."""
    _write_untrained(
        folder, build_encoder(Settings(design="layered", filters=(1, 1, 1))),
        summary=f"refused: {refusal}\n", status="refused",
    )  # fmt: skip
    records.write_json(folder / "gmcae.json", SCHEMA, records.refused(refusal))


def write_pretrained(folder: Path, encoder: Encoder, *, digest: str) -> None:
    """Write somebody else's encoder as this stage would its own; there is no decoder.

    Parameters
    ----------
    folder : Path
    encoder : Encoder
        See `pretrained.load_pretrained`.
    digest : str
        Of the file that it came in.
    """
    summary = f"taken from elsewhere (gmcae.pretrained), {digest}\n"
    _write_untrained(folder, encoder.model, summary=summary, status="pretrained")
    record = records.accepted() | {
        "hu_map": dataclasses.asdict(encoder.hu_map),
        "spacing_mm": encoder.spacing_mm,
        "stride_voxel": receptive_field(encoder.model).stride,
        "pretrained": digest,
        "parameters": {"encoder": encoder.model.count_params()},
    }
    records.write_json(folder / "gmcae.json", SCHEMA, record)


def _write_untrained(folder: Path, encoder: keras.Model, *, summary: str, status: str) -> None:
    """Write an encoder, and files that say that nothing was trained."""
    for name in ("gmcae.keras", "encoder.keras"):
        save_network(folder / name, encoder)
    records.write_table(folder / "epochs.tsv", EPOCH_COLUMNS, [])
    records.write_table(folder / "batches.tsv", BATCH_COLUMNS, [])
    with records.atomic(folder / "summary.txt") as temporary:
        temporary.write_text(summary, encoding="utf-8")
    with new_store(folder / "examples.h5") as store:
        store.attrs["status"] = status


def write_summary(path: Path, network: keras.Model) -> None:
    """Write the table of layers with their output shapes and parameters."""
    text = io.StringIO()
    network.summary(line_length=100, print_fn=lambda line: text.write(line + "\n"))
    with records.atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def judge_rivals(patches: Patches, *, settings: Settings, hu_map: HuMap) -> Record:
    """Return what the loss is held against, on the same validation patches; see `rivals`."""
    pairs = list(fixed_batches(patches.validation, batch_size=RIVAL_BATCH, hu_map=hu_map))
    inputs = np.concatenate([pair[0][..., 0] for pair in pairs])
    targets = np.concatenate([pair[1] for pair in pairs]).reshape(inputs.shape)
    learned = hu_map.to_network(evenly(patches.training, RIVAL_PATCHES))
    found = rivals(learned, inputs, targets, hu_map=hu_map, channels=settings.filters[-1])
    return {name: each.record(hu_map) for name, each in found.items()}


def write_examples(
    path: Path, trained: Trained, patches: Patches, *, settings: Settings, hu_map: HuMap
) -> None:
    """Store validation patches, evenly chosen, beside their reconstructions in HU, and samples."""
    count = min(settings.examples, len(patches.validation))
    chosen = np.linspace(0, len(patches.validation) - 1, count).round().astype(int)
    made = np.clip(np.rint(trained.reconstructions[chosen]), -32768, 32767).astype(np.int16)
    with new_store(path) as store:
        store.create_dataset("input", data=patches.validation[chosen], compression="gzip")
        store.create_dataset("reconstruction", data=made, compression="gzip")
        store.create_dataset("component", data=trained.shares[chosen].argmax(axis=1))
        store.create_dataset("share", data=trained.shares[chosen])
        if count:
            samples = draw_samples(
                trained.network, patches.validation[chosen], patches.training,
                settings=settings, hu_map=hu_map,
            )  # fmt: skip
            write_samples(store, samples)
        store.attrs["status"] = "ok"
