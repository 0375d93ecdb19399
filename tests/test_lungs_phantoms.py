"""The exam: lungs of diseased digital chests, whose truth is known, by designs fixed beforehand.

Nobody looks at the scoring seeds while tuning; ``phantom.TUNING_SEEDS`` are for that. Truth is on
the acquired grid: a voxel of which more than half is lung, effusion outside, pleural mass and
consolidation inside. That the designs hold every pair of factors is tested with them, in
``test_phantom_designs.py``.
"""

import dataclasses
import functools

import numpy as np
import pytest

from lungfish import lungs, phantom

FAST_SEEDS = phantom.SCORING_SEEDS[::5]
SIDES = (1, 2)
THIN_MM = 5.0
LEAST_MEAN_THIN, LEAST_MEAN_THICK, LEAST = 0.985, 0.975, 0.95


@dataclasses.dataclass(frozen=True)
class Score:
    """What was found of one digital patient: Dice of both lungs, and the share of each found."""

    seed: int
    slice_mm: float
    dice: float
    found: tuple[float, float]


def score(seed):
    case = phantom.make_case(seed)
    labels = lungs.segment(case.volume, settings=lungs.Settings()).labels
    both = np.count_nonzero((labels > 0) & (case.lungs > 0))
    sizes = np.count_nonzero(labels) + np.count_nonzero(case.lungs)
    found = tuple(float(np.mean(labels[case.lungs == side] == side)) for side in SIDES)
    return Score(seed, case.design.slice_mm, 2 * both / sizes, found)


@pytest.fixture(scope="module")
def scored():
    """Return a function from a seed to its score, which is computed once."""
    return functools.cache(score)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=() if seed in FAST_SEEDS else pytest.mark.slow)
        for seed in phantom.SCORING_SEEDS
    ],
)
def test_no_diseased_chest_falls_short_or_loses_a_lung(seed, scored):
    assert scored(seed).dice >= LEAST, scored(seed)
    assert min(scored(seed).found) > 0.5, scored(seed)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(FAST_SEEDS, id="twelve"),
        pytest.param(phantom.SCORING_SEEDS, id="sixty", marks=pytest.mark.slow),
    ],
)
def test_the_mean_dice_is_high_enough(seeds, scored):
    scores = [scored(seed) for seed in seeds]
    thin = [each.dice for each in scores if each.slice_mm <= THIN_MM]
    thick = [each.dice for each in scores if each.slice_mm > THIN_MM]
    assert np.mean(thin) >= LEAST_MEAN_THIN, scores
    assert np.mean(thick) >= LEAST_MEAN_THICK, scores
