"""How good probabilities are: AUC, log loss, Brier score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.evaluation.intervals import auc_interval, mean_interval
from lungfish.randomness import generator
from lungfish.records import Record

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1, so that one sure error costs 13.8 nats at most."""


def log_losses(probability: Floats, labels: Integers) -> Floats:
    """Return the log loss of each patient in nats, -ln of the probability given to its label.

    0 is perfect, lower is better; always answering the prevalence p gives the mean
    -p ln p - (1 - p) ln(1 - p), at most ln 2 = 0.693.
    """
    given = np.where(labels == 1, probability, 1 - probability)
    return np.asarray(-np.log(np.clip(given, EDGE, 1 - EDGE)))


def briers(probability: Floats, labels: Integers) -> Floats:
    """Return the squared error of each patient's probability.

    0 is perfect, lower is better; always answering the prevalence p gives the mean p (1 - p).
    """
    return np.asarray((probability - labels) ** 2)


def fold_counts(labels: Integers, folds: Integers) -> list[tuple[int, int]]:
    """Return events and non-events of each fold."""
    groups = [labels[folds == fold] for fold in np.unique(folds)]
    return [(int((group == 1).sum()), int((group == 0).sum())) for group in groups]


def auc_within_folds(probability: Floats, labels: Integers, folds: Integers) -> float | None:
    """Return the share of pairs of an event and a non-event that are in the right order.

    Only pairs of the same fold count. Each fold has its own model, and a fold with fewer events
    has a training set with more: over all pairs a constant answer would so score below 0.5, and
    folds whose models differ by an offset would be punished or rewarded for it. Within folds a
    constant scores 0.5 exactly. See Airola et al., "An experimental comparison of cross-validation
    techniques for estimating the area under the ROC curve", Computational Statistics & Data
    Analysis 55 (2011) 1828-1844.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Any monotone score will do.
    labels : ndarray of int64, shape (n,)
        0 or 1.
    folds : ndarray of int64, shape (n,)
        In which each patient was held out.

    Returns
    -------
    float or None
        0 to 1, higher is better, 0.5 is chance, ties count one half; None without a pair.
    """
    right, total = 0.0, 0
    for fold in np.unique(folds):
        events = probability[(folds == fold) & (labels == 1)]
        others = probability[(folds == fold) & (labels == 0)]
        difference = events[:, None] - others[None, :]
        right += float((difference > 0).sum() + (difference == 0).sum() / 2)
        total += difference.size
    return right / total if total else None


def score(
    probability: Floats,
    labels: Integers,
    folds: Integers,
    *,
    bootstraps: int,
    seed: int,
) -> Record:
    """Return AUC, log loss and Brier score, each with its 95 % interval.

    Parameters
    ----------
    probability : ndarray of float64, shape (n,)
        Out of fold.
    labels, folds : ndarray of int64, shape (n,)
    bootstraps : int
        For log loss and Brier score.
    seed : int
        Of the run; all scores resample the same patients, so that columns can be compared.

    Returns
    -------
    dict
        ``auc``, ``log_loss`` (nats) and ``brier``, each a dict of value, low and high; None where
        there is no pair (AUC) or only one patient (limits).
    """
    auc = auc_within_folds(probability, labels, folds)
    limits = (None, None) if auc is None else auc_interval(auc, fold_counts(labels, folds))

    def of_mean(values: Floats) -> Record:
        return estimate_mean(values, bootstraps=bootstraps, seed=seed)

    return {
        "auc": estimate(auc, limits),
        "log_loss": of_mean(log_losses(probability, labels)),
        "brier": of_mean(briers(probability, labels)),
    }


def estimate(value: float | None, limits: tuple[Any, Any]) -> Record:
    """Return one number with its limits."""
    return {"value": value, "low": limits[0], "high": limits[1]}


def estimate_mean(values: Floats, *, bootstraps: int, seed: int) -> Record:
    """Return the mean over patients with its 95 % interval; no limits for a single patient."""
    if len(values) < 2:
        return estimate(float(values.mean()), (None, None))
    rng = generator(seed, "evaluation", "bootstrap")
    return estimate(float(values.mean()), mean_interval(values, bootstraps=bootstraps, rng=rng))
