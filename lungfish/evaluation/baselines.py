"""What a constant, the size of the lungs and the scanner alone would score, on the same folds."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = Sequence[Mapping[str, str]]
Baseline = Callable[[Rows, Integers, Rows], Floats]
PENALTY = 1.0
"""Inverse weight C of the squared coefficients, so that they stay finite."""


def constant(training: Rows, labels: Integers, held_out: Rows) -> Floats:
    """Answer the prevalence of the training patients, whoever is asked about."""
    return np.full(len(held_out), float(labels.mean()))


def lung_volume(training: Rows, labels: Integers, held_out: Rows) -> Floats:
    """Answer by the logarithm of the lungs' volume alone, by logistic regression."""
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=PENALTY, max_iter=1000),
    )
    model.fit(_log_litres(training), labels)
    return np.asarray(model.predict_proba(_log_litres(held_out))[:, 1])


def acquisition(training: Rows, labels: Integers, held_out: Rows) -> Floats:
    """Answer by how the scan was made: maker, kernel, slice thickness and tube voltage.

    Where this does well, the labels go with the scanner, and a network may have learned the
    scanner.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    named = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(
        make_column_transformer((named, [0, 1]), (numeric, [2, 3])),
        LogisticRegression(C=PENALTY, max_iter=1000),
    )
    model.fit(_scanner(training), labels)
    return np.asarray(model.predict_proba(_scanner(held_out))[:, 1])


BASELINES: dict[str, Baseline] = {
    "constant": constant,
    "lung_volume": lung_volume,
    "acquisition": acquisition,
}


def out_of_fold(baseline: Baseline, rows: Rows, patients: Sequence[str]) -> Floats:
    """Predict patients by a baseline trained on the other folds, as the heads were.

    Parameters
    ----------
    baseline : callable
        One of `BASELINES`.
    rows : sequence of mapping
        Rows of ``cohort.tsv`` that are accepted and labelled, those without a fold too: they
        train in every fold.
    patients : sequence of str
        Whom to predict; each has a fold, whose training patients are of both classes.

    Returns
    -------
    ndarray of float64, shape (len(patients),)
        Probability of label 1.
    """
    by_name = {row["patient"]: row for row in rows}
    asked = [by_name[name] for name in patients]
    folds = np.array([row["fold"] for row in asked])
    result = np.empty(len(asked))
    for fold in np.unique(folds):
        training = [row for row in rows if row["fold"] != fold]
        labels = np.array([int(row["label"]) for row in training], np.int64)
        held_out = [row for row in asked if row["fold"] == fold]
        result[folds == fold] = baseline(training, labels, held_out)
    return result


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _log_litres(rows: Rows) -> Floats:
    litres = np.array([[_number(row["volume_litre"])] for row in rows])
    return np.log(np.where(litres > 0, litres, np.nan))


def _scanner(rows: Rows) -> NDArray[np.object_]:
    table = [
        [
            row["manufacturer"].casefold(),
            row["kernel"].casefold(),
            _number(row["thickness_mm"]),
            _number(row["kvp"]),
        ]
        for row in rows
    ]
    return np.array(table, dtype=object)
