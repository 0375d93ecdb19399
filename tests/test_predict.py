"""One new patient: an answer with its evidence, or an abstention with a reason."""

import json

import numpy as np
import pytest

from lungfish import index, lungs, model, nifti, predict, records, volumes
from lungfish.classifier.calibration import Platt
from lungfish.classifier.settings import Settings as ClassifierSettings
from lungfish.errors import InputError
from scripts import predict as script

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SPACING_MM = 2.5
CLASSIFIER = ClassifierSettings(units=(4,), levels=(1, 2))
EVALUATION = {
    "n": 5, "events": 2, "folds": 2, "conclusion": "inconclusive", "reason": "too few patients",
    "head": {}, "baselines": {},
}  # fmt: skip


def make_model(folder, rng, *, status, hashes=()):
    """A small model of random weights."""
    from lungfish.classifier.ensemble import train_ensemble
    from lungfish.classifier.fold import Patient
    from lungfish.gmcae.backend import save_network
    from lungfish.gmcae.network import build_encoder
    from lungfish.gmcae.settings import Settings

    save_network(folder / "gmcae" / "encoder.keras", build_encoder(Settings(filters=(2, 2, 2))))
    about = {"hu_map": {"low_hu": -1000, "high_hu": 400}, "spacing_mm": SPACING_MM}
    records.write_json(folder / "gmcae" / "gmcae.json", "gmcae/1", records.accepted() | about)
    patients = [Patient(f"p{k}", k % 2, None) for k in range(4)]
    ensemble = train_ensemble(
        patients,
        {each.name: rng.uniform(size=18).astype(np.float32) for each in patients},
        epochs=2,
        calibration=Platt(),
        classifier=CLASSIFIER,
        bootstraps=2,
        seed=0,
    )
    record = status | ensemble.facts() | {
        "trained_on": {
            "n": 5, "events": 2, "content_hashes": list(hashes), "unlabelled_hashes": [],
        },
        "evaluation": EVALUATION,
        "preparation": model.preparation(
            index=index.Settings(),
            volumes=volumes.Settings(spacing_mm=SPACING_MM, interpolation="linear"),
            lungs=lungs.Settings(),
        ),
    }  # fmt: skip
    model.write_model(folder / "model", encoder=folder / "gmcae", ensemble=ensemble, record=record)
    return folder / "model"


NO_CLASSIFIER = {"status": "refused", "code": "one-class", "reason": "all patients have label 0"}


def test_a_folder_without_a_chest_is_an_abstention_with_the_reason(tmp_path, rng, capsys):
    folder = make_model(tmp_path, rng, status=records.accepted())
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "readme.txt").write_text("no image")
    output = tmp_path / "p.json"
    arguments = [f"--dicom={tmp_path / 'dicom'}", f"--model={folder}", f"--output={output}"]
    assert script.main(arguments) == 3
    found = records.read_json(output, "predict/1")
    assert found["status"] == "abstained"
    assert found["code"]
    assert found["reason"]
    assert found["probability"] is None
    assert found["trained_on"] == {"n": 5, "events": 2}
    assert "this model's evaluation is inconclusive: too few patients" in found["conclusion"]
    assert "not a medical device" in found["note"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"No answer ({found['code']})")


def test_a_missing_folder_is_wrong_use_and_no_abstention(tmp_path, rng):
    with pytest.raises(InputError, match=r"model\.json is missing"):
        predict.predict_folder(tmp_path, tmp_path / "nowhere")
    folder = make_model(tmp_path, rng, status=records.accepted())
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        predict.predict_folder(tmp_path / "nowhere", folder)


def test_a_scan_is_known_again_by_its_content():
    trained_on = {"content_hashes": ["a"], "unlabelled_hashes": ["b"]}
    assert [predict.seen_as(each, trained_on) for each in "abc"] == ["labelled", "unlabelled", ""]


def test_a_conclusion_that_was_reached_is_said_too():
    found = EVALUATION | {"conclusion": "no better than constant", "reason": "why"}
    sentence = predict.say_conclusion(found)
    assert sentence == "this model's evaluation found it no better than constant: why"


def test_three_lines_say_answer_evidence_and_limits():
    record = {
        "status": "ok", "probability": 0.25, "low": 0.1, "high": 0.5, "seen_as": "labelled",
        "scan": {"verdict": "ok", "reasons": []},
        "lungs": {"verdict": "ok", "right_litre": 2.5, "left_litre": 2.25},
        "trained_on": {"n": 5, "events": 2}, "conclusion": predict.say_conclusion(EVALUATION),
        "note": predict.NOTE,
    }  # fmt: skip
    assert predict.three_lines(record).splitlines() == [
        "Probability 0.250 (spread over refits 0.100 to 0.500); lungs ok (right 2.50 l, left "
        "2.25 l). The model was trained on this very scan.",
        "Trained on 5 patients, 2 with label 1; this model's evaluation is inconclusive: too few "
        "patients.",
        "Not a medical device: for research, never for the care of a patient.",
    ]
    first = predict.three_lines(record | {"seen_as": "unlabelled"}).splitlines()[0]
    assert first.endswith("had this very scan among its patients, without a label.")


def test_real_ct_gets_an_answer_that_equals_the_stages_one_by_one(tmp_path, rng, real_ct):
    from lungfish.classifier.pooling import pool_lungs
    from lungfish.features import Settings, encode_lungs
    from lungfish.gmcae.encoder import load_encoder

    dicom = real_ct / "lidc-0001" / "dicom"
    settings = volumes.Settings(spacing_mm=SPACING_MM, interpolation="linear")
    volume, about = volumes.build_volume(
        dicom, index.index_folder(dicom, settings=index.Settings()), settings=settings
    )
    # As the stages pass it on, through a file.
    nifti.write_volume(tmp_path / "v.nii.gz", volume)
    volume = nifti.read_volume(tmp_path / "v.nii.gz")
    folder = make_model(tmp_path, rng, status=records.accepted(), hashes=[about["content_hash"]])
    mask = lungs.segment(volume, settings=lungs.Settings())
    encoded = encode_lungs(
        load_encoder(folder), volume, mask.labels, mask.record["box_voxel"], settings=Settings()
    )
    ensemble = model.load_ensemble(folder, json.loads((folder / "model.json").read_text()))
    expected = ensemble.answer(pool_lungs(encoded.grid, encoded.inside, levels=(1, 2)))
    found = predict.predict_folder(dicom, folder)
    assert (found["status"], found["seen_in_training"]) == ("ok", True)
    assert (found["probability"], found["low"], found["high"]) == pytest.approx(expected, abs=1e-6)
    assert found["lungs"]["right_litre"] == pytest.approx(mask.record["right_litre"])


@pytest.mark.slow
def test_a_model_without_a_classifier_abstains_but_tells_of_the_lungs(tmp_path, rng, real_ct):
    folder = make_model(tmp_path, rng, status=NO_CLASSIFIER)
    found = predict.predict_folder(real_ct / "lidc-0001" / "dicom", folder)
    assert (found["status"], found["code"]) == ("abstained", "one-class")
    assert found["lungs"]["verdict"] in ("ok", "review")
    assert found["seen_in_training"] is False
