"""What reruns is what depends on the change, and nothing else."""

import os
import re
import shutil
import time
from collections import Counter

import pytest
import yaml

from lungfish.records import read_table
from tests import chaos
from tests.conftest import SECRET
from tests.workflow_runner import copy_clone, plan, planned_files, snakemake

PATIENTS = 4
FOLDS = SHARDS = 2
FROM_GMCAE = Counter(
    gmcae=1,
    features=SHARDS,
    classifier=FOLDS,
    evaluation=1,
    model=1,
    report=1,
    report_patients=SHARDS,
)
FROM_PATCHES = FROM_GMCAE + Counter(patches=PATIENTS, patch_counts=1)
FROM_LUNGS = FROM_PATCHES + Counter(lungs=PATIENTS, cohort=1)
FROM_VOLUMES = FROM_LUNGS + Counter(volumes=PATIENTS)
EVERYTHING = FROM_VOLUMES + Counter(index=PATIENTS, phantom=PATIENTS)


@pytest.fixture
def changed(tiny, tmp_path):
    """A fresh copy of the clone to change, and the finished run."""
    return copy_clone(tmp_path / "changed"), tiny[1]


def test_the_tiny_cohort_runs_whole_and_says_so(tiny):
    _, run = tiny
    table = read_table(run / "results/cohort/cohort.tsv")
    assert len(table) == PATIENTS
    assert {row["status"] for row in table} == {"ok"}
    assert len(read_table(run / "results/evaluation/predictions.tsv")) == PATIENTS
    assert len((run / "results/report/summary.txt").read_text().splitlines()) == 3


def test_the_scheduler_looks_once_for_each_job_that_ends(clone, tmp_path):
    found = snakemake(clone, tmp_path, "--until", "index", "--cores", "1", "--verbose")
    assert found.returncode == 0, found.stdout
    jobs = found.stdout.count("Finished jobid")
    assert jobs == 8
    assert found.stdout.count("Ready jobs:") <= jobs + 2


def test_a_second_run_finds_nothing_to_do(tiny):
    found = snakemake(*tiny)
    assert found.returncode == 0
    assert "Nothing to be done" in found.stdout


def test_outputs_are_those_of_the_list_under_review(clone, tiny):
    _, run = tiny
    found = {
        re.sub(r"tiny-\d", "PATIENT", path.relative_to(run).as_posix())
        for path in (run / "results").rglob("*")
        if path.is_file()
        and not {"tensorboard", "dicom"} & set(path.parts)
        and path.name != ".snakemake_timestamp"
    }
    listed = set((clone / "tests/data/outputs.txt").read_text().split())
    assert found == listed


def test_neither_touch_nor_move_nor_cores_rerun_anything(tiny, changed):
    clone, run = changed
    for path in clone.rglob("*.*"):
        os.utime(path, (time.time() + 60, time.time() + 60))
    assert plan(clone, run) == Counter()
    assert plan(clone, run, "--cores", "1") == Counter()


def test_results_moved_with_their_folder_rerun_nothing(tiny, tmp_path):
    clone, run = tiny
    shutil.copytree(run, tmp_path / "moved")
    assert plan(clone, tmp_path / "moved") == Counter()


def test_one_file_plans_just_its_way(tiny, tmp_path):
    clone, run = tiny
    patient = read_table(run / "results/cohort/cohort.tsv")[0]["patient"]
    target = f"results/lungs/{patient}.nii.gz"
    assert plan(clone, tmp_path, target) == Counter(phantom=1, index=1, volumes=1, lungs=1)


def test_forcing_a_rule_reruns_what_follows(tiny):
    assert plan(*tiny, "--forcerun", "lungs") == FROM_LUNGS
    assert plan(*tiny, "--forcerun", "evaluation") == Counter(evaluation=1, model=1, report=1, report_patients=SHARDS)  # noqa: E501  # fmt: skip


KEYS = {
    "lungs": ({"closing_mm": 8.0}, FROM_LUNGS),
    "patches": ({"minimum_lung": 0.3}, FROM_PATCHES),
    "gmcae": ({"epochs": 3}, FROM_GMCAE),
    "volumes": ({"spacing_mm": 3.5}, FROM_VOLUMES),
    "index": ({"minimum_slices": 6}, FROM_VOLUMES + Counter(index=PATIENTS)),
    "evaluation": ({"minimum_per_class": 40}, Counter(evaluation=1, model=1, report=1, report_patients=SHARDS)),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("stage", KEYS)
def test_one_changed_key_reruns_what_depends_on_it(changed, stage):
    clone, run = changed
    path = clone / "config/tiny.yaml"
    config = yaml.safe_load(path.read_text())
    values, expected = KEYS[stage]
    config.setdefault(stage, {}).update(values)
    path.write_text(yaml.safe_dump(config))
    found = plan(clone, run)
    # The model and the report hold the settings of every stage, so they follow each change.
    assert found == expected | Counter(model=1, report=1)


CODE = {
    "lungfish/patches.py": "patches", "scripts/evaluation.py": "evaluation",
    "lungfish/dicom/series.py": "index", "lungfish/symmetry.py": "gmcae",
    "scripts/report.py": "report", "lungfish/phantom/nodules.py": "phantom",
}  # fmt: skip


@pytest.mark.parametrize("file", CODE)
def test_one_changed_line_reruns_the_stages_that_import_it(changed, file):
    clone, run = changed
    with (clone / file).open("a") as stream:
        stream.write("# one more line\n")
    found = plan(clone, run)
    order = list(EVERYTHING)
    first = ["phantom", "index", "volumes", "lungs", "patches", "cohort", "gmcae", "features",
             "classifier", "evaluation", "model", "report"]  # fmt: skip
    earlier = first[: first.index(CODE[file])]
    assert found[CODE[file]] == EVERYTHING[CODE[file]], found
    assert not set(found) & set(earlier), (found, order)


def test_adding_a_patient_touches_no_file_of_another(tiny, tmp_path):
    clone, run = tiny
    sheet = tmp_path / "more.tsv"
    text = (clone / "config/tiny.tsv").read_text()
    sheet.write_text(text + "newcomer\t\t\n")
    files = planned_files(clone, run, "--config", f"samples={sheet}")
    per_patient = [name for name in files if name.split("/")[1] in ("phantom", "index", "volumes", "lungs", "patches")]  # noqa: E501  # fmt: skip
    assert len(per_patient) == 9
    assert all("newcomer" in name for name in per_patient)
    assert any(name.startswith("results/gmcae/") for name in files)


def refusal_of(tiny, *arguments, **options):
    found = snakemake(*tiny, "--dry-run", *arguments, **options)
    assert found.returncode == 1
    return found.stdout


def test_a_misspelt_key_stops_with_one_sentence(tiny, tmp_path):
    clone, run = tiny
    text = refusal_of((clone, run), "--config", "sede=1", "lungs={treshold_hu: -300}")
    assert "config key sede is unknown (did you mean seed?)" in text
    assert "config key lungs.treshold_hu is unknown (did you mean threshold_hu?)" in text
    assert "Traceback" not in text


def test_a_bad_sheet_stops_with_every_problem(tiny, tmp_path):
    sheet = tmp_path / "bad.tsv"
    sheet.write_text("patient\tdicom\tlabel\na\tnowhere\t2\na\t\t1\n")
    text = refusal_of(tiny, "--config", f"samples={sheet}")
    for words in ("row 2: label '2'", "no such folder", "patient 'a' stands in 2 rows"):
        assert words in text
    assert "config/none.tsv is missing" in refusal_of(tiny, "--config", "samples=config/none.tsv")


@pytest.mark.parametrize("label", ["", "1"])
def test_labels_that_allow_no_classifier_plan_none(tiny, tmp_path, label):
    sheet = tmp_path / "one.tsv"
    sheet.write_text("patient\tdicom\tlabel\n" + "".join(f"p{k}\t\t{label}\n" for k in range(3)))
    found = plan(tiny[0], tmp_path / "run", "--config", f"samples={sheet}")
    assert found["features"] >= 1
    assert found["report"] == found["evaluation"] == found["model"] == 1
    assert found["classifier"] == 0


def test_fold_scopes_plan_one_autoencoder_a_fold_and_one_for_the_model(tiny, tmp_path):
    found = plan(tiny[0], tmp_path / "run", "--config", "gmcae={scope: fold}")
    assert found["gmcae"] == FOLDS + 1
    assert found["features"] == SHARDS * (FOLDS + 1)


def test_slurm_profile_plans(tiny, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    profile = tiny[0] / "profiles/slurm"
    found = plan(tiny[0], tmp_path / "run", "--profile", str(profile))
    assert found == EVERYTHING


def test_a_living_run_is_not_disturbed(tiny, tmp_path):
    import psutil

    from lungfish import runs
    from lungfish.records import write_json

    clone, _ = tiny
    run = tmp_path / "run"
    (run / ".snakemake/locks").mkdir(parents=True)
    (run / ".snakemake/locks/0.input.lock").touch()
    me = psutil.Process()
    import socket

    owner = {"pid": me.pid, "started": me.create_time(), "host": socket.gethostname()}
    write_json(run / ".snakemake/lungfish-run.json", runs.SCHEMA, owner)
    found = snakemake(clone, run)
    assert found.returncode != 0
    assert f"another run (process {me.pid}) is working in this folder" in found.stdout
    assert (run / ".snakemake/locks/0.input.lock").exists()


def test_a_bad_scan_is_left_out_with_its_reason_and_the_others_go_on(mixed):
    run, _ = mixed
    rows = {row["patient"]: row for row in read_table(run / "results/cohort/cohort.tsv")}
    assert {name: row["code"] for name, row in rows.items()} == {
        "a": "", "b": "missing-slices", "c": "no-ct", "d": "",
    }  # fmt: skip
    page = (run / "results/report/index.html").read_text()
    assert "find the missing slices" in page
    assert "Nothing can be concluded" in page
    for patient in rows:
        assert (run / f"results/report/patients/{patient}.html").is_file()


def test_no_planted_identifier_reaches_an_output(mixed):
    import h5py

    run, terminal = mixed
    assert SECRET not in terminal
    for path in sorted(run.rglob("*")):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    uid = b"2.25."
    for path in (run / "results").rglob("*.json"):
        assert uid not in path.read_bytes() or "truth" in path.parts, path
    for path in (run / "results").rglob("*.h5"):
        with h5py.File(path) as store:
            assert SECRET not in str(dict(store.attrs)), path


def test_a_cohort_of_refused_patients_still_gets_its_pages(tiny, tmp_path):
    rows = []
    for name, label in (("a", 1), ("b", 1), ("c", 0), ("d", 0)):
        (tmp_path / name).mkdir()
        rows.append(f"{name}\t{name}\t{label}\n")
    (tmp_path / "s.tsv").write_text("patient\tdicom\tlabel\n" + "".join(rows))
    sheet = f"samples={tmp_path / 's.tsv'}"
    found = snakemake(tiny[0], tmp_path / "run", "--config", sheet)
    assert found.returncode == 0, found.stdout
    assert "Cohort: 4 patients, 0 in, 4 refused (no-ct 4)" in found.stdout
    assert (
        "CT slice in the folder (no file at all)"
        in (tmp_path / "run/results/report/index.html").read_text()
    )


@pytest.mark.slow
def test_large_files_may_go_after_their_last_use_and_the_rest_is_the_same(tiny, tmp_path):
    clone, whole = tiny
    run = tmp_path / "run"
    trimmed = ("--config", "temp=[phantom,volumes,patches]")
    found = snakemake(clone, run, *trimmed)
    assert found.returncode == 0, found.stdout
    large = re.compile(r"results/(phantom/.*/dicom/.*|volumes/.*\.nii\.gz|patches/.*\.h5)")
    assert all(large.fullmatch(name) for name in chaos.differences(run, whole))
    for pattern in ("phantom/*/dicom", "volumes/*.nii.gz", "patches/*.h5"):
        assert list((whole / "results").glob(pattern))
        assert not list((run / "results").glob(pattern))
    assert plan(clone, run, *trimmed) == Counter()
