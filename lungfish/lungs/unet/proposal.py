"""What the network proposes for a patient."""

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """Probabilities of both lungs on the network's grid.

    Attributes
    ----------
    probability : ndarray of uint8, shape (2, z, y, x)
        Of the patient's right lung and of the left, 255 standing for 1; z to the head, y to the
        back, x to the patient's left.
    affine : ndarray of float64, shape (4, 4)
        Maps a voxel's index (x, y, z, 1) to its centre in LPS mm.
    weights : str
        SHA-256 of the weights that the network had, in hexadecimal.
    """

    probability: NDArray[np.uint8]
    affine: NDArray[np.float64]
    weights: str
