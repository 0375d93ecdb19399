"""Out-of-fold predictions to scores, differences from baselines, and one conclusion."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.cohort import why_no_classifier
from lungfish.errors import InputError, Refusal
from lungfish.evaluation.baselines import BASELINES, out_of_fold
from lungfish.evaluation.metrics import (
    Integers,
    auc_within_folds,
    estimate_mean,
    log_losses,
    score,
)
from lungfish.evaluation.settings import Settings
from lungfish.records import Record, accepted, refused

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, str]]
PREDICTION_COLUMNS = ("patient", "label", "fold", "head", "probability", "calibrated")


def gather(tables: Sequence[Rows], cohort: Rows) -> list[dict[str, str]]:
    """Join the predictions of all folds and check them against the cohort.

    Parameters
    ----------
    tables : sequence of sequence of mapping
        Rows of each ``predictions.tsv``.
    cohort : sequence of mapping
        Rows of ``cohort.tsv``.

    Returns
    -------
    list of dict
        Sorted by patient, then head.

    Raises
    ------
    InputError
        If a patient is predicted twice by one head, is not in the cohort, or has another label or
        fold there.
    """
    rows = [dict(row) for table in tables for row in table]
    rows.sort(key=lambda row: (row["patient"], row["head"]))
    known = {row["patient"]: row for row in cohort}
    seen = set()
    for row in rows:
        key = (row["patient"], row["head"])
        if key in seen:
            raise InputError(f"patient {key[0]} is predicted twice by head {key[1]}: expected once")
        seen.add(key)
        member = known.get(row["patient"])
        if member is None or (member["label"], member["fold"]) != (row["label"], row["fold"]):
            raise InputError(
                f"patient {row['patient']}: predictions and cohort.tsv differ in label or fold: "
                "rerun the classifier stage"
            )
    return rows


def evaluate(predictions: Rows, cohort: Rows, *, settings: Settings, seed: int) -> Record:
    """Score every head and every baseline, out of fold, and conclude.

    Parameters
    ----------
    predictions : sequence of mapping
        As `gather` gives them.
    cohort : sequence of mapping
        Rows of ``cohort.tsv``.
    settings : Settings
        Of the evaluation.
    seed : int
        Of the run.

    Returns
    -------
    dict
        The record of ``metrics.json``.

    Raises
    ------
    Refusal
        ``one-class`` if the cohort has no two patients of each class, ``no-predictions`` if there
        are none for another reason.
    InputError
        If two heads predict different patients.
    """
    usable = [row for row in cohort if row["status"] == "ok" and row["label"]]
    _check_predictions(predictions, usable)
    heads = sorted({row["head"] for row in predictions})
    if settings.head not in heads:
        raise InputError(
            f"evaluation.head is {settings.head!r}, but predictions are of {', '.join(heads)}: the "
            "head that the conclusion is about must be among classifier.heads"
        )
    by_head = {head: [row for row in predictions if row["head"] == head] for head in heads}
    first = by_head[heads[0]]
    patients = [row["patient"] for row in first]
    if any([row["patient"] for row in rows] != patients for rows in by_head.values()):
        raise InputError("heads predict different patients: rerun the classifier stage")
    labels = np.array([int(row["label"]) for row in first], np.int64)
    folds = np.array([int(row["fold"]) for row in first], np.int64)
    answers = {name: out_of_fold(call, usable, patients) for name, call in BASELINES.items()}

    def scored(probability: Floats) -> Record:
        return score(probability, labels, folds, bootstraps=settings.bootstraps, seed=seed)

    records = {
        head: _score_head(rows, answers, labels, folds, settings=settings, seed=seed)
        for head, rows in by_head.items()
    }
    chosen = settings.head
    return accepted() | {
        "n": len(labels),
        "events": int(labels.sum()),
        "folds": len(np.unique(folds)),
        "head": chosen,
        "not_predicted": sum(bool(row["fold"]) for row in usable) - len(labels),
        "heads": records,
        "baselines": {name: scored(probability) for name, probability in answers.items()},
        "conclusion": records[chosen]["conclusion"],
        "reason": records[chosen]["reason"],
    }


def nothing(refusal: Refusal, cohort: Rows) -> Record:
    """Return the record of ``metrics.json`` where there is nothing to score, and why."""
    labels = [int(row["label"]) for row in cohort if row["status"] == "ok" and row["label"]]
    return refused(refusal) | {
        "n": len(labels),
        "events": sum(labels),
        "folds": 0,
        "head": "",
        "heads": {},
        "baselines": {},
        "conclusion": "inconclusive",
    }


def _check_predictions(predictions: Rows, usable: Rows) -> None:
    """Refuse where there is nothing to evaluate, with the sentence that says why."""
    sentence = why_no_classifier([int(row["label"]) for row in usable])
    if sentence:
        raise Refusal("one-class", sentence)
    if not any(row["fold"] for row in usable):
        raise Refusal(
            "nobody-held-out",
            "no classifier was trained: the split column holds no labelled patient out; name some "
            "as test, or leave the column empty",
        )
    if predictions:
        return
    raise Refusal(
        "no-predictions",
        "no classifier was trained: in no fold had the training patients both labels",
    )


def _score_head(
    rows: Rows,
    answers: Mapping[str, Floats],
    labels: Integers,
    folds: Integers,
    *,
    settings: Settings,
    seed: int,
) -> Record:
    """Score one head, set it against each baseline, and conclude."""
    calibrated = np.array([float(row["calibrated"]) for row in rows])
    if not np.isfinite(calibrated).all():
        raise InputError("a prediction is not a number: rerun the classifier stage")
    raw = np.array([float(row["probability"]) for row in rows])
    own = log_losses(calibrated, labels)
    differences = {
        name: estimate_mean(
            own - log_losses(answer, labels), bootstraps=settings.bootstraps, seed=seed
        )
        for name, answer in answers.items()
    }
    events = int(labels.sum())
    auc = auc_within_folds(calibrated, labels, folds)
    rivals = {name: auc_within_folds(answer, labels, folds) for name, answer in answers.items()}
    gain = {
        name: auc - rival for name, rival in rivals.items() if auc is not None and rival is not None
    }
    conclusion, reason = conclude(
        differences,
        n=len(labels),
        events=events,
        minimum=settings.minimum_per_class,
        auc_gain=gain,
    )
    return {
        **score(calibrated, labels, folds, bootstraps=settings.bootstraps, seed=seed),
        "uncalibrated": score(raw, labels, folds, bootstraps=settings.bootstraps, seed=seed),
        "differences": differences,
        "conclusion": conclusion,
        "reason": reason,
    }


def conclude(
    differences: Mapping[str, Record],
    *,
    n: int,
    events: int,
    minimum: int,
    auc_gain: Mapping[str, float] | None = None,
) -> tuple[str, str]:
    """Say what the numbers allow to say.

    The rule, fixed before any result: with fewer than `minimum` patients of either class nothing
    is concluded, whatever the scores. Otherwise a head is better only if the 95 % interval of its
    log loss minus the baseline's lies below 0 for every baseline. All must hold at once, so no
    correction for several comparisons is needed (an intersection-union test, Berger 1982).

    Parameters
    ----------
    differences : mapping of str to dict
        Baseline to value, low and high of the head's log loss minus its own, in nats; below 0
        favours the head.
    n, events : int
        Patients, and those with label 1.
    auc_gain : mapping of str to float, optional
        Baseline to the head's AUC minus its own. A head whose AUC is not above a baseline's has
        only been surer of the same order, which a model of the scanner alone can be too.
    minimum : int
        Patients of each class that a conclusion takes.

    Returns
    -------
    conclusion : str
        ``inconclusive``, ``no better than <baseline>`` or ``better than every baseline``.
    reason : str
        One sentence with the numbers that decided.
    """
    if min(events, n - events) < minimum:
        return "inconclusive", (
            f"nothing can be concluded from {events} patients with label 1 and {n - events} with "
            f"label 0: at least {minimum} of each are needed, and these scores may be chance"
        )
    gains = auc_gain or {}
    surer = sorted(name for name, gain in gains.items() if gain <= 0)
    if surer and all(each["high"] < 0 for each in differences.values()):
        return f"no better than {surer[0]}", (
            f"the log loss is lower, but the AUC is not above that of {surer[0]} "
            f"({gains[surer[0]]:+.3f}): the head is only surer of the same order"
        )
    equal = {name: each for name, each in differences.items() if not each["high"] < 0}
    if equal:
        # The strongest rival is the one the head comes off worst against.
        name = max(equal, key=lambda key: float(equal[key]["value"]))
        return f"no better than {name}", (
            f"log loss minus that of {name} is {_range(equal[name])} over {n} patients with "
            f"{events} events: the interval does not lie below 0"
        )
    name = max(differences, key=lambda key: float(differences[key]["value"]))
    return "better than every baseline", (
        f"log loss minus that of the strongest baseline, {name}, is {_range(differences[name])} "
        f"over {n} patients with {events} events: the interval lies below 0"
    )


def _range(each: Record) -> str:
    return f"{each['value']:+.3f} nats (95 % interval {each['low']:+.3f} to {each['high']:+.3f})"
