"""A proposal of the network taken to the volume's own grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.errors import InputError
from lungfish.lungs import morphology
from lungfish.lungs.edges import closed_lungs, draw_edges
from lungfish.lungs.morphology import Mask, Spacing
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.segmentation import Found
from lungfish.lungs.settings import Settings
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.lungs.surroundings import look_around
from lungfish.lungs.unet.grid import STEP_MM, along, block_centres_mm, coarse_grid
from lungfish.lungs.unet.proposal import Proposal
from lungfish.volume import Volume

AIR_PROBABILITY = 0.25
"""Air counts as lung from this probability on: its rim is where the HU say."""
TISSUE_PROBABILITY = 0.6
"""Tissue counts as lung from this on where it is thick: masses, consolidation."""
THICK_MM = 3.0
"""Radius in mm of the ball that fits into tissue that is thick; the chest wall on which a 4 mm
voxel at the rim encroaches is thinner. At least a voxel."""
PIECE_LITRE = 0.03
"""Pieces smaller than this, in litres, that are joined to no lung are left out: bowel gas, the
table."""
IN_BODY = 0.5
"""And pieces of which less than this share lies in the body."""
PROBABILITY_OF = np.float32(1 / 255)

Floats = NDArray[np.float32]


def fit(volume: Volume, proposal: Proposal, *, settings: Settings) -> Found:
    """Take a proposal to a volume's own grid: sure inside whatever its HU, the rim as the HU say.

    Parameters
    ----------
    volume : Volume
    proposal : Proposal
        Of this very volume.
    settings : Settings
        Of the lungs stage: threshold, working grid, closing and airways are used as the classical
        method uses them.

    Returns
    -------
    Found
        On the patient's axes, as from `segmentation.search`; labels all 0 where nothing is
        proposed.

    Raises
    ------
    InputError
        If the proposal's grid is not this volume's.
    """
    check_grid(volume, proposal)
    turn = turn_of(volume.affine)
    hu = turn.forward(volume.hu)
    spacing_mm = turn.spacing(volume.spacing_mm)
    scan = look_around(hu, spacing_mm, settings=settings)
    step, tubes, factors = scan.step, scan.airways, scan.factors
    air = scan.hu < settings.threshold_hu
    right, left = (sample(one, scan.hu.shape, spacing_mm, factors) for one in proposal.probability)
    aired, solid = lung_of(right + left, air & ~tubes.mask, step)
    side = np.where(right >= left, np.uint8(RIGHT), np.uint8(LEFT))
    rough = tidy(side * (aired | solid), scan.body, step)
    closed, leak = closed_lungs(
        rough * aired, rough * solid, tubes.mask, step, closing_mm=settings.closing_mm
    )
    labels = draw_edges(
        hu, rough * aired, closed, tubes.mask, factors, threshold_hu=settings.threshold_hu
    )
    return Found(labels, leak * int(np.prod(factors)), tubes.found)


def check_grid(volume: Volume, proposal: Proposal) -> None:
    """Refuse a proposal that was made of another volume."""
    shape, affine = coarse_grid(volume)
    found = proposal.probability.shape[1:]
    if found != shape or not np.allclose(proposal.affine, affine, atol=0.01):
        raise InputError(
            f"the U-Net's proposal has the grid {found}, expected {shape} at the volume's place: "
            "it was made of another volume; run lungs_unet again"
        )


def sample(
    probability: NDArray[np.uint8], shape: tuple[int, ...], spacing_mm: Spacing,
    factors: tuple[int, int, int],
) -> Floats:  # fmt: skip
    """Interpolate a probability on the blocks of voxels of the working grid, 0..1."""
    values: NDArray[Any] = probability.astype(np.float32) * PROBABILITY_OF
    for axis, (edge, factor) in enumerate(zip(spacing_mm, factors, strict=True)):
        places_mm = STEP_MM * np.arange(values.shape[axis])
        blocks_mm = block_centres_mm(shape[axis], edge, factor)
        values = along(values, axis, places_mm, np.clip(blocks_mm, 0, places_mm[-1]))
    return np.asarray(np.clip(values, 0, 1), np.float32)


def lung_of(probability: Floats, air: Mask, step: Spacing) -> tuple[Mask, Mask]:
    """Return which of the air is lung, and which of the tissue.

    At the rim the probability of a 4 mm voxel says less than the HU do, so tissue there counts as
    lung only where it is thick. Vessels within come with the closing.
    """
    aired = air & (probability > AIR_PROBABILITY)
    tissue = ~air & (probability > TISSUE_PROBABILITY)
    return aired, morphology.opening(tissue, step, max(THICK_MM, 1.01 * min(step)))


def tidy(labels: Labels, body: Mask, step: Spacing) -> Labels:
    """Leave out pieces that are small, or not in the body."""
    result = labels.copy()
    for side in (RIGHT, LEFT):
        pieces, _ = ndimage.label(labels == side)
        sizes = np.bincount(pieces.ravel())
        within = np.bincount(pieces[body], minlength=len(sizes))
        wrong = sizes * float(np.prod(step)) * 1e-6 < PIECE_LITRE
        wrong |= within < IN_BODY * sizes
        wrong[0] = False
        result[wrong[pieces]] = 0
    return result
