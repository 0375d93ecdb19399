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
from lungfish.gmcae.batches import Patches
from lungfish.gmcae.density import SMALLEST_SIGMA
from lungfish.gmcae.encoder import SCHEMA
from lungfish.gmcae.network import STRIDE, build_encoder, encoder_of
from lungfish.gmcae.settings import Settings
from lungfish.gmcae.training import BATCH_COLUMNS, EPOCH_COLUMNS, Trained
from lungfish.intensity import HuMap
from lungfish.stores import new_store


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
    encoder = encoder_of(trained.network, settings.filters)
    save_network(folder / "gmcae.keras", trained.network)
    save_network(folder / "encoder.keras", encoder)
    records.write_table(folder / "epochs.tsv", EPOCH_COLUMNS, trained.journal.epochs)
    records.write_table(folder / "batches.tsv", BATCH_COLUMNS, trained.journal.batches)
    write_summary(folder / "summary.txt", trained.network)
    write_examples(folder / "examples.h5", trained, patches, count=settings.examples)
    best = trained.journal.epochs[trained.journal.best_epoch() - 1]
    used = np.bincount(trained.chosen, minlength=settings.components) / len(trained.chosen)
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
            "rmse_hu": best["val_rmse_hu"],
            "component_shares": used,
        },
        "best_epoch": trained.journal.best_epoch(),
        "epochs": len(trained.journal.epochs),
    }
    records.write_json(folder / "gmcae.json", SCHEMA, record)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # done: nothing to take up any more


def write_refused(folder: Path, refusal: Refusal) -> None:
    """Write what stands for a scope without training patients."""
    for name in ("gmcae.keras", "encoder.keras"):
        save_network(folder / name, build_encoder((1,)))
    records.write_table(folder / "epochs.tsv", EPOCH_COLUMNS, [])
    records.write_table(folder / "batches.tsv", BATCH_COLUMNS, [])
    with records.atomic(folder / "summary.txt") as temporary:
        temporary.write_text(f"refused: {refusal}\n", encoding="utf-8")
    with new_store(folder / "examples.h5") as store:
        store.attrs["status"] = "refused"
    records.write_json(folder / "gmcae.json", SCHEMA, records.refused(refusal))


def write_summary(path: Path, network: keras.Model) -> None:
    """Write the table of layers with their output shapes and parameters."""
    text = io.StringIO()
    network.summary(line_length=100, print_fn=lambda line: text.write(line + "\n"))
    with records.atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def write_examples(path: Path, trained: Trained, patches: Patches, *, count: int) -> None:
    """Store validation patches, evenly chosen, beside their reconstructions in HU."""
    evenly = np.linspace(0, len(patches.validation) - 1, min(count, len(patches.validation)))
    chosen = evenly.round().astype(int)
    made = np.clip(np.rint(trained.reconstructions[chosen]), -32768, 32767).astype(np.int16)
    with new_store(path) as store:
        store.create_dataset("input", data=patches.validation[chosen], compression="gzip")
        store.create_dataset("reconstruction", data=made, compression="gzip")
        store.create_dataset("component", data=trained.chosen[chosen])
        store.attrs["status"] = "ok"
