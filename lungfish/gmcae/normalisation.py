"""Normalisation that keeps tiles exact."""

import keras
from keras import layers


def normalise(x: keras.KerasTensor, kind: str, *, name: str) -> keras.KerasTensor:
    """Normalise the channels of each voxel by themselves, or not at all.

    Means over space, as batch and group normalisation take them, would give a voxel another code in
    another tile; a mean over the channels of one voxel does not.

    Parameters
    ----------
    x : tensor, shape (n, z, y, x, channels)
    kind : "none" or "channels"
    name : str
        Of the layer.
    """
    if kind == "none":
        return x
    return layers.LayerNormalization(name=name)(x)
