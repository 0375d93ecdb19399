"""What the probe's scores and intervals promise, and that no patient stands on both sides."""

import itertools

import numpy as np
import pytest

from benchmarks import probe, probe_patients, turns
from benchmarks import probe_scores as scores
from lungfish import phantom


def weights_of(patients, *, bootstraps=400):
    rng = np.random.default_rng(0)
    return scores.resampled_weights(patients, bootstraps=bootstraps, rng=rng)


def test_whole_patients_are_drawn():
    patients = np.repeat(np.arange(7), 3)
    weights = weights_of(patients)
    assert np.all(weights.sum(axis=1) == len(patients))
    assert np.all(weights.reshape(len(weights), 7, 3).std(axis=2) == 0)


def test_equal_rivals_differ_by_nothing_and_a_better_one_is_better():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(30), 4)
    truth = rng.normal(size=120)
    near, far = truth + 0.3 * rng.normal(size=120), truth + 2 * rng.normal(size=120)
    weights = weights_of(patients)
    for metric in ("R2", "MAE"):
        same = scores.advantage(metric, truth, near, near, weights, 30)
        assert (same.value, same.low, same.high) == (0, 0, 0)
        assert same.verdict == "no difference shown"
        better = scores.advantage(metric, truth, near, far, weights, 30)
        assert better.verdict == "beats"
        worse = scores.advantage(metric, truth, far, near, weights, 30)
        assert (worse.low, worse.high) == pytest.approx((-better.high, -better.low))
        assert "beaten" in worse.verdict


def test_an_example_counted_twice_says_nothing_new():
    rng = np.random.default_rng(2)
    truth, said = rng.normal(size=40), rng.normal(size=40)
    once = scores.score("MAE", truth, said, weights_of(np.arange(40)), 40)
    twice = [np.repeat(part, 2) for part in (truth, said, np.arange(40))]
    doubled = scores.score("MAE", twice[0], twice[1], weights_of(twice[2]), 40)
    assert (doubled.value, doubled.low, doubled.high) == pytest.approx(
        (once.value, once.low, once.high)
    )


def test_the_interval_of_a_mean_has_the_length_that_student_gives():
    rng = np.random.default_rng(3)
    errors = rng.normal(size=25)
    weights = weights_of(np.arange(25), bootstraps=20_000)
    found = scores.score("MAE", np.abs(errors), np.zeros(25), weights, 25)
    half = 2.064 * np.abs(errors).std(ddof=1) / 5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_scores_of_perfect_and_of_empty_answers():
    truth, even = np.array([0.0, 1, 1, 0]), np.ones(4)
    assert scores.auc(truth, truth, even) == 1
    assert scores.auc(truth, even, even) == 0.5
    assert np.isnan(scores.auc(truth, truth, truth))
    assert scores.log_loss(truth, even / 2, even) == pytest.approx(np.log(2))
    assert scores.r2(truth, truth, even) == 1
    assert scores.r2(truth, even / 2, even) == 0


def test_a_probe_reads_what_is_linear_and_only_that():
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=(300, 5))
    patients = np.repeat(np.arange(30), 10)
    linear = numbers @ [1.0, -2, 0, 0, 3]
    for truth, yes_no in ((linear, False), ((linear > 0).astype(float), True)):
        training = scores.Examples(numbers[:200], truth[:200], patients[:200])
        said = scores.probe(training, numbers[200:], yes_no=yes_no)
        metric = scores.auc if yes_no else scores.r2
        assert metric(truth[200:], said, np.ones(100)) > 0.99
    noise = rng.normal(size=300)
    training = scores.Examples(numbers[:200], noise[:200], patients[:200])
    assert abs(scores.r2(noise[200:], scores.probe(training, numbers[200:], yes_no=False),
                         np.ones(100))) < 0.15  # fmt: skip


def test_pooled_numbers_do_not_say_where_and_flattened_ones_do():
    rng = np.random.default_rng(5)
    codes = rng.normal(size=(2, 4, 4, 4, 3))
    turned = codes[:, ::-1, :, ::-1]
    assert np.allclose(scores.summary(codes, "pooled"), scores.summary(turned, "pooled"))
    assert scores.summary(codes, "pooled").shape == (2, 9)
    assert scores.summary(codes, "flattened").shape == (2, 192)
    assert not np.allclose(scores.summary(codes, "flattened"), scores.summary(turned, "flattened"))


def test_no_patient_is_on_both_sides_and_none_is_one_that_scores_lungs():
    most = 300
    held_out = range(probe.HELD_OUT_FROM, probe.HELD_OUT_FROM + most)
    training = range(probe.TRAINING_FROM, probe.TRAINING_FROM + most)
    assert not set(held_out) & set(training)
    assert not set(phantom.SCORING_SEEDS) & {*held_out, *training}
    assert set(held_out) <= set(phantom.TUNING_SEEDS)
    assert set(training) <= set(phantom.TRAINING_SEEDS)


def test_principal_axes_are_those_of_the_covariance():
    rng = np.random.default_rng(6)
    values = rng.normal(size=(50, 2, 3, 4)) * np.arange(1, 25).reshape(2, 3, 4)
    mean, axes = probe.fit_pca(values, 4)
    flat = values.reshape(50, -1)
    assert np.allclose(axes @ axes.T, np.eye(4), atol=1e-4)
    _, singular, _ = np.linalg.svd(flat - flat.mean(0))
    spread = ((flat - mean) @ axes.T).std(axis=0) * 50**0.5
    assert np.allclose(spread, singular[:4], rtol=1e-4)


def test_a_histogram_is_one_of_shares():
    found = probe.histogram(np.array([[-1.0, -1.0, 0.999, 1.0], [0.0, 0.01, 0.02, 0.03]]))
    assert found.shape == (2, 20)
    assert found[0, [0, -1]].tolist() == [0.5, 0.5]
    assert found[1, 10] == 1


def test_a_control_lies_as_deep_in_the_same_lung_and_holds_no_nodule():
    z, y, x = np.indices((80, 80, 80))
    depth_mm = 40 - np.sqrt((z - 40) ** 2 + (y - 40) ** 2 + (x - 40) ** 2)
    lungs = np.where(depth_mm > 0, np.where(x < 40, 1, 2), 0).astype(np.uint8)
    nodules = (np.hypot(z - 40, y - 40) < 3).astype(np.uint8) * (x > 50)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = 200  # far from any hilum
    half = np.maximum(depth_mm[::2, ::2, ::2], 0).astype(np.float32)
    scan = probe_patients.Scan(lungs, lungs, nodules, half, affine)
    rng, centre = np.random.default_rng(7), np.array([40, 20, 56])
    for _ in range(20):
        corner = probe_patients.control(scan, centre, rng)
        assert not scan.cut(nodules, corner).any()
        middle = corner + 16
        reach = probe_patients.SHIFT_VOXEL * 3**0.5 + probe_patients.DEPTH_MM + 2
        assert abs(depth_mm[tuple(middle)] - depth_mm[tuple(centre)]) <= reach
        assert middle[2] >= 40 - probe_patients.SHIFT_VOXEL


def test_turns_are_turned_round_and_the_warm_up_is_not_kept():
    asked = []

    class Counting:
        def __init__(self, name):
            self.name = name

        def turn(self, steps):
            asked.append((self.name, steps))
            return turns.Turn(1.0, 1.0, 0.0, 1.0)

    workers = {name: Counting(name) for name in "ab"}
    found = turns.take_turns(workers, rounds=3, steps=4, warm_up=2)
    assert asked[:2] == [("a", 2), ("b", 2)]
    order = "".join(name for name, _ in itertools.islice(asked, 2, None))
    assert order == "abbaab"
    assert {name: len(one) for name, one in found.items()} == {"a": 3, "b": 3}
