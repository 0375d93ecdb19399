"""The layers: encoder, decoder and the three heads of the mixture.

Layer names: ``1-2`` is stride 1, ``2-1`` is stride 2, the last digit is the level.
"""

import keras
from keras import layers

from lungfish.gmcae.density import VARIANCES, log_softmax
from lungfish.gmcae.settings import Settings

EDGE_VOXEL = 32
VOXELS = EDGE_VOXEL**3
STRIDE = 8
"""Voxels along an axis that one cell of the encoder's output stands for."""


def encoder_layers(filters: tuple[int, ...], inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the encoder: at each level a convolution, then one that halves every axis.

    Parameters
    ----------
    filters : tuple of int
        Channels of the levels.
    inputs : tensor, shape (n, z, y, x, 1)
        On the scale of `intensity.HuMap`.

    Returns
    -------
    tensor, shape (n, z / 8, y / 8, x / 8, filters[-1])
        For three levels; 0 or more, after ReLU.
    """
    x = inputs
    for level, channels in enumerate(filters):
        for name, stride in (("1-2", 1), ("2-1", 2)):
            x = layers.Conv3D(
                channels, 3, stride, padding="same", name=f"encoder_conv_{name}_{level}"
            )(x)
            x = layers.Activation("relu", name=f"encoder_act_{name}_{level}")(x)
    return x


def build_encoder(filters: tuple[int, ...]) -> keras.Model:
    """Build the encoder for inputs of any size.

    Parameters
    ----------
    filters : tuple of int
        Channels of the levels; (64, 128, 256) has 3,430,976 parameters.

    Returns
    -------
    keras.Model
        From (n, z, y, x, 1) to (n, ceil(z / 8), ceil(y / 8), ceil(x / 8), filters[-1]).
    """
    inputs = keras.Input((None, None, None, 1), name="hu")
    return keras.Model(inputs, encoder_layers(filters, inputs), name="encoder")


def _decoder_layers(filters: tuple[int, ...], code: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the decoder: at each level a transposed convolution that doubles, then another."""
    x = code
    for level, channels in enumerate(reversed(filters)):
        for name, stride in (("2-1", 2), ("1-2", 1)):
            x = layers.Conv3DTranspose(
                channels, 3, stride, padding="same", name=f"decoder_conv_{name}_{level}"
            )(x)
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
        Filters, components and the form of the variance.

    Returns
    -------
    keras.Model
        From (n, 32, 32, 32, 1) to (n, m (c + 2)) in the order of `density`. With filters
        (64, 128, 256) it has 8,660,162 + 1,987 m parameters.
    """
    components = settings.components
    # Under a mixed policy too: the loss sums 32,768 voxels, and bfloat16 has 3 digits.
    exact = {"dtype": "float32"}
    inputs = keras.Input((EDGE_VOXEL,) * 3 + (1,), name="hu")
    code = encoder_layers(settings.filters, inputs)
    log_prior = layers.Dense(components, activation=log_softmax, name="log_prior", **exact)(
        _squeeze(code, "log_prior")
    )
    variance = layers.Dense(components, name="sigma_sq_dense_2", **exact)(
        _squeeze(code, "sigma_sq")
    )
    variance = layers.Activation(VARIANCES[settings.variance], name="sigma_sq", **exact)(variance)
    decoded = _decoder_layers(settings.filters, code)
    means = layers.Conv3D(components, 3, padding="same", name="mu_conv3d", **exact)(decoded)
    means = layers.Flatten(name="mu", **exact)(means)
    output = layers.Concatenate(name="gmd", **exact)([log_prior, variance, means])
    return keras.Model(inputs, output, name="gmcae")


def encoder_of(gmcae: keras.Model, filters: tuple[int, ...]) -> keras.Model:
    """Return an encoder for any size with the weights of a trained autoencoder."""
    encoder = build_encoder(filters)
    for layer in encoder.layers:
        if layer.weights:
            layer.set_weights(gmcae.get_layer(layer.name).get_weights())
    return encoder
