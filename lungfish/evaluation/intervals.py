"""95 % intervals that hold for few patients."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Z = float(stats.norm.ppf(0.975))


def auc_interval(auc: float, pairs: list[tuple[int, int]]) -> Interval:
    """Return the 95 % interval of an AUC that was counted within strata.

    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
    Part 2", Statistics in Medicine 25 (2006) 559-573, method 5: the limits are those theta at
    which the estimate lies 1.96 standard errors away, the variance being Hanley and McNeil's at
    theta with (m + n) / 2 in place of m and of n in its numerators. So it never leaves [0, 1] and
    keeps a width at an AUC of 0 or 1. With several strata (folds) the estimate is their mean with
    weights m n, and the variance adds up accordingly; with one stratum it is Newcombe's.

    Parameters
    ----------
    auc : float
        Estimate, 0 to 1.
    pairs : list of (int, int)
        Events and non-events of each stratum; strata that lack either are left out of both.

    Returns
    -------
    (float, float)
        Lower and upper limit.

    Examples
    --------
    >>> low, high = auc_interval(1.0, [(5, 5)])
    >>> round(low, 3), high
    (0.643, 1.0)
    """
    counts = [(m, n) for m, n in pairs if m and n]
    total = sum(m * n for m, n in counts)

    def variance(theta: float) -> float:
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        weights = sum(m * n * (1 + ((m + n) / 2 - 1) * spread) for m, n in counts)
        return theta * (1 - theta) * weights / total**2

    def beyond(theta: float) -> float:
        return (auc - theta) ** 2 - Z**2 * variance(theta)

    # At 0 and at 1 the variance is 0, so an estimate there is a root of its own: step inside.
    inner_low, inner_high = max(auc, 1e-12), min(auc, 1 - 1e-12)
    low = 0.0 if auc <= 0 else float(optimize.brentq(beyond, 0.0, inner_high))
    high = 1.0 if auc >= 1 else float(optimize.brentq(beyond, inner_low, 1.0))
    return low, high


def mean_interval(values: Floats, *, bootstraps: int, rng: np.random.Generator) -> Interval:
    """Return the 95 % bootstrap interval of a mean over patients.

    The expanded percentile interval of Hesterberg, "What teachers should know about the bootstrap",
    The American Statistician 69 (2015) 371-386, section 4: a plain percentile interval is too
    narrow by sqrt((n - 1) / n) and by Student's t, which for 10 patients is a fifth; here the
    percentiles are moved out by just that. Patients are resampled without regard to their label:
    keeping the number of events would treat the prevalence as known.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        One a patient, such as a log loss or the difference of two; n is 2 or more.
    bootstraps : int
        Resamplings.
    rng : numpy.random.Generator
        Of this interval.

    Returns
    -------
    (float, float)
        Lower and upper limit.
    """
    count = len(values)
    quantile = stats.t.ppf(0.975, count - 1) * math.sqrt(count / (count - 1))
    tail = 100 * float(stats.norm.sf(quantile))
    weights = rng.multinomial(count, np.full(count, 1 / count), size=bootstraps)
    means = weights @ values / count
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
