"""The network: an encoder and a decoder of one of two designs, and a head of one of two kinds.

Layer names of the layered design: ``1-2`` is stride 1, ``2-1`` is stride 2, the last digit is the
level.
"""

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from lungfish.gmcae.anchor import (
    anchored_decoder,
    anchored_encoder,
    fit_start,
    set_start,
    unfloor,
)  # fmt: skip
from lungfish.gmcae.density import PACKAGE, VARIANCES, log_softmax
from lungfish.gmcae.linear import BLOCK_VOXEL
from lungfish.gmcae.normalisation import normalise
from lungfish.gmcae.settings import Settings

EDGE_VOXEL = 32
VOXELS = EDGE_VOXEL**3
STRIDE = BLOCK_VOXEL
"""Voxels along an axis that one cell of the encoder's output stands for."""
EXACT = {"dtype": "float32"}
"""Of the layers of the head, under a mixed policy too: the loss is a mean over 32,768 voxels, and
bfloat16 has 3 digits."""
FIRST_SIGMA = 0.3
"""Standard deviation, on the network's scale, that an unanchored voxel head starts with."""


def layered_encoder(settings: Settings, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the encoder of kdsb17: at each level a convolution, then one that halves every axis.

    Parameters
    ----------
    settings : Settings
        Filters, normalisation and residual blocks.
    inputs : tensor, shape (n, z, y, x, 1)
        On the scale of `intensity.HuMap`.

    Returns
    -------
    tensor, shape (n, z / 8, y / 8, x / 8, filters[-1])
        For three levels; 0 or more, after ReLU.
    """
    x = inputs
    for level, channels in enumerate(settings.filters):
        for name, stride in (("1-2", 1), ("2-1", 2)):
            before = x
            x = layers.Conv3D(
                channels, 3, stride, padding="same", name=f"encoder_conv_{name}_{level}"
            )(x)
            x = normalise(x, settings.normalisation, name=f"encoder_norm_{name}_{level}")
            if settings.residual and stride == 1 and level:
                before = layers.Conv3D(channels, 1, name=f"encoder_skip_{level}")(before)
                x = layers.Add(name=f"encoder_add_{level}")([x, before])
            x = layers.Activation("relu", name=f"encoder_act_{name}_{level}")(x)
    return x


def build_encoder(settings: Settings) -> keras.Model:
    """Build the encoder for inputs of any size.

    Parameters
    ----------
    settings : Settings
        Of this stage. Layered with filters (64, 128, 256) it has 3,430,976 parameters.

    Returns
    -------
    keras.Model
        From (n, z, y, x, 1) to (n, ceil(z / 8), ceil(y / 8), ceil(x / 8), filters[-1]).
    """
    inputs = keras.Input((None, None, None, 1), name="hu")
    return keras.Model(inputs, _encode(settings, inputs), name="encoder")


def _encode(settings: Settings, inputs: keras.KerasTensor) -> keras.KerasTensor:
    if settings.design == "anchored":
        return anchored_encoder(settings.filters, settings.normalisation, inputs)
    return layered_encoder(settings, inputs)


def layered_decoder(settings: Settings, code: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the decoder: at each level a transposed convolution that doubles, then another."""
    x = code
    for level, channels in enumerate(reversed(settings.filters)):
        for name, stride in (("2-1", 2), ("1-2", 1)):
            x = layers.Conv3DTranspose(
                channels, 3, stride, padding="same", name=f"decoder_conv_{name}_{level}"
            )(x)
            x = normalise(x, settings.normalisation, name=f"decoder_norm_{name}_{level}")
            x = layers.Activation("relu", name=f"decoder_act_{name}_{level}")(x)
    return x


def _squeeze(code: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Squeeze the code to one channel, flatten it and take it through a dense layer of 128."""
    x = layers.Conv3D(1, 3, padding="same", name=f"{name}_conv3d")(code)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    return layers.Dense(128, activation="relu", name=f"{name}_dense_1")(x)


def build_gmcae(settings: Settings) -> keras.Model:
    """Build the whole autoencoder for patches of 32 x 32 x 32 voxels.

    Parameters
    ----------
    settings : Settings
        Design, head, filters, components and the form of the variance.

    Returns
    -------
    keras.Model
        From (n, 32, 32, 32, 1) to (n, m (c + 2)) in the order of `density` with the patch head, to
        (n, c, 3 m) in that of `voxel` with the voxel head; c = 32,768. Layered with filters
        (64, 128, 256) and the patch head it has 8,660,162 + 1,987 m parameters.
    """
    inputs = keras.Input((EDGE_VOXEL,) * 3 + (1,), name="hu")
    code = _encode(settings, inputs)
    wanted = settings.components * (3 if settings.head == "voxel" else 1)
    if settings.design == "anchored":
        image, log_sigmas, added = anchored_decoder(
            settings.filters, settings.normalisation, code, outputs=wanted,
            components=settings.components,
        )  # fmt: skip
    else:
        decoded = layered_decoder(settings, code)
        image = log_sigmas = None
        added = layers.Conv3D(wanted, 3, padding="same", name="mu_conv3d", **EXACT)(decoded)
    if settings.head == "voxel":
        output = _voxel_head(image, log_sigmas, added)
    else:
        output = _patch_head(settings, code, image, added)
    network = keras.Model(inputs, output, name="gmcae")
    if settings.head == "voxel":
        # Components of one width and place would stay twins.
        m = settings.components
        start_head(network, np.full(m, 1 / m), FIRST_SIGMA * np.geomspace(0.5, 2.0, m))
    return network


def _voxel_head(
    image: keras.KerasTensor | None, log_sigmas: keras.KerasTensor | None, added: keras.KerasTensor
) -> keras.KerasTensor:
    """Lay out a mixture for each voxel: what the linear path says, and what is added to it."""
    logits, means, sigmas = SplitLast(3, name="mixture", **EXACT)(added)
    if image is not None:
        means = layers.Add(name="mu", **EXACT)([means, image])
        sigmas = layers.Add(name="log_sigma", **EXACT)([sigmas, log_sigmas])
    output = layers.Concatenate(name="voxel_mixture", **EXACT)([logits, means, sigmas])
    return layers.Reshape((VOXELS, output.shape[-1]), name="gmd", **EXACT)(output)


def _patch_head(
    settings: Settings, code: keras.KerasTensor, image: keras.KerasTensor | None,
    added: keras.KerasTensor,
) -> keras.KerasTensor:  # fmt: skip
    """Lay out a mixture for the whole patch."""
    m = settings.components
    log_prior = layers.Dense(m, activation=log_softmax, name="log_prior", **EXACT)(
        _squeeze(code, "log_prior")
    )
    variance = layers.Dense(m, name="sigma_sq_dense_2", **EXACT)(_squeeze(code, "sigma_sq"))
    variance = layers.Activation(VARIANCES[settings.variance], name="sigma_sq", **EXACT)(variance)
    if image is not None:
        added = layers.Add(name="mu_added", **EXACT)([added, image])
    means = layers.Flatten(name="mu", **EXACT)(added)
    return layers.Concatenate(name="gmd", **EXACT)([log_prior, variance, means])


@keras.saving.register_keras_serializable(package=PACKAGE)
class SplitLast(layers.Layer):
    """Split the last axis into equal parts.

    Parameters
    ----------
    parts : int
    """

    def __init__(self, parts: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, x: Any) -> list[Any]:
        """Return the parts."""
        return list(keras.ops.split(x, self.parts, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Return what it takes to build the layer again."""
        return {**super().get_config(), "parts": self.parts}


def start_head(network: keras.Model, weights: NDArray[Any], sigmas: NDArray[Any]) -> None:
    """Let a voxel head begin with one mixture for all voxels.

    Parameters
    ----------
    network : keras.Model
    weights, sigmas : ndarrays, shape (m,)
        Of its components; sigmas on the scale of `intensity.HuMap`, multiplied by what the code
        says of its error in the anchored design.
    """
    anchored, m = has_anchor(network), len(weights)
    layer = network.get_layer("decoder_added" if anchored else "mu_conv3d")
    kernel, bias = layer.get_weights()
    bias[:m] = np.log(weights)
    if not anchored:
        bias[2 * m :] = unfloor(sigmas)
    layer.set_weights([kernel, bias])
    if anchored:
        scale = network.get_layer("decoder_scale")
        scale.set_weights([np.zeros_like(scale.get_weights()[0]), unfloor(sigmas)])


def has_anchor(network: keras.Model) -> bool:
    """Say whether a network is of the anchored design."""
    return any(layer.name == "decoder_ridge" for layer in network.layers)


def anchor(network: keras.Model, patches: NDArray[np.float32], settings: Settings) -> None:
    """Begin a network of the anchored design at the linear answer.

    Parameters
    ----------
    network : keras.Model
        From `build_gmcae`; changed.
    patches : ndarray of float32, shape (n, 32, 32, 32)
        To learn from, on the scale of `intensity.HuMap`.
    settings : Settings
    """
    start = fit_start(patches, channels=settings.filters[-1], components=settings.components)
    if settings.head == "voxel":
        start_head(network, start.weights, start.sigmas)
    else:
        layer = network.get_layer("sigma_sq_dense_2")
        kernel, bias = layer.get_weights()
        # The patch head has one sigma for all voxels: the errors as they are on average.
        sigmas = start.sigmas * np.exp(start.middle)
        layer.set_weights([np.zeros_like(kernel), unfloor(sigmas).astype(bias.dtype)])
    set_start(network, start)


def encoder_of(gmcae: keras.Model, settings: Settings) -> keras.Model:
    """Return an encoder for any size with the weights of a trained autoencoder."""
    encoder = build_encoder(settings)
    for layer in encoder.layers:
        if layer.weights:
            layer.set_weights(gmcae.get_layer(layer.name).get_weights())
    return encoder
