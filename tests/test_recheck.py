"""A file rewritten in place under its own name and time is noticed, and nothing else is."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungfish import index, phantom, volumes
from lungfish.errors import Refusal
from lungfish.recheck import as_stored, recheck_patient, summarise
from lungfish.records import read_table, refused, write_json
from tests.workflow_runner import copy_clone, environment, plan, planned_files, snakemake

INDEX, VOLUMES = index.Settings(salt="pepper"), volumes.Settings()


def build(folder):
    """Return the two records that the workflow would have stored."""
    indexed = index.index_folder(folder, settings=INDEX)
    try:
        _, built = volumes.build_volume(folder, indexed, settings=VOLUMES, salt=INDEX.salt)
    except Refusal as refusal:
        built = refused(refusal)
    return as_stored(indexed), as_stored(built)


def recheck(folder, indexed, built):
    return recheck_patient(folder, indexed, built, index_settings=INDEX, volumes_settings=VOLUMES)


def rewrite(path, change):
    """Change a file in place, keeping its name, its length where possible, and its times."""
    times = path.stat()
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def one_voxel(dataset):
    pixels = np.frombuffer(dataset.PixelData, np.int16).copy()
    pixels[pixels.size // 2] += 1  # not in the corner, which may be padding
    dataset.PixelData = pixels.tobytes()


def move(dataset):
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 0.5]


REWRITTEN = {
    "one voxel by one HU": (one_voxel, "the HU"),
    "a position": (move, "slices|geometry|is now"),
    "the intercept": (lambda dataset: setattr(dataset, "RescaleIntercept", -1000), "the HU"),
    "the instance's UID": (lambda dataset: setattr(dataset, "SOPInstanceUID", "1.9"), "slices"),
    "what makes it a slice": (lambda dataset: setattr(dataset, "Modality", "MR"), "is now refused"),
}


@pytest.mark.parametrize("what", REWRITTEN)
def test_what_decides_geometry_or_hu_is_noticed(series, what):
    folder = series.write()
    records = build(folder)
    assert recheck(folder, *records) == ("unchanged", "")
    change, words = REWRITTEN[what]
    rewrite(folder / "0004.dcm", change)
    status, differs = recheck(folder, *records)
    assert status == "rewritten"
    assert re.search(words, differs), differs


def test_what_decides_nothing_is_not(series):
    folder = series.write()
    records = build(folder)
    rewrite(folder / "0004.dcm", lambda dataset: setattr(dataset, "PatientName", "Other^Name"))
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    assert recheck(folder, *records) == ("unchanged", "")


def test_files_come_and_gone_are_counted(series):
    folder = series.write()
    records = build(folder)
    (folder / "notes.txt").write_text("new")
    assert recheck(folder, *records) == ("rewritten", "11 files instead of 10")
    (folder / "notes.txt").unlink()
    (folder / "0010.dcm").unlink()
    status, differs = recheck(folder, *records)
    assert status == "rewritten"
    assert differs.startswith("9 files instead of 10")


def test_a_refused_scan_stays_unchanged_until_it_is_mended(series):
    folder = series.write()
    middle = (folder / "0005.dcm").read_bytes()
    (folder / "0005.dcm").unlink()
    records = build(folder)
    assert records[1]["code"] == "missing-slices"
    assert recheck(folder, *records) == ("unchanged", "")
    (folder / "0005.dcm").write_bytes(middle)
    status, differs = recheck(folder, *records)
    assert status == "rewritten"
    assert "was refused (missing-slices), is now ok" in differs


def test_absent_folder_and_absent_records_have_a_word_of_their_own(series, tmp_path):
    folder = series.write()
    indexed, built = build(folder)
    assert recheck(folder, None, None)[0] == "not yet built"
    assert recheck(folder, indexed, None) == ("not yet built", "the volume")
    assert recheck(tmp_path / "gone", indexed, built) == ("missing", "the folder")


def test_nothing_that_is_said_holds_a_name_or_a_uid(series):
    folder = series.write()
    records = build(folder)
    for change, _ in REWRITTEN.values():
        rewrite(folder / "0004.dcm", change)
    text = summarise([dict(zip(("status", "differs"), recheck(folder, *records), strict=True), patient="p")])  # noqa: E501  # fmt: skip
    assert "p: rewritten" in text
    for secret in ("Doe", "SECRET", "1.2.3", "1.9", "0004", str(folder)):
        assert secret not in text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_script_ends_with_3_when_something_changed(clone, series, tmp_path, workers):
    folder = series.write()
    indexed, built = build(folder)
    sheet = tmp_path / "s.tsv"
    sheet.write_text("patient\tdicom\tlabel\na\tdicom\t\nb\tdicom\t\n")
    write_json(tmp_path / "results/index/a.json", index.SCHEMA, indexed)
    write_json(tmp_path / "results/volumes/a.json", volumes.SCHEMA, built)
    line = [
        sys.executable, "scripts/recheck.py", "--samples", sheet, "--workers", workers,
        "--results", tmp_path / "results", "--output", tmp_path / "r.tsv",
        "--index-settings", '{"salt": "pepper"}',
    ]  # fmt: skip
    found = subprocess.run(line, cwd=clone, text=True, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "Recheck of 2 patients: 1 unchanged, 1 not yet built\n"
    rewrite(folder / "0004.dcm", one_voxel)
    found = subprocess.run(line, cwd=clone, text=True, capture_output=True, check=False)
    assert found.returncode == 3
    assert read_table(tmp_path / "r.tsv")[0] == {
        "patient": "a", "status": "rewritten", "differs": "the HU",
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A clone, and three patients as far as the cohort table."""
    place = tmp_path_factory.mktemp("recheck")
    settings = phantom.Settings(matrix=64, slices=40, slice_mm=7.5, thickness_mm=7.5)
    rows = []
    for name in "abc":
        digital = phantom.make_patient(f"recheck-{name}", seed=0, settings=settings)
        phantom.write_dicom(place / name, digital)
        rows.append(f"{name}\t{name}\t\n")
    (place / "samples.tsv").write_text("patient\tdicom\tlabel\n" + "".join(rows))
    clone = copy_clone(place / "clone")
    found = snakemake(clone, place, TABLE, *SHEET)
    assert found.returncode == 0, found.stdout
    return clone, place


TABLE = "results/cohort/cohort.tsv"
SHEET = ("--config", "samples=samples.tsv")


def run_recheck(clone, place):
    found = snakemake(clone, place, "recheck", *SHEET)
    assert found.returncode == 0, found.stdout
    assert "Nothing to be done" not in found.stdout
    rows = read_table(place / "results/recheck/recheck.tsv")
    return found.stdout, {row["patient"]: row["status"] for row in rows}


def test_a_file_rewritten_in_place_is_named_taken_up_by_the_printed_command_and_then_well(run):
    clone, place = run
    said, status = run_recheck(clone, place)
    assert status == dict.fromkeys("abc", "unchanged")
    assert "Recheck of 3 patients: 3 unchanged" in said
    assert "forcerun" not in said

    rewrite(sorted((place / "b").glob("*.dcm"))[20], one_voxel)
    assert plan(clone, place, TABLE, *SHEET) == {}, "Snakemake alone should notice nothing"
    said, status = run_recheck(clone, place)
    assert status == {"a": "unchanged", "b": "rewritten", "c": "unchanged"}
    assert "b: rewritten (the HU)" in said

    line = shlex.split(re.findall(r"^  (.*--forcerun.*)$", said, re.M)[0])
    assert "recheck" not in line
    line[0] = str(Path(sys.executable).parent / line[0])
    planned = planned_files(clone, place, TABLE, *line[line.index("--config") :])
    assert {name for name in planned if "/cohort/" not in name} == {
        f"results/{stage}/b.{suffix}"
        for stage, suffixes in {
            "index": ("json",), "volumes": ("nii.gz", "json"), "lungs": ("nii.gz", "json", "png"),
        }.items()
        for suffix in suffixes
    }  # fmt: skip
    assert TABLE in planned

    line.insert(line.index("--config"), TABLE)  # as typed, but not as far as the networks
    found = subprocess.run(line, env=environment(), text=True, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    assert run_recheck(clone, place)[1] == dict.fromkeys("abc", "unchanged")
