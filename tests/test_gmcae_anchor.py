"""The linear start of the anchored design, and the rivals that a loss is held against."""

import imagecodecs
import numpy as np
import pytest
from scipy import stats

from lungfish.gmcae import linear, rivals
from lungfish.gmcae.anchor import fit_scales, fit_start
from lungfish.gmcae.batches import dequantise
from lungfish.gmcae.heads import head_of
from lungfish.gmcae.lapping import HALF, WIDTH, lap, lapping_matrix
from lungfish.gmcae.network import VOXELS, anchor, build_encoder, build_gmcae
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap

HU_MAP = HuMap()


def smooth_patches(rng, count, *, noise=0.05, edge=32):
    """Patches with a spectrum that falls as that of tissue does, each with noise of its own."""
    white = np.fft.rfftn(rng.standard_normal((count, edge, edge, edge)), axes=(1, 2, 3))
    k = [np.fft.fftfreq(edge)] * 2 + [np.fft.rfftfreq(edge)]
    size = np.sqrt(sum(each**2 for each in np.meshgrid(*k, indexing="ij")))
    shaped = np.fft.irfftn(white / (0.02 + size) ** 3, axes=(1, 2, 3))
    shaped *= 0.3 / shaped.std()
    grain = noise * rng.uniform(0.2, 3, (count, 1, 1, 1)) * rng.standard_normal(shaped.shape)
    return np.clip(shaped + grain, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def patches():
    return smooth_patches(np.random.default_rng(5), 40)


@pytest.fixture(scope="module")
def anchored(patches):
    settings = Settings(filters=(2, 2, 16))
    network = build_gmcae(settings)
    anchor(network, patches[:30], settings)
    return network, settings


def test_unlapping_undoes_lapping_and_outer_half_blocks_stay_as_they_are(rng):
    volumes = rng.standard_normal((2, 16, 32, 24)).astype(np.float32)
    mixed = lap(volumes)
    np.testing.assert_allclose(lap(mixed, inverse=True), volumes, atol=1e-5)
    corner = (slice(None), *[slice(0, HALF)] * 3)
    np.testing.assert_array_equal(mixed[corner], volumes[corner])
    assert np.abs(mixed - volumes).max() > 0.1


def test_lapping_leaves_one_grey_level_as_it_is():
    flat = np.full((1, 24, 16, 8), 0.37, np.float32)
    np.testing.assert_allclose(lap(flat), flat, atol=1e-6)


def test_lapping_is_symmetric_about_the_border_so_that_mirroring_a_volume_mirrors_it(rng):
    volumes = rng.standard_normal((1, 16, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(lap(volumes)[:, ::-1], lap(volumes[:, ::-1]), atol=1e-5)
    matrix = lapping_matrix()
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-6)
    assert matrix.shape == (WIDTH, WIDTH)


def test_lapped_blocks_lose_less_than_blocks_of_their_own(rng):
    smooth = smooth_patches(rng, 40, noise=0.0)
    errors = {}
    for lapped in (False, True):
        code = linear.fit_block_code(smooth[:30], channels=16, lapped=lapped)
        made = code.decode(code.encode(smooth[30:]))
        errors[lapped] = np.square(made - smooth[30:]).mean()
    assert errors[True] < errors[False]


def test_with_all_its_components_a_block_code_loses_nothing(rng):
    small = smooth_patches(rng, 64, edge=16)
    mean, analysis = linear.principal_components(small, channels=512, lapped=True)
    code = linear.BlockCode(mean, analysis, np.zeros((3, 3, 3, 512, 512), np.float32), lapped=True)
    made = code.encode(small) @ code.back + code.mean
    np.testing.assert_allclose(made, code.blocks(small), atol=1e-4)
    np.testing.assert_allclose(code.log_errors(small), np.log(linear.LEAST_ERROR), atol=0.01)


def test_a_log_error_is_that_of_the_noise_which_the_code_cannot_hold(rng):
    quiet = smooth_patches(rng, 60, noise=0.0)
    code = linear.fit_block_code(quiet, channels=31, lapped=False)
    sigma = 0.08
    noisy = quiet + sigma * rng.standard_normal(quiet.shape).astype(np.float32)
    found = np.exp(code.log_errors(noisy)) ** 2 - np.exp(code.log_errors(quiet)) ** 2
    # The projection leaves 512 - 31 of 512 parts of white noise.
    assert np.sqrt(found.mean()) == pytest.approx(sigma * np.sqrt(481 / 512), rel=0.02)


def test_before_its_first_step_the_network_is_the_linear_code(anchored, patches):
    network, settings = anchored
    start = fit_start(patches[:30], channels=16, components=settings.components)
    held = patches[30:]
    output = network.predict(held[..., None], batch_size=5, verbose=0)
    image = head_of(settings, voxels=VOXELS).image(output).reshape(held.shape)
    made = start.code.decode(start.code.encode(held))
    np.testing.assert_allclose(image, made, atol=2e-4)


def test_codes_start_with_zero_mean_and_unit_variance(anchored, patches):
    network, settings = anchored
    encoder = build_encoder(settings)
    for layer in encoder.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    codes = encoder.predict(patches[:30, ..., None], batch_size=5, verbose=0).reshape(-1, 16)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=0.02)


def test_before_its_first_step_it_is_sure_where_a_patch_is_quiet(anchored, rng):
    """White noise costs ln sigma + ln(2 pi e) / 2 nats a voxel, and nobody can know it better."""
    network, settings = anchored
    quiet = smooth_patches(rng, 6, noise=0.0)
    grain = rng.standard_normal(quiet.shape).astype(np.float32)
    nats = {}
    for sigma in (0.1, 0.3):
        held = quiet + np.float32(sigma) * grain
        target = dequantise(held.reshape(6, -1), HU_MAP, rng)
        output = network.predict(held[..., None], verbose=0)
        nats[sigma] = head_of(settings, voxels=VOXELS).nats(target, output).mean()
        truth = np.log(sigma) + 0.5 * np.log(2 * np.pi * np.e)
        assert truth < nats[sigma] < truth + 0.25
    assert nats[0.3] - nats[0.1] == pytest.approx(np.log(3), abs=0.15)


def test_before_its_first_step_it_beats_the_block_code_that_it_is_made_of(anchored, patches, rng):
    network, settings = anchored
    held = patches[30:]
    targets = dequantise(held, HU_MAP, rng)
    output = network.predict(held[..., None], verbose=0)
    nats = head_of(settings, voxels=VOXELS).nats(targets.reshape(len(held), -1), output).mean()
    found = rivals.rivals(patches[:30], held, targets, hu_map=HU_MAP, channels=16)
    others = {
        name: each.nats.mean() for name, each in found.items() if each.kind != "whole message"
    }
    assert nats < min(others.values())


def test_the_patch_head_starts_at_the_linear_code_too(patches):
    settings = Settings(filters=(2, 2, 16), head="patch", components=3)
    network = build_gmcae(settings)
    anchor(network, patches[:30], settings)
    held = patches[30:]
    image = head_of(settings, voxels=VOXELS).image(network.predict(held[..., None], verbose=0))
    start = fit_start(patches[:30], channels=16, components=3)
    made = start.code.decode(start.code.encode(held))
    np.testing.assert_allclose(image.reshape(held.shape), made, atol=2e-4)


def test_widths_are_those_that_errors_were_drawn_with(rng):
    few = rng.random(200_000) < 0.25
    errors = np.where(few, 0.3, 0.05) * rng.standard_normal(few.size)
    weights, sigmas = fit_scales(errors, 2)
    np.testing.assert_allclose(weights, [0.75, 0.25], atol=0.02)
    np.testing.assert_allclose(sigmas, [0.05, 0.3], rtol=0.03)


@pytest.fixture(scope="module")
def judged(patches):
    held = patches[30:]
    targets = dequantise(held, HU_MAP, np.random.default_rng(0))
    return held, targets, rivals.rivals(patches[:30], held, targets, hu_map=HU_MAP, channels=16)


def test_the_gaussians_are_those_of_scipy(judged, patches):
    _, targets, found = judged
    known = patches[:30].astype(np.float64)
    one = stats.norm(known.mean(), known.std()).logpdf(targets)
    np.testing.assert_allclose(found["one Gaussian"].nats, -one.mean((1, 2, 3)), rtol=1e-5)
    each = stats.norm(known.mean(0), known.std(0)).logpdf(targets)
    np.testing.assert_allclose(found["a Gaussian a voxel"].nats, -each.mean((1, 2, 3)), rtol=1e-4)


def test_ppca_is_the_multivariate_normal_with_its_covariance(rng, monkeypatch):
    """Maximum likelihood of Tipping and Bishop: W W' + sigma^2 I, from the eigenvalues."""
    monkeypatch.setattr(rivals, "COMPONENTS", 5)
    mixing = rng.standard_normal((64, 64)) * np.geomspace(1, 0.03, 64)
    known, held = (rng.standard_normal((n, 64)) @ mixing.T for n in (900, 7))
    shaped = [each.reshape(-1, 4, 4, 4).astype(np.float32) for each in (known, held)]
    found = rivals._components(shaped[0], shaped[1], shaped[1], HU_MAP)["PPCA-5"]
    values, vectors = np.linalg.eigh(np.cov(known.T, bias=True))
    left = values[:-5].mean()
    covariance = (vectors[:, -5:] * (values[-5:] - left)) @ vectors[:, -5:].T + left * np.eye(64)
    truth = stats.multivariate_normal(known.mean(0), covariance).logpdf(held)
    np.testing.assert_allclose(found.nats, -truth / 64, rtol=1e-3)


def test_a_lossless_file_gives_the_patch_back_and_costs_what_is_said(judged):
    held, _, found = judged
    hu = np.rint(HU_MAP.to_hu(held[0]) + 1000).astype(np.uint16).reshape(-1, 32)
    packed = imagecodecs.jpegxl_encode(hu, lossless=True, effort=7)
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(packed).reshape(hu.shape), hu)
    record = rivals.lossless(held[:1], hu_map=HU_MAP).record(HU_MAP)
    assert record["bits_per_voxel"] == pytest.approx(8 * len(packed) / hu.size)
    assert found["lossless codec, JPEG XL"].record(HU_MAP)["rmse_hu"] == 0


def test_cosines_keep_the_energy_that_they_say(judged, patches):
    held, _, found = judged
    all_of_them = linear.fit_cosines(patches[:30], numbers=32**3)
    np.testing.assert_allclose(all_of_them.reconstruct(held), held, atol=1e-5)
    assert 0 < found["DCT-1024"].record(HU_MAP)["rmse_hu"] < held.std() * 700
