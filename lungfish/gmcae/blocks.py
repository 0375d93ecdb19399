"""Layers of the anchored design: lapping, blocks and what is between them."""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from lungfish.gmcae.density import PACKAGE
from lungfish.gmcae.field import Reach
from lungfish.gmcae.lapping import HALF, WIDTH, lapping_matrix
from lungfish.gmcae.linear import BLOCK_VOXEL, BLOCK_VOXELS, LEAST_ERROR
from lungfish.lungs.morphology import block_weights

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package=PACKAGE)
class Lap(layers.Layer):
    """Mix the voxels about every border between blocks; see `lapping.lap`.

    Parameters
    ----------
    inverse : bool
        Unmix instead.
    """

    def __init__(self, *, inverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inverse = inverse

    def call(self, x: Any) -> Any:
        """Return the volumes, shape (n, z, y, x, 1)."""
        matrix = ops.cast(lapping_matrix(inverse=self.inverse), x.dtype)
        shape = ops.shape(x)
        for axis in (1, 2, 3):
            x = _mix(x, matrix, math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        return ops.reshape(x, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input."""
        return input_shape

    def reach(self) -> Reach:
        """Say that a voxel at the edge of a group sees the 7 others of its group."""
        return Reach(1, WIDTH - 1, WIDTH - 1)

    def get_config(self) -> dict[str, Any]:
        """Return what it takes to build the layer again."""
        return {**super().get_config(), "inverse": self.inverse}


def _mix(x: Any, matrix: Any, before: Any, length: Any, after: Any) -> Any:
    """Mix along the middle axis of (before, length, after); the outer half blocks stay."""
    x = ops.reshape(x, (before, length, after))
    groups = length // WIDTH - 1
    inner = x[:, HALF:-HALF]
    if isinstance(after, int) and after == 1:
        # One product of matrices instead of thousands of small ones.
        mixed = ops.matmul(ops.reshape(inner, (before * groups, WIDTH)), ops.transpose(matrix))
    else:
        mixed = ops.matmul(matrix, ops.reshape(inner, (before * groups, WIDTH, after)))
    inner = ops.reshape(mixed, (before, groups * WIDTH, after))
    return ops.concatenate([x[:, :HALF], inner, x[:, -HALF:]], axis=1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class VolumeToBlocks(layers.Layer):
    """Cut volumes into blocks: (n, 8 d, 8 h, 8 w, 1) to (n, d, h, w, 512)."""

    def call(self, volume: Any) -> Any:
        """Return the blocks; see `linear.to_blocks`."""
        count, *lengths = ops.shape(volume)[:4]
        edge = BLOCK_VOXEL
        d, h, w = (length // edge for length in lengths)
        split = ops.reshape(volume, (count, d, edge, h, edge, w, edge))
        blocks = ops.transpose(split, (0, 1, 3, 5, 2, 4, 6))
        return ops.reshape(blocks, (count, d, h, w, BLOCK_VOXELS))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the blocks."""
        cells = (None if n is None else n // BLOCK_VOXEL for n in input_shape[1:4])
        return (input_shape[0], *cells, BLOCK_VOXELS)

    def reach(self) -> Reach:
        """Say that a block sees its own voxels."""
        return Reach(BLOCK_VOXEL, 0, BLOCK_VOXEL - 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class BlocksToVolume(layers.Layer):
    """Put blocks of 512 voxels together: (n, d, h, w, 512) to (n, 8 d, 8 h, 8 w, 1)."""

    def call(self, blocks: Any) -> Any:
        """Return the volume; see `linear.from_blocks`."""
        count, *cells = ops.shape(blocks)[:4]
        edge = BLOCK_VOXEL
        split = ops.reshape(blocks, (count, *cells, edge, edge, edge))
        volume = ops.transpose(split, (0, 1, 4, 2, 5, 3, 6))
        return ops.reshape(volume, (count, *(edge * length for length in cells), 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the volume."""
        lengths = (None if n is None else BLOCK_VOXEL * n for n in input_shape[1:4])
        return (input_shape[0], *lengths, 1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class LogError(layers.Layer):
    """The logarithm of how far a block is from its linear reconstruction, one number a block.

    ln sqrt(mean of the squared differences + `linear.LEAST_ERROR` squared), on the scale of
    `intensity.HuMap`, in float32: from (n, d, h, w, 512) twice to (n, d, h, w, 1).
    """

    def call(self, pair: Any) -> Any:
        """Return the logarithms, of blocks and what is made of them."""
        blocks, made = pair
        square = ops.square(ops.cast(blocks, "float32") - ops.cast(made, "float32"))
        return 0.5 * ops.log(ops.mean(square, axis=-1, keepdims=True) + LEAST_ERROR**2)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Return the shape of the logarithms."""
        return (*input_shape[0][:-1], 1)

    def reach(self) -> Reach:
        """Say that a block sees itself."""
        return Reach(1, 0, 0)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Spread(layers.Layer):
    """Interpolate from cells to voxels, linearly between their centres, constant beyond them.

    From (n, d, h, w, channels) to (n, 8 d, 8 h, 8 w, channels); the number of cells is static.
    """

    def call(self, x: Any) -> Any:
        """Return the values at the voxels."""
        for axis, letters in (
            (1, "vd,ndhwc->nvhwc"),
            (2, "vh,ndhwc->ndvwc"),
            (3, "vw,ndhwc->ndhvc"),
        ):
            x = ops.einsum(letters, ops.cast(spread_matrix(x.shape[axis]), x.dtype), x)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape at the voxels."""
        lengths = (None if n is None else BLOCK_VOXEL * n for n in input_shape[1:4])
        return (input_shape[0], *lengths, input_shape[4])


def spread_matrix(cells: int) -> NDArray[np.float32]:
    """Return the weights from cells to their voxels along an axis, shape (8 cells, cells)."""
    return block_weights(cells, BLOCK_VOXEL * cells, BLOCK_VOXEL)
