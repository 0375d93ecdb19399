"""A model in a folder: all that the prediction of one new patient needs, and what it rests on."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lungfish import provenance, records
from lungfish.classifier.calibration import Platt, fit_platt
from lungfish.classifier.settings import Settings as ClassifierSettings
from lungfish.errors import InputError, Refusal
from lungfish.lungs.unet import weights
from lungfish.records import Record
from lungfish.settings import parse

if TYPE_CHECKING:  # Keras starts with it
    from lungfish.classifier.ensemble import Ensemble

SCHEMA = "model/1"
ENCODER_FILES = ("encoder.keras", "gmcae.json")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the model for new patients is made.

    Attributes
    ----------
    head : str
        Head that it uses.
    bootstraps : int
        Further heads, each trained on patients drawn with replacement, whose answers give the
        spread; 0 gives none.
    """

    head: str = "spp"
    bootstraps: int = 8


def choose_epochs(folds: Sequence[Record], head: str) -> int:
    """Return the median of the epochs that the folds of a head chose, rounded down.

    Raises
    ------
    Refusal
        ``no-classifier`` if no fold of the head was trained.
    """
    epochs = [fold["epochs"] for fold in folds if fold["head"] == head and fold["status"] == "ok"]
    if not epochs:
        raise Refusal("no-classifier", f"no fold of head {head} could be trained")
    return int(np.median(epochs))


def calibrate(predictions: Sequence[Mapping[str, str]], head: str) -> Platt:
    """Fit Platt's calibration to the out-of-fold predictions of one head.

    Raises
    ------
    Refusal
        ``no-classifier`` if the predicted patients lack a class: every answer would be the same.
    """
    rows = [row for row in predictions if row["head"] == head]
    labels = np.array([int(row["label"]) for row in rows], np.int64)
    if len(set(labels.tolist())) < 2:
        raise Refusal(
            "no-classifier",
            f"{int(labels.sum())} of {len(rows)} out-of-fold predictions of head {head} are of "
            "patients with label 1: both labels are needed to calibrate the model",
        )
    return fit_platt(np.array([float(row["probability"]) for row in rows]), labels)


def trained_on(cohort: Sequence[Mapping[str, str]]) -> Record:
    """Return whom a model has seen: counts, and hashes that tell a scan again.

    The hash of a scan's HU and geometry has no salt, so that it can be computed from the DICOM
    anywhere; nothing of the patient can be read from it.

    Parameters
    ----------
    cohort : sequence of mapping
        Rows of ``cohort.tsv``.

    Returns
    -------
    dict
        ``n`` labelled patients, ``events`` among them, ``content_hashes`` of their scans, and
        ``unlabelled_hashes`` of accepted scans that only the encoder may have seen.
    """
    kept = [row for row in cohort if row["status"] == "ok"]
    labelled = [row for row in kept if row["label"]]
    return {
        "n": len(labelled),
        "events": sum(int(row["label"]) for row in labelled),
        "content_hashes": sorted(row["content_hash"] for row in labelled),
        "unlabelled_hashes": sorted(row["content_hash"] for row in kept if not row["label"]),
    }


def summarise_evaluation(metrics: Record, head: str) -> Record:
    """Return what a prediction has to say about the evaluation of its model."""
    scores = metrics["heads"].get(head, {})
    return {
        "n": metrics["n"],
        "events": metrics["events"],
        "folds": metrics["folds"],
        "conclusion": scores.get("conclusion", metrics["conclusion"]),
        "reason": scores.get("reason", metrics["reason"]),
        "head": {key: scores.get(key) for key in ("auc", "log_loss", "brier")},
        "baselines": {name: each["log_loss"] for name, each in metrics["baselines"].items()},
    }


def preparation(**sections: Any) -> Record:
    """Return the settings by which a new scan is prepared as the training scans were.

    The salt of the index is left out: it belongs to the cohort, and a model is made to be shared.
    Where a network finds the lungs, the digest of its weights is kept too.

    Parameters
    ----------
    **sections : dataclass
        Settings by the name of their stage: ``index``, ``volumes``, ``lungs``.
    """
    kept = {stage: dataclasses.asdict(section) for stage, section in sections.items()}
    kept.get("index", {}).pop("salt", None)
    if kept.get("lungs", {}).get("method", "classical") != "classical":
        kept["lungs_weights"] = {"sha256": weights.digest_of(weights.FILE)}
    return kept


def versions() -> dict[str, str]:
    """Return the versions of what computes, so that a difference elsewhere can be explained."""
    return provenance.package_versions() | {"lungfish": provenance.version()}


def write_model(
    folder: Path, *, encoder: Path, ensemble: "Ensemble | None", record: Record
) -> None:
    """Write a model folder; ``model.json`` last, so that a half-written one has none.

    Parameters
    ----------
    folder : Path
        To write to.
    encoder : Path
        Folder of the gmcae stage; its encoder and its record are copied.
    ensemble : Ensemble or None
        None where there is no classifier.
    record : dict
        For ``model.json``.
    """
    from lungfish.gmcae.backend import save_network

    (folder / "model.json").unlink(missing_ok=True)
    for name in ENCODER_FILES:
        if not (encoder / name).is_file():
            raise InputError(f"{encoder / name} is missing: run the gmcae stage first")
        with records.atomic(folder / name) as temporary:
            shutil.copyfile(encoder / name, temporary)
    for old in [folder / "head.keras", *folder.glob("bootstrap-*.keras")]:
        old.unlink(missing_ok=True)
    if ensemble is not None:
        save_network(folder / "head.keras", ensemble.head)
        for number, network in enumerate(ensemble.bootstraps):
            save_network(folder / f"bootstrap-{number}.keras", network)
    records.write_json(folder / "model.json", SCHEMA, record)


def load_ensemble(folder: Path, record: Record) -> "Ensemble":
    """Load the heads of a model folder.

    Raises
    ------
    Refusal
        If the model has no classifier, with its own code and reason.
    """
    import keras

    from lungfish.classifier.ensemble import Ensemble
    from lungfish.classifier.layers import Standardise

    records.require_ok(record)
    paths = [folder / f"bootstrap-{number}.keras" for number in range(record["bootstraps"])]
    known = {"Standardise": Standardise}
    head, *refits = (
        keras.saving.load_model(path, compile=False, custom_objects=known)
        for path in (folder / "head.keras", *paths)
    )
    return Ensemble(
        head,
        tuple(refits),
        Platt(**record["calibration"]),
        parse(ClassifierSettings, record["classifier"]),
        record["epochs"],
    )
