"""A head on all labelled patients, with refits that show how far the patients matter."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.classifier.calibration import Platt
from lungfish.classifier.fold import Patient, check_classes
from lungfish.classifier.settings import Settings
from lungfish.classifier.training import predict, train_head
from lungfish.errors import InputError
from lungfish.randomness import generator
from lungfish.records import Record

SPREAD_PERCENTILES = (5, 95)
Vectors = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """A head on all labelled patients, its calibration, and its refits on resampled patients.

    Attributes
    ----------
    head : keras.Model
        Pooled vector to probability.
    bootstraps : tuple of keras.Model
        Likewise.
    calibration : Platt
        For the answers of all of them.
    classifier : Settings
        With which vectors are pooled.
    epochs : int
        For which each was trained.
    """

    head: Any
    bootstraps: tuple[Any, ...]
    calibration: Platt
    classifier: Settings
    epochs: int

    def facts(self) -> Record:
        """Return what ``model.json`` says of it."""
        return {
            "calibration": dataclasses.asdict(self.calibration),
            "bootstraps": len(self.bootstraps),
            "classifier": dataclasses.asdict(self.classifier),
            "epochs": self.epochs,
        }

    def answer(self, vector: Vectors) -> tuple[float, float, float]:
        """Return the calibrated probability of one pooled vector, and its spread.

        The spread is the 5th and 95th percentile of the refits' answers, widened to hold the
        answer itself. It says how far the choice of training patients matters; it is no
        interval for the patient's risk.
        """
        raw = [predict(network, vector[None])[0] for network in (self.head, *self.bootstraps)]
        answers = self.calibration(np.array(raw))
        low, high = np.percentile(answers[1:] if len(answers) > 1 else answers, SPREAD_PERCENTILES)
        own = float(answers[0])
        return own, min(own, float(low)), max(own, float(high))


def train_ensemble(
    patients: Sequence[Patient],
    vectors: Mapping[str, Vectors],
    *,
    epochs: int,
    calibration: Platt,
    classifier: Settings,
    bootstraps: int,
    seed: int,
) -> Ensemble:
    """Train the head on all labelled patients, and its refits.

    Parameters
    ----------
    patients : sequence of Patient
        Labelled and accepted.
    vectors : mapping of str to ndarray of float32, shape (features,)
        Pooled features of each.
    epochs : int
        As the folds chose; nothing is chosen here.
    calibration : Platt
        From the out-of-fold predictions.
    classifier : Settings
    bootstraps : int
        Refits. Patients are drawn within each label, so that no refit lacks a class.
    seed : int
        Of the run.

    Returns
    -------
    Ensemble

    Raises
    ------
    Refusal
        ``one-class`` if the patients are of one class.
    InputError
        If a patient has no vector.
    """
    check_classes(patients)
    missing = sorted({patient.name for patient in patients} - set(vectors))
    if missing:
        raise InputError(f"no features of {', '.join(missing)}: run the features stage for them")
    table = np.stack([vectors[patient.name] for patient in patients])
    labels = np.array([patient.label for patient in patients], np.int64)

    def fit(chosen: NDArray[np.int64], name: str | int) -> Any:
        return train_head(
            table[chosen],
            labels[chosen],
            settings=classifier,
            epochs=epochs,
            seed=seed,
            purpose=("model", name),
        ).network

    head = fit(np.arange(len(labels)), "all")
    refits = [fit(resample(labels, seed=seed, number=k), k) for k in range(bootstraps)]
    return Ensemble(head, tuple(refits), calibration, classifier, epochs)


def resample(labels: NDArray[np.int64], *, seed: int, number: int) -> NDArray[np.int64]:
    """Return indices of patients drawn with replacement within each label, as many of each."""
    rng = generator(seed, "model", "bootstrap", number)
    groups = [np.flatnonzero(labels == label) for label in (0, 1)]
    return np.concatenate([rng.choice(group, len(group)) for group in groups])
