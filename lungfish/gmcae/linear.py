"""Linear codes in closed form: the rivals that a network must beat, and the place it starts from.

Block KLT: principal components of 8 x 8 x 8 blocks, decoded by ridge regression from each block's
code and those of its 26 neighbours; lapped or not, see `lapping`. It has as many numbers a patch as
the network's code, tiles any volume, and takes seconds. All values are on the scale of
`intensity.HuMap`.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from threadpoolctl import threadpool_limits

from lungfish.gmcae.lapping import lap

BLOCK_VOXEL = 8
"""Edge of a block: the stride of the encoder."""
BLOCK_VOXELS = BLOCK_VOXEL**3
NEIGHBOURS = 27
CHUNK = 128
"""Patches that are held unfolded at once."""
RIDGE = 1e-3
"""Penalty beside the variance of the code, which is 1."""
LEAST_ERROR = 3 / 700
"""Added to the error of a block before its logarithm is taken: 3 HU, less than any scanner's
noise."""

Array = NDArray[np.float32]


def to_blocks(patches: Array) -> Array:
    """Cut volumes into blocks.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, z, y, x)
        Lengths are multiples of 8.

    Returns
    -------
    ndarray of float32, shape (n, z / 8, y / 8, x / 8, 512)
    """
    n, *lengths = patches.shape
    cells = [part for length in lengths for part in (length // BLOCK_VOXEL, BLOCK_VOXEL)]
    split = patches.reshape(n, *cells).transpose(0, 1, 3, 5, 2, 4, 6)
    return split.reshape(*split.shape[:4], BLOCK_VOXELS)


def from_blocks(blocks: Array) -> Array:
    """Put blocks together again: undoes `to_blocks`."""
    n, *cells, _ = blocks.shape
    split = blocks.reshape(n, *cells, *(BLOCK_VOXEL,) * 3).transpose(0, 1, 4, 2, 5, 3, 6)
    return split.reshape(n, *(length * BLOCK_VOXEL for length in cells))


@dataclasses.dataclass(frozen=True, eq=False)
class BlockCode:
    """A linear code of blocks, and its decoder.

    Attributes
    ----------
    mean : ndarray of float32, shape (512,)
        Of the training blocks.
    analysis : ndarray of float32, shape (512, channels)
        A block less the mean times this is its code, of unit variance over the training blocks.
    synthesis : ndarray of float32, shape (3, 3, 3, channels, 512)
        Kernel of the convolution ('same', zeros beyond the border) that decodes.
    lapped : bool
        Whether the blocks overlap; see `lapping`.
    """

    mean: Array
    analysis: Array
    synthesis: Array
    lapped: bool

    @property
    def back(self) -> Array:
        """From the code of a block to the block alone, the transpose of an orthogonal projection.

        Shape (channels, 512); the analysis divides by the standard deviation, this multiplies.
        """
        return np.asarray((self.analysis / np.square(self.analysis).sum(axis=0)).T, np.float32)

    def blocks(self, patches: Array) -> Array:
        """Return what is coded, shape (n, z / 8, y / 8, x / 8, 512)."""
        return to_blocks(lap(patches) if self.lapped else patches)

    def encode(self, patches: Array) -> Array:
        """Return the codes, shape (n, z / 8, y / 8, x / 8, channels)."""
        return times(self.blocks(patches) - self.mean, self.analysis)

    def log_errors(self, patches: Array) -> Array:
        """Return the logarithm of how far each block is from what its own code says of it.

        Shape (n, z / 8, y / 8, x / 8): ln sqrt(mean squared error + `LEAST_ERROR` squared).
        """
        apart = self.blocks(patches) - self.mean
        apart -= times(times(apart, self.analysis), self.back)
        return np.asarray(0.5 * np.log(np.square(apart).mean(axis=-1) + LEAST_ERROR**2), np.float32)

    def decode(self, codes: Array) -> Array:
        """Return volumes from codes, shape (n, z, y, x)."""
        kernel = self.synthesis.reshape(-1, BLOCK_VOXELS)
        made = [times(unfold(chunk), kernel) + self.mean for chunk in chunks(codes)]
        volumes = from_blocks(np.concatenate(made))
        return lap(volumes, inverse=True) if self.lapped else volumes


def times(stack: Array, matrix: Array) -> Array:
    """Return the last axis times a matrix in one product; NumPy makes one for each row of cells."""
    flat = stack.reshape(-1, stack.shape[-1]) @ matrix
    return np.asarray(flat.reshape(*stack.shape[:-1], matrix.shape[1]), np.float32)


def chunks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield an array in pieces of at most `CHUNK` along its first axis."""
    for start in range(0, len(array), CHUNK):
        yield array[start : start + CHUNK]


def unfold(codes: Array) -> Array:
    """Put the codes of each block's 27 neighbours side by side; 0, the mean, beyond the border.

    Parameters
    ----------
    codes : ndarray of float32, shape (n, d, h, w, channels)

    Returns
    -------
    ndarray of float32, shape (n, d, h, w, 27 channels)
        In the order of a convolution's kernel (dz, dy, dx, channel).
    """
    depth, height, width = codes.shape[1:4]
    padded = np.pad(codes, [(0, 0), (1, 1), (1, 1), (1, 1), (0, 0)])
    return np.concatenate(
        [
            padded[:, z : z + depth, y : y + height, x : x + width]
            for z, y, x in itertools.product(range(3), repeat=3)
        ],
        axis=-1,
    )


def fit_block_code(
    patches: Array, *, channels: int, lapped: bool = False, ridge: float = RIDGE
) -> BlockCode:
    """Fit a block KLT and its decoder.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, z, y, x)
        To learn from.
    channels : int
        Numbers a block, at most 512.
    lapped : bool
        Let the blocks overlap; see `lapping`.
    ridge : float
        Penalty, at least 0.

    Returns
    -------
    BlockCode
        The principal components (Jolliffe 2002) of the blocks, and the ridge regression (Hoerl and
        Kennard 1970) of the blocks on the codes around them.
    """
    # Products of these sizes take several times the CPU when BLAS splits them over threads.
    with threadpool_limits(1, user_api="blas"):
        mean, analysis = principal_components(patches, channels=channels, lapped=lapped)
        none = np.zeros((3, 3, 3, channels, BLOCK_VOXELS), np.float32)
        code = BlockCode(mean, analysis, none, lapped)
        return dataclasses.replace(code, synthesis=fit_decoder(code, patches, ridge))


def principal_components(patches: Array, *, channels: int, lapped: bool) -> tuple[Array, Array]:
    """Return the mean block and the analysis of `BlockCode`."""
    count, total, square = 0, np.zeros(BLOCK_VOXELS), np.zeros((BLOCK_VOXELS, BLOCK_VOXELS))
    for chunk in chunks(patches):
        blocks = to_blocks(lap(chunk) if lapped else chunk).reshape(-1, BLOCK_VOXELS)
        count += len(blocks)
        total += blocks.sum(axis=0, dtype=np.float64)
        square += blocks.T @ blocks
    mean = total / count
    values, vectors = np.linalg.eigh(square / count - np.outer(mean, mean))
    first = np.argsort(values)[::-1][:channels]
    # Blocks of one grey level alone have no variance to divide by.
    scale = np.sqrt(np.maximum(values[first], 1e-10))
    return mean.astype(np.float32), (vectors[:, first] / scale).astype(np.float32)


def fit_decoder(code: BlockCode, patches: Array, ridge: float) -> Array:
    """Return the kernel (3, 3, 3, channels, 512) that decodes with the least penalised error."""
    channels = code.analysis.shape[1]
    size = NEIGHBOURS * channels
    gram, cross, count = np.zeros((size, size)), np.zeros((size, BLOCK_VOXELS)), 0
    for chunk in chunks(patches):
        around = unfold(code.encode(chunk)).reshape(-1, size)
        blocks = (code.blocks(chunk) - code.mean).reshape(-1, BLOCK_VOXELS)
        gram += around.T @ around
        cross += around.T @ blocks
        count += len(blocks)
    kernel = np.linalg.solve(gram + ridge * count * np.eye(size), cross)
    return kernel.reshape(3, 3, 3, channels, BLOCK_VOXELS).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Cosines:
    """The discrete cosine transform of a patch, of which the strongest coefficients are kept.

    Attributes
    ----------
    mean : ndarray of float32, shape (z, y, x)
        Of the training patches.
    kept : ndarray of bool, shape (z, y, x)
        Which coefficients have the most energy over the training patches.
    """

    mean: Array
    kept: NDArray[np.bool_]

    def reconstruct(self, patches: Array) -> Array:
        """Return patches from the coefficients that are kept."""
        spectrum = fft.dctn(patches - self.mean, axes=(1, 2, 3), norm="ortho")
        return np.asarray(
            fft.idctn(spectrum * self.kept, axes=(1, 2, 3), norm="ortho") + self.mean, np.float32
        )


def fit_cosines(patches: Array, *, numbers: int) -> Cosines:
    """Choose the coefficients with the most energy over training patches.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, z, y, x)
    numbers : int
        How many to keep: as many as the network's code has.
    """
    mean = patches.mean(axis=0, dtype=np.float64).astype(np.float32)
    energy = sum(
        np.square(fft.dctn(chunk - mean, axes=(1, 2, 3), norm="ortho")).sum(0)
        for chunk in chunks(patches)
    )
    kept = np.zeros(energy.size, np.bool_)
    kept[np.argsort(energy, axis=None)[::-1][:numbers]] = True
    return Cosines(mean, kept.reshape(energy.shape))
