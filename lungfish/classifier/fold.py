"""One fold: choose by the training patients alone, refit, predict those held out, once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.classifier.calibration import Platt, fit_platt
from lungfish.classifier.heads import build_classifier
from lungfish.classifier.settings import Settings
from lungfish.classifier.training import InnerResult, cross_validate, predict, train_head
from lungfish.errors import InputError, Refusal
from lungfish.records import Record, accepted, refused

Vectors = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Patient:
    """A labelled, accepted patient of the cohort.

    Attributes
    ----------
    name : str
    label : int
        0 or 1.
    fold : int or None
        In which it is held out; None for one that only trains.
    """

    name: str
    label: int
    fold: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class FoldResult:
    """What one fold gives.

    Attributes
    ----------
    network : keras.Model
        The refitted head.
    epochs : list of dict
        Rows of ``epochs.tsv``.
    predictions : list of dict
        Rows of ``predictions.tsv``, sorted by patient.
    record : dict
        Of ``classifier.json``.
    """

    network: Any
    epochs: list[Record]
    predictions: list[Record]
    record: Record


def labelled_patients(rows: Sequence[Mapping[str, str]]) -> list[Patient]:
    """Pick the accepted, labelled patients from the rows of ``cohort.tsv``, sorted by name."""
    kept = [row for row in rows if row["status"] == "ok" and row["label"] != ""]
    patients = [
        Patient(row["patient"], int(row["label"]), int(row["fold"]) if row["fold"] else None)
        for row in kept
    ]
    return sorted(patients, key=lambda patient: patient.name)


def run_fold(
    patients: Sequence[Patient],
    vectors: Mapping[str, Vectors],
    *,
    fold: int,
    settings: Settings,
    seed: int,
) -> FoldResult:
    """Train on the patients of the other folds and predict those of this one.

    Parameters
    ----------
    patients : sequence of Patient
        Labelled and accepted, of all folds.
    vectors : mapping of str to ndarray of float32, shape (features,)
        Pooled features of each.
    fold : int
        Which patients are held out.
    settings : Settings
        Of the classifier.
    seed : int
        Of the run.

    Returns
    -------
    FoldResult
        Refused and without predictions, with code ``nobody-held-out``, ``one-class`` (of the
        training patients) or ``no-features``.

    Raises
    ------
    InputError
        If a patient has no vector.
    """
    training = [patient for patient in patients if patient.fold != fold]
    held_out = [patient for patient in patients if patient.fold == fold]
    facts = _facts(training, held_out, fold, settings)
    try:
        if not held_out:
            raise Refusal("nobody-held-out", f"no accepted, labelled patient is in fold {fold}")
        check_classes(training)
        if not vectors:
            raise Refusal("no-features", "no patient has features: see why the encoder was refused")
    except Refusal as refusal:
        return FoldResult(build_classifier(1, settings), [], [], refused(refusal) | facts)
    missing = sorted({patient.name for patient in patients} - set(vectors))
    if missing:
        raise InputError(f"no features of {', '.join(missing)}: run the features stage for them")
    examples = {patient.name: (vectors[patient.name], patient.label) for patient in training}
    return _fit_and_predict(examples, held_out, vectors, facts, settings=settings, seed=seed)


def check_classes(training: Sequence[Patient]) -> None:
    """Refuse training patients of one class.

    Raises
    ------
    Refusal
        With code ``one-class``.
    """
    events = sum(patient.label for patient in training)
    if 0 < events < len(training):
        return
    raise Refusal(
        "one-class",
        f"{events} of {len(training)} training patients have label 1: both labels are needed to "
        "train a head",
    )


def _facts(
    training: Sequence[Patient], held_out: Sequence[Patient], fold: int, settings: Settings
) -> Record:
    """Return the fields of the record that are known before training."""
    return {
        "head": settings.head,
        "fold": fold,
        "n_training": len(training),
        "events_training": sum(patient.label for patient in training),
        "n_held_out": len(held_out),
        "events_held_out": sum(patient.label for patient in held_out),
        "settings": dataclasses.asdict(settings),
    }


def _fit_and_predict(
    examples: Mapping[str, tuple[Vectors, int]],
    held_out: Sequence[Patient],
    vectors: Mapping[str, Vectors],
    facts: Record,
    *,
    settings: Settings,
    seed: int,
) -> FoldResult:
    """Choose, refit, predict."""
    purpose = (settings.head, facts["fold"])
    inner = cross_validate(examples, settings=settings, seed=seed, purpose=purpose)
    labels = np.array([label for _, label in examples.values()], np.int64)
    epochs = settings.uninformed_epochs if inner is None else inner.epochs
    calibration = Platt() if inner is None else fit_platt(inner.probability, labels)
    trained = train_head(
        np.stack([vector for vector, _ in examples.values()]),
        labels,
        settings=settings,
        epochs=epochs,
        seed=seed,
        purpose=(*purpose, "refit"),
    )
    loss = trained.loss if inner is None else inner.loss
    record = accepted() | facts | {
        "features": len(next(iter(examples.values()))[0]),
        "parameters": trained.network.count_params(),
        "epochs": epochs,
        "calibration": dataclasses.asdict(calibration),
        **_choice(inner),
    }  # fmt: skip
    predictions = _predictions(trained.network, held_out, vectors, facts, calibration)
    return FoldResult(trained.network, epoch_rows(loss, inner), predictions, record)


def _choice(inner: InnerResult | None) -> Record:
    """Return what the inner cross-validation found, with a sentence a person can read."""
    if inner is None:
        note = "too few training patients for an inner cross-validation: no calibration"
        return {"inner_folds": 0, "inner_log_loss": None, "inner_constant": None, "note": note}
    constant, best = float(inner.val_loss[0]), float(inner.val_loss[inner.epochs])
    note = f"inner log loss {best:.4f} nats after {inner.epochs} epochs, {constant:.4f} before"
    if not inner.epochs:
        note = "no epoch beat the constant in the inner cross-validation: all get one answer"
    return {
        "inner_folds": inner.folds,
        "inner_log_loss": best,
        "inner_constant": constant,
        "note": note,
    }


def epoch_rows(loss: NDArray[np.float64], inner: InnerResult | None) -> list[Record]:
    """Return the rows of ``epochs.tsv``; row 0 is before training."""
    val_loss = [None] * len(loss) if inner is None else inner.val_loss.tolist()
    return [
        {"epoch": epoch, "loss": float(value), "val_loss": val_loss[epoch]}
        for epoch, value in enumerate(loss)
    ]


def _predictions(
    network: Any,
    held_out: Sequence[Patient],
    vectors: Mapping[str, Vectors],
    facts: Record,
    calibration: Platt,
) -> list[Record]:
    """Return a row for each held-out patient."""
    if not held_out:
        return []
    probability = predict(network, np.stack([vectors[patient.name] for patient in held_out]))
    calibrated = calibration(probability)
    return [
        {
            "patient": patient.name,
            "label": patient.label,
            "fold": facts["fold"],
            "head": facts["head"],
            "probability": float(raw),
            "calibrated": float(value),
        }
        for patient, raw, value in zip(held_out, probability, calibrated, strict=True)
    ]
