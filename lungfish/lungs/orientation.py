"""Arrays turned to the patient's axes and back, as the affine says."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Turn:
    """The turn that brings an array (z, y, x) of any axis order to the patient's axes.

    Attributes
    ----------
    order : tuple of 3 int
        Which array axis runs most along (head, back, left), in this order.
    flips : tuple of 3 bool
        Whether that axis runs the other way.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def forward(self, array: Array) -> Array:
        """Return a view with z to the head, y to the back and x to the patient's left."""
        return self._flip(array.transpose(self.order))

    def back(self, array: Array) -> Array:
        """Return a view of a turned array on the original axes; inverse of `forward`."""
        return self._flip(array).transpose(np.argsort(self.order))

    def spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the spacing in mm in the turned order of axes."""
        z, y, x = (spacing_mm[axis] for axis in self.order)
        return z, y, x

    def affine(self, affine: Array, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Return the affine of the turned array; `affine` and `shape` (z, y, x) of the original."""
        columns = [2 - axis for axis in reversed(self.order)]
        result = np.array(affine, np.float64)
        result[:3, :3] = affine[:3, columns]
        for column, (axis, flip) in enumerate(
            zip(reversed(self.order), reversed(self.flips), strict=True)
        ):
            if flip:
                result[:3, 3] += result[:3, column] * (shape[axis] - 1)
                result[:3, column] *= -1
        return result

    def _flip(self, array: Array) -> Array:
        return array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def turn_of(affine: Array) -> Turn:
    """Return the turn that an affine asks for, each array axis going to its nearest patient axis.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Index order x, y, z to LPS mm.

    Returns
    -------
    Turn
        Identity for x to the left, y to the back, z to the head (increasing LPS).
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    strength = np.abs(directions)
    order, flips = [0, 0, 0], [False, False, False]
    for _ in range(3):
        patient, column = np.unravel_index(np.argmax(strength), (3, 3))
        # Patient axis 0, 1, 2 (left, back, head) stands at position 2, 1, 0 of the turned array,
        # and column 0, 1, 2 of the affine (x, y, z) is axis 2, 1, 0 of the array as it is.
        order[2 - patient] = 2 - int(column)
        flips[2 - patient] = bool(directions[patient, column] < 0)
        strength[patient, :] = -1
        strength[:, column] = -1
    return Turn((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))
