"""The mixture of Gaussians of each voxel, and its negative log-likelihood.

The histogram of a lung has several modes: air, vessels, fissures, chest wall. A mixture over whole
patches cannot follow it: its components differ by thousands of nats, and one takes every patch.
Here each voxel has m log-weights, m means and m log-sigmas of its own, in this order along the last
axis of the output, shape (n, c, 3 m) for c voxels (Bishop 1994, section 5, with a kernel for each
voxel).

All of it works in anybody's Keras 3 project.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from lungfish.gmcae.density import HALF_LOG_TWO_PI, PACKAGE, SMALLEST_SIGMA

LARGEST_LOG_SIGMA = 20.0
"""Cuts ln sigma so that its exponential stays finite in float32."""


def floored_log_sigma(values: Any) -> Any:
    """Map any real number to ln sigma, softly bounded below by the rounding to whole HU.

    F + softplus(a - F) with F = ln `SMALLEST_SIGMA`: the identity well above the floor, F well
    below it.
    """
    floor = math.log(SMALLEST_SIGMA)
    return ops.minimum(floor + ops.softplus(values - floor), LARGEST_LOG_SIGMA)


def split_voxels(output: Any) -> tuple[Any, Any, Any]:
    """Split the network's output into the parameters of the mixtures.

    Parameters
    ----------
    output : tensor, shape (..., 3 m)
        Logits, means and unbounded log-sigmas.

    Returns
    -------
    log_weights, means, log_sigmas : tensors, shape (..., m)
        The exponentials of the first sum to 1; sigma is at least `SMALLEST_SIGMA`.
    """
    logits, means, sigmas = ops.split(output, 3, axis=-1)
    # One component has all the weight; Keras warns of a softmax over it.
    one = logits.shape[-1] == 1
    log_weights = ops.zeros_like(logits) if one else ops.log_softmax(logits, axis=-1)
    return log_weights, means, floored_log_sigma(sigmas)


def voxel_log_likelihood(target: Any, output: Any) -> Any:
    """Return the logarithm of the density at each voxel.

    log p = logsumexp_k [ log w_k - ln(2 pi) / 2 - ln sigma_k - (t - mu_k)^2 / (2 sigma_k^2) ].

    Parameters
    ----------
    target : tensor, shape (...)
        Values on the scale of `intensity.HuMap`.
    output : tensor, shape (..., 3 m)

    Returns
    -------
    tensor, shape (...)
        Nats; at most ``-ln SMALLEST_SIGMA - ln(2 pi) / 2``.
    """
    log_weights, means, log_sigmas = split_voxels(output)
    # Scaled before it is squared: neither a small sigma nor a large error overflows.
    scaled = (ops.expand_dims(target, -1) - means) * ops.exp(-log_sigmas)
    exponents = log_weights - HALF_LOG_TWO_PI - log_sigmas - 0.5 * ops.square(scaled)
    return ops.logsumexp(exponents, axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class VoxelMixtureLoss(keras.losses.Loss):
    """The negative log-likelihood in nats per voxel as a Keras loss.

    Notes
    -----
    Input shapes: ``y_true`` (n, ...), ``y_pred`` (n, ..., 3 m). Lower is better.

    Examples
    --------
    >>> import numpy as np
    >>> loss = VoxelMixtureLoss()
    >>> round(float(loss(np.array([[0.0]]), np.array([[[0.0, 1.0, 0.0]]]))), 4)
    1.4189
    """

    def __init__(
        self,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "voxel_mixture",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each patch, shape (n,)."""
        nats = -voxel_log_likelihood(y_true, y_pred)
        return ops.mean(nats, axis=tuple(range(1, len(nats.shape))))


def mixture_mean(output: Any) -> Any:
    """Return the expected value of each voxel, shape (...), which has the least squared error."""
    log_weights, means, _ = split_voxels(output)
    return ops.sum(ops.exp(log_weights) * means, axis=-1)


def responsibilities(target: Any, output: Any) -> Any:
    """Return the probability that each component made each voxel, shape (..., m), summing to 1."""
    log_weights, means, log_sigmas = split_voxels(output)
    scaled = (ops.expand_dims(target, -1) - means) * ops.exp(-log_sigmas)
    exponents = log_weights - log_sigmas - 0.5 * ops.square(scaled)
    one = exponents.shape[-1] == 1
    return ops.ones_like(exponents) if one else ops.softmax(exponents, axis=-1)


def draw_voxels(output: Any, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw each voxel from its own mixture.

    Neighbours are drawn independently of each other given the code, as the density says: noise in a
    drawn patch is white, whatever the scanner's is.

    Parameters
    ----------
    output : tensor, shape (..., 3 m)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (...)
        On the scale of `intensity.HuMap`; may leave [-1, 1].
    """
    log_weights, means, log_sigmas = (ops.convert_to_numpy(part) for part in split_voxels(output))
    below = np.cumsum(np.exp(log_weights), axis=-1)
    # float32 weights may sum to a little less than 1.
    below[..., -1] = np.inf
    chosen = (rng.random(below.shape[:-1])[..., None] >= below).sum(axis=-1)[..., None]
    mean, sigma = (
        np.take_along_axis(part, chosen, axis=-1)[..., 0] for part in (means, np.exp(log_sigmas))
    )
    return np.asarray(mean + sigma * rng.standard_normal(mean.shape), np.float32)
