"""A cube can be laid onto itself in 48 ways."""

import itertools

import numpy as np
import pytest

from lungfish.symmetry import apply, inverse, symmetries

CUBE = np.arange(27).reshape(3, 3, 3)


def test_there_are_48_distinct_ones_and_the_first_does_nothing():
    images = {apply(one, CUBE).tobytes() for one in symmetries()}
    assert len(images) == len(symmetries()) == 48
    assert np.array_equal(apply(symmetries()[0], CUBE), CUBE)


def test_each_has_its_inverse_among_them():
    for one in symmetries():
        assert inverse(one) in symmetries()
        assert np.array_equal(apply(inverse(one), apply(one, CUBE)), CUBE)


def test_two_in_a_row_are_one_of_them():
    images = {apply(one, CUBE).tobytes() for one in symmetries()}
    for one, two in itertools.product(symmetries()[::5], symmetries()):
        assert apply(two, apply(one, CUBE)).tobytes() in images


@pytest.mark.parametrize("k", [0, 13, 47])
def test_neighbours_stay_neighbours_and_nothing_is_lost(k, rng):
    patch = rng.integers(-1000, 400, (2, 5, 5, 5))
    image = apply(symmetries()[k], patch)
    assert np.array_equal(np.sort(image, axis=None), np.sort(patch, axis=None))
    assert image[0, 2, 2, 2] == patch[0, 2, 2, 2]
