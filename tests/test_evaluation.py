"""Metrics, intervals, baselines and what may be concluded."""

import numpy as np
import pytest
from hypothesis import given, strategies
from scipy import special
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from lungfish import records
from lungfish.errors import InputError, Refusal
from lungfish.evaluation import baselines, evaluate, intervals, metrics
from lungfish.evaluation.settings import Settings
from scripts import evaluation as script

COLUMNS = (
    "patient", "status", "label", "fold", "volume_litre", "manufacturer", "kernel",
    "thickness_mm", "kvp",
)  # fmt: skip


def cohort_of(labels, folds, **columns):
    """Rows of a cohort table as text."""
    rows = []
    for k, (label, fold) in enumerate(zip(labels, folds, strict=True)):
        row = {
            "patient": f"p{k:03d}", "status": "ok", "label": str(label), "fold": str(fold),
            "volume_litre": "5", "manufacturer": "A", "kernel": "B30f", "thickness_mm": "2.5",
            "kvp": "120",
        }  # fmt: skip
        rows.append(row | {name: str(values[k]) for name, values in columns.items()})
    return rows


def predictions_of(cohort, probability, head="spp"):
    return [
        {
            "patient": row["patient"], "label": row["label"], "fold": row["fold"], "head": head,
            "probability": f"{p:.6g}", "calibrated": f"{p:.6g}",
        }
        for row, p in zip(cohort, probability, strict=True)
    ]  # fmt: skip


# Metrics


@pytest.mark.parametrize(("p", "expected"), [(71 / 280, 0.566225), (291 / 1117, 0.566351)])
def test_kdsb17_s_validation_set_and_the_two_constants(p, expected):
    labels = np.repeat([1, 0], [71, 209])
    assert metrics.log_losses(np.full(280, p), labels).mean() == pytest.approx(expected, abs=5e-7)


def test_scores_equal_scikit_learn_s_in_one_fold(rng):
    labels = rng.integers(0, 2, 50)
    probability = rng.uniform(size=50).round(1).clip(0.05, 0.95)
    found = metrics.score(probability, labels, np.zeros(50, int), bootstraps=100, seed=0)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(labels, probability))
    assert found["log_loss"]["value"] == pytest.approx(log_loss(labels, probability))
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(labels, probability))


def test_a_sure_error_costs_a_finite_loss():
    loss = metrics.log_losses(np.array([0.0, 1.0]), np.array([1, 0]))
    np.testing.assert_allclose(loss, -np.log(1e-6), rtol=1e-6)


@given(strategies.lists(strategies.tuples(strategies.integers(0, 1), strategies.integers(0, 4)),
                        min_size=2, max_size=40))  # fmt: skip
def test_a_constant_in_each_fold_scores_exactly_one_half(patients):
    labels, folds = np.array(patients).T
    probability = 0.1 + 0.2 * folds  # another constant in every fold
    auc = metrics.auc_within_folds(probability, labels, folds)
    pairs = sum(m * n for m, n in metrics.fold_counts(labels, folds))
    assert auc == (0.5 if pairs else None)


def test_prevalence_of_the_other_folds_would_score_below_one_half_over_all_pairs():
    """The artefact that counting within folds removes (Airola et al. 2011)."""
    labels = np.array([1, 1, 0, 1, 0, 0])
    folds = np.array([0, 0, 0, 1, 1, 1])
    rows = cohort_of(labels, folds)
    answer = baselines.out_of_fold(baselines.constant, rows, [row["patient"] for row in rows])
    assert roc_auc_score(labels, answer) < 0.4
    assert metrics.auc_within_folds(answer, labels, folds) == 0.5


# Intervals


@pytest.mark.parametrize(
    ("auc", "m", "n"), [(0.9, 20, 20), (0.5, 8, 30), (0.75, 3, 5), (0.893, 51, 58)]
)
def test_limits_of_one_fold_are_the_roots_of_newcombe_s_quartic(auc, m, n):
    """(auc - t)^2 m n (2 - t)(1 + t) = z^2 t (1 - t) [...], multiplied out by NumPy."""
    t = np.polynomial.Polynomial([0, 1])
    middle = (m + n) / 2 - 1
    bracket = (2 - t) * (1 + t) + middle * ((1 - t) * (1 + t) + t * (2 - t))
    quartic = (auc - t) ** 2 * m * n * (2 - t) * (1 + t) - 3.841459 * t * (1 - t) * bracket
    roots = [root.real for root in quartic.roots() if abs(root.imag) < 1e-9 and 0 < root.real < 1]
    low, high = intervals.auc_interval(auc, [(m, n)])
    assert [low, high] == pytest.approx(sorted(roots), abs=1e-5)


def test_interval_of_a_perfect_auc_keeps_its_width():
    low, high = intervals.auc_interval(1.0, [(5, 5)])
    assert 0.5 < low < 0.8
    assert high == 1
    assert intervals.auc_interval(0.0, [(5, 5)]) == pytest.approx((0.0, 1 - low))


def test_the_same_patients_in_more_folds_give_a_wider_interval():
    """There are fewer pairs to count."""
    one = intervals.auc_interval(0.7, [(20, 20)])
    five = intervals.auc_interval(0.7, [(4, 4)] * 5)
    assert five[0] < one[0] < 0.7 < one[1] < five[1]


def test_a_fold_without_a_pair_changes_nothing():
    assert intervals.auc_interval(0.7, [(9, 9), (4, 0)]) == intervals.auc_interval(0.7, [(9, 9)])


def test_interval_of_a_mean_is_student_s_for_normal_values(rng):
    half = rng.normal(size=6)
    values = np.concatenate([half, -half])  # symmetric, so that only the width is in question
    values /= values.std(ddof=1)
    low, high = intervals.mean_interval(values, bootstraps=20_000, rng=rng)
    assert high == pytest.approx(2.201 / np.sqrt(12), rel=0.06)
    assert low == pytest.approx(-2.201 / np.sqrt(12), rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "folds"), [(0.0, 1), (0.0, 4), (1.0, 4), (2.0, 1), (2.0, 4)])
def test_auc_interval_holds_the_truth_about_95_times_in_100(shift, folds):
    rng = np.random.default_rng(5)
    truth = special.ndtr(shift / np.sqrt(2))
    labels = np.tile(np.repeat([0, 1], [6, 3]), folds)
    number = np.repeat(np.arange(folds), 9)
    held = 0
    for _ in range(2000):
        # Every fold has its own model: its scores may sit elsewhere.
        scores = rng.normal(shift * labels + 3 * number)
        auc = metrics.auc_within_folds(scores, labels, number)
        low, high = intervals.auc_interval(auc, metrics.fold_counts(labels, number))
        held += low <= truth <= high
    assert 0.93 <= held / 2000 <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 60])
def test_log_loss_interval_holds_the_truth(n):
    """For few patients a skewed loss is covered less often; a plain percentile falls to 0.85."""
    rng = np.random.default_rng(6)
    grid = rng.normal(size=400_000)
    risk = special.expit(grid)
    answer = special.expit(0.7 * grid)
    truth = -np.mean(risk * np.log(answer) + (1 - risk) * np.log(1 - answer))
    held = 0
    for _ in range(1000):
        pick = rng.integers(len(grid), size=n)
        labels = (rng.uniform(size=n) < risk[pick]).astype(np.int64)
        loss = metrics.log_losses(answer[pick], labels)
        low, high = intervals.mean_interval(loss, bootstraps=500, rng=rng)
        held += low <= truth <= high
    assert 0.91 <= held / 1000 <= 0.98


# Baselines


def test_baselines_answer_out_of_fold_with_the_training_patients_alone():
    labels = np.array([1, 0, 0, 0, 1, 1, 0, 0])
    folds = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    rows = cohort_of(labels, folds)
    answer = baselines.out_of_fold(baselines.constant, rows, [row["patient"] for row in rows])
    np.testing.assert_allclose(answer, [0.5] * 4 + [0.25] * 4)


def test_a_scanner_that_goes_with_the_label_is_found_by_the_acquisition_alone():
    labels = np.tile([0, 1], 40)
    folds = np.repeat(np.arange(4), 20)
    makers = np.where(labels == 1, "A", "B")
    rows = cohort_of(labels, folds, manufacturer=makers)
    names = [row["patient"] for row in rows]
    found = {
        name: metrics.auc_within_folds(baselines.out_of_fold(call, rows, names), labels, folds)
        for name, call in baselines.BASELINES.items()
    }
    assert found == {"constant": 0.5, "lung_volume": 0.5, "acquisition": 1.0}


def test_large_lungs_that_go_with_the_label_are_found_by_their_volume_alone():
    labels = np.tile([0, 1], 40)
    rows = cohort_of(labels, np.repeat(np.arange(4), 20), volume_litre=4 + labels)
    names = [row["patient"] for row in rows]
    answer = baselines.out_of_fold(baselines.lung_volume, rows, names)
    assert log_loss(labels, answer) < 0.3


def test_unknown_acquisition_and_a_scanner_never_seen_still_get_an_answer():
    labels = np.tile([0, 1], 6)
    makers = ["A", "B", "", "A"] * 2 + ["C"] * 4
    rows = cohort_of(
        labels, np.repeat([0, 1, 2], 4), manufacturer=makers, kvp=[""] * 12,
        thickness_mm=["", 1, 2.5, 5] * 3,
    )  # fmt: skip
    names = [row["patient"] for row in rows]
    answer = baselines.out_of_fold(baselines.acquisition, rows, names)
    assert np.all((answer > 0) & (answer < 1))


# Conclusions


def test_few_patients_allow_no_conclusion_however_good_the_scores():
    labels = np.tile([0, 1], 20)
    rows = cohort_of(labels, np.repeat(np.arange(4), 10))
    perfect = predictions_of(rows, np.where(labels == 1, 0.999, 0.001))
    found = evaluate.evaluate(perfect, rows, settings=Settings(bootstraps=200), seed=0)
    assert found["heads"]["spp"]["auc"]["value"] == 1
    assert found["conclusion"] == "inconclusive"
    assert "nothing can be concluded from 20 patients with label 1 and 20" in found["reason"]


def test_many_patients_and_good_scores_are_better_than_every_baseline(rng):
    labels = np.tile([0, 1], 60)
    rows = cohort_of(labels, np.repeat(np.arange(4), 30))
    good = predictions_of(rows, special.expit(rng.normal(3 * (2 * labels - 1))))
    found = evaluate.evaluate(good, rows, settings=Settings(bootstraps=300), seed=0)
    assert found["conclusion"] == "better than every baseline"
    assert (found["n"], found["events"], found["folds"]) == (120, 60, 4)


def test_a_head_that_learned_the_scanner_is_no_better_than_the_scanner(rng):
    labels = np.tile([0, 1], 60)
    makers = np.where(labels == 1, "A", "B")
    rows = cohort_of(labels, np.repeat(np.arange(4), 30), manufacturer=makers)
    good = predictions_of(rows, np.where(labels == 1, 0.9, 0.1))
    found = evaluate.evaluate(good, rows, settings=Settings(bootstraps=300), seed=0)
    assert found["conclusion"] == "no better than acquisition"


def test_a_planted_null_is_seldom_called_better():
    better = 0
    for trial in range(40):
        rng = np.random.default_rng([7, trial])
        labels = rng.permutation(np.tile([0, 1], 40))
        answer = special.expit(rng.normal(0, 0.3, 80))
        own = metrics.log_losses(answer, labels) - np.log(2)
        each = metrics.estimate_mean(own, bootstraps=300, seed=trial)
        better += evaluate.conclude({"constant": each}, n=80, events=40, minimum=30)[0] != (
            "no better than constant"
        )
    assert better <= 3


def test_predictions_must_agree_with_the_cohort():
    rows = cohort_of([0, 1], [0, 1])
    table = predictions_of(rows, [0.1, 0.9])
    with pytest.raises(InputError, match="patient p000 is predicted twice by head spp"):
        evaluate.gather([table, table], rows)
    wrong = [table[0] | {"label": "1"}, table[1]]
    with pytest.raises(InputError, match=r"patient p000: predictions and cohort\.tsv differ"):
        evaluate.gather([wrong], rows)
    two = [*table, *predictions_of(rows[:1], [0.5], head="other")]
    with pytest.raises(InputError, match="heads predict different patients"):
        evaluate.evaluate(two, cohort_of([0, 1, 0, 1], [0, 1, 1, 0]), settings=Settings(), seed=0)


def test_no_predictions_are_explained_by_the_labels_or_the_folds():
    with pytest.raises(Refusal, match="one-class: no classifier was trained: 0 patients have lab"):
        evaluate.evaluate([], cohort_of([0, 0], [0, 0]), settings=Settings(), seed=0)
    with pytest.raises(Refusal, match="no-predictions"):
        evaluate.evaluate([], cohort_of([0, 0, 1, 1], [0] * 4), settings=Settings(), seed=0)


# The command


def run(folder, rows, tables):
    records.write_table(folder / "cohort.tsv", COLUMNS, rows)
    paths = []
    for number, table in enumerate(tables):
        paths.append(folder / f"{number}.tsv")
        records.write_table(paths[-1], evaluate.PREDICTION_COLUMNS, table)
    return script.main(
        [
            "--cohort", str(folder / "cohort.tsv"), "--predictions", *map(str, paths),
            "--predictions-output", str(folder / "predictions.tsv"),
            "--metrics-output", str(folder / "metrics.json"), "--settings", '{"bootstraps": 100}',
        ]
    )  # fmt: skip


def test_command_joins_folds_sorted_by_patient(tmp_path):
    rows = cohort_of([0, 1] * 4, [0, 0, 1, 1, 0, 0, 1, 1])
    table = predictions_of(rows, np.linspace(0.1, 0.9, 8))
    halves = [[row for row in table if row["fold"] == fold] for fold in ("1", "0")]
    assert run(tmp_path, rows, halves) == 0
    joined = records.read_table(tmp_path / "predictions.tsv")
    assert [row["patient"] for row in joined] == [row["patient"] for row in rows]
    found = records.read_json(tmp_path / "metrics.json", "evaluation/1")
    assert set(found["baselines"]) == {"constant", "lung_volume", "acquisition"}
    assert set(found["heads"]["spp"]["differences"]) == set(found["baselines"])


def test_command_without_predictions_writes_why(tmp_path):
    with pytest.raises(Refusal, match="one-class"):
        run(tmp_path, cohort_of([0, 0, 0], [0, 0, 0]), [])
    found = records.read_json(tmp_path / "metrics.json", "evaluation/1")
    assert (found["status"], found["code"]) == ("refused", "one-class")
    assert "0 patients have label 1 and 3 have label 0" in found["reason"]
    assert (found["n"], found["events"]) == (3, 0)
    assert records.read_table(tmp_path / "predictions.tsv") == []


def test_a_head_that_is_only_surer_of_the_scanners_order_is_no_better():
    from lungfish.evaluation.evaluate import conclude

    lower = {"value": -0.05, "low": -0.06, "high": -0.04}
    differences = {"constant": lower, "acquisition": lower}
    options = {"n": 80, "events": 40, "minimum": 30}
    gain = {"constant": 0.5, "acquisition": 0.0}
    found, reason = conclude(differences, **options, auc_gain=gain)
    assert found == "no better than acquisition"
    assert "only surer of the same order" in reason
    found, _ = conclude(differences, **options, auc_gain=gain | {"acquisition": 0.1})
    assert found == "better than every baseline"


def test_a_head_named_for_the_conclusion_must_have_predicted():
    from lungfish.evaluation.evaluate import evaluate
    from lungfish.evaluation.settings import Settings

    cohort = [
        {"patient": f"p{k}", "status": "ok", "label": str(k % 2), "fold": str(k % 2)}
        for k in range(4)
    ]
    rows = [row | {"head": "spp", "probability": "0.5", "calibrated": "0.5"} for row in cohort]
    with pytest.raises(
        InputError, match=r"evaluation.head is 'liquid', but predictions are of spp"
    ):
        evaluate(rows, cohort, settings=Settings(head="liquid"), seed=0)
