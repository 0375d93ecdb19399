"""Both densities are what scipy makes of them, integrate to 1, and can be drawn from."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from lungfish.gmcae import density, voxel

M = (1, 2, 4, 8)


def patch_parts(rng, n, c, m):
    raw = rng.normal(-1, 3, (n, m))
    log_priors = special.log_softmax(rng.normal(0, 3, (n, m)), axis=1)
    return log_priors, raw, rng.normal(0, 1, (n, c, m)), rng.normal(0, 1, (n, c))


def pack(log_priors, variances, means):
    return np.concatenate([log_priors, variances, means.reshape(len(means), -1)], axis=1)


@pytest.mark.parametrize("name", density.VARIANCES)
@pytest.mark.parametrize("m", M)
@pytest.mark.parametrize("c", [1, 7, 512])
def test_the_patch_density_equals_scipy_in_float64(rng, name, m, c):
    log_priors, raw, means, target = patch_parts(rng, 3, c, m)
    variances = np.asarray(density.VARIANCES[name](tf.constant(raw)))
    assert variances.dtype == np.float64
    found = density.negative_log_likelihood(
        tf.constant(target), tf.constant(pack(log_priors, variances, means)), components=m, voxels=c
    )
    logs = stats.norm.logpdf(target[..., None], means, np.sqrt(variances)[:, None]).sum(axis=1)
    expected = -special.logsumexp(log_priors + logs, axis=1)
    assert np.asarray(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("m", M)
def test_the_voxel_density_equals_scipy_in_float64(rng, m):
    output, target = rng.normal(-1, 2, (3, 50, 3 * m)), rng.normal(0, 1, (3, 50))
    found = voxel.voxel_log_likelihood(tf.constant(target), tf.constant(output))
    floor = np.log(density.SMALLEST_SIGMA)
    sigmas = np.exp(floor + np.log1p(np.exp(output[..., 2 * m :] - floor)))
    logs = stats.norm.logpdf(target[..., None], output[..., m : 2 * m], sigmas)
    expected = special.logsumexp(special.log_softmax(output[..., :m], axis=-1) + logs, axis=-1)
    assert np.asarray(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_both_densities_integrate_to_one(rng):
    x = np.linspace(-40, 40, 200001)
    one = np.repeat(rng.normal(0, 1, (1, 1, 6)), len(x), axis=0)
    logs = np.asarray(voxel.voxel_log_likelihood(tf.constant(x[:, None]), tf.constant(one)))
    assert np.trapezoid(np.exp(logs[:, 0]), x) == pytest.approx(1, abs=1e-9)
    # Two voxels: a grid in the plane.
    line = np.linspace(-12, 12, 801)
    plane = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    log_priors, raw, means, _ = patch_parts(rng, 1, 2, 2)
    variances = np.exp(raw / 3)
    output = np.repeat(pack(log_priors, variances, means), len(plane), axis=0)
    nats = np.asarray(
        density.negative_log_likelihood(
            tf.constant(plane), tf.constant(output), components=2, voxels=2
        )
    ).reshape(len(line), -1)
    assert np.trapezoid(np.trapezoid(np.exp(-nats), line), line) == pytest.approx(1, abs=1e-6)


def gradient(function, values):
    variable = tf.Variable(values)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(variable))
    return tape.gradient(total, variable).numpy()


def differences(function, values, step=1e-6):
    result = np.zeros_like(values)
    for place in np.ndindex(*values.shape):
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * step
            result[place] += sign * float(tf.reduce_sum(function(tf.constant(moved)))) / (2 * step)
    return result


@pytest.mark.parametrize("m", [1, 2, 3])
def test_gradients_equal_finite_differences(rng, m):
    target, output = rng.normal(0, 1, (2, 4)), rng.normal(-0.5, 1, (2, 4, 3 * m))

    def per_voxel(values):
        return voxel.voxel_log_likelihood(tf.constant(target), values)

    assert gradient(per_voxel, output) == pytest.approx(differences(per_voxel, output), abs=1e-6)
    log_priors, raw, means, target = patch_parts(rng, 2, 4, m)
    packed = pack(log_priors, np.exp(raw / 3), means)

    def per_patch(values):
        return density.negative_log_likelihood(tf.constant(target), values, components=m, voxels=4)

    found, expected = gradient(per_patch, packed), differences(per_patch, packed)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_draws_have_the_mean_and_the_variance_of_the_density():
    n = 200_000
    weights, mu, sigma = np.array([0.2, 0.8]), np.array([-1.0, 0.5]), np.array([0.3, 0.1])
    mean = weights @ mu
    variance = weights @ (sigma**2 + mu**2) - mean**2
    rng = np.random.default_rng(5)
    packed = pack(np.log(weights)[None], (sigma**2)[None], mu[None, None])
    drawn = density.draw_patches(np.repeat(packed, n, axis=0), rng, components=2, voxels=1)
    floor = np.log(density.SMALLEST_SIGMA)
    raw = floor + np.log(np.expm1(np.log(sigma) - floor))
    output = np.concatenate([np.log(weights), mu, raw])[None, None].astype(np.float32)
    voxels = voxel.draw_voxels(np.repeat(output, n, axis=0), rng)
    for one in (drawn, voxels):
        assert one.shape == (n, 1)
        # Five standard errors of either.
        assert one.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
        assert one.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n) * 2)
    assert float(voxel.mixture_mean(output)[0, 0]) == pytest.approx(mean, abs=1e-6)


def test_an_unused_component_is_never_chosen_whatever_its_sigma():
    log_priors = np.log(np.array([[0.5, 0.4995, 0.0005]], np.float32))
    variances = np.array([[0.1, 0.05, 1e-7]], np.float32)
    assert density.choose(log_priors, variances, voxels=32768, rule="prior") == [0]
    assert density.choose(log_priors, variances, voxels=32768, rule="mode") == [1]
    # The trap: by sigma alone the mode rule would take the third.
    assert np.argmax(log_priors - 16384 * np.log(variances)) == 2


@pytest.mark.parametrize("extreme", [-1e12, -1e3, 1e3, 1e12])
def test_the_voxel_density_is_finite_at_the_extremes(extreme):
    for part in range(3):
        output = np.zeros((1, 1, 6), np.float32)
        output[..., 2 * part] = extreme
        target = tf.constant([[0.5]])
        variable = tf.Variable(output)
        with tf.GradientTape() as tape:
            found = voxel.voxel_log_likelihood(target, variable)
        assert np.isfinite(found).all()
        assert np.isfinite(tape.gradient(found, variable)).all()


def test_the_voxel_density_is_bounded_by_the_floor():
    output = np.array([[[0, -1e30, 0, 0, -1e30, -1e30]]], np.float32)
    best = float(voxel.voxel_log_likelihood(np.zeros((1, 1), np.float32), output)[0, 0])
    assert best == pytest.approx(-np.log(density.SMALLEST_SIGMA * np.sqrt(2 * np.pi)), abs=1e-4)


def test_responsibilities_sum_to_one_and_follow_the_nearer_component():
    raw = np.array([[[0, 0, -1, 1, -2, -2]]], np.float32)
    found = np.asarray(voxel.responsibilities(np.array([[0.9]], np.float32), raw))
    assert found.sum() == pytest.approx(1)
    assert found[0, 0, 1] > 0.99
