"""The model folder: what it is trained on, what it says, and that it answers the same elsewhere."""

import dataclasses
import json

import numpy as np
import pytest

from lungfish import model, records
from lungfish.classifier.calibration import Platt
from lungfish.classifier.settings import Settings as ClassifierSettings
from lungfish.errors import InputError, Refusal
from lungfish.index import Settings as IndexSettings
from lungfish.volumes import Settings as VolumesSettings
from scripts import evaluation as evaluation_script
from scripts import model as script

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SMALL = ClassifierSettings(units=(4,), epochs=5)
COLUMNS = (
    "patient", "status", "label", "fold", "volume_litre", "manufacturer", "kernel",
    "thickness_mm", "kvp", "content_hash",
)  # fmt: skip


def member(number, label, fold, status="ok"):
    return {
        "patient": f"p{number}", "status": status, "label": label, "fold": fold,
        "volume_litre": 4.5, "manufacturer": "A", "kernel": "B", "thickness_mm": 1.0, "kvp": 120,
        "content_hash": f"hash-{number}",
    }  # fmt: skip


def make_inputs(folder, labels, rng):
    """A cohort with features, evaluated with predictions of chance, and its encoder."""
    from lungfish.features import Features, write_features
    from lungfish.gmcae.backend import save_network
    from lungfish.gmcae.network import build_encoder
    from lungfish.gmcae.settings import Settings

    rows = [member(k, label, k // 2 % 2) for k, label in enumerate(labels)]
    rows += [member(90, None, None), member(91, 1, None, status="refused")]
    records.write_table(folder / "cohort.tsv", COLUMNS, rows)
    found = {
        row["patient"]: Features(
            rng.uniform(size=(3, 2, 4, 2)).astype(np.float32),
            np.ones((3, 2, 4), np.float32),
            np.zeros(3),
            8.0,
        )
        for row in rows
    }
    write_features(folder / "shard.h5", found)
    columns = ("patient", "label", "fold", "head", "probability", "calibrated")
    predictions = [
        row | {"head": "spp", "probability": 0.3 + 0.01 * k, "calibrated": 0.4}
        for k, row in enumerate(rows[:-2])
    ]
    usable = predictions if len(set(labels)) == 2 else []
    records.write_table(folder / "given.tsv", columns, usable)
    arguments = ["--cohort", folder / "cohort.tsv", "--settings", '{"bootstraps": 50}']
    arguments += ["--predictions-output", folder / "predictions.tsv", "--predictions"]
    arguments += [folder / "given.tsv", "--metrics-output", folder / "metrics.json"]
    try:
        evaluation_script.main([str(each) for each in arguments])
    except Refusal:
        assert not usable
    for fold, epochs in enumerate((2, 5)):
        record = records.accepted() | {"head": "spp", "epochs": epochs}
        records.write_json(folder / f"fold-{fold}.json", "classifier/1", record)
    save_network(folder / "gmcae" / "encoder.keras", build_encoder(Settings(filters=(2, 2, 2))))
    about = {"hu_map": {"low_hu": -1000, "high_hu": 400}, "spacing_mm": 1.0}
    records.write_json(folder / "gmcae" / "gmcae.json", "gmcae/1", records.accepted() | about)


def run(folder, output, **changed):
    options = {
        "encoder": "gmcae", "cohort": "cohort.tsv", "features": "shard.h5",
        "predictions": "predictions.tsv", "metrics": "metrics.json",
    }  # fmt: skip
    arguments = [f"--{name}={folder / path}" for name, path in options.items()]
    arguments += ["--classifiers", *(str(folder / f"fold-{fold}.json") for fold in (0, 1))]
    arguments += ["--classifier-settings", json.dumps(SMALL.__dict__), f"--output={output}"]
    arguments += ["--settings", '{"bootstraps": 2}', "--index-settings", '{"salt": "secret"}']
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    return script.main(arguments)


def test_a_model_folder_holds_all_that_prediction_needs_and_twice_the_same(tmp_path, rng):
    make_inputs(tmp_path, [0, 1] * 4, rng)
    for name in ("a", "b"):
        assert run(tmp_path, tmp_path / name, volumes_settings='{"spacing_mm": 1.5}') == 0
    first = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert first == [
        "bootstrap-0.keras", "bootstrap-1.keras", "encoder.keras", "gmcae.json", "head.keras",
        "model.json",
    ]  # fmt: skip
    for name in first:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    record = records.read_json(tmp_path / "a" / "model.json", "model/1")
    assert (record["status"], record["head"], record["epochs"]) == ("ok", "spp", 3)
    assert record["trained_on"] == {
        "n": 8,
        "events": 4,
        "content_hashes": [f"hash-{k}" for k in range(8)],
        "unlabelled_hashes": ["hash-90"],
    }
    assert record["preparation"]["volumes"]["spacing_mm"] == 1.5
    assert record["evaluation"]["conclusion"] == "inconclusive"
    assert "secret" not in (tmp_path / "a" / "model.json").read_text()


def test_a_loaded_model_answers_as_the_one_that_was_stored(tmp_path, rng):
    from lungfish.classifier.ensemble import train_ensemble
    from lungfish.classifier.fold import Patient

    make_inputs(tmp_path, [0, 1] * 4, rng)
    patients = [Patient(f"p{k}", k % 2, None) for k in range(6)]
    vectors = {each.name: rng.normal(size=7).astype(np.float32) for each in patients}
    ensemble = train_ensemble(
        patients, vectors, epochs=4, calibration=Platt(0.5, -1.0), classifier=SMALL, bootstraps=2,
        seed=0,
    )  # fmt: skip
    record = records.accepted() | ensemble.facts()
    model.write_model(tmp_path / "m", encoder=tmp_path / "gmcae", ensemble=ensemble, record=record)
    stored = records.read_json(tmp_path / "m" / "model.json", "model/1")
    again = model.load_ensemble(tmp_path / "m", stored)
    probability, low, high = ensemble.answer(vectors["p0"])
    assert again.answer(vectors["p0"]) == (probability, low, high)
    assert 0 < low <= probability <= high < 1


def test_without_a_classifier_the_encoder_stays_and_an_old_head_goes(tmp_path, rng):
    make_inputs(tmp_path, [0, 0, 0, 0], rng)
    old = tmp_path / "out" / "head.keras"
    old.parent.mkdir()
    old.write_bytes(b"of an older run")
    with pytest.raises(Refusal, match="one-class: no classifier was trained: 0 patients have"):
        run(tmp_path, tmp_path / "out")
    record = records.read_json(tmp_path / "out" / "model.json", "model/1")
    assert (record["status"], record["code"]) == ("refused", "one-class")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "encoder.keras", "gmcae.json", "model.json",
    ]  # fmt: skip
    with pytest.raises(Refusal, match="one-class"):
        model.load_ensemble(tmp_path / "out", record)


def test_refits_draw_as_many_of_each_label_as_there_are():
    labels = np.array([0] * 10 + [1] * 3)
    draws = [model_resample(labels, number) for number in range(20)]
    assert all((labels[draw] == 1).sum() == 3 for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 20


def model_resample(labels, number):
    from lungfish.classifier.ensemble import resample

    return resample(labels, seed=0, number=number)


def test_epochs_are_the_median_of_the_folds_that_could_be_trained():
    folds = [
        {"head": "spp", "status": "ok", "epochs": 4},
        {"head": "spp", "status": "ok", "epochs": 9},
        {"head": "spp", "status": "ok", "epochs": 30},
        {"head": "spp", "status": "refused"},
        {"head": "other", "status": "ok", "epochs": 1},
    ]
    assert model.choose_epochs(folds, "spp") == 9
    with pytest.raises(Refusal, match="no-classifier: no fold of head liquid could be trained"):
        model.choose_epochs(folds, "liquid")


def test_the_salt_of_a_cohort_is_not_shared():
    kept = model.preparation(index=IndexSettings(salt="secret"), volumes=VolumesSettings())
    fields = {field.name for field in dataclasses.fields(IndexSettings)}
    assert set(kept["index"]) == fields - {"salt"}
    assert kept["volumes"]["spacing_mm"] == 1.0


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"encoder\.keras is missing: run the gmcae stage"):
        model.write_model(tmp_path / "m", encoder=tmp_path, ensemble=None, record={})
