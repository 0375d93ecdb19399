"""The mixture of Gaussians over a whole patch, and its negative log-likelihood.

Bishop (1994), Mixture Density Networks, equations 22 to 29: a network whose outputs are the
parameters of a mixture. Here each component has one variance for all c voxels of the patch, and a
mean for each voxel. An output vector of length m (c + 2) holds, in this order,

- m log-priors, a log-softmax: log alpha_k;
- m variances: sigma2_k > 0;
- c m means, voxel-major and mixture-minor, so that reshaping to (c, m) gives mu[voxel, k].

All of it works in anybody's Keras 3 project.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from lungfish.errors import InputError

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
SMALLEST_SIGMA = 1 / (700 * math.sqrt(12))
"""Standard deviation, on the scale of `intensity.HuMap`, of rounding to whole HU: 0.29 HU."""

PACKAGE = "lungfish"


def split_output(output: Any, components: int, voxels: int) -> tuple[Any, Any, Any]:
    """Split the network's output into its parts.

    Parameters
    ----------
    output : tensor, shape (n, m (c + 2))
        In the order of the module's docstring.
    components, voxels : int
        m and c.

    Returns
    -------
    log_priors, variances : tensors, shape (n, m)
    means : tensor, shape (n, c, m)
    """
    log_priors = output[:, :components]
    variances = output[:, components : 2 * components]
    means = ops.reshape(output[:, 2 * components :], (-1, voxels, components))
    return log_priors, variances, means


def negative_log_likelihood(target: Any, output: Any, *, components: int, voxels: int) -> Any:
    """Return the negative log-likelihood of each patch in nats.

    L = -logsumexp_k [ log alpha_k - c ln(2 pi) / 2 - (c / 2) ln sigma2_k
    - ||t - mu_k||^2 / (2 sigma2_k) ], with c voxels.

    Parameters
    ----------
    target : tensor, shape (n, c)
        Patches, flattened.
    output : tensor, shape (n, m (c + 2))
        The mixture's parameters, in the order of the module's docstring.
    components, voxels : int
        m and c.

    Returns
    -------
    tensor, shape (n,)
        Nats a patch, lower is better. No component can be better than its variance's floor allows.
    """
    log_priors, variances, means = split_output(output, components, voxels)
    # Each voxel's error is scaled before it is squared: a square of 1e-6 over a variance of 1e-6
    # keeps its digits, and nothing overflows where the error is large and the variance small.
    scaled = (ops.expand_dims(target, -1) - means) / ops.expand_dims(ops.sqrt(variances), 1)
    # Summed in blocks first: one float32 sum over 32,768 voxels loses its fifth digit.
    blocks = (-1, voxels // math.gcd(voxels, 256), math.gcd(voxels, 256), components)
    squares = ops.sum(ops.sum(ops.reshape(ops.square(scaled), blocks), axis=2), axis=1)
    exponents = (
        log_priors - voxels * HALF_LOG_TWO_PI - 0.5 * voxels * ops.log(variances) - 0.5 * squares
    )
    return -ops.logsumexp(exponents, axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class GaussianMixtureLoss(keras.losses.Loss):
    """The negative log-likelihood as a Keras loss.

    Parameters
    ----------
    components : int
        Gaussians, m.
    voxels : int
        Voxels of a patch, c; 32,768 for a cube of 32.
    per_voxel : bool
        Divide by c: nats per voxel instead of nats per patch, so that the number has a scale and
        gradients have the size that optimisers expect.

    Notes
    -----
    Input shapes: ``y_true`` (n, c), ``y_pred`` (n, m (c + 2)). Lower is better; on the scale of
    `intensity.HuMap` white noise of 1 HU would score ``ln(1 / 700) + 1.42 = -5.13`` nats per voxel.

    Examples
    --------
    >>> import numpy as np
    >>> loss = GaussianMixtureLoss(components=1, voxels=1, per_voxel=False)
    >>> round(float(loss(np.array([[0.0]]), np.array([[0.0, 1.0, 1.0]]))), 5)
    1.41894
    """

    def __init__(
        self,
        components: int,
        voxels: int,
        *,
        per_voxel: bool = True,
        reduction: str = "sum_over_batch_size",
        name: str = "gaussian_mixture",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.components, self.voxels, self.per_voxel = components, voxels, per_voxel

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each patch, shape (n,)."""
        nats = negative_log_likelihood(
            y_true, y_pred, components=self.components, voxels=self.voxels
        )
        return nats / self.voxels if self.per_voxel else nats

    def get_config(self) -> dict[str, Any]:
        """Return what it takes to build the loss again."""
        own = {"components": self.components, "voxels": self.voxels, "per_voxel": self.per_voxel}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package=PACKAGE)
def log_softmax(logits: Any) -> Any:
    """Return log-priors, shape (n, m): finite, their exponentials sum to 1."""
    return ops.log_softmax(logits, axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
def floored_variance(values: Any) -> Any:
    """Map any real number to a variance that is positive in float32, whatever happens.

    ln sigma = F + softplus(a - F) with F the logarithm of `SMALLEST_SIGMA`: the identity well above
    the floor, the floor well below it, smooth between. ln sigma is cut at 20, so that nothing
    overflows.
    """
    floor = math.log(SMALLEST_SIGMA)
    log_sigma = floor + ops.softplus(values - floor)
    return ops.exp(2 * ops.minimum(log_sigma, 20.0))


@keras.saving.register_keras_serializable(package=PACKAGE)
def shifted_elu(values: Any) -> Any:
    """Return x + 1 for x >= 0 and exp(x) below, at least the square of `SMALLEST_SIGMA`.

    kdsb17's activation: without the floor ELU(x) + 1 is exactly 0 in float32 below x = -17.3, and
    the loss takes its logarithm.
    """
    return ops.maximum(ops.elu(values) + 1.0, SMALLEST_SIGMA**2)


@keras.saving.register_keras_serializable(package=PACKAGE)
def kdsb17_variance(values: Any) -> Any:
    """Return ELU(x) + 1 as kdsb17 did: exactly 0 in float32 below -17.3. For comparison only."""
    return ops.elu(values) + 1.0


VARIANCES = {
    "floored": floored_variance,
    "shifted_elu": shifted_elu,
    "kdsb17": kdsb17_variance,
}


LEAST_PRIOR = 1e-3
"""A component with a smaller prior is never chosen, by whatever rule."""


def choose(log_priors: Any, variances: Any, *, voxels: int, rule: str) -> NDArray[np.int64]:
    """Choose the component whose mean stands for a patch.

    Parameters
    ----------
    log_priors, variances : tensors, shape (n, m)
    voxels : int
        c.
    rule : "prior" or "mode"
        The largest prior; or the highest of the modes, by log alpha - (c / 2) ln sigma2 (Bishop
        1994, section 4). With c = 32,768 the second goes by sigma alone, and an unused component's
        sigma is whatever it happens to be; so only components with a prior of at least
        `LEAST_PRIOR` are asked.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    logs, spread = ops.convert_to_numpy(log_priors), ops.convert_to_numpy(variances)
    score = logs.astype(np.float64)
    if rule == "mode":
        score = score - 0.5 * voxels * np.log(spread.astype(np.float64))
    # The largest prior of m is at least 1 / m, so that one is always left.
    return np.asarray(np.where(logs >= math.log(LEAST_PRIOR), score, -np.inf).argmax(axis=-1))


def reconstruct(
    output: Any, *, components: int, voxels: int, rule: str = "prior"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the mean of the chosen component, and which one that is.

    Parameters
    ----------
    output : tensor, shape (n, m (c + 2))
    components, voxels : int
        m and c.
    rule : "prior" or "mode"
        See `choose`.

    Returns
    -------
    means : ndarray, shape (n, c)
    chosen : ndarray of int, shape (n,)
    """
    log_priors, variances, means = split_output(output, components, voxels)
    chosen = choose(log_priors, variances, voxels=voxels, rule=rule)
    picked = ops.take_along_axis(means, ops.reshape(chosen, (-1, 1, 1)), axis=-1)
    return ops.convert_to_numpy(picked[..., 0]), chosen


def draw_patches(
    output: Any, rng: np.random.Generator, *, components: int, voxels: int
) -> NDArray[np.float32]:
    """Draw patches: a component by its prior, then every voxel round its mean.

    Parameters
    ----------
    output : tensor, shape (n, m (c + 2))
    rng : numpy.random.Generator
    components, voxels : int
        m and c.

    Returns
    -------
    ndarray of float32, shape (n, c)
        On the scale of `intensity.HuMap`; may leave [-1, 1].
    """
    log_priors, variances, means = (
        ops.convert_to_numpy(part) for part in split_output(output, components, voxels)
    )
    below = np.cumsum(np.exp(log_priors), axis=-1)
    # float32 priors may sum to a little less than 1.
    below[:, -1] = np.inf
    chosen = (rng.random(len(below))[:, None] >= below).sum(axis=-1)
    rows = np.arange(len(chosen))
    sigma = np.sqrt(variances[rows, chosen])[:, None]
    mean = means[rows, :, chosen]
    return np.asarray(mean + sigma * rng.standard_normal(mean.shape), np.float32)


def refuse_low_precision() -> None:
    """Refuse to train wholly in bfloat16.

    Raises
    ------
    InputError
        If Keras' policy is bfloat16: updates of 1e-3 round back to the old weight, and the loss
        stands still without a word.
    """
    policy = keras.config.dtype_policy().name
    if policy == "bfloat16":
        raise InputError(
            "the Keras dtype policy is bfloat16, in which weights do not move: use float32, or "
            "mixed_bfloat16 on a GPU"
        )
