"""One scale for all networks."""

import numpy as np
import pytest

from lungfish.intensity import HuMap


def test_the_ends_and_water():
    mapped = HuMap().to_network(np.array([-1000, 400, 0, -300], np.int16))
    assert mapped == pytest.approx([-1, 1, 3 / 7, 0])
    assert mapped.dtype == np.float32


def test_metal_and_padding_are_clipped():
    assert HuMap().to_network(np.array([-3000, 30000], np.int16)).tolist() == [-1, 1]


def test_inverse_within_range():
    hu = np.arange(-1000, 401, dtype=np.int16)
    assert np.rint(HuMap().to_hu(HuMap().to_network(hu))).astype(int).tolist() == hu.tolist()
    assert HuMap().hu_per_unit == 700
