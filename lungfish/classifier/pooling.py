"""Spatial pyramid pooling of an encoded lung, in NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError

LEVELS = (1, 2, 4)


def check_levels(levels: Sequence[int]) -> tuple[int, ...]:
    """Return the levels as a tuple of int.

    Raises
    ------
    InputError
        If there is none or one is below 1.
    """
    if not levels or min(levels) < 1:
        raise InputError(f"levels: expected one or more whole numbers from 1 up, found {levels!r}")
    return tuple(int(level) for level in levels)


def bin_edges(count: int, bins: int) -> list[tuple[int, int]]:
    """Return the half-open ranges that cut an axis into overlapping bins.

    Bin i is [floor(i n / b), ceil((i + 1) n / b)): every cell lies in a bin and no bin is empty,
    for any n from 1 up, also where n is smaller than b. (Windows of floor(n / b), as in kdsb17's
    LungNet, drop the remainder and are empty there.)

    Parameters
    ----------
    count : int
        Cells along the axis, n, 1 or more.
    bins : int
        b, 1 or more.

    Returns
    -------
    list of (int, int)
        First cell and one past the last, in order.

    Examples
    --------
    >>> bin_edges(5, 2), bin_edges(1, 2)
    ([(0, 3), (2, 5)], [(0, 1), (0, 1)])
    """
    return [(i * count // bins, -(-(i + 1) * count // bins)) for i in range(bins)]


def pyramid_length(channels: int, levels: Sequence[int] = LEVELS) -> int:
    """Return the length of a pooled vector: channels times the boxes of all levels.

    Examples
    --------
    >>> pyramid_length(256)
    18688
    """
    return channels * sum(level**3 for level in levels)


def spatial_pyramid(grid: NDArray[Any], *, levels: Sequence[int] = LEVELS) -> NDArray[Any]:
    """Take the maximum of every channel over each box of a pyramid.

    After He et al., "Spatial pyramid pooling in deep convolutional networks", TPAMI 37 (2015),
    in three axes and with the bins of `bin_edges`.

    Parameters
    ----------
    grid : ndarray, shape (z, y, x, channels)
        Any size from 1 x 1 x 1 up.
    levels : sequence of int
        Boxes along each axis, level by level.

    Returns
    -------
    ndarray of the grid's dtype, shape (channels * sum(level ** 3),)
        Order: level, then box z, y, x (x fastest), then channel.

    Raises
    ------
    InputError
        If the grid has no cell or not four axes.
    """
    if grid.ndim != 4 or 0 in grid.shape:
        raise InputError(f"grid: expected cells in (z, y, x, channels), found shape {grid.shape}")
    return np.concatenate([_level(grid, level).ravel() for level in check_levels(levels)])


def _level(grid: NDArray[Any], bins: int) -> NDArray[Any]:
    """Return the maxima of one level, shape (bins, bins, bins, channels)."""
    for axis in range(3):
        # The maximum over a box is the maximum of maxima along its axes.
        parts = [
            grid.take(range(low, high), axis).max(axis)
            for low, high in bin_edges(grid.shape[axis], bins)
        ]
        grid = np.stack(parts, axis)
    return grid


def pool_lungs(
    grid: NDArray[np.float32],
    inside: NDArray[np.float32],
    *,
    levels: Sequence[int] = LEVELS,
    threshold: float = 0.0,
) -> NDArray[np.float32]:
    """Pool the cells that hold lung.

    Parameters
    ----------
    grid : ndarray of float32, shape (d, h, w, channels)
        Features after a ReLU, 0 or more.
    inside : ndarray of float32, shape (d, h, w)
        Share of lung in each cell, 0 to 1.
    levels : sequence of int
        Of the pyramid.
    threshold : float
        Cells with this share or less count as 0, the least that a ReLU gives, so that heart and
        ribs do not win the maximum.

    Returns
    -------
    ndarray of float32, shape (channels * sum(level ** 3),)

    Raises
    ------
    InputError
        If the two shapes differ.
    """
    if grid.shape[:3] != inside.shape:
        raise InputError(f"inside: expected shape {grid.shape[:3]}, found {inside.shape}")
    masked = np.where((inside > threshold)[..., None], grid, np.float32(0))
    return spatial_pyramid(masked, levels=levels)
