"""Pooling, heads, calibration and the training of a fold."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from hypothesis.extra.numpy import arrays
from scipy import special
from sklearn.metrics import log_loss

from lungfish import records
from lungfish.classifier.calibration import Platt, fit_platt
from lungfish.classifier.pooling import bin_edges, pool_lungs, pyramid_length, spatial_pyramid
from lungfish.classifier.settings import Settings
from lungfish.errors import InputError, Refusal
from scripts import classifier as script

# Keras turns its variables into NumPy arrays in a way that NumPy will stop to allow.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ODD_SIZES = [(1, 1, 1), (1, 2, 3), (2, 1, 1), (3, 7, 1), (5, 4, 9), (8, 8, 8), (15, 13, 3)]
SMALL = Settings(units=(8,), epochs=15)


def by_hand(grid, levels):
    """Every box by its definition, one voxel range at a time."""
    values = []
    for level in levels:
        for box in np.ndindex(level, level, level):
            low = [math.floor(i * n / level) for i, n in zip(box, grid.shape, strict=False)]
            high = [math.ceil((i + 1) * n / level) for i, n in zip(box, grid.shape, strict=False)]
            part = grid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
            values.extend(part.max(axis=(0, 1, 2)))
    return np.array(values, grid.dtype)


# Pooling


@given(strategies.integers(1, 200), strategies.integers(1, 12))
def test_bins_cover_every_cell_and_none_is_empty(count, bins):
    edges = bin_edges(count, bins)
    assert all(low < high for low, high in edges)
    assert set().union(*(range(low, high) for low, high in edges)) == set(range(count))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        strategies.tuples(*[strategies.integers(1, 9)] * 3, strategies.integers(1, 3)),
        elements=strategies.floats(-1000, 1000, width=32),
    ),
    strategies.lists(strategies.integers(1, 5), min_size=1, max_size=3),
)
def test_pooling_is_the_maximum_over_each_box(grid, levels):
    np.testing.assert_array_equal(spatial_pyramid(grid, levels=levels), by_hand(grid, levels))


@pytest.mark.parametrize("size", ODD_SIZES)
def test_no_voxel_is_lost_at_any_level(size, rng):
    for cell in np.ndindex(*size):
        grid = np.zeros((*size, 1), np.float32)
        grid[cell] = 1
        vector = spatial_pyramid(grid)
        assert vector[0] == vector[1:9].max() == vector[9:].max() == 1


def test_73_boxes_of_256_channels_give_18688_features():
    assert pyramid_length(256) == 18_688
    assert spatial_pyramid(np.zeros((4, 4, 4, 256), np.float32)).shape == (18_688,)


def test_order_is_level_then_z_y_x_then_channel():
    z, y, x = np.indices((2, 2, 2))
    grid = np.stack([100 * z + 10 * y + x, -(100 * z + 10 * y + x)], axis=-1)
    vector = spatial_pyramid(grid, levels=(1, 2))
    assert vector[:2].tolist() == [111, 0]
    assert vector[2::2].tolist() == [0, 1, 10, 11, 100, 101, 110, 111]


def test_what_is_not_lung_cannot_win():
    grid = np.full((4, 4, 4, 1), 0.5, np.float32)
    grid[0, 0, 0] = 9
    inside = np.ones((4, 4, 4), np.float32)
    inside[0, 0, 0] = 0.1
    assert pool_lungs(grid, inside)[0] == 9
    assert pool_lungs(grid, inside, threshold=0.1)[0] == 0.5


def test_shapes_that_cannot_be_pooled_are_refused():
    with pytest.raises(InputError, match=r"found shape \(0, 1, 1, 4\)"):
        spatial_pyramid(np.zeros((0, 1, 1, 4), np.float32))
    with pytest.raises(InputError, match=r"levels: expected .* found \(0, 2\)"):
        spatial_pyramid(np.zeros((1, 1, 1, 4), np.float32), levels=(0, 2))
    with pytest.raises(InputError, match=r"inside: expected shape \(2, 2, 2\)"):
        pool_lungs(np.zeros((2, 2, 2, 1), np.float32), np.zeros((2, 2, 1), np.float32))


# Calibration


def test_platt_finds_the_sigmoid_that_made_the_labels(rng):
    scores = rng.normal(size=20_000)
    labels = (rng.uniform(size=20_000) < special.expit(0.5 * scores - 1)).astype(np.int64)
    found = fit_platt(special.expit(scores), labels)
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.intercept == pytest.approx(-1, abs=0.05)


def test_platt_is_the_minimum_of_the_smoothed_cross_entropy(rng):
    probability = rng.uniform(0.1, 0.9, 12)
    labels = np.array([0, 1] * 6)
    found = fit_platt(probability, labels)

    def loss(slope, intercept):
        targets = np.where(labels == 1, 7 / 8, 1 / 8)
        return special.rel_entr(targets, Platt(slope, intercept)(probability)).sum() + (
            special.rel_entr(1 - targets, 1 - Platt(slope, intercept)(probability)).sum()
        )

    best = loss(found.slope, found.intercept)
    for slope, intercept in [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)]:
        assert loss(max(found.slope + slope, 1e-3), found.intercept + intercept) >= best


def test_platt_never_turns_the_order_round():
    found = fit_platt(np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 1, 1]))
    assert found.slope > 0


def test_platt_of_perfectly_ordered_patients_stays_short_of_certainty():
    probability = np.array([0.01, 0.02, 0.98, 0.99])
    calibrated = fit_platt(probability, np.array([0, 0, 1, 1]))(probability)
    assert calibrated.min() > 0.2
    assert calibrated.max() < 0.8


# Layers and heads


@pytest.fixture(scope="module")
def layers():
    from lungfish.classifier import layers

    return layers


@pytest.mark.parametrize("size", ODD_SIZES)
def test_layer_equals_numpy_eagerly(layers, size, rng):
    values = rng.normal(size=(2, *size, 3)).astype(np.float32)
    pooled = np.asarray(layers.SpatialPyramidPooling3D()(values))
    np.testing.assert_array_equal(pooled, [spatial_pyramid(each) for each in values])


def test_one_model_of_unknown_size_pools_every_size_and_survives_saving(layers, rng, tmp_path):
    import keras

    scan = keras.Input((None, None, None, 2))
    model = keras.Model(scan, layers.SpatialPyramidPooling3D(levels=(1, 3), name="spp")(scan))
    assert model.output_shape == (None, 56)
    model.save(tmp_path / "spp.keras")
    again = keras.saving.load_model(tmp_path / "spp.keras")
    assert again.get_layer("spp").levels == (1, 3)
    for size in ODD_SIZES:
        values = rng.normal(size=(1, *size, 2)).astype(np.float32)
        expected = spatial_pyramid(values[0], levels=(1, 3))
        for network in (model, again):
            np.testing.assert_array_equal(network.predict(values, verbose=0)[0], expected)


def test_gradient_of_the_layer_goes_to_the_maxima(layers, rng):
    import tensorflow as tf

    values = tf.constant(rng.normal(size=(1, 3, 5, 1, 2)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layers.SpatialPyramidPooling3D((1,))(values))
    gradient = tape.gradient(total, values).numpy()
    expected = values.numpy() == values.numpy().max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_array_equal(gradient, expected.astype(np.float32))


def test_levels_below_one_are_refused(layers):
    with pytest.raises(InputError, match=r"levels: expected .* found \(0,\)"):
        layers.SpatialPyramidPooling3D((0,))


def test_standardised_training_features_have_mean_0_and_deviation_1(layers, rng):
    vectors = rng.normal(7, 3, size=(200, 4)).astype(np.float32)
    vectors[:, 3] = 2
    layer = layers.Standardise()
    layer.build((None, 4))
    layer.adapt(vectors)
    out = np.asarray(layer(vectors))
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), [1, 1, 1, 0], atol=1e-2)
    assert np.asarray(layer(np.full((1, 4), 1e9, np.float32))).max() == layers.LIMIT


def test_whole_network_has_the_parameters_of_kdsb17():
    from lungfish.classifier.heads import build_network

    network = build_network((64, 128, 256), Settings(units=(1024, 1024)))
    assert network.count_params() == 23_619_137


def test_frozen_layers_keep_their_weights_and_the_others_learn(rng):
    import keras

    from lungfish.classifier.heads import build_network, freeze

    keras.utils.set_random_seed(3)
    network = build_network((4, 8, 8), Settings(units=(16,), levels=(1, 2)))
    with pytest.raises(InputError, match="no layer encoder_conv_9"):
        freeze(network, ["encoder_conv_9"])
    frozen = [f"encoder_conv_{name}" for name in ("1-2_0", "2-1_0", "1-2_1", "2-1_1")]
    freeze(network, frozen)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    network.compile("adam", "binary_crossentropy", jit_compile=False)
    for label in (0, 1, 1):
        scan = rng.normal(size=(1, 20, 17, 24, 1)).astype(np.float32)
        network.train_on_batch(scan, np.array([[label]], np.float32))
    for layer in network.layers:
        for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
            assert np.array_equal(old, new) == (layer.name in frozen), layer.name


# Training of a fold


def cohort_of(labels, folds):
    from lungfish.classifier.fold import Patient

    return [
        Patient(f"p{k:02d}", label, fold)
        for k, (label, fold) in enumerate(zip(labels, folds, strict=True))
    ]


def separable(patients, rng, size=12):
    """Vectors half of whose features tell the label."""
    noise = rng.normal(size=(len(patients), size)).astype(np.float32)
    for each, vector in zip(patients, noise, strict=True):
        vector[: size // 2] += 3 * each.label
    return {each.name: vector for each, vector in zip(patients, noise, strict=True)}


def test_a_planted_signal_is_learned(rng):
    from lungfish.classifier.fold import run_fold

    patients = cohort_of([0, 1] * 15, [k // 2 % 3 for k in range(30)])
    quick = Settings(units=(16,), epochs=40, dropout=0.0, learning_rate=0.01)
    result = run_fold(patients, separable(patients, rng), fold=0, settings=quick, seed=0)
    assert result.record["status"] == "ok"
    labels = [row["label"] for row in result.predictions]
    constant = log_loss(labels, [0.5] * len(labels))
    assert log_loss(labels, [row["calibrated"] for row in result.predictions]) < constant / 2
    assert [row["patient"] for row in result.predictions] == [
        each.name for each in patients if each.fold == 0
    ]


def test_nothing_of_the_held_out_patients_reaches_the_training(rng):
    """Whatever their labels and features are, the network and the choice stay the same."""
    from lungfish.classifier.fold import run_fold

    patients = cohort_of([0, 1] * 6, [k // 2 % 3 for k in range(12)])
    vectors = separable(patients, rng)
    other = [
        dataclasses.replace(each, label=1 - each.label) if each.fold == 1 else each
        for each in patients
    ]
    moved = {each.name: vectors[each.name] * (-50 if each.fold == 1 else 1) for each in patients}
    first = run_fold(patients, vectors, fold=1, settings=SMALL, seed=3)
    second = run_fold(other, moved, fold=1, settings=SMALL, seed=3)
    for old, new in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert first.record["calibration"] == second.record["calibration"]
    assert first.epochs == second.epochs


def test_epoch_0_answers_the_prevalence_and_epochs_tell_the_inner_curve(rng):
    from lungfish.classifier.fold import run_fold

    patients = cohort_of([1, 1, 1] + [0] * 7, [None] * 9 + [0])
    result = run_fold(patients, separable(patients, rng), fold=0, settings=SMALL, seed=0)
    assert len(result.predictions) == 1
    assert result.record["inner_folds"] == 3
    assert result.epochs[0]["loss"] == pytest.approx(log_loss([1] * 3 + [0] * 6, [1 / 3] * 9))
    values = [row["val_loss"] for row in result.epochs]
    assert result.record["epochs"] == int(np.argmin(values))
    assert result.record["inner_log_loss"] == min(values)


def test_one_class_is_refused_and_too_few_for_inner_folds_is_said(rng):
    from lungfish.classifier.fold import run_fold

    alone = cohort_of([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    vectors = separable(alone, rng)
    refused = run_fold(alone, vectors, fold=1, settings=SMALL, seed=0)
    assert (refused.record["status"], refused.record["code"]) == ("refused", "one-class")
    assert refused.predictions == []
    few = cohort_of([0, 0, 1, 1], [0, 1, 0, 1])
    result = run_fold(few, vectors, fold=0, settings=SMALL, seed=0)
    assert result.record["inner_folds"] == 0
    assert result.record["epochs"] == SMALL.uninformed_epochs
    assert "too few" in result.record["note"]
    assert all(row["calibrated"] == pytest.approx(row["probability"]) for row in result.predictions)


def test_a_patient_without_features_is_named():
    from lungfish.classifier.fold import run_fold

    patients = cohort_of([0, 1, 1], [1, 1, 0])
    vectors = {"p00": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match="no features of p01, p02"):
        run_fold(patients, vectors, fold=0, settings=SMALL, seed=0)
    none = run_fold(patients, {}, fold=0, settings=SMALL, seed=0)
    assert (none.record["status"], none.record["code"]) == ("refused", "no-features")
    nobody = run_fold(patients, vectors, fold=7, settings=SMALL, seed=0)
    assert nobody.record["code"] == "nobody-held-out"


# The command


def lung(rng):
    """Features of a lung of some size."""
    from lungfish.features import Features

    size = tuple(rng.integers(1, 6, 3))
    grid = rng.uniform(size=(*size, 3)).astype(np.float32)
    return Features(grid, np.ones(size, np.float32), np.zeros(3), 8.0)


def write_cohort(folder, rng, labels=(0, 1) * 4):
    """A cohort of 4 folds and one shard of features, a refused patient among them."""
    from lungfish.features import write_features

    columns = ("patient", "status", "label", "fold")
    rows = [
        {"patient": f"p{k}", "status": "ok", "label": label, "fold": k // 2}
        for k, label in enumerate(labels)
    ]
    rows.append({"patient": "gone", "status": "refused", "label": 1, "fold": None})
    records.write_table(folder / "cohort.tsv", columns, rows)
    found = {row["patient"]: lung(rng) for row in rows[:-1]}
    write_features(folder / "shard.h5", found | {"gone": Refusal("no-lungs", "none")})
    return ["--cohort", str(folder / "cohort.tsv"), "--features", str(folder / "shard.h5")]


def test_command_writes_all_four_files_and_the_same_twice(tmp_path, rng):
    arguments = [*write_cohort(tmp_path, rng), "--fold", "1", "--settings"]
    arguments.append(json.dumps(dataclasses.asdict(SMALL)))
    names = ("head.keras", "epochs.tsv", "predictions.tsv", "classifier.json")
    for run in ("a", "b"):
        assert script.main([*arguments, "--output", str(tmp_path / run)]) == 0
    for name in names:
        first, second = ((tmp_path / run / name).read_bytes() for run in ("a", "b"))
        assert first == second, name
    rows = records.read_table(tmp_path / "a" / "predictions.tsv")
    assert [row["patient"] for row in rows] == ["p2", "p3"]
    assert [row["fold"] for row in rows] == ["1", "1"]


def test_command_of_a_refused_fold_writes_a_header_and_says_why(tmp_path, rng):
    arguments = write_cohort(tmp_path, rng, labels=(0, 0, 1, 1))
    assert script.main([*arguments, "--fold", "1", "--output", str(tmp_path / "out")]) == 3
    assert records.read_table(tmp_path / "out" / "predictions.tsv") == []
    record = records.read_json(tmp_path / "out" / "classifier.json", "classifier/1")
    assert record["reason"].startswith("0 of 2 training patients have label 1")
    assert (tmp_path / "out" / "head.keras").is_file()


def test_a_head_that_does_not_exist_is_named(tmp_path, rng):
    arguments = write_cohort(tmp_path, rng)
    with pytest.raises(InputError, match=r"setting head: expected .*'spp'.*, found 'liquid'"):
        script.main([*arguments, "--fold", "0", "--head", "liquid", "--output", str(tmp_path)])
