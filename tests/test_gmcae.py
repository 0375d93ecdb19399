"""The mixture density is the one that Bishop wrote down, and the network learns with it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import math

import keras
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from lungfish.errors import InputError, Refusal
from lungfish.gmcae import checkpoint, density
from lungfish.gmcae.artefacts import write, write_refused
from lungfish.gmcae.backend import save_network
from lungfish.gmcae.batches import (
    common_spacing_mm,
    epoch_batches,
    fixed_batches,
    split_patches,
    validation_patients,
)
from lungfish.gmcae.board import write_events
from lungfish.gmcae.density import GaussianMixtureLoss, negative_log_likelihood
from lungfish.gmcae.encoder import load_encoder
from lungfish.gmcae.heads import head_of
from lungfish.gmcae.loading import places
from lungfish.gmcae.network import build_encoder, build_gmcae, encoder_of
from lungfish.gmcae.sentinel import Sentinel, check_validation
from lungfish.gmcae.settings import Settings
from lungfish.gmcae.training import compile_network, components_used, judge, train
from lungfish.intensity import HuMap
from lungfish.records import read_json, read_table
from lungfish.settings import parse
from tests.conftest import CLONE

TINY = Settings(filters=(2, 2, 4), components=2, batch_size=4, steps_per_epoch=3, epochs=3)
KDSB17 = dataclasses.replace(TINY, design="layered", head="patch", symmetries="cube")
VOXELS = 32**3


def pack(log_priors, variances, means):
    """Lay parameters out as the network does: (n, m), (n, m), (n, c, m)."""
    parts = (log_priors, variances, means.reshape(len(means), -1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def scipy_loss(target, log_priors, variances, means):
    """Return the same by scipy.stats, in float64, a voxel and a component at a time."""
    logs = stats.norm.logpdf(target[..., None], means, np.sqrt(variances)[:, None]).sum(axis=1)
    return -special.logsumexp(log_priors + logs, axis=1)


def random_mixture(rng, n, c, m, variances):
    target = rng.normal(0, 1, (n, c)).astype(np.float32)
    means = (target[..., None] + rng.normal(0, 1, (n, c, m)) * np.sqrt(variances)[:, None]).astype(
        np.float32
    )
    log_priors = special.log_softmax(rng.normal(0, 20, (n, m)), axis=1).astype(np.float32)
    return target, log_priors, variances.astype(np.float32), means


@pytest.mark.parametrize("c", [1, 100, 32768])
@pytest.mark.parametrize("m", [1, 2, 8])
@pytest.mark.parametrize("exponent", [-6, -3, 0, 3, 6])
def test_loss_equals_an_independent_computation(rng, c, m, exponent):
    variances = 10.0**exponent * rng.uniform(0.5, 1, (3, m))
    parts = random_mixture(rng, 3, c, m, variances)
    found = negative_log_likelihood(parts[0], pack(*parts[1:]), components=m, voxels=c)
    expected = scipy_loss(*(part.astype(np.float64) for part in parts))
    assert np.asarray(found) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_loss_keeps_six_digits_over_a_whole_patch_of_any_error(rng):
    c, m = 32768, 4
    target, means = rng.normal(0, 1, (4, c)), rng.normal(0, 1, (4, c, m))
    variances = 10 ** rng.uniform(-6, 6, (4, m))
    log_priors = special.log_softmax(rng.normal(0, 30, (4, m)), axis=1)
    parts = [part.astype(np.float32) for part in (target, log_priors, variances, means)]
    found = negative_log_likelihood(parts[0], pack(*parts[1:]), components=m, voxels=c)
    expected = scipy_loss(*(part.astype(np.float64) for part in parts))
    assert np.asarray(found) == pytest.approx(expected, rel=1e-6)


def test_priors_near_zero_count_as_they_should(rng):
    parts = list(random_mixture(rng, 2, 4, 2, np.ones((2, 2))))
    parts[1] = np.array([[-80.0, 0.0], [0.0, -1e4]], np.float32)
    found = negative_log_likelihood(parts[0], pack(*parts[1:]), components=2, voxels=4)
    expected = scipy_loss(*(part.astype(np.float64) for part in parts))
    assert np.asarray(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("variance", [1e-6, 1.0, 1e6])
def test_gradient_is_finite_at_the_extremes(rng, m, variance):
    import tensorflow as tf

    target, _, variances, means = random_mixture(rng, 2, 64, m, np.full((2, m), variance))
    log_priors = np.full((2, m), -60.0, np.float32)
    log_priors[:, 0] = 0
    output = tf.Variable(pack(log_priors, variances, means + 1))
    with tf.GradientTape() as tape:
        loss = GaussianMixtureLoss(m, 64)(target, output)
    assert np.isfinite(tape.gradient(loss, output)).all()


def test_reference_values():
    def loss(target, log_priors, variances, means):
        parts = (np.atleast_2d(np.float32(part)) for part in (log_priors, variances))
        c = np.size(target)
        output = pack(*parts, np.reshape(means, (1, c, -1)))
        target = np.reshape(np.float32(target), (1, c))
        return float(
            negative_log_likelihood(target, output, components=np.size(variances), voxels=c)[0]
        )

    t = np.zeros(32768)
    assert loss(t, np.log([0.3, 0.7]), [1, 1], np.zeros((32768, 2))) == pytest.approx(30111.7779)
    assert loss([0.0], [0.0], [1.0], [1.0]) == pytest.approx(1.4189385)
    t = np.array([0.1, -0.2, 0.3, 0.0])
    means = np.stack([t + 0.1, t - 0.5], axis=1)
    assert loss(t, np.log([0.3, 0.7]), [0.05, 2], means) == pytest.approx(-0.71343052, rel=1e-5)


def test_the_density_integrates_to_one(rng):
    x = np.linspace(-30, 30, 20001, dtype=np.float32)[:, None]
    output = np.repeat(
        pack(np.log([[0.3, 0.7]]), [[0.5, 4.0]], np.array([[[-1.0, 2.0]]])), len(x), 0
    )
    nats = np.asarray(negative_log_likelihood(x, output, components=2, voxels=1))
    assert np.trapezoid(np.exp(-nats), x[:, 0]) == pytest.approx(1, abs=1e-4)


def test_the_order_of_components_does_not_matter(rng):
    target, log_priors, variances, means = random_mixture(
        rng, 3, 50, 4, rng.uniform(0.1, 2, (3, 4))
    )
    order = [2, 0, 3, 1]
    one = negative_log_likelihood(
        target, pack(log_priors, variances, means), components=4, voxels=50
    )
    two = pack(log_priors[:, order], variances[:, order], means[..., order])
    other = negative_log_likelihood(target, two, components=4, voxels=50)
    assert np.asarray(one) == pytest.approx(np.asarray(other), rel=1e-5)


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_a_variance_is_positive_and_finite_whatever_the_network_says(value):
    for name in ("floored", "shifted_elu"):
        found = float(density.VARIANCES[name](np.float32(value)))
        assert found > 0
        assert math.isfinite(math.log(found)) or name == "shifted_elu"
    assert math.isfinite(float(density.floored_variance(np.float32(value))))


def test_the_original_variance_is_exactly_zero_in_float32():
    assert float(density.kdsb17_variance(np.float32(-18))) == 0
    x = np.array([-10, -1, 0, 3], np.float32)
    assert np.asarray(density.kdsb17_variance(x)) == pytest.approx(
        np.asarray(density.shifted_elu(x)), rel=1e-6
    )


def test_activations_where_they_are_known():
    x = np.array([-20.0, -1.0, 0.0, 2.0], np.float32)
    floor = density.SMALLEST_SIGMA**2
    expected = [floor, math.exp(-1), 1, 3]
    assert np.asarray(density.shifted_elu(x)) == pytest.approx(expected, rel=1e-5)
    sigma = np.sqrt(np.asarray(density.floored_variance(x)))
    assert sigma[0] == pytest.approx(density.SMALLEST_SIGMA, rel=1e-4)
    assert sigma[3] == pytest.approx(math.exp(2), rel=1e-3)
    logs = np.asarray(density.log_softmax(np.array([[1000.0, 0.0, -1000.0]], np.float32)))
    assert np.exp(logs).sum() == pytest.approx(1)
    assert np.isfinite(logs).all()


def test_reconstruction_goes_by_the_prior_and_not_by_the_smallest_variance(rng):
    means = np.stack([np.zeros((1, 8)), np.ones((1, 8))], axis=-1)
    output = pack(np.log([[0.999, 0.001]]), np.array([[1.0, 1e-6]]), means)
    made, chosen = density.reconstruct(output, components=2, voxels=8)
    assert chosen.tolist() == [0]
    assert made.tolist() == [[0.0] * 8]


def preset(name, **changed):
    """Return the settings of a preset in config/."""
    section = yaml.safe_load((CLONE / f"config/{name}.yaml").read_text())["gmcae"]
    return parse(Settings, section | changed)


@pytest.mark.parametrize(
    ("m", "total"), [(1, 8_662_149), (2, 8_664_136), (4, 8_668_110), (8, 8_676_058)]
)
def test_parameter_counts_of_kdsb17(m, total):
    network = build_gmcae(preset("kdsb17", components=m))
    assert network.count_params() == total == 8_660_162 + 1_987 * m
    assert network.output_shape == (None, m * (32768 + 2))
    names = {layer.name for layer in network.layers}
    assert {"encoder_conv_1-2_0", "decoder_conv_2-1_2", "mu_conv3d", "sigma_sq", "gmd"} <= names


def test_encoder_of_kdsb17():
    encoder = build_encoder(preset("kdsb17"))
    assert encoder.count_params() == 3_430_976


@pytest.mark.parametrize(
    ("settings_", "last"),
    [(TINY, "code"), (KDSB17, "encoder_act_2-1_2")],
    ids=["default", "kdsb17"],
)
def test_encoder_takes_any_size_with_the_same_weights(rng, settings_, last):
    network = build_gmcae(settings_)
    encoder = encoder_of(network, settings_)
    patch = rng.normal(0, 1, (1, 32, 32, 32, 1)).astype(np.float32)
    inner = keras.Model(network.input, network.get_layer(last).output)
    assert np.asarray(encoder(patch)) == pytest.approx(np.asarray(inner(patch)), abs=1e-6)
    assert encoder(np.zeros((1, 40, 8, 24, 1), np.float32)).shape == (1, 5, 1, 3, 4)


def test_means_lie_voxel_major_and_mixture_minor(rng):
    network = build_gmcae(KDSB17)
    patch = rng.normal(0, 1, (1, 32, 32, 32, 1)).astype(np.float32)
    maps = keras.Model(network.input, network.get_layer("mu_conv3d").output)(patch)
    _, _, means = density.split_output(network(patch), 2, 32768)
    assert np.array_equal(np.asarray(means).reshape(32, 32, 32, 2), np.asarray(maps)[0])


def toy(rng, patients=5, patches=6):
    z, y, x = np.indices((32, 32, 32))
    # In the middle between voxels, so that a turned patch is as likely as the patch.
    ball = ((z - 15.5) ** 2 + (y - 15.5) ** 2 + (x - 15.5) ** 2 < 100) * 900 - 850
    return {
        f"p{k}": (ball + rng.normal(0, 20, (patches, 32, 32, 32))).astype(np.int16)
        for k in range(patients)
    }


def test_validation_patients_are_never_learned_from_and_stay_when_one_is_added():
    names = [f"p{k}" for k in range(40)]
    held = validation_patients(names, 0.2)
    more = validation_patients([*names, "newcomer"], 0.2)
    assert 2 <= len(held) <= 16
    assert set(more) - {"newcomer"} == set(held)
    assert validation_patients(["a"], 0.2) == ["a"]
    assert len(validation_patients(["a", "b"], 0.0)) == 1
    assert len(validation_patients(["a", "b"], 1.0)) == 1


def test_the_order_of_patients_does_not_matter(rng):
    patches = toy(rng, patches=2)
    one = split_patches(patches, TINY)
    two = split_patches(dict(reversed(patches.items())), TINY)
    assert np.array_equal(one.training, two.training)
    assert np.array_equal(one.validation, two.validation)


def test_patients_of_different_voxel_size_are_not_mixed():
    assert common_spacing_mm({"a": 1.5, "b": 1.5000001}) == 1.5
    assert common_spacing_mm({}) == 0
    with pytest.raises(InputError, match=r"b have voxels of 1.000 mm and those of a of 1.500 mm"):
        common_spacing_mm({"a": 1.5, "b": 1.0})


def test_no_patches_at_all_is_refused():
    with pytest.raises(Refusal, match="no accepted patient has patches"):
        split_patches({"a": np.zeros((0, 32, 32, 32), np.int16)}, TINY)


def test_every_batch_is_a_fresh_array_and_the_same_when_asked_again(rng):
    split = split_patches(toy(rng), TINY)

    def batches(epoch):
        return list(
            epoch_batches(split.training, settings=TINY, hu_map=HuMap(), seed=1, epoch=epoch)
        )

    one, again, other = batches(1), batches(1), batches(2)
    before = split.training.copy()
    for (a, t), (b, _) in zip(one, again, strict=True):
        assert np.array_equal(a, b)
        assert not np.shares_memory(a, b)
        assert not np.shares_memory(a, t)
        # The target is the input, spread over the whole HU that it stands for.
        spread_hu = (t - a.reshape(len(a), -1)) * 700
        assert np.abs(spread_hu).max() <= 0.5001
        assert spread_hu.std() == pytest.approx(1 / math.sqrt(12), rel=0.02)
        b[:] = 7
    assert np.array_equal(split.training, before)
    assert not np.array_equal(one[0][0], other[0][0])
    assert len({array.ctypes.data for batch in one for array in batch}) == 2 * len(one)


@pytest.fixture(scope="module", params=[TINY, KDSB17], ids=["default", "kdsb17"])
def trained(request, tmp_path_factory):
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("gmcae")
    split = split_patches(toy(rng), request.param)
    found = train(split, settings=request.param, hu_map=HuMap(), seed=1, folder=folder)
    write(folder, found, split, settings=request.param, hu_map=HuMap(), spacing_mm=1.5)
    return folder, found, split, request.param


def test_the_loss_falls(trained):
    _, found, _, settings_ = trained
    epochs = found.journal.epochs
    assert epochs[-1]["val_loss"] < epochs[0]["val_loss"]
    assert len(found.journal.batches) == len(epochs) * settings_.steps_per_epoch


@pytest.mark.parametrize("last", [3, 7])
def test_a_run_that_stopped_goes_on_to_the_same_weights(trained, tmp_path, last, monkeypatch):
    """Whether it stopped at the end of an epoch or within one."""
    _, found, split, settings_ = trained
    often = dataclasses.replace(settings_, checkpoint_minutes=0.0)

    class Stop(Exception):
        pass

    original = checkpoint.save_state

    def stop_there(path, model, journal, key):
        original(path, model, journal, key)
        if len(journal.batches) == last:
            raise Stop("killed here")

    with monkeypatch.context() as changed:
        changed.setattr(checkpoint, "save_state", stop_there)
        with pytest.raises(Stop, match="killed"):
            train(split, settings=often, hu_map=HuMap(), seed=1, folder=tmp_path)
    keras.utils.set_random_seed(99)  # a new process would not know where the old one stood
    again = train(split, settings=settings_, hu_map=HuMap(), seed=1, folder=tmp_path)
    assert again.journal.epochs == found.journal.epochs
    assert again.journal.batches == found.journal.batches
    for one, two in zip(found.network.get_weights(), again.network.get_weights(), strict=True):
        assert np.array_equal(one, two)
    curves = [path.read_bytes() for path in sorted((tmp_path / "tensorboard").iterdir())]
    first = trained[0] / "tensorboard"
    assert curves == [path.read_bytes() for path in sorted(first.iterdir())]


def test_a_stale_state_is_not_taken_up(tmp_path):
    network = compile_network(TINY)
    path = tmp_path / "state.npz"
    checkpoint.save_state(path, network, checkpoint.Journal([{"val_loss": 1.0}]), "key")
    assert len(checkpoint.load_state(path, network, "key").epochs) == 1
    assert checkpoint.load_state(path, network, "other") is None
    path.write_bytes(path.read_bytes()[:1000])  # a disk that was full, a power cut
    assert checkpoint.load_state(path, network, "key") is None


def test_files_hold_what_prediction_needs(trained):
    folder, found, _, settings_ = trained
    encoder = load_encoder(folder)
    assert (encoder.spacing_mm, encoder.channels) == (1.5, 4)
    assert encoder.hu_map == HuMap()
    record = read_json(folder / "gmcae.json", "gmcae/1")
    assert sum(record["validation"]["component_shares"]) == pytest.approx(1, abs=1e-5)
    assert not set(record["training"]["patients"]) & set(record["validation"]["patients"])
    loaded = keras.saving.load_model(folder / "gmcae.keras")
    patch = np.zeros((1, 32, 32, 32, 1), np.float32)
    assert np.array_equal(np.asarray(loaded(patch)), np.asarray(found.network(patch)))
    assert loaded.loss.name == (
        "voxel_mixture" if settings_.head == "voxel" else "gaussian_mixture"
    )
    assert "encoder_" in (folder / "summary.txt").read_text()
    assert not (folder / "checkpoint").exists()
    assert list((folder / "tensorboard").iterdir())


def test_scores_are_those_of_scipy_on_patches_that_stay_the_same(trained):
    folder, found, split, settings_ = trained
    record = read_json(folder / "gmcae.json", "gmcae/1")["validation"]
    logs, errors = [], []
    for inputs, targets in fixed_batches(split.validation, batch_size=3, hu_map=HuMap()):
        output = np.asarray(found.network(inputs), np.float64)
        logs += [
            log_density(settings_, target, one) for target, one in zip(targets, output, strict=True)
        ]
        head = head_of(settings_, voxels=VOXELS)
        errors.append(700 * (head.image(output) - inputs.reshape(len(inputs), -1)))
    nats = -np.mean(logs) / VOXELS
    assert record["nats_per_voxel"] == pytest.approx(nats, abs=1e-4)
    assert record["bits_per_voxel"] == pytest.approx((nats + math.log(700)) / math.log(2), abs=1e-3)
    assert record["rmse_hu"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-4)
    assert record["bits_per_voxel"] > 0
    again = judge(found.network, split.validation, settings_, HuMap())
    assert again["val_nats_per_voxel"] == record["nats_per_voxel"]


def log_density(settings_, target, output):
    """Return the logarithm of a patch's density by scipy."""
    m = settings_.components
    if settings_.head == "patch":
        log_priors, variances = output[:m], output[m : 2 * m]
        means = output[2 * m :].reshape(-1, m)
        logs = stats.norm.logpdf(target[:, None], means, np.sqrt(variances)).sum(axis=0)
        return special.logsumexp(log_priors + logs)
    floor = math.log(density.SMALLEST_SIGMA)
    sigma = np.exp(floor + np.log1p(np.exp(output[:, 2 * m :] - floor)))
    logs = stats.norm.logpdf(target[:, None], output[:, m : 2 * m], sigma)
    return special.logsumexp(special.log_softmax(output[:, :m], axis=1) + logs, axis=1).sum()


def test_how_many_components_are_ever_used_is_said(trained):
    folder, found, _, settings_ = trained
    used = read_json(folder / "gmcae.json", "gmcae/1")["validation"]["components_used"]
    assert used == (found.shares >= 0.01).any(axis=0).sum()
    assert 1 <= used <= settings_.components
    best = found.journal.best_epoch() - 1
    assert read_table(folder / "epochs.tsv")[best]["components_used"] == str(used)
    assert components_used(np.array([[1, 0, 0], [0.995, 0, 0.005], [0, 0, 1]])) == 2


def test_equal_networks_give_equal_files(tmp_path):
    for name in ("one", "two"):
        keras.utils.set_random_seed(3)
        save_network(tmp_path / f"{name}.keras", compile_network(TINY))
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_a_refused_scope_says_so(tmp_path):
    write_refused(tmp_path, Refusal("no-patches", "nobody is in"))
    with pytest.raises(Refusal, match="nobody is in"):
        load_encoder(tmp_path)


class Broken(HuMap):
    """Makes a batch of any patch above 3000 HU that is not a number."""

    def to_network(self, hu):
        values = super().to_network(hu)
        return np.where(np.max(hu) > 3000, np.float32(np.nan), values)


def test_a_run_that_diverges_names_epoch_and_batch(tmp_path, rng):
    settings_ = dataclasses.replace(TINY, blur_voxel=0.0, noise_hu=0.0, design="layered")
    split = split_patches(toy(rng), settings_)
    count = len(split.training)
    split = dataclasses.replace(split, origins=tuple(f"p{k} (7, 7, {k})" for k in range(count)))
    split.training[-1] = 3071
    taken = places(count, seed=1, first=0, count=count).reshape(-1, settings_.batch_size)
    step = int(np.argwhere(taken == count - 1)[0, 0])
    guilty = rf"p{count - 1} \(7, 7, {count - 1}\)"
    with pytest.raises(
        InputError,
        match=rf"loss is nan at epoch 1, batch {step + 1} \(.*{guilty}.*which lies in",
    ):
        train(split, settings=settings_, hu_map=Broken(), seed=1, folder=tmp_path)
    with np.load(tmp_path / "diverged.npz") as kept:
        assert (int(kept["epoch"]), int(kept["batch"])) == (1, step + 1)
        assert np.isnan(kept["inputs"]).any()
        assert list(kept["origins"]) == [split.origins[which] for which in taken[step]]


@pytest.mark.parametrize("place", ["gradient", "weight"])
def test_the_sentinel_looks_beyond_the_loss(tmp_path, place):
    """An optimiser that spoils one number after the loss was computed is caught at that step."""
    network = compile_network(KDSB17)
    sentinel = Sentinel(network, tmp_path)
    batch = np.zeros((1, 32, 32, 32, 1), np.float32), np.zeros((1, VOXELS), np.float32)
    sentinel.check(0.0, *batch, epoch=1, batch=1)
    if place == "gradient":
        network.optimizer.gradient_norm.assign(np.inf)
    else:
        bias = network.get_layer("mu_conv3d").bias
        bias.assign(bias + np.array([0, np.nan], np.float32))
    what = "the gradient's norm is inf" if place == "gradient" else "a weight is not finite"
    with pytest.raises(InputError, match=rf"{what} at epoch 1, batch 2, which lies in"):
        sentinel.check(0.0, *batch, epoch=1, batch=2)
    assert (tmp_path / "diverged.npz").is_file()


def test_the_gradient_is_measured_before_it_is_clipped(rng):
    import tensorflow as tf

    network = compile_network(KDSB17)
    inputs = rng.normal(0, 1, (2, 32, 32, 32, 1)).astype(np.float32)
    targets = 5 * inputs.reshape(2, -1)
    with tf.GradientTape() as tape:
        loss = network.loss(targets, network(inputs))
    expected = tf.linalg.global_norm(tape.gradient(loss, network.trainable_variables))
    network.train_on_batch(inputs, targets)
    assert float(network.optimizer.gradient_norm) == pytest.approx(float(expected), rel=1e-3)


def test_a_validation_loss_that_is_not_finite_is_refused():
    check_validation(-1.0, epoch=3)
    with pytest.raises(InputError, match="validation loss is inf after epoch 3, though every"):
        check_validation(math.inf, epoch=3)


def test_curves_are_what_tensorboard_reads(tmp_path):
    import tensorflow as tf

    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": -0.25}]
    for done in (1, 2):  # written anew after each epoch, each epoch stands there once
        write_events(tmp_path, rows[:done], ["loss"])
    (path,) = tmp_path.glob("*tfevents*")
    raw = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    events = [tf.compat.v1.Event.FromString(record) for record in raw]
    assert events[0].file_version == "brain.Event:2"
    found = [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in events[1:]]
    assert found == [(1, "loss", 0.5), (2, "loss", -0.25)]


def test_under_a_mixed_policy_the_mixture_stays_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_gmcae(KDSB17)
        other = build_gmcae(TINY)
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.get_layer("encoder_conv_1-2_0").compute_dtype == "bfloat16"
    assert network.output.dtype == "float32"
    assert network.get_layer("mu_conv3d").compute_dtype == "float32"
    assert other.get_layer("encoder_conv_0").compute_dtype == "bfloat16"
    assert other.output.dtype == "float32"
    assert other.get_layer("decoder_added").compute_dtype == "float32"


def test_bfloat16_is_refused(tmp_path, rng):
    keras.config.set_dtype_policy("bfloat16")
    try:
        with pytest.raises(InputError, match="weights do not move"):
            train(split_patches(toy(rng), TINY), settings=TINY, hu_map=HuMap(), seed=1,
                  folder=tmp_path)  # fmt: skip
    finally:
        keras.config.set_dtype_policy("float32")
