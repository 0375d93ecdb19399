"""Airless lung given back: masses at the pleura and consolidation, but not effusion.

What a threshold finds of a lung ends at a tumour or a consolidation as it does at the pleura. So
for either lung the faces are sought that it should have: the rib cage (`wall`), and floor, top and
inner face, carried on from where the lung shows them and from the other lung, which is its mirror
(`faces`). What lies between the lung and these faces, and is tissue, is a filling; `tissue` tells
which of it is airless lung. All of this runs on a grid of about 4 mm.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology, tissue
from lungfish.lungs.faces import Half, above_diaphragm, beside_mediastinum, half
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.lungs.spine import spine_middle
from lungfish.lungs.wall import BONE_HU, find_wall

GRID_MM = 4.0
"""Edge of the blocks on which the filling is sought: masses are larger, faces smoother."""
TISSUE_HU = (-180.0, 110.0)
"""Airless lung and mass, blurred at their rim; blood with contrast medium is brighter."""
SMOOTH_MM = 3.0
"""Noise of a low dose must not split a mass."""
SPINE_MM3 = 2e4
"""Less bone than this between the lungs shows no spine."""
HOLE_HU = -250
"""Below it a voxel of the working grid holds air of a bronchus."""
HOLE_SHARE, MOSTLY = 10, 50
"""Percent of a block that make it a hole in tissue, and part of a mask."""


def airless_lung(
    hu: NDArray[Any], lungs: Labels, airways: Mask, body: Mask, spacing_mm: Spacing,
    *, closing_mm: float,
) -> Labels:  # fmt: skip
    """Find the masses and consolidations that belong to each lung.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Along the patient's axes, on the working grid.
    lungs : ndarray of uint8, shape (z, y, x)
        1 right, 2 left: the air of the lungs.
    airways, body : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    closing_mm : float
        Radius of the ball that closes the lungs over their vessels.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        What is to be added to each lung.
    """
    factors = morphology.block_factors(spacing_mm, GRID_MM)
    step = [edge * factor for edge, factor in zip(spacing_mm, factors, strict=True)]

    blocks = functools.partial(morphology.block_share, factors=factors)
    tubes = blocks(airways, percent=MOSTLY)
    labels = np.zeros(tubes.shape, np.uint8)
    for side in (RIGHT, LEFT):
        closed = morphology.close(blocks(lungs == side, percent=MOSTLY), step, closing_mm)
        labels[ndimage.binary_fill_holes(closed) & ~tubes & (labels == 0)] = side
    added = fill_airless(
        morphology.block_mean(hu, factors), labels, tubes, blocks(body, percent=MOSTLY), step,
        holes=blocks(hu < HOLE_HU, percent=HOLE_SHARE),
    )  # fmt: skip
    return np.asarray(morphology.enlarge(added, factors, hu.shape))


def fill_airless(
    hu: NDArray[Any], labels: Labels, airways: Mask, body: Mask, spacing_mm: Spacing,
    holes: Mask,
) -> Labels:  # fmt: skip
    """Find airless lung between the lungs as they are and the faces that they should have.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        On a grid of about `GRID_MM`, along the patient's axes.
    labels : ndarray of uint8, shape (z, y, x)
        1 right lung, 2 left.
    airways, body : ndarray of bool, shape (z, y, x)
    spacing_mm : sequence of 3 floats
    holes : ndarray of bool, shape (z, y, x)
        Voxels that hold a little air: bronchi within airless lung.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        What is to be added: 1 to the right lung, 2 to the left; nothing where one is not there.
    """
    added = np.zeros_like(labels)
    if not (labels == RIGHT).any() or not (labels == LEFT).any():
        return added
    middle = spine_middle(hu > BONE_HU, labels > 0, spacing_mm, behind_mm=0.0, least_mm3=SPINE_MM3)
    wall = find_wall(hu, labels > 0, body, spacing_mm, middle_voxel=middle)
    sigma = [SMOOTH_MM / step for step in spacing_mm]
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), sigma)
    free = (smooth > TISSUE_HU[0]) & (smooth < TISSUE_HU[1]) & (labels == 0) & ~airways
    halves = {}
    for side in (RIGHT, LEFT):
        parts = (half(part, side, middle) for part in (labels == side, free, wall.inside))
        halves[side] = Half(side, *parts)
    if not all(one.lung.any() for one in halves.values()):
        return added  # a lung wholly across the spine shows no faces on its own side
    # The smaller first: with the fluid around it, it is a mirror for the other.
    for side in sorted(halves, key=lambda side: np.count_nonzero(halves[side].lung)):
        one = halves[side]
        other = halves[RIGHT + LEFT - side]
        beside = beside_mediastinum(one, other, spacing_mm)
        room = beside & above_diaphragm(one, other, spacing_mm)
        # A lower lobe without air hides the diaphragm: its HU alone can tell it from the liver.
        room |= tissue.lightened(half(hu, side, middle), beside, spacing_mm)
        half(added, side, middle)[room] = side
        space = one.lung | morphology.opening(room, spacing_mm, tissue.OPEN_MM)
        halves[side] = dataclasses.replace(one, lung=space)
    for side in (RIGHT, LEFT):
        filling, lung = added == side, labels == side
        good = tissue.believed(hu, filling, lung, holes, wall.beyond, spacing_mm)
        # A lung with less air than this shows too little of its faces to go by them.
        if np.count_nonzero(good) > np.count_nonzero(lung):
            good = np.zeros_like(good)
        added[filling & ~good] = 0
    return added
