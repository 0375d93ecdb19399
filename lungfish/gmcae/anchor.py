"""The anchored design: a linear code in closed form, and convolutions that add what it misses.

Encoder and decoder each have a linear path, a lapped block KLT and its ridge decoder, and a
convolutional path whose last layer starts at zero. The last channel of the code says how far a
block is from what the others say of it: how noisy or how full of detail it is, which decides how
sure the decoder may be. So before the first step the network is a linear code that knows its own
error, and training can only be asked to improve on that. Everything convolutional stays at half the
resolution or below, where a step costs least.
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from lungfish.gmcae.blocks import (
    BlocksToVolume,
    Lap,
    LogError,
    Spread,
    VolumeToBlocks,
    spread_matrix,
)  # fmt: skip
from lungfish.gmcae.density import SMALLEST_SIGMA
from lungfish.gmcae.linear import BLOCK_VOXELS, BlockCode, chunks, fit_block_code
from lungfish.gmcae.normalisation import normalise

ERRORS = 200_000
"""Most voxels to which the first mixture is fitted."""
ROUNDS = 60
"""Of expectation and maximisation; more change the third digit of a sigma no more."""
Array = NDArray[np.float32]


def anchored_encoder(
    filters: tuple[int, ...], normalisation: str, inputs: keras.KerasTensor
) -> keras.KerasTensor:
    """Apply the linear code and the convolutions beside it.

    Parameters
    ----------
    filters : tuple of 3 int
        Channels at a half and a quarter of the resolution, and of the code.
    normalisation : str
        See `normalisation.normalise`.
    inputs : tensor, shape (n, z, y, x, 1)

    Returns
    -------
    tensor, shape (n, z / 8, y / 8, x / 8, filters[-1])
        Any sign; of unit variance over the training patches at the start. The last channel is how
        far a block is from what the others say of it.
    """
    half, quarter, channels = filters
    blocks = VolumeToBlocks(name="encoder_blocks")(Lap(name="encoder_lap")(inputs))
    linear = layers.Dense(channels - 1, name="encoder_klt")(blocks)
    back = layers.Dense(BLOCK_VOXELS, name="encoder_back")(linear)
    error = LogError(name="encoder_log_error", dtype="float32")([blocks, back])
    error = layers.Dense(1, name="encoder_error", dtype="float32")(error)
    x = inputs
    for level, width in enumerate((half, quarter, quarter)):
        x = layers.Conv3D(width, 4, 2, padding="same", name=f"encoder_conv_{level}")(x)
        x = normalise(x, normalisation, name=f"encoder_norm_{level}")
        x = layers.Activation("relu", name=f"encoder_act_{level}")(x)
    added = layers.Conv3D(
        channels, 1, padding="same", kernel_initializer="zeros", name="encoder_added"
    )(x)
    code = layers.Concatenate(name="encoder_linear")([linear, error])
    return layers.Add(name="code")([code, added])


def anchored_decoder(
    filters: tuple[int, ...], normalisation: str, code: keras.KerasTensor, *, outputs: int,
    components: int,
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:  # fmt: skip
    """Apply the ridge decoder and the convolutions beside it.

    Parameters
    ----------
    filters : tuple of 3 int
    normalisation : str
    code : tensor, shape (n, d, h, w, filters[-1])
    outputs : int
        Channels of the convolutional path.
    components : int
        m.

    Returns
    -------
    image : tensor, shape (n, 8 d, 8 h, 8 w, 1)
        Of the linear path.
    log_sigmas : tensor, shape (n, 8 d, 8 h, 8 w, m)
        What the code says of its error, before the floor; linear in the code.
    added : tensor, shape (n, 8 d, 8 h, 8 w, outputs)
        Of the convolutional path; constant at the start.
    """
    half, quarter, _ = filters
    blocks = layers.Conv3D(BLOCK_VOXELS, 3, padding="same", name="decoder_ridge")(code)
    image = BlocksToVolume(name="decoder_blocks")(blocks)
    image = Lap(inverse=True, name="decoder_lap")(image)
    scale = layers.Dense(components, name="decoder_scale", dtype="float32")(code)
    log_sigmas = Spread(name="decoder_spread", dtype="float32")(scale)
    x = code
    for level, width in enumerate((quarter, half)):
        x = layers.Conv3DTranspose(width, 4, 2, padding="same", name=f"decoder_conv_{level}")(x)
        x = normalise(x, normalisation, name=f"decoder_norm_{level}")
        x = layers.Activation("relu", name=f"decoder_act_{level}")(x)
    x = layers.Conv3D(half, 3, padding="same", name="decoder_conv_2")(x)
    x = layers.Activation("relu", name="decoder_act_2")(x)
    # In float32 under a mixed policy too: the mixture is made of this.
    added = layers.Conv3DTranspose(
        outputs, 4, 2, padding="same", kernel_initializer="zeros", name="decoder_added",
        dtype="float32",
    )(x)  # fmt: skip
    return image, log_sigmas, added


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """What a network of the anchored design starts from.

    Attributes
    ----------
    code : linear.BlockCode
        Lapped, with one number a block less than the network's code.
    middle, width : float
        Mean and standard deviation of its log errors over the training blocks.
    weights, sigmas : ndarrays of float64, shape (m,)
        Mixture that describes the errors of voxels, each divided by what the code says of it.
    """

    code: BlockCode
    middle: float
    width: float
    weights: NDArray[np.float64]
    sigmas: NDArray[np.float64]


def fit_start(patches: Array, *, channels: int, components: int) -> Start:
    """Fit the linear code, its log error and the mixture.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, 32, 32, 32)
        To learn from, on the scale of `intensity.HuMap`.
    channels : int
        Numbers a cell of the network's code.
    components : int
        m.
    """
    code = fit_block_code(patches, channels=channels - 1, lapped=True)
    logs = np.concatenate([code.log_errors(chunk) for chunk in chunks(patches)])
    errors, scales = training_errors(code, patches, logs)
    weights, sigmas = fit_scales(errors / scales, components)
    width = max(float(logs.std()), 1e-3)
    return Start(code, float(logs.mean()), width, weights, sigmas)


def set_start(network: keras.Model, start: Start) -> None:
    """Write a start into the linear paths of a network of the anchored design.

    The means, what the code says of its own error, and with the voxel head the sigmas; the weights
    of the mixture are the head's.
    """
    code = start.code
    channels = code.analysis.shape[1]
    unused = np.zeros((3, 3, 3, 1, BLOCK_VOXELS), np.float32)
    scale = np.zeros((channels + 1, len(start.sigmas)), np.float32)
    scale[-1] = start.width
    weights: dict[str, list[Any]] = {
        "encoder_klt": [code.analysis, -code.mean @ code.analysis],
        "encoder_back": [code.back, code.mean],
        "encoder_error": [[[1 / start.width]], [-start.middle / start.width]],
        "decoder_ridge": [np.concatenate([code.synthesis, unused], axis=3), code.mean],
        "decoder_scale": [scale, start.middle + np.log(start.sigmas)],
    }
    for name, arrays in weights.items():
        if name != "decoder_scale" or has_scale(network):
            network.get_layer(name).set_weights([np.asarray(array) for array in arrays])


def has_scale(network: keras.Model) -> bool:
    """Say whether a network's sigmas follow its code's own error: with the voxel head."""
    return any(layer.name == "decoder_scale" for layer in network.layers)


def training_errors(code: BlockCode, patches: Array, logs: Array) -> tuple[Any, ...]:
    """Return errors of a linear code on patches, evenly thinned to at most `ERRORS`, and scales.

    Returns
    -------
    errors, scales : ndarrays of float64, shape (k,)
        Error of each voxel, and what the log error of the blocks about it says of it.
    """
    thin = max(1, patches.size // ERRORS)
    spread = [spread_matrix(cells) for cells in logs.shape[1:]]
    found = []
    for chunk, log in zip(chunks(patches), chunks(logs), strict=True):
        apart = chunk - code.decode(code.encode(chunk))
        around = np.einsum("ndhw,zd,yh,xw->nzyx", log, *spread, optimize=True)
        found.append((apart.ravel()[::thin], np.exp(around.ravel()[::thin])))
    return tuple(np.concatenate(part).astype(np.float64) for part in zip(*found, strict=True))


def fit_scales(errors: NDArray[np.float64], components: int) -> tuple[Any, Any]:
    """Fit a mixture of Gaussians of mean 0 to errors, by expectation and maximisation.

    Parameters
    ----------
    errors : ndarray of float64, shape (n,)
    components : int
        m.

    Returns
    -------
    weights, sigmas : ndarrays of float64, shape (m,)
        The first sums to 1; sigmas rise, and are at least `SMALLEST_SIGMA`. Errors of patches are
        sharp in air and wide at edges: two widths describe them better than one, and components
        that start with different widths do not stay twins.
    """
    square = np.square(errors)[:, None]
    usual = max(float(np.sqrt(square.mean())), SMALLEST_SIGMA)
    sigmas = usual * np.geomspace(0.4, 2.0, components) if components > 1 else np.array([usual])
    weights = np.full(components, 1 / components)
    for _ in range(ROUNDS):
        logs = np.log(weights) - np.log(sigmas) - 0.5 * square / sigmas**2
        share = np.exp(logs - logs.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mass = np.maximum(share.sum(axis=0), 1e-9)
        sigmas = np.maximum(np.sqrt((share * square).sum(axis=0) / mass), SMALLEST_SIGMA * 1.01)
        weights = mass / mass.sum()
    order = np.argsort(sigmas)
    return weights[order], sigmas[order]


def unfloor(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `voxel.floored_log_sigma` maps to ln sigma."""
    floor = math.log(SMALLEST_SIGMA)
    above = np.maximum(np.log(sigma) - floor, 1e-3)
    return np.asarray(floor + np.log(np.expm1(above)))
