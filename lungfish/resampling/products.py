"""Banded matrices times volumes, block by block.

A cubic spline's weights fall by a factor of 3.7 a sample, so that a few rows of a matrix touch
only a narrow band of samples: small dense products, of data that are still in the cache.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK_ROWS = 16
CACHE_BYTES = 1 << 21
"""Of acquired samples at a time; this and the rows a block were the fastest of those measured."""


class Block(NamedTuple):
    """Some rows of a matrix, and the band of columns outside which they are 0."""

    rows: slice
    columns: slice
    weights: NDArray[np.float32]


def blocks_of(matrix: Array) -> list[Block]:
    """Cut a matrix (new, old) into blocks of `BLOCK_ROWS` rows."""
    blocks = []
    for start in range(0, len(matrix), BLOCK_ROWS):
        rows = matrix[start : start + BLOCK_ROWS]
        used = np.flatnonzero(rows.any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(rows[:, columns], np.float32)
        blocks.append(Block(slice(start, start + len(rows)), columns, weights))
    return blocks


def two_axes(
    source: Array, middle: Sequence[Block], last: Sequence[Block]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Resample the middle and the last axis of an array, some new rows of the middle at a time.

    Yields
    ------
    rows : slice
        Of the middle axis' new samples.
    values : ndarray of float32, shape (first, rows, new last)
    """
    count, length = len(source), last[-1].rows.stop
    for rows, columns, weights in middle:
        done = np.empty((count, len(weights), length), np.float32)
        at_once = max(1, CACHE_BYTES // (4 * source[0, columns].size))
        for start in range(0, count, at_once):
            planes = slice(start, start + at_once)
            data = weights @ source[planes, columns].astype(np.float32, order="C")
            lines = data.reshape(-1, data.shape[2])
            target = done[planes].reshape(-1, length)
            for block in last:
                np.matmul(lines[:, block.columns], block.weights.T, out=target[:, block.rows])
        yield rows, done


def first_axis(
    data: NDArray[np.float32],
    out: Array,
    blocks: Sequence[Block],
    limits: tuple[int, int] | None = None,
) -> None:
    """Resample the first axis of `data` into `out`; with limits, rounded and kept within them."""
    lines = data.reshape(len(data), -1)
    for rows, columns, weights in blocks:
        values = weights @ lines[columns]
        if limits:
            np.clip(np.rint(values, out=values), *limits, out=values)
        out[rows] = values.reshape(-1, *out.shape[1:])
