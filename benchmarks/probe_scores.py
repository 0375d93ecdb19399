"""Linear probes on frozen numbers, their scores on held-out patients, and paired intervals.

A probe is ridge regression for a number and L2-penalised logistic regression for a yes or no, on
standardised numbers; its penalty is chosen within the training patients, by folds of patients.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats], float]
"""Of truth, prediction and weight of each example."""
PENALTIES = np.logspace(-1, 5, 9)
"""Of both kinds of probe, in the sense of ridge regression: larger is stiffer."""
FOLDS = 5
EDGE = 1e-6


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a probe learns from or is scored on.

    Attributes
    ----------
    numbers : ndarray of float64, shape (n, k)
    truth : ndarray of float64, shape (n,)
        0 or 1, or a number.
    patients : ndarray of int, shape (n,)
    """

    numbers: Floats
    truth: Floats
    patients: NDArray[np.int64]


def probe(training: Examples, held_out: Floats, *, yes_no: bool) -> Floats:
    """Fit a probe and predict.

    Parameters
    ----------
    training : Examples
    held_out : ndarray, shape (m, k)
        Numbers of other patients.
    yes_no : bool
        Whether the truth is 0 or 1; the prediction is then a probability.
    """
    if yes_no:
        model = LogisticRegression(max_iter=5000)
        grid = {"logisticregression__C": 1 / PENALTIES}
        wanted = "neg_log_loss"
    else:
        model = Ridge()
        grid = {"ridge__alpha": PENALTIES}
        wanted = "neg_mean_squared_error"
    folds = GroupKFold(min(FOLDS, len(np.unique(training.patients))))
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, scoring=wanted, cv=folds)
    search.fit(training.numbers, training.truth, groups=training.patients)
    if yes_no:
        return np.asarray(search.predict_proba(held_out)[:, 1])
    return np.asarray(search.predict(held_out))


def auc(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Return the area under the ROC curve; NaN where a class is missing."""
    used = weight > 0
    if len(np.unique(truth[used])) < 2:
        return math.nan
    return float(roc_auc_score(truth[used], predicted[used], sample_weight=weight[used]))


def log_loss(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Return the mean of -ln of the probability given to the truth, in nats."""
    given = np.where(truth == 1, predicted, 1 - predicted)
    return float(np.average(-np.log(np.clip(given, EDGE, 1 - EDGE)), weights=weight))


def r2(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Return the share of the truth's variance that is predicted; 1 is perfect, may be negative."""
    middle = np.average(truth, weights=weight)
    spread = np.average((truth - middle) ** 2, weights=weight)
    if spread == 0:
        return math.nan
    return 1 - float(np.average((truth - predicted) ** 2, weights=weight) / spread)


def mean_error(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Return the mean absolute error, in the unit of the truth."""
    return float(np.average(np.abs(truth - predicted), weights=weight))


METRICS: Mapping[str, tuple[Metric, int]] = {
    "AUC": (auc, 1), "log loss": (log_loss, -1), "R2": (r2, 1), "MAE": (mean_error, -1),
}  # fmt: skip
"""Name: metric, and 1 where higher is better, -1 where lower is."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it as in a table, with three digits."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @property
    def verdict(self) -> str:
        """Say what an advantage, larger is better, allows to be said."""
        if self.low > 0:
            return "beats"
        return "**is beaten by**" if self.high < 0 else "no difference shown"


def resampled_weights(
    patients: NDArray[np.int64], *, bootstraps: int, rng: np.random.Generator
) -> Floats:
    """Draw whole patients with replacement; return each example's weight, shape (b, n)."""
    names, place = np.unique(patients, return_inverse=True)
    share = np.full(len(names), 1 / len(names))
    return np.asarray(rng.multinomial(len(names), share, size=bootstraps)[:, place], np.float64)


def interval(values: Floats, *, patients: int) -> tuple[float, float]:
    """Return the 95 % interval of resampled values: Hesterberg's expanded percentiles.

    T. Hesterberg, The American Statistician 69 (2015) 371-386, section 4; see
    `lungfish.evaluation.intervals.mean_interval`.
    """
    quantile = stats.t.ppf(0.975, patients - 1) * math.sqrt(patients / (patients - 1))
    tail = 100 * float(stats.norm.sf(quantile))
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def score(name: str, truth: Floats, predicted: Floats, weights: Floats, patients: int) -> Estimate:
    """Return a metric on held-out patients with its interval."""
    metric, _ = METRICS[name]
    values = np.array([metric(truth, predicted, weight) for weight in weights])
    value = metric(truth, predicted, np.ones(len(truth)))
    return Estimate(value, *interval(values, patients=patients))


def advantage(
    name: str, truth: Floats, ours: Floats, other: Floats, weights: Floats, patients: int
) -> Estimate:
    """Return how much better ours is, above 0 where it is, paired: on the same patients.

    Parameters
    ----------
    name : str
        Of `METRICS`.
    truth, ours, other : ndarrays, shape (n,)
    weights : ndarray, shape (b, n)
        From `resampled_weights`: the same for all rivals.
    patients : int
        How many there are.
    """
    metric, sign = METRICS[name]

    def better(weight: Floats) -> float:
        return sign * (metric(truth, ours, weight) - metric(truth, other, weight))

    values = np.array([better(weight) for weight in weights])
    return Estimate(better(np.ones(len(truth))), *interval(values, patients=patients))


def summary(codes: NDArray[Any], kind: str) -> Floats:
    """Return the numbers of each patch from the codes of its cells.

    Parameters
    ----------
    codes : ndarray, shape (n, d, h, w, channels)
    kind : "pooled" or "flattened"
        Mean, least and largest of each channel over the cells, which do not say where in the patch
        something is; or all codes side by side, which do.

    Returns
    -------
    ndarray of float64, shape (n, 3 channels) or (n, d h w channels)
    """
    cells = np.asarray(codes, np.float64).reshape(len(codes), -1, codes.shape[-1])
    if kind == "flattened":
        return cells.reshape(len(codes), -1)
    return np.concatenate([cells.mean(1), cells.min(1), cells.max(1)], axis=1)
