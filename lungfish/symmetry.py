"""The 48 symmetries of the cube: every way to turn and mirror a patch onto itself."""

import functools
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Symmetry = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""A permutation of the axes (z, y, x), then which of the new axes are reversed."""


@functools.cache
def symmetries() -> tuple[Symmetry, ...]:
    """Return all 48: 6 permutations of the axes times 8 choices of reversed axes.

    The first one changes nothing.
    """
    orders = list(itertools.permutations((0, 1, 2)))
    flips = list(itertools.product((False, True), repeat=3))
    return tuple((order, flip) for order in orders for flip in flips)  # type: ignore[misc]


def apply(symmetry: Symmetry, array: NDArray[Any]) -> NDArray[Any]:
    """Apply a symmetry to the last three axes of an array.

    Parameters
    ----------
    symmetry : Symmetry
        One of `symmetries`.
    array : ndarray, shape (..., n, n, n)
        Cubes.

    Returns
    -------
    ndarray
        Of the same shape; a view, so copy it before writing to it.
    """
    order, flip = symmetry
    first = array.ndim - 3
    turned = array.transpose(*range(first), *(first + axis for axis in order))
    steps = tuple(slice(None, None, -1) if reverse else slice(None) for reverse in flip)
    return turned[(..., *steps)]


def inverse(symmetry: Symmetry) -> Symmetry:
    """Return the symmetry that undoes one."""
    order, flip = symmetry
    back = tuple(int(axis) for axis in np.argsort(order))
    return back, tuple(flip[axis] for axis in back)  # type: ignore[return-value]
