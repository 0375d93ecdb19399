"""Broken scans are left out with a code and a sentence each, and everybody else goes through."""

import copy
import re
import shutil

import numpy as np
import pydicom
import pytest

from lungfish import phantom
from lungfish.records import read_table
from tests.workflow_runner import copy_clone, snakemake

SETTINGS = phantom.Settings(matrix=64, slices=40, slice_mm=7.5, thickness_mm=7.5)
CHANGED = slice(16, 48)  # rows and columns well inside the round field of view


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """The data sets of a small digital patient whose lungs pass."""
    folder = tmp_path_factory.mktemp("source") / "dicom"
    phantom.write_dicom(folder, phantom.make_patient("broken-cohort", seed=0, settings=SETTINGS))
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def write_copy(folder, slices, rng, *, edit=lambda dataset, k: dataset):
    """Write the patient with a few HU of other noise, so that no scan stands there twice."""
    folder.mkdir(parents=True)
    for number, source in enumerate(slices):
        dataset = copy.deepcopy(source)
        kind = np.int16 if dataset.PixelRepresentation else np.uint16
        pixels = np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)
        pixels = pixels.astype(np.int32)
        pixels[CHANGED, CHANGED] += rng.integers(0, 9, pixels[CHANGED, CHANGED].shape)
        dataset.PixelData = pixels.astype(kind).tobytes()
        dataset = edit(dataset, number)
        if dataset is not None:
            dataset.save_as(folder / f"{number:04d}.dcm")


def without(*missing):
    return lambda dataset, k: None if k in missing else dataset


def change(**elements):
    def edit(dataset, k):
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        return dataset

    return edit


def smaller_from_30_on(dataset, k):
    if k >= 30:
        shape = dataset.Rows, dataset.Columns
        pixels = np.frombuffer(dataset.PixelData, np.uint16).reshape(shape)
        dataset.PixelData = pixels[::2, ::2].tobytes()
        dataset.Rows, dataset.Columns = (side // 2 for side in shape)
    return dataset


def no_position_in_12(dataset, k):
    if k == 12:
        del dataset.ImagePositionPatient
    return dataset


def modality_lut(dataset, k):
    """PS3.3 C.11.1: the Modality LUT stands in place of slope and intercept."""
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.ModalityLUTType = "HU"
    table.add_new("LUTData", "US", [0, 1, 2, 3])
    dataset.ModalityLUTSequence = [table]
    return dataset


def cut_in_half(folder):
    path = folder / "0017.dcm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def contradict(folder):
    dataset = pydicom.dcmread(folder / "0020.dcm")
    pixels = np.frombuffer(dataset.PixelData, np.uint16) + 1
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    dataset.save_as(folder / "again.dcm")


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def cut_zip(folder):
    """Leave a zip whose list of members, which stands at its end, is gone."""
    archive = folder.parent / "whole.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", folder)
    empty(folder)
    (folder / "scan.zip").write_bytes(archive.read_bytes()[:-2000])
    archive.unlink()


# What is done while the slices are written or afterwards; the code; words of the sentence.
BROKEN = {
    "gap": (without(19, 20), None, "missing-slices", "about 2 missing"),
    "truncated": (None, cut_in_half, "damaged-files", "file 18"),
    "matrix": (smaller_from_30_on, None, "mixed-matrix", "10 slices"),
    "position": (no_position_in_12, None, "incomplete-header", "ImagePositionPatient"),
    "empty": (None, empty, "no-ct", "no file at all"),
    "mr": (change(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR"), None, "no-ct", "40 "),
    "contradicting": (None, contradict, "duplicate-positions", "remove the wrong one"),
    "single": (without(*range(1, 40)), None, "too-few-slices", "1 slice"),
    "zip": (None, cut_zip, "no-ct", "1 "),
    "lut": (modality_lut, None, "not-hu", "Modality LUT"),
}


def run_cohort(place, slices, *, good, broken):
    """Run good and broken patients as far as the cohort table; return its rows by patient."""
    rows = []
    for number, name in enumerate([*(f"good-{k}" for k in range(good)), *broken]):
        edit, afterwards = BROKEN[name][:2] if name in BROKEN else (None, None)
        folder = place / "dicom" / name
        options = {"edit": edit} if edit else {}
        write_copy(folder, slices, np.random.default_rng(number), **options)
        if afterwards:
            afterwards(folder)
        rows.append(f"{name}\tdicom/{name}\t{number % 2}\n")
    (place / "samples.tsv").write_text("patient\tdicom\tlabel\n" + "".join(rows))
    clone = copy_clone(place / "clone")
    table = "results/cohort/cohort.tsv"
    found = snakemake(clone, place, table, "--config", "samples=samples.tsv")
    assert found.returncode == 0, found.stdout
    return {row["patient"]: row for row in read_table(place / table)}


def check_cohort(rows, *, good, broken):
    assert len(rows) == good + len(broken)
    for name, row in rows.items():
        if name not in broken:
            assert (row["status"], row["code"], row["reason"]) == ("ok", "", ""), row
            assert row["fold"] in ("0", "1")
            assert float(row["volume_litre"]) > 1
            continue
        _, _, code, words = BROKEN[name]
        assert (row["status"], row["code"]) == ("refused", code), row
        assert words in row["reason"]
        assert re.search(r": [a-z]", row["reason"]), "a sentence says what to do after a colon"
        assert row["fold"] == ""
    hashes = [row["content_hash"] for row in rows.values() if row["status"] == "ok"]
    assert len(set(hashes)) == len(hashes) == good


def test_three_broken_of_eight_are_explained_and_five_go_through(slices, tmp_path):
    broken = ("truncated", "contradicting", "zip")
    check_cohort(run_cohort(tmp_path, slices, good=5, broken=broken), good=5, broken=broken)


@pytest.mark.slow
def test_ten_broken_of_fifty_are_explained_and_forty_go_through(slices, tmp_path):
    rows = run_cohort(tmp_path, slices, good=40, broken=tuple(BROKEN))
    check_cohort(rows, good=40, broken=tuple(BROKEN))
