"""A lung in tiles is encoded as in one piece."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from lungfish import features
from lungfish.errors import InputError, Refusal
from lungfish.features import Settings, encode, encode_lungs, receptive_field
from lungfish.gmcae.encoder import Encoder
from lungfish.gmcae.network import build_encoder
from lungfish.intensity import HuMap
from lungfish.volume import Volume, axis_aligned_affine


@pytest.fixture(scope="module")
def encoder():
    model = build_encoder((3, 4, 5))
    return Encoder(model, HuMap(), 1.5, 5)


def test_receptive_field_is_what_poking_shows(encoder):
    field = receptive_field(encoder.model)
    assert (field.stride, field.first, field.last) == (8, -7, 21)
    assert field.halo == (8, 16)
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, (64, 8, 8)).astype(np.float32)
    code = encode(encoder.model, base, tile_voxel=64)
    seen = []
    for plane in range(64):
        poked = base.copy()
        poked[plane] += 3
        changed = np.abs(encode(encoder.model, poked, tile_voxel=64) - code)[3].max() > 0
        seen += [plane] if changed else []
    assert seen == list(range(8 * 3 - 7, 8 * 3 + 21 + 1))


@pytest.mark.parametrize("tile", [8, 24, 32])
def test_tiles_equal_one_piece(encoder, tile, rng):
    values = rng.normal(0, 1, (48, 40, 56)).astype(np.float32)
    whole = encode(encoder.model, values, tile_voxel=64)
    tiled = encode(encoder.model, values, tile_voxel=tile)
    assert whole.shape == (6, 5, 7, 5)
    assert np.abs(whole - tiled).max() <= 1e-6


def lung(rng, shape=(50, 44, 61)):
    labels = np.zeros(shape, np.uint8)
    labels[5:44, 3:40, 7:30] = 1
    labels[5:44, 3:40, 33:60] = 2
    hu = rng.integers(-1000, 200, shape).astype(np.int16)
    return Volume(hu, axis_aligned_affine((1.5, 1.5, 1.5), (-10, -20, -30))), labels


BOX = [[5, 3, 7], [44, 40, 60]]


def test_cells_know_their_place_and_their_share_of_lung(encoder, rng):
    volume, labels = lung(rng)
    found = encode_lungs(encoder, volume, labels, BOX, settings=Settings())
    assert found.grid.shape == (5, 5, 7, 5)
    assert found.step_mm == 12
    # The first cell's centre lies 3.5 voxels behind the box's first voxel centre.
    assert found.corner_mm == pytest.approx(
        [-10 + 1.5 * (7 + 3.5), -20 + 1.5 * (3 + 3.5), -30 + 1.5 * (5 + 3.5)]
    )
    assert found.inside.sum() * 8**3 == pytest.approx((labels > 0).sum())
    assert found.inside[0, 0, 0] == 1


def test_a_box_of_odd_size_does_not_depend_on_the_tiles(encoder, rng):
    volume, labels = lung(rng)
    whole = encode_lungs(encoder, volume, labels, BOX, settings=Settings(tile_voxel=128))
    tiled = encode_lungs(encoder, volume, labels, BOX, settings=Settings(tile_voxel=16))
    assert np.abs(whole.grid - tiled.grid).max() <= 1e-6
    assert np.array_equal(whole.inside, tiled.inside)


def test_a_length_that_would_shift_the_lattice_is_refused(encoder):
    with pytest.raises(InputError, match=r"multiples of 8 voxels, found \(16, 15, 16\)"):
        encode(encoder.model, np.zeros((16, 15, 16), np.float32), tile_voxel=16)


def test_a_mask_on_another_grid_is_refused(encoder, rng):
    volume, labels = lung(rng)
    with pytest.raises(InputError, match=r"differ in shape: \(49, 44, 61\) against \(50, 44, 61\)"):
        encode_lungs(encoder, volume, labels[:-1], BOX, settings=Settings())


def test_other_voxels_than_in_training_are_refused(encoder, rng):
    volume, labels = lung(rng)
    other = Volume(volume.hu, axis_aligned_affine((1, 1, 1), (0, 0, 0)))
    with pytest.raises(Refusal, match=r"1.000 mm, but the encoder was trained at 1.500 mm"):
        encode_lungs(encoder, other, labels, BOX, settings=Settings())


def test_store_round_trip_with_a_refused_patient(encoder, rng, tmp_path):
    volume, labels = lung(rng)
    found = encode_lungs(encoder, volume, labels, BOX, settings=Settings(tile_voxel=32))
    path = tmp_path / "shard-0.h5"
    features.write_features(path, {"b": found, "a": Refusal("missing-slices", "5 mm")})
    back = features.read_features(path)
    assert list(back) == ["b"]
    assert np.array_equal(back["b"].grid, found.grid)
    assert back["b"].corner_mm == pytest.approx(found.corner_mm)
    assert features.read_features(path, ["a"]) == {}
    import h5py

    with h5py.File(path) as store:
        assert store["a"].attrs["code"] == "missing-slices"
    with pytest.raises(InputError, match="is missing: rerun the features stage"):
        features.read_features(tmp_path / "none.h5")


def test_tiles_must_fit_the_stride():
    with pytest.raises(InputError, match="multiple of 8, found 20"):
        Settings(tile_voxel=20)
