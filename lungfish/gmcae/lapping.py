"""Lapping: what makes a block code see across the borders of its blocks.

Blocks that are coded each by itself waste numbers on what they share with their neighbours, and
show their borders. Before the blocks are cut, the 4 voxels on either side of each border are mixed
by an invertible 8 x 8 matrix, along each axis in turn, and after decoding they are unmixed: the
time-domain lapped transform of Tran, Liang and Tu (2003, IEEE Trans Signal Process 51:1557). The
outermost faces of a volume have no neighbour and stay as they are.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

HALF = 4
"""Voxels on either side of a border that are mixed: half a block."""
WIDTH = 2 * HALF
SCALE = 1.3
"""Of the first difference across a border. 1 is an orthogonal transform and 1.6 has the best gain
for a first-order Markov signal (Tran 2003, 8/5); of 1.0 to 1.6, lungs prefer 1.3."""

Array = NDArray[np.float32]


def lapping_matrix(*, inverse: bool = False) -> Array:
    """Return the matrix that mixes the 8 voxels about a border, shape (8, 8).

    P = (1/2) [I J; J -I] [I 0; 0 V] [I J; J -I] with V = J C2^T S C4 J: I is the identity, J the
    reversal, C2 and C4 the cosine transforms of types II and IV, S = diag(`SCALE`, 1, 1, 1).

    Parameters
    ----------
    inverse : bool
        Return the matrix that unmixes instead.
    """
    same, turn, none = np.eye(HALF), np.eye(HALF)[::-1], np.zeros((HALF, HALF))
    second = fft.dct(np.eye(HALF), axis=0, norm="ortho")
    fourth = fft.dct(np.eye(HALF), type=4, axis=0, norm="ortho")
    stretch = np.diag([SCALE] + [1.0] * (HALF - 1))
    differences = turn @ second.T @ stretch @ fourth @ turn
    butterfly = np.block([[same, turn], [turn, -same]])
    mixed = 0.5 * butterfly @ np.block([[same, none], [none, differences]]) @ butterfly
    return (np.linalg.inv(mixed) if inverse else mixed).astype(np.float32)


def lap(volumes: Array, *, inverse: bool = False) -> Array:
    """Mix the voxels about every border between blocks, along all three axes.

    Parameters
    ----------
    volumes : ndarray of float32, shape (n, z, y, x)
        Lengths are multiples of 8.
    inverse : bool
        Unmix instead.

    Returns
    -------
    ndarray of float32, shape (n, z, y, x)
    """
    matrix = lapping_matrix(inverse=inverse)
    mixed = np.array(volumes, np.float32)
    for axis in (1, 2, 3):
        inner = np.moveaxis(mixed, axis, -1)[..., HALF:-HALF]
        # A copy, because the slice cannot be reshaped in place.
        groups = inner.reshape(-1, WIDTH) @ matrix.T
        inner[...] = groups.reshape(inner.shape)
    return mixed
