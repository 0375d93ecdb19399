"""What a network's loss is held against, on the same patches.

Each rival is fitted on training patches alone, in closed form and in seconds. Some are densities of
patches; others are told a code of the patch first, as the network's decoder is, and that code costs
them nothing: a likelihood given a free code must not be read as if it were a marginal one. Only the
lossless codec pays for everything.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from lungfish.gmcae.anchor import ERRORS, fit_scales
from lungfish.gmcae.density import HALF_LOG_TWO_PI, SMALLEST_SIGMA
from lungfish.gmcae.linear import fit_block_code, fit_cosines
from lungfish.gmcae.training import bits_per_voxel
from lungfish.intensity import HuMap
from lungfish.records import Record

Array = NDArray[np.float32]
Exact = NDArray[np.float64]
Kind = Literal["marginal", "given a code", "whole message"]
COMPONENTS = 64
"""Principal components of whole patches."""
PCA_PATCHES = 1024
"""Most patches that these are fitted to."""
WIDTHS = 2
"""Gaussians of the mixture that the errors of a linear code are given besides the one of its row:
the network has such a mixture at every voxel."""
CELLS = 64
"""Cells of the code of a patch."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rival:
    """How well one rival does on n patches; lower is better in all.

    Attributes
    ----------
    kind : "marginal", "given a code" or "whole message"
        What it costs: the patch; the patch once its code is known; or a file from which the patch
        can be had again.
    nats : ndarray of float64, shape (n,)
        Per voxel, of each patch, on the scale of `intensity.HuMap`.
    squared_hu : ndarray of float64, shape (n,)
        Mean squared error of each patch's reconstruction, in HU squared.
    """

    kind: Kind
    nats: Exact
    squared_hu: Exact

    def record(self, hu_map: HuMap) -> Record:
        """Return the means: nats and bits (at a resolution of 1 HU) per voxel, and RMSE in HU."""
        nats = float(self.nats.mean())
        return {
            "kind": self.kind,
            "nats_per_voxel": nats,
            "bits_per_voxel": bits_per_voxel(nats, hu_map),
            "rmse_hu": float(np.sqrt(self.squared_hu.mean())),
        }


def rivals(
    training: Array, inputs: Array, targets: Array, *, hu_map: HuMap, channels: int
) -> dict[str, Rival]:
    """Fit the rivals and let them judge patches.

    Parameters
    ----------
    training : ndarray of float32, shape (k, 32, 32, 32)
        To fit to, on the network's scale.
    inputs, targets : ndarray of float32, shape (n, 32, 32, 32)
        To judge: as the network sees them, and dequantised.
    hu_map : HuMap
    channels : int
        Numbers of the network's code for each block of 8 x 8 x 8 voxels.

    Returns
    -------
    dict of str to Rival
    """
    found: dict[str, Rival] = {}
    with threadpool_limits(1, user_api="blas"):
        for name, kind, fit in _means(training, inputs):
            found[name] = _gaussian(kind, fit, inputs, targets, hu_map)
        found |= _components(training, inputs, targets, hu_map)
        for name, made in _codes(training, inputs, channels):
            found[name] = _gaussian("given a code", made, inputs, targets, hu_map)
            found[f"{name}, {WIDTHS} widths"] = _widths(made, inputs, targets, hu_map)
    found["lossless codec, JPEG XL"] = lossless(inputs, hu_map=hu_map)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Made:
    """What a model says of the patches, and how wrong it was on those it was fitted to.

    Attributes
    ----------
    image : ndarray, broadcasts to (n, 32, 32, 32)
        Of the patches that are judged.
    sigma : ndarray, broadcasts to (32, 32, 32)
        Of the training errors.
    errors : ndarray, shape (k,)
        Training errors, thinned.
    """

    image: Any
    sigma: Any
    errors: Any


def _means(training: Array, inputs: Array) -> Iterator[tuple[str, Kind, _Made]]:
    """Yield the Gaussians that know nothing of a patch."""
    mean, sigma = training.mean(dtype=np.float64), training.std(dtype=np.float64)
    yield "one Gaussian", "marginal", _Made(mean, sigma, None)
    mean, sigma = training.mean(0, dtype=np.float64), training.std(0, dtype=np.float64)
    yield "a Gaussian a voxel", "marginal", _Made(mean, np.maximum(sigma, SMALLEST_SIGMA), None)


def _codes(training: Array, inputs: Array, channels: int) -> Iterator[tuple[str, _Made]]:
    """Yield the linear codes with as many numbers as the network's."""
    block = fit_block_code(training, channels=channels)
    made = block.decode(block.encode(training))
    yield "block KLT + ridge", _errors(training, made, block.decode(block.encode(inputs)))
    cosines = fit_cosines(training, numbers=CELLS * channels)
    made = cosines.reconstruct(training)
    yield f"DCT-{CELLS * channels}", _errors(training, made, cosines.reconstruct(inputs))


def _errors(training: Array, made: Array, image: Array) -> _Made:
    apart = (training - made).ravel()
    sigma = max(float(np.sqrt(np.mean(np.square(apart), dtype=np.float64))), SMALLEST_SIGMA)
    thin = max(1, apart.size // ERRORS)
    return _Made(image, sigma, apart[::thin].astype(np.float64))


def _gaussian(kind: Kind, made: _Made, inputs: Array, targets: Array, hu_map: HuMap) -> Rival:
    """Judge with one Gaussian about the image, as wide as the training errors."""
    scaled = (targets - made.image) / made.sigma
    nats = HALF_LOG_TWO_PI + np.log(made.sigma) + 0.5 * np.square(scaled)
    return Rival(kind, _by_patch(nats), _squared_hu(inputs - made.image, hu_map))


def _widths(made: _Made, inputs: Array, targets: Array, hu_map: HuMap) -> Rival:
    """Judge with a mixture of Gaussians about the image, fitted to the training errors."""
    weights, sigmas = fit_scales(made.errors, WIDTHS)
    nats = []
    for target, image in zip(targets, made.image, strict=True):
        exponents = [
            np.log(weight) - np.log(sigma) - 0.5 * np.square((target - image) / sigma)
            for weight, sigma in zip(weights, sigmas, strict=True)
        ]
        nats.append(HALF_LOG_TWO_PI - logsumexp(exponents, axis=0).mean())
    return Rival("given a code", np.array(nats), _squared_hu(inputs - made.image, hu_map))


def _components(training: Array, inputs: Array, targets: Array, hu_map: HuMap) -> dict[str, Rival]:
    """Judge with principal components of whole patches, as a code and as a density.

    The density is that of Tipping and Bishop (1999, J R Stat Soc B 61:611), equation 6 with the
    maximum of the likelihood in equations 7 and 8: the variance along a component is its own.
    """
    few = training[:: -(-len(training) // PCA_PATCHES)].reshape(-1, training[0].size)
    mean = few.mean(axis=0)
    apart = few - mean
    # With fewer patches than voxels their products are the smaller matrix.
    values, vectors = np.linalg.eigh((apart @ apart.T).astype(np.float64) / len(few))
    # What more components than this leave over says nothing about other patches.
    rank = min(COMPONENTS, len(few) // 4)
    strength = np.maximum(values[::-1][:rank], 1e-10)
    size = few.shape[1]
    left = max((values.sum() - strength.sum()) / (size - rank), SMALLEST_SIGMA**2)
    axes = (apart.T @ vectors[:, ::-1][:, :rank]) / np.sqrt(strength * len(few))
    axes = axes.astype(np.float32)

    def image(patches: Array) -> Array:
        flat = patches.reshape(len(patches), -1) - mean
        return np.asarray(((flat @ axes) @ axes.T + mean).reshape(patches.shape), np.float32)

    made = _Made(image(inputs), np.sqrt(left), None)
    flat = targets.reshape(len(targets), -1) - mean
    code = flat @ axes
    rest = np.square(flat).sum(axis=1, dtype=np.float64) - np.square(code).sum(1, dtype=np.float64)
    total = np.square(code) @ (1 / strength) + np.maximum(rest, 0) / left
    logs = np.log(strength).sum() + (size - rank) * math.log(left)
    density = HALF_LOG_TWO_PI + 0.5 * (total + logs) / size
    squared = _squared_hu(inputs - made.image, hu_map)
    return {
        f"PPCA-{COMPONENTS}": Rival("marginal", density, squared),
        f"PCA-{COMPONENTS}": _gaussian("given a code", made, inputs, targets, hu_map),
    }


def lossless(inputs: Array, *, hu_map: HuMap) -> Rival:
    """Pack patches with a lossless image codec, JPEG XL (ISO/IEC 18181-1), a file a patch.

    The slices of a patch lie below each other in one image of whole HU, so that a file has one
    head; a two-dimensional codec sees no neighbour along z.
    """
    low = hu_map.low_hu
    lengths = []
    for patch in inputs:
        hu = np.rint(hu_map.to_hu(patch) - low).astype(np.uint16)
        packed = imagecodecs.jpegxl_encode(hu.reshape(-1, hu.shape[-1]), lossless=True, effort=7)
        lengths.append(8 * len(packed) / hu.size)
    nats = np.array(lengths) * math.log(2) - math.log(hu_map.hu_per_unit)
    return Rival("whole message", nats, np.zeros(len(inputs)))


def _by_patch(values: Any) -> Exact:
    return np.asarray(values.reshape(len(values), -1).mean(axis=1, dtype=np.float64))


def _squared_hu(apart: Any, hu_map: HuMap) -> Exact:
    return _by_patch(np.square(apart)) * hu_map.hu_per_unit**2
