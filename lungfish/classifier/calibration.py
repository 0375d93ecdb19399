"""Platt's calibration of probabilities."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log-odds are finite."""
LEAST_SLOPE = 1e-3


@dataclasses.dataclass(frozen=True)
class Platt:
    """A sigmoid of the log-odds.

    Attributes
    ----------
    slope : float
        Above 0, so that the order of patients stays; below 1 draws predictions together.
    intercept : float
        In log-odds. The default of both changes nothing.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, probability: NDArray[np.floating]) -> Floats:
        """Return calibrated probabilities, same shape, within (0, 1)."""
        return np.asarray(special.expit(self.slope * log_odds(probability) + self.intercept))


def log_odds(probability: NDArray[np.floating]) -> Floats:
    """Return ln(p / (1 - p)), p kept 1e-6 away from 0 and 1."""
    kept = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    return np.asarray(special.logit(kept))


def fit_platt(probability: NDArray[np.floating], labels: NDArray[np.integer]) -> Platt:
    """Fit Platt's sigmoid to out-of-fold predictions.

    Platt, "Probabilistic outputs for support vector machines", in Advances in large margin
    classifiers (1999), eq. 7 and the smoothed targets of its section 2.2: (N1 + 1) / (N1 + 2) for
    the events and 1 / (N0 + 2) for the others, so that a few perfectly ordered patients do not
    make the slope infinite. The slope is kept at 0.001 or more: fewer patients than it takes would
    otherwise turn a chance predictor round.

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Of models that did not see the patient.
    labels : ndarray of int, shape (n,)
        0 or 1, both present.

    Returns
    -------
    Platt
    """
    scores = log_odds(probability)
    events = int(labels.sum())
    high, low = (events + 1) / (events + 2), 1 / (len(labels) - events + 2)
    targets = np.where(labels == 1, high, low)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        linear = parameters[0] * scores + parameters[1]
        residual = special.expit(linear) - targets
        value = float(np.mean(np.logaddexp(0, linear) - targets * linear))
        return value, np.array([np.mean(residual * scores), np.mean(residual)])

    start = np.array([1.0, 0.0])
    bounds = [(LEAST_SLOPE, None), (None, None)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Platt(slope=float(found.x[0]), intercept=float(found.x[1]))
