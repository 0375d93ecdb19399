"""What the model draws comes from its own density, and from codes like the training patches'."""

import h5py
import numpy as np
import pytest

from lungfish.gmcae import samples
from lungfish.gmcae.network import build_gmcae
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.report.autoencoders import read_examples

HU_MAP = HuMap()
DESIGNS = {
    "anchored voxel": Settings(filters=(4, 4, 8)),
    "layered patch": Settings(design="layered", head="patch", filters=(4, 4, 8), components=3),
}


@pytest.fixture
def patches(rng):
    return rng.normal(-800, 90, (6, 32, 32, 32)).astype(np.int16)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_two_halves_make_the_whole(design, patches):
    network = build_gmcae(DESIGNS[design])
    encoder, decoder = samples.halves(network)
    values = HU_MAP.to_network(patches[:2])[..., None]
    np.testing.assert_allclose(
        decoder.predict_on_batch(encoder.predict_on_batch(values)),
        network.predict_on_batch(values),
        atol=1e-5,
    )


def test_drawn_codes_have_the_mean_and_the_covariance_of_the_given_ones(rng):
    mixing = rng.normal(size=(6, 6))
    codes = (rng.normal(size=(400, 6)) @ mixing + 3).reshape(400, 1, 1, 2, 3).astype(np.float32)
    drawn = samples.draw_codes(codes, 60_000, rng).reshape(-1, 6)
    given = codes.reshape(-1, 6)
    scale = np.cov(given.T).diagonal().max()
    np.testing.assert_allclose(drawn.mean(axis=0), given.mean(axis=0), atol=0.03 * scale**0.5)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(given.T), atol=0.04 * scale)
    assert samples.draw_codes(codes, 50, rng, lowest=0.0).min() == 0


@pytest.mark.parametrize("design", DESIGNS)
def test_samples_are_stored_and_read_for_the_pages(tmp_path, design, patches):
    settings = DESIGNS[design]
    network = build_gmcae(settings)
    one, same = (
        samples.draw_samples(network, patches[:2], patches, settings=settings, hu_map=HU_MAP)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.free, same.free)
    assert one.responsibility.shape == (2, 32, 32, settings.components)
    shares = one.responsibility.sum(axis=-1, dtype=int)
    assert np.abs(shares - 255).max() <= settings.components
    with h5py.File(tmp_path / "examples.h5", "w") as store:
        store["input"] = store["reconstruction"] = patches[:2]
        store["component"] = np.zeros(2, int)
        samples.write_samples(store, one)
    found = read_examples(tmp_path / "examples.h5")
    assert found is not None
    np.testing.assert_array_equal(found.samples.drawn, one.drawn)
    assert found.samples.fitted == 6
