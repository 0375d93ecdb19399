"""What the model would have drawn: patches from codes of real ones, and from codes of nobody."""

import dataclasses

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from lungfish.gmcae import voxel
from lungfish.gmcae.batches import Many, evenly, fixed_batches
from lungfish.gmcae.heads import head_of
from lungfish.gmcae.network import VOXELS, has_anchor
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.randomness import generator

FITTED = 512
"""Most training patches to whose codes the Gaussian is fitted."""
BATCH = 8
Patches = NDArray[np.int16]


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """What is stored beside the examples.

    Attributes
    ----------
    drawn : ndarray of int16, shape (n, 32, 32, 32)
        HU drawn from the density, given the code of each example: what the model thinks that the
        example might as well have been.
    free, free_mean : ndarray of int16, shape (k, 32, 32, 32)
        HU drawn from the density given a code that is itself drawn, from a Gaussian fitted to
        training codes: a sample with no input at all; and the image that belongs to that code.
    responsibility : ndarray of uint8, shape (n, 32, 32, m)
        Of each component for each voxel of the examples' middle axial plane, in 255ths; with the
        patch head one component has all of it.
    fitted : int
        Training patches behind the Gaussian. Fewer than the code has numbers leave most directions
        without variance: samples then are mixtures of what was seen.
    """

    drawn: Patches
    free: Patches
    free_mean: Patches
    responsibility: NDArray[np.uint8]
    fitted: int


def draw_samples(
    network: keras.Model,
    examples: Patches,
    training: Many,
    *,
    settings: Settings,
    hu_map: HuMap,
    seed: int = 0,
) -> Samples:
    """Draw patches from a trained autoencoder.

    Parameters
    ----------
    network : keras.Model
        As `network.build_gmcae` makes it.
    examples : ndarray of int16, shape (n, 32, 32, 32)
        HU; as many samples without an input are drawn.
    training : ndarray of int16, shape (t, 32, 32, 32), or Pool
        HU; at most `FITTED`, evenly chosen, are encoded.
    settings : Settings
    hu_map : HuMap
    seed : int
        0 draws the same each time, so that epochs and rates can be compared by eye.
    """
    head = head_of(settings, voxels=VOXELS)
    rng = generator(seed, "gmcae", "samples")
    encoder, decoder = halves(network)
    drawn, shares = [], []
    for inputs, targets in fixed_batches(examples, batch_size=BATCH, hu_map=hu_map):
        output = network.predict_on_batch(inputs)
        drawn.append(head.draw(output, rng))
        if settings.head == "voxel":
            found = keras.ops.convert_to_numpy(voxel.responsibilities(targets, output))
        else:
            found = np.repeat(head.shares(targets, output)[:, None], VOXELS, axis=1)
        shares.append(found.reshape(*inputs.shape[:4], -1)[:, inputs.shape[1] // 2])
    chosen = evenly(training, FITTED)
    batches = fixed_batches(chosen, batch_size=BATCH, hu_map=hu_map)
    codes = np.concatenate([encoder.predict_on_batch(inputs) for inputs, _ in batches])
    made = decoder.predict_on_batch(draw_codes(codes, len(examples), rng, lowest=lowest(network)))
    return Samples(
        drawn=_to_hu(np.concatenate(drawn), hu_map),
        free=_to_hu(head.draw(made, rng), hu_map),
        free_mean=_to_hu(head.image(made), hu_map),
        responsibility=np.rint(255 * np.concatenate(shares)).astype(np.uint8),
        fitted=len(chosen),
    )


def write_samples(store: h5py.File, samples: Samples) -> None:
    """Add samples to a store of examples, under the names of their fields."""
    for name in ("drawn", "free", "free_mean", "responsibility"):
        store.create_dataset(name, data=getattr(samples, name), compression="gzip")
    store.attrs["fitted"] = samples.fitted


def halves(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the way from patches to codes, and the way from codes to the density."""
    code = code_layer(network).output
    return keras.Model(network.input, code), keras.Model(code, network.output)


def code_layer(network: keras.Model) -> keras.layers.Layer:
    """Return the layer whose output is the code."""
    if has_anchor(network):
        return network.get_layer("code")
    found = [layer for layer in network.layers if layer.name.startswith("encoder_act_2-1_")]
    return found[-1]


def lowest(network: keras.Model) -> float:
    """Return the least value that a code can have: 0 after ReLU, none of the anchored design."""
    return -np.inf if has_anchor(network) else 0.0


def draw_codes(
    codes: NDArray[np.float32], count: int, rng: np.random.Generator, *, lowest: float = -np.inf
) -> NDArray[np.float32]:
    """Draw codes from the Gaussian with the mean and the covariance of given ones.

    A random mixture of deviations, mean + sum_i g_i (z_i - mean) / sqrt(t - 1) with normal g, has
    exactly their covariance, and nobody needs to write down its 2048 x 2048 numbers.

    Parameters
    ----------
    codes : ndarray of float32, shape (t, d, h, w, channels)
        Two or more, for a variance.
    count : int
    rng : numpy.random.Generator
    lowest : float
        What is drawn below it is raised to it.

    Returns
    -------
    ndarray of float32, shape (count, d, h, w, channels)
    """
    mean = codes.mean(axis=0)
    deviations = (codes - mean).reshape(len(codes), -1)
    mixture = rng.standard_normal((count, len(codes))) / np.sqrt(max(1, len(codes) - 1))
    drawn = mean + (mixture @ deviations).reshape(count, *mean.shape)
    return np.asarray(np.maximum(drawn, lowest), np.float32)


def _to_hu(values: NDArray[np.float32], hu_map: HuMap) -> Patches:
    """Return patches of HU from rows of the network's scale."""
    cubes = hu_map.to_hu(values).reshape(len(values), 32, 32, 32)
    return np.clip(np.rint(cubes), -32768, 32767).astype(np.int16)
