"""Matrices along one axis: interpolation, low-pass and spline coefficients."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

Array = NDArray[Any]
Matrix = NDArray[np.float64]
Interpolation = Literal["cubic", "linear", "lanczos3"]
SMALLEST_WEIGHT = 1e-6
LANCZOS_REACH = 3
MARGIN = 3
"""Coefficients beyond each end of the field, which a cubic spline needs half a voxel outside."""


def axis_matrix(
    places: Array, new_places: Array, *, interpolation: Interpolation = "cubic"
) -> Matrix:
    """Return the matrix that takes samples of one axis to other places.

    Where the step grows, a Gaussian low-pass comes first, so that detail finer than the new grid
    is averaged and does not alias. Straight lines stay straight, beyond both ends too.

    Parameters
    ----------
    places : array-like, shape (old,)
        Where the samples lie, rising; any unit.
    new_places : array-like, shape (new,)
        Where values are wanted, rising, in the same unit.
    interpolation : "cubic", "linear" or "lanczos3"
        As in `to_patient_grid`.

    Returns
    -------
    ndarray of float64, shape (new, old)
        Rows sum to 1; weights below 1e-6 are 0.
    """
    old, new = np.asarray(places, np.float64), np.asarray(new_places, np.float64)
    return resampler(old, _step(new), interpolation)(new)


def resampler(
    places: Array, new_step: float, interpolation: Interpolation
) -> Callable[[Array], Matrix]:
    """Return the function from new places, `new_step` apart, to their `axis_matrix`.

    What the matrices of many rows share, the low-pass and the spline, is made once.
    """
    if len(places) == 1:
        return lambda new: np.ones((len(new), 1))
    samples = _low_pass(places, new_step)
    regular = np.ptp(np.diff(places)) < 1e-3 * _step(places)
    if interpolation == "linear" or len(places) == 2:
        return lambda new: _straightened(_linear(places, new) @ samples, places, new)
    if interpolation == "lanczos3" and regular and len(places) >= 2 * LANCZOS_REACH:
        return lambda new: _straightened(_lanczos(places, new) @ samples, places, new)
    bends = _second_derivatives(places, samples)
    return lambda new: _straightened(_cubic(places, samples, bends, new), places, new)


def _low_pass(places: Array, new_step: float) -> Matrix:
    """Return the matrix that averages samples before a longer step, (old, old).

    A Gaussian of this width takes the sampling aperture from the old step to the new one. Its
    weights are made local-linear (Fan 1992, J Am Stat Assoc 87:998), so that straight lines stay
    straight at the ends and where samples lie irregularly.
    """
    step = _step(places)
    if new_step <= step * (1 + 1e-6):
        return np.eye(len(places))
    width = 0.4 * np.sqrt(new_step**2 - step**2)
    away = places - places[:, None]
    weights = np.exp(-0.5 * (away / width) ** 2) * np.gradient(places)
    first = (weights * away).sum(axis=1, keepdims=True)
    # The tiny term decides only where all neighbours' weights vanish: the sample itself stands.
    second = (weights * away**2).sum(axis=1, keepdims=True) + 1e-12 * step**3
    weights *= second - first * away
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _linear(places: Array, new: Array) -> Matrix:
    """Return linear interpolation's two weights a row, continued straight beyond the ends."""
    left = _left_of(places, new)
    share = (new - places[left]) / (places[left + 1] - places[left])
    weights = np.zeros((len(new), len(places)))
    rows = np.arange(len(new))
    weights[rows, left], weights[rows, left + 1] = 1 - share, share
    return weights


def _second_derivatives(places: Array, samples: Matrix) -> Matrix:
    """Return those of the natural cubic spline at its knots, (old, old): 0 at both ends.

    Written here because loading SciPy's splines takes a sixth of a second, every patient anew.
    """
    steps = np.diff(places)
    bands = np.zeros((3, len(places) - 2))
    bands[0, 1:] = bands[2, :-1] = steps[1:-1]
    bands[1] = 2 * (steps[:-1] + steps[1:])
    slopes = np.diff(samples, axis=0) / steps[:, None]
    bends = np.zeros_like(samples)
    bends[1:-1] = solve_banded((1, 1), bands, 6 * np.diff(slopes, axis=0))
    return bends


def _cubic(places: Array, samples: Matrix, bends: Matrix, new: Array) -> Matrix:
    """Return the values of the spline with these second derivatives, straight beyond its ends."""
    inside = np.clip(new, places[0], places[-1])
    left = _left_of(places, inside)
    step = (places[left + 1] - places[left])[:, None]
    b = (inside - places[left])[:, None] / step
    a = 1 - b
    values = a * samples[left] + b * samples[left + 1]
    values += ((a**3 - a) * bends[left] + (b**3 - b) * bends[left + 1]) * step**2 / 6
    slope = (samples[left + 1] - samples[left]) / step
    slope += ((3 * b**2 - 1) * bends[left + 1] - (3 * a**2 - 1) * bends[left]) * step / 6
    return np.asarray(values + (new - inside)[:, None] * slope)


def _lanczos(places: Array, new: Array) -> Matrix:
    """Return the weights of the Lanczos kernel, samples reflected oddly at both ends."""
    last = len(places) - 1
    at = np.clip((new - places[0]) / (places[-1] - places[0]) * last, -1, last + 1)
    taps = np.floor(at).astype(int)[:, None] + np.arange(1 - LANCZOS_REACH, LANCZOS_REACH + 1)
    away = at[:, None] - taps
    kernel = np.sinc(away) * np.sinc(away / LANCZOS_REACH)
    kernel /= kernel.sum(axis=1, keepdims=True)
    # Lanczos bends straight lines a little; its outermost taps mend that at the least cost in
    # the high frequencies.
    share = (kernel * away).sum(axis=1) / (2 * LANCZOS_REACH - 1)
    kernel[:, 0] -= share
    kernel[:, -1] += share
    # Oddly: a sample beyond the end is twice the end less its mirror image.
    end = np.clip(taps, 0, last)
    outside = taps != end
    weights = np.zeros((len(new), len(places)))
    rows = np.broadcast_to(np.arange(len(new))[:, None], taps.shape)
    np.add.at(weights, (rows, end), np.where(outside, 2, 1) * kernel)
    np.add.at(weights, (rows[outside], (2 * end - taps)[outside]), -kernel[outside])
    return weights


def _straightened(weights: Array, places: Array, new: Array) -> Matrix:
    """Drop tiny weights, then make sums 1 and straight lines exact through the two nearest."""
    weights = np.where(np.abs(weights) < SMALLEST_WEIGHT, 0, weights)
    weights /= weights.sum(axis=1, keepdims=True)
    left = _left_of(places, new)
    share = (weights @ places - new) / (places[left + 1] - places[left])
    rows = np.arange(len(new))
    weights[rows, left] += share
    weights[rows, left + 1] -= share
    return weights


def coefficients(places: Array, new_step: float, interpolation: Interpolation) -> Matrix:
    """Return the matrix from samples to the coefficients that `scipy.ndimage` evaluates.

    As `axis_matrix`, low-pass included, but for planes `regular_step` apart: those of the natural
    spline (or the samples, for linear), continued straight by `MARGIN` at both ends.
    """
    even = np.arange(0, places[-1] + 0.5 * regular_step(places), regular_step(places))
    count = len(even)
    kind: Interpolation = "linear" if interpolation == "linear" else "cubic"
    values = resampler(places, new_step, kind)(even)
    if kind == "cubic" and count > 2:
        bands = np.ones((3, count)) / 6
        bands[1] = 4 / 6
        bands[1, [0, -1]] = 1  # no curvature at the ends: the coefficient is the sample
        bands[0, 1] = bands[2, -2] = 0
        values = solve_banded((1, 1), bands, values)
    ends = np.arange(1, MARGIN + 1)[:, None]
    before = values[0] + ends[::-1] * (values[0] - values[min(1, count - 1)])
    after = values[-1] + ends * (values[-1] - values[max(-2, -count)])
    matrix = np.concatenate([before, values, after])
    return np.where(np.abs(matrix) < SMALLEST_WEIGHT, 0, matrix)


def regular_step(places: Array) -> float:
    """Return the step, near 1, of even planes over the same extent."""
    return float(places[-1]) / max(1, round(float(places[-1]))) if len(places) > 1 else 1.0


def _left_of(places: Array, new: Array) -> NDArray[np.intp]:
    """Return for each new place the left one of the two samples that it lies between."""
    return np.clip(np.searchsorted(places, new, "right") - 1, 0, len(places) - 2)


def _step(places: Array) -> float:
    """Return the usual distance of neighbours; 0 for a single sample."""
    return float(np.median(np.diff(places))) if len(places) > 1 else 0.0
