"""The U-Net, its weights, and what it proposes."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
from keras import layers

from lungfish.lungs.unet.grid import CHANNELS, seen_box, to_channels, to_coarse
from lungfish.lungs.unet.proposal import Proposal
from lungfish.lungs.unet.weights import Arrays, read_weights
from lungfish.volume import Volume

FILTERS = (24, 48, 64, 64)
"""Channels at 8, 16, 32 and 64 mm."""
RIM_FILTERS = 8
"""Channels at 4 mm, where the rim is drawn."""
CLASSES = 3
"""Elsewhere, the patient's right lung, the left."""


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A network with its weights.

    Attributes
    ----------
    network : keras.Model
        As `build_network` makes it.
    weights : str
        SHA-256 of the file that its weights came from, in hexadecimal.
    """

    network: keras.Model
    weights: str


def build_network() -> keras.Model:
    """Build the U-Net (O. Ronneberger et al., MICCAI 2015, in three dimensions) for any field.

    Most of the work is done at 8 mm and coarser, where a convolution sees far; the last layers see
    the scan at 4 mm beside what came up. What a layer finds is normalised over the scan itself (D.
    Ulyanov et al., 2016): averages kept from training would fail on fields of another size.

    Returns
    -------
    keras.Model
        From (n, z, y, x, 3), lengths that 16 divides, to (n, z, y, x, 3) probabilities.
    """
    inputs = keras.Input((None, None, None, CHANNELS), name="scan")
    x = layers.Conv3D(FILTERS[0], 2, 2, name="stem")(inputs)
    skipped = []
    for level, filters in enumerate(FILTERS):
        if level:
            x = layers.Conv3D(filters, 2, 2, name=f"down_{level}")(x)
        x = _block(x, filters, f"in_{level}")
        skipped.append(x)
    for level in reversed(range(len(FILTERS) - 1)):
        x = layers.Conv3DTranspose(FILTERS[level], 2, 2, name=f"up_{level}")(x)
        x = layers.Concatenate()([x, skipped[level]])
        x = _block(x, FILTERS[level], f"out_{level}")
    x = layers.Conv3DTranspose(RIM_FILTERS, 2, 2, name="rim_up")(x)
    x = layers.Concatenate()([x, inputs])
    x = _convolve(x, RIM_FILTERS, "rim")
    outputs = layers.Conv3D(CLASSES, 1, activation="softmax", name="lungs")(x)
    return keras.Model(inputs, outputs, name="lungs_unet")


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Apply two convolutions."""
    for part in ("a", "b"):
        x = _convolve(x, filters, f"{name}_{part}")
    return x


def _convolve(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Apply a convolution over 3 x 3 x 3 voxels, normalised, and ReLU."""
    x = layers.Conv3D(filters, 3, padding="same", use_bias=False, name=name)(x)
    x = layers.GroupNormalization(-1, epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def load_network(path: Path) -> Trained:
    """Build the network and give it stored weights.

    Parameters
    ----------
    path : Path
        The weights (.npz), their provenance (.json) beside them.

    Raises
    ------
    InputError
        If a file is missing, its digest is not the provenance's, or its arrays are not those of
        this network.
    """
    network = build_network()
    stored = read_weights(path, {one.path: tuple(one.shape) for one in network.variables})
    for one in network.variables:
        one.assign(stored.arrays[one.path])
    return Trained(network, stored.digest)


def arrays_of(network: keras.Model) -> Arrays:
    """Return what a network learned by name: kernels as float16, the few others as float32."""
    values = {one.path: one.numpy() for one in network.trainable_variables}
    return {
        name: value.astype(np.float16 if value.ndim > 1 else np.float32)
        for name, value in values.items()
    }


def propose(volume: Volume, trained: Trained) -> Proposal:
    """Let the network propose both lungs of a volume.

    Parameters
    ----------
    volume : Volume
        Any spacing, any order of axes.
    trained : Trained
        From `load_network`.

    Returns
    -------
    Proposal
        Equal for equal volumes, weights and threads.
    """
    scan = to_coarse(volume)
    box = seen_box(scan.hu)
    seen = scan.hu[box]
    z, y, x = seen.shape
    found = np.asarray(trained.network(to_channels(seen)[None], training=False))[0, :z, :y, :x, 1:]
    probability = np.zeros((2, *scan.hu.shape), np.uint8)
    probability[:, *box] = np.rint(np.moveaxis(found, -1, 0) * 255)
    return Proposal(probability, scan.affine, trained.weights)
