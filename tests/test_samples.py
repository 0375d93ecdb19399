"""The sheet and the configuration: every problem at once, each in a sentence."""

from pathlib import Path

import pytest
import yaml

from lungfish import samples
from lungfish.errors import InputError

SCHEMA = Path("workflow/schemas/config.schema.yaml").resolve()
SHEET = Path("workflow/schemas/samples.schema.yaml").resolve()


def sheet(tmp_path, text):
    path = tmp_path / "samples.tsv"
    path.write_text(text.replace("|", "\t"))
    (tmp_path / "ct").mkdir(exist_ok=True)
    return path


def test_a_good_sheet(tmp_path):
    path = sheet(tmp_path, "patient|dicom|label|split\np1|ct|1|0\np2||0|1\np3|ct||\n")
    found, problems = samples.read_samples(path, SHEET)
    assert problems == []
    assert [one.label for one in found] == [1, 0, None]
    assert found[0].dicom == tmp_path / "ct"
    assert found[1].dicom is None
    assert samples.shared_folders(found) == ["patients p1, p3 name the same DICOM folder"]


def test_all_problems_at_once_with_row_and_column(tmp_path):
    path = sheet(tmp_path, "patient|dicom|label\np 1|ct|2\np2|nowhere|1\np2||0\n")
    _, problems = samples.read_samples(path, SHEET)
    assert len(problems) == 4
    text = "\n".join(problems)
    assert "row 2: patient 'p 1'" in text
    assert "row 2: label '2': expected 0, 1 or nothing" in text
    assert "row 3: dicom 'nowhere': no such folder" in text
    assert "patient 'p2' stands in 2 rows" in text


def test_columns_are_checked_first(tmp_path):
    _, problems = samples.read_samples(sheet(tmp_path, "patient|labell\np1|1\n"), SHEET)
    assert any("lacks the column dicom" in problem for problem in problems)
    assert any("'labell' (did you mean label?)" in problem for problem in problems)
    _, problems = samples.read_samples(sheet(tmp_path, "patient|dicom|label\n"), SHEET)
    assert "has no rows" in problems[0]


def test_a_mask_counts_from_the_sheet_and_is_a_nifti_file_that_is_there(tmp_path):
    (tmp_path / "ct").mkdir()
    for name in ("ct/lungs.nii.gz", "ct/lungs.nii", "ct/lungs.png"):
        (tmp_path / name).touch()
    rows = "p1|ct|1|ct/lungs.nii.gz\np2||0|ct/lungs.nii\np3|ct||\n"
    found, problems = samples.read_samples(
        sheet(tmp_path, f"patient|dicom|label|mask\n{rows}"), SHEET
    )
    assert problems == []
    assert [one.mask for one in found] == [
        tmp_path / "ct/lungs.nii.gz", tmp_path / "ct/lungs.nii", None,
    ]  # fmt: skip
    rows = "p1|ct|1|ct/lungs.png\np2|ct|1|nowhere.nii\np3|ct|1|ct\n"
    _, problems = samples.read_samples(sheet(tmp_path, f"patient|dicom|label|mask\n{rows}"), SHEET)
    expected = "expected a NIfTI file (.nii or .nii.gz), or nothing for our own mask"
    assert problems == [
        f"samples.tsv row 2: mask 'ct/lungs.png': {expected}",
        "samples.tsv row 3: mask 'nowhere.nii': no such file (counted from the sheet's folder)",
        f"samples.tsv row 4: mask 'ct': {expected}",
        "samples.tsv row 4: mask 'ct': no such file (counted from the sheet's folder)",
    ]


def test_patient_names_cannot_leave_the_results_folder(tmp_path):
    _, problems = samples.read_samples(
        sheet(tmp_path, "patient|dicom|label\n../../etc|ct|1\n"), SHEET
    )
    assert "expected 1 to 64 letters" in problems[0]


def test_config_typo_gets_a_suggestion_and_its_place():
    problems = samples.check_config({"lungs": {"treshold_hu": -400}, "sede": 1}, SCHEMA)
    assert len(problems) == 2
    assert "config key lungs.treshold_hu is unknown (did you mean threshold_hu?)" in problems
    assert "config key sede is unknown (did you mean seed?)" in problems


def test_config_bounds_name_unit_and_meaning():
    (problem,) = samples.check_config({"volumes": {"spacing_mm": 0}}, SCHEMA)
    assert "volumes.spacing_mm" in problem
    assert "[mm]" in problem


def test_defaults_are_filled_in():
    full = samples.with_defaults({"volumes": {"spacing_mm": 2}}, SCHEMA)
    assert full["volumes"]["spacing_mm"] == 2
    assert full["volumes"]["interpolation"] == "cubic"
    assert full["seed"] == 0


def test_sheet_from_a_folder_and_labels(tmp_path):
    for name in ("a/dicom", "b", "c"):
        (tmp_path / "data" / name).mkdir(parents=True)
    labels = tmp_path / "labels.csv"
    labels.write_text("id,cancer,age\na,1,60\nb,0,61\nz,1,1\n")
    patients = samples.find_patients(tmp_path / "data")
    assert patients["a"] == tmp_path / "data" / "a" / "dicom"
    path = tmp_path / "out" / "samples.tsv"
    samples.write_sheet(path, patients, samples.read_labels(labels))
    found, problems = samples.read_samples(path, SHEET)
    assert problems == []
    assert [(one.patient, one.label) for one in found] == [("a", 1), ("b", 0), ("c", None)]


def test_relative_folders_count_from_the_sheet(tmp_path, monkeypatch):
    (tmp_path / "data" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    samples.write_sheet(Path("runs/real/samples.tsv"), {"a": Path("data/a")}, {})
    found, _ = samples.read_samples(Path("runs/real/samples.tsv"), SHEET)
    assert found[0].dicom == Path("runs/real/../../data/a")
    assert "../../data/a" in Path("runs/real/samples.tsv").read_text()


def test_bad_labels_are_all_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,cancer\na,yes\nb,1\nb,0\n")
    with pytest.raises(InputError, match=r"label 'yes' of a.*patient b stands twice"):
        samples.read_labels(path)
    with pytest.raises(InputError, match="no such folder"):
        samples.find_patients(tmp_path / "none")


def test_every_key_is_described_with_unit_and_default_and_the_page_agrees(clone, tmp_path):
    import shutil

    import yaml

    from scripts import reference

    def leaves(part, path=""):
        for key, sub in part["properties"].items():
            assert sub.get("description") or sub.get("type") == "object", key
            if sub.get("type") == "object":
                assert sub["additionalProperties"] is False, key
                yield from leaves(sub, f"{path}{key}.")
            else:
                yield f"{path}{key}", sub

    schema = yaml.safe_load((clone / SCHEMA).read_text())
    for name, part in leaves(schema):
        assert {"description", "unit", "default"} <= set(part), name
        assert samples.check_config({}, clone / SCHEMA) == []
    page = tmp_path / "README.md"
    shutil.copy(clone / "config/README.md", page)
    reference.main(["--schema", str(clone / SCHEMA), "--page", str(page)])
    assert page.read_text() == (clone / "config/README.md").read_text()


def test_schema_defaults_are_those_of_the_code(clone):
    import importlib

    import yaml

    from tests.test_names import STAGES

    schema = yaml.safe_load((clone / SCHEMA).read_text())["properties"]
    workflow_keys = {("gmcae", "scope"), ("gmcae", "pretrained"), ("classifier", "heads")}
    for stage in STAGES:
        try:
            room = importlib.import_module(f"lungfish.{stage}.settings")
        except ModuleNotFoundError:
            room = importlib.import_module(f"lungfish.{stage}")
        section = vars(room.Settings()) if hasattr(room, "Settings") else {}
        defaults = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in section.items()
            if (stage, key) != ("classifier", "head")  # the workflow names it, one run a head
        }
        stated = {
            key: part["default"]
            for key, part in schema[stage]["properties"].items()
            if (stage, key) not in workflow_keys
        }
        assert stated == defaults, stage


def test_your_own_ct_is_run_with_the_defaults():
    stated = yaml.safe_load((SCHEMA.parents[2] / "config/real.yaml").read_text())
    assert stated.pop("samples") == "samples.tsv"
    defaults = samples.with_defaults({}, SCHEMA)
    for name, value in stated.items():
        keys = value if isinstance(value, dict) else {}
        default = {key: defaults[name][key] for key in keys} if keys else defaults[name]
        assert value == default, name


def test_fold_numbers_have_no_gap(tmp_path):
    path = sheet(tmp_path, "patient|dicom|label|split\na||1|1\nb||0|2\n")
    _, problems = samples.read_samples(path, SHEET)
    assert problems == [
        "samples.tsv: the split column has no patient in fold 0: count the folds from 0 without a "
        "gap"
    ]
