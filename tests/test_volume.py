"""A volume knows where its voxels lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lungfish import volume
from lungfish.volume import Volume, axis_aligned_affine

BOX = axis_aligned_affine((2.5, 0.7, 0.8), (-10, 20, -30))


@given(
    index=st.tuples(*[st.floats(-100, 500)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
)
def test_index_to_mm_and_back(index, spacing, origin):
    affine = axis_aligned_affine(spacing, origin)
    place = volume.to_mm(affine, np.array(index))
    assert place == pytest.approx(np.array(origin) + np.multiply(index, spacing)[::-1], abs=1e-6)
    assert volume.to_index(affine, place) == pytest.approx(np.array(index), abs=1e-6)


def test_quaternions_are_those_of_scipy():
    turns = Rotation.concatenate([Rotation.create_group("O"), Rotation.random(200, rng=0)])
    for turn in turns:
        found = volume.quaternion_of(turn.as_matrix())
        expected = turn.as_quat(canonical=True, scalar_first=True)
        assert found == pytest.approx(expected, abs=1e-9)


def test_spacing_and_litre():
    cube = Volume(np.zeros((10, 10, 10), np.int16), BOX.copy())
    assert cube.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert cube.voxel_litre == pytest.approx(2.5 * 0.7 * 0.8 * 1e-6)


def test_a_volume_is_frozen_and_typed():
    cube = Volume(np.zeros((2, 2, 2), np.int16), np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        cube.hu[0, 0, 0] = 1
    with pytest.raises(TypeError, match="expected int16 in 3 axes, found float64"):
        Volume(np.zeros((2, 2, 2)), np.eye(4))
