"""Places and values survive resampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from lungfish import volume
from lungfish.volume import Volume, axis_aligned_affine, resample_isotropic, resampled_length

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


@pytest.mark.parametrize(
    ("count", "step", "new_step", "expected"),
    [(133, 2.5, 1, 331), (512, 0.7, 1, 359), (1, 5, 1, 1)],
)
def test_lengths_keep_first_and_last_centre(count, step, new_step, expected):
    assert resampled_length(count, step, new_step) == expected


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("new_step", [0.5, 1.0, 2.2])
def test_a_straight_line_stays_one(order, new_step):
    matrix = volume.resampling_matrix(60, 1.1, round(59 * 1.1 / new_step), new_step, order=order)
    line = matrix @ np.arange(60.0)
    expected = np.arange(len(line)) * new_step / 1.1
    assert matrix.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert line[8:-8] == pytest.approx(expected[8:-8], abs=2e-2 if order == 3 else 1e-3)


def test_cubic_equals_scipy_where_nothing_shrinks(rng):
    hu = rng.integers(-900, 100, (12, 13, 14)).astype(np.int16)
    made = resample_isotropic(Volume(hu, axis_aligned_affine((2, 2, 2), (0, 0, 0))), 1.0).hu
    places = np.meshgrid(*[np.arange(size) / 2 for size in made.shape], indexing="ij")
    truth = ndimage.map_coordinates(hu.astype(float), places, order=3, mode="mirror")
    assert np.abs(made - np.clip(truth, hu.min(), hu.max())).max() <= 0.51


def test_shrinking_does_not_alias():
    stripes = np.where(np.arange(64) % 2, 500, -500).astype(np.int16)  # at Nyquist: cannot be kept
    hu = np.ascontiguousarray(np.broadcast_to(stripes, (4, 4, 64)))
    made = resample_isotropic(Volume(hu, axis_aligned_affine((3, 3, 1), (0, 0, 0))), 3.0)
    assert np.abs(made.hu[..., 2:-2]).max() < 60


def test_no_value_beyond_the_source_is_invented():
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[4:] = 1200
    made = resample_isotropic(Volume(hu, axis_aligned_affine((2, 2, 2), (0, 0, 0))), 0.7)
    assert (made.hu.min(), made.hu.max()) == (-1000, 1200)
