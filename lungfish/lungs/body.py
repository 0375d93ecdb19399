"""The body without the table, and what is inside it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

TISSUE_HU = -400
"""Above it: tissue, bone and the table's shell; below: air, lung, foam."""
COARSE_MM = 4.0
"""Edge of the blocks: a body needs no finer ones."""
SKIN_MM = 5.0
"""Rim at the skin that is left out: its blocks hold air from outside."""
TABLE_MM = 5.0
"""Radius in mm of the ball that a table's shell cannot hold and the chest wall can."""


def body_mask(hu: NDArray[Any], spacing_mm: Spacing) -> Mask:
    """Find the body with all the air in it.

    The largest piece of tissue that survives an opening (a table's shell and wires do not),
    its holes filled in every axial slice, so that lungs and trachea cut by the first or the last
    slice stay inside.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Along the patient's axes.
    spacing_mm : sequence of 3 floats
        Along (z, y, x).

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Without a rim of about 5 mm at the skin; all False if there is no tissue.
    """
    factors = morphology.block_factors(spacing_mm, COARSE_MM)
    step = [edge * factor for edge, factor in zip(spacing_mm, factors, strict=True)]
    tissue = morphology.block_mean(hu, factors) > TISSUE_HU
    core = morphology.largest(morphology.opening(tissue, step, TABLE_MM))
    trunk = tissue & morphology.dilate(core, step, TABLE_MM)
    # A block at the skin is part air: without its rim no air outside counts as inside.
    inside = morphology.erode(morphology.fill_slices(trunk), step, SKIN_MM)
    return np.asarray(morphology.enlarge(inside, factors, hu.shape), np.bool_)
