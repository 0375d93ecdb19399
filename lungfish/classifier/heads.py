"""Heads on pooled features, and the whole classifier network."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from lungfish.classifier.layers import SpatialPyramidPooling3D, Standardise
from lungfish.classifier.settings import Settings
from lungfish.errors import InputError
from lungfish.gmcae.network import build_encoder
from lungfish.gmcae.settings import Settings as EncoderSettings


def build_head(inputs: Any, settings: Settings) -> Any:
    """Put dense layers and one sigmoid unit on a tensor of pooled features.

    The last unit starts with zero weights: before training, a head says the same of every
    patient, and what it later says of one it has learned.

    Parameters
    ----------
    inputs : tensor, shape (batch, features)
    settings : Settings
        ``units``, ``dropout`` and ``l2``.

    Returns
    -------
    tensor, shape (batch, 1)
        Probability of label 1.
    """

    def decay() -> Any:
        # A regulariser for each layer: Keras stores the memory address of one that is shared.
        return keras.regularizers.L2(settings.l2) if settings.l2 else None

    values = inputs
    for number, width in enumerate(settings.units, start=1):
        dense = keras.layers.Dense(
            width, activation="relu", kernel_regularizer=decay(), name=f"dense_{number}"
        )
        values = dense(values)
        if settings.dropout:
            values = keras.layers.Dropout(settings.dropout, name=f"dropout_{number}")(values)
    output = keras.layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer="zeros",
        kernel_regularizer=decay(),
        name="probability",
    )
    return output(values)


HEADS: dict[str, Callable[[Any, Settings], Any]] = {"spp": build_head}
"""Head by the name that ``classifier.head`` gives it."""


def build_classifier(size: int, settings: Settings) -> Any:
    """Build the network that a fold trains: pooled vector to probability.

    Parameters
    ----------
    size : int
        Length of the pooled vectors.
    settings : Settings
        Of the classifier.

    Returns
    -------
    keras.Model
        Input (batch, size) of raw pooled features, which its first layer standardises; output
        (batch, 1).
    """
    inputs = keras.Input((size,), name="features")
    standardised = Standardise(name="standardise")(inputs)
    outputs = HEADS[settings.head](standardised, settings)
    return keras.Model(inputs, outputs, name=f"{settings.head}_head")


def build_network(filters: Sequence[int], settings: Settings) -> Any:
    """Build the whole classifier network: encoder, spatial pyramid, dense head.

    For fine-tuning in one piece, one scan a batch. With filters (64, 128, 256) and units
    (1024, 1024) it is kdsb17's LungNet with 23,619,137 parameters.

    Parameters
    ----------
    filters : sequence of int
        Of the encoder's blocks.
    settings : Settings
        ``levels``, ``units``, ``dropout`` and ``l2``.

    Returns
    -------
    keras.Model
        Input (batch, z, y, x, 1) of any size, on the scale of `intensity.HuMap`; output (batch, 1).
        The encoder's layers keep their names, so that `freeze` finds them.
    """
    encoder = build_encoder(EncoderSettings(design="layered", filters=tuple(filters)))
    pooled = SpatialPyramidPooling3D(settings.levels, name="spp3d")(encoder.outputs[0])
    return keras.Model(encoder.inputs[0], build_head(pooled, settings), name="classifier")


def freeze(network: Any, names: Sequence[str]) -> None:
    """Keep the weights of named layers as they are; compile the network afterwards.

    Raises
    ------
    InputError
        If the network lacks one of the names: a misspelt one would train on in silence.
    """
    found = {layer.name: layer for layer in network.layers}
    missing = sorted(set(names) - set(found))
    if missing:
        raise InputError(f"no layer {', '.join(missing)}: expected some of {', '.join(found)}")
    for name in names:
        found[name].trainable = False
