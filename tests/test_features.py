"""A lung in tiles is encoded as in one piece."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from lungfish import features
from lungfish.errors import InputError, Refusal
from lungfish.features import Settings, encode, encode_lungs
from lungfish.gmcae.encoder import Encoder
from lungfish.gmcae.field import receptive_field
from lungfish.gmcae.network import build_encoder, build_gmcae, encoder_of
from lungfish.gmcae.settings import Settings as GmcaeSettings
from lungfish.intensity import HuMap
from lungfish.volume import Volume, axis_aligned_affine

PRESETS = {
    "anchored": {"filters": (3, 4, 5)},
    "anchored, normalised": {"filters": (3, 4, 5), "normalisation": "channels"},
    "layered": {"filters": (3, 4, 5), "design": "layered"},
    "layered, normalised, residual": {
        "filters": (3, 4, 5), "design": "layered", "normalisation": "channels", "residual": True,
    },
}  # fmt: skip
SIZES = {"default": {}, "kdsb17": {"filters": (64, 128, 256), "design": "layered"}}
MAP = HuMap()


def random_encoder(**settings):
    """Return an encoder with no weight at 0, or a path that starts at 0 would hide its reach."""
    model = build_encoder(GmcaeSettings(**settings))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def encoder():
    return Encoder(random_encoder(**PRESETS["layered"]), MAP, 1.5, 5)


def noise(rng, shape):
    return rng.integers(-1000, 400, shape).astype(np.int16)


def relative(one, other):
    """Return the largest difference, relative to the largest value."""
    return np.abs(one - other).max() / np.abs(other).max()


@pytest.mark.parametrize("name", PRESETS)
def test_receptive_field_holds_what_poking_shows(name, rng):
    model = random_encoder(**PRESETS[name])
    field = receptive_field(model)
    assert field.stride == 8
    base = noise(rng, (72, 8, 8))
    code = encode(model, base, hu_map=MAP, tile_voxel=72)
    seen = []
    for plane in range(72):
        poked = base.copy()
        poked[plane] = np.where(poked[plane] > 0, -900, 350)
        found = encode(model, poked, hu_map=MAP, tile_voxel=72)
        seen += [plane] if np.abs(found - code)[4].max() > 0 else []
    first, last = 8 * 4 + field.first, 8 * 4 + field.last
    assert first <= seen[0] <= seen[-1] <= last
    if "anchored" not in name:
        assert seen == list(range(first, last + 1))
        assert (field.first, field.last, field.halo) == (-7, 21, (8, 16))


@pytest.mark.parametrize("tile", [16, 24])
@pytest.mark.parametrize("name", PRESETS)
def test_tiles_equal_one_piece(name, tile, rng):
    model = random_encoder(**PRESETS[name])
    hu = noise(rng, (48, 40, 56))
    whole = encode(model, hu, hu_map=MAP, tile_voxel=64)
    tiled = encode(model, hu, hu_map=MAP, tile_voxel=tile)
    assert whole.shape == (6, 5, 7, 5)
    assert relative(tiled, whole) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_tiles_of_the_full_size_equal_one_piece(name, rng):
    model = random_encoder(**SIZES[name])
    hu = noise(rng, (56, 48, 72))
    whole = encode(model, hu, hu_map=MAP, tile_voxel=128)
    assert relative(encode(model, hu, hu_map=MAP, tile_voxel=32), whole) <= 1e-4


def test_what_is_encoded_is_what_training_saw(rng):
    """The code of a patch in one piece is that of the whole network, for every preset."""
    hu = noise(rng, (1, 32, 32, 32))
    for settings in PRESETS.values():
        network = build_gmcae(GmcaeSettings(**settings))
        encoder = encoder_of(network, GmcaeSettings(**settings))
        alone = np.asarray(encoder(MAP.to_network(hu)[..., None]))[0]
        assert relative(encode(encoder, hu[0], hu_map=MAP, tile_voxel=32), alone) <= 1e-6


def functional(*layers):
    import keras

    inputs = x = keras.Input((None, None, None, 1))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_padding_of_every_kind_is_tiled_exactly(rng):
    from keras import layers

    model = functional(
        layers.ZeroPadding3D(1), layers.Conv3D(3, 3, 2), layers.ReLU(),
        layers.MaxPooling3D(2), layers.Conv3D(4, 3, padding="same"),
        layers.AveragePooling3D(2, padding="same"),
    )  # fmt: skip
    field = receptive_field(model)
    # By hand: sees -1..1 of 2 j; pooled -1..3 of 4 j; then one of 4 more on both sides; then two.
    assert (field.stride, field.first, field.last) == (8, -5, 11)
    hu = noise(rng, (40, 48, 32))
    whole = encode(model, hu, hu_map=MAP, tile_voxel=64)
    assert relative(encode(model, hu, hu_map=MAP, tile_voxel=16), whole) <= 1e-6


def test_layers_whose_reach_is_unknown_are_refused():
    from keras import layers

    for layer, words in (
        (layers.GroupNormalization(1), "how far a GroupNormalization looks is unknown"),
        (layers.GlobalAveragePooling3D(keepdims=True), "how far a GlobalAveragePooling3D looks"),
        (layers.Conv3D(1, (3, 3, 1)), r"one window for all axes, found \(3, 3, 1\)"),
        (layers.Conv3D(1, 3, dilation_rate=2), "without dilation, found 'valid' and 2"),
    ):
        model = functional(layers.Conv3D(2, 3, padding="same"), layer)
        with pytest.raises(InputError, match=words):
            receptive_field(model)


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


@pytest.mark.parametrize("name", PRESETS)
def test_a_box_of_odd_size_does_not_depend_on_the_tiles(name, rng):
    encoder = Encoder(random_encoder(**PRESETS[name]), MAP, 1.5, 5)
    volume, labels = lung(rng)
    whole = encode_lungs(encoder, volume, labels, BOX, settings=Settings(tile_voxel=128))
    tiled = encode_lungs(encoder, volume, labels, BOX, settings=Settings(tile_voxel=16))
    assert whole.grid.shape == (5, 5, 7, 5)
    assert relative(tiled.grid, whole.grid) <= 1e-4
    assert np.array_equal(whole.inside, tiled.inside)


def test_a_length_that_would_shift_the_lattice_is_refused(encoder):
    with pytest.raises(InputError, match=r"multiples of 8 voxels, found \(16, 15, 16\)"):
        encode(encoder.model, np.zeros((16, 15, 16), np.int16), hu_map=MAP, tile_voxel=16)


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
