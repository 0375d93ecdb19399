"""Every JSON on disk has the shape that its schema states, key by key."""

import json

import jsonschema
import pytest
import yaml

FILES = {
    "phantom": "phantom/*/truth/truth.json", "index": "index/*.json", "volumes": "volumes/*.json",
    "lungs": "lungs/*.json", "cohort": "cohort/cohort.json", "gmcae": "gmcae/*/gmcae.json",
    "classifier": "classifier/*/*/classifier.json", "evaluation": "evaluation/metrics.json",
    "model": "model/model.json",
}  # fmt: skip


def schema_of(clone, stage):
    return yaml.safe_load((clone / f"workflow/schemas/{stage}.schema.yaml").read_text())


@pytest.mark.parametrize("stage", FILES)
def test_records_of_a_run_fit_their_schema(clone, tiny, mixed, stage):
    validator = jsonschema.Draft202012Validator(schema_of(clone, stage))
    for run in (tiny[1], mixed[0]):
        paths = sorted((run / "results").glob(FILES[stage]))
        assert paths or stage == "classifier", (run, stage)
        for path in paths:
            problems = [
                error.message for error in validator.iter_errors(json.loads(path.read_text()))
            ]
            assert not problems, (path, problems)


def test_a_prediction_fits_its_schema(clone, tiny, tmp_path):
    from scripts import predict

    _, run = tiny
    output = tmp_path / "p.json"
    folder = run / "results/phantom/tiny-2/dicom"
    model = run / "results/model"
    arguments = ["--dicom", str(folder), "--model", str(model), "--output", str(output)]
    assert predict.main(arguments) == 0
    record = json.loads(output.read_text())
    jsonschema.Draft202012Validator(schema_of(clone, "predict")).validate(record)
    assert record["seen_in_training"]
    assert record["low"] <= record["probability"] <= record["high"]


def test_every_field_is_described_with_its_unit(clone):
    for stage in (*FILES, "predict"):
        schema = schema_of(clone, stage)
        assert schema["additionalProperties"] is False
        for name, part in schema["properties"].items():
            assert part["description"], (stage, name)
            assert part["unit"], (stage, name)


def test_an_abstention_fits_the_same_schema(clone, tiny, tmp_path):
    from lungfish import command
    from scripts import predict

    (tmp_path / "empty").mkdir()
    output, model = tmp_path / "p.json", tiny[1] / "results/model"
    arguments = ["--dicom", str(tmp_path / "empty"), "--model", str(model), "--output", str(output)]
    assert predict.main(arguments) == command.REFUSED
    record = json.loads(output.read_text())
    jsonschema.Draft202012Validator(schema_of(clone, "predict")).validate(record)
    assert (record["status"], record["code"]) == ("abstained", "no-ct")
    assert record["probability"] is None
