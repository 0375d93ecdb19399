"""The same work for every patient: each once, in the sheet's order, however many workers."""

import os
from pathlib import Path

import pytest

from lungfish import patients
from lungfish.errors import InputError

SHEET = Path("workflow/schemas/samples.schema.yaml").resolve()
NAMES = ["p3", "p1", "p2"]


def work(sample):
    return {"patient": sample.patient, "process": os.getpid()}


def sheet(tmp_path, *rows):
    path = tmp_path / "samples.tsv"
    path.write_text("patient\tdicom\tlabel\n" + "".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_each_patient_once_in_the_order_of_the_sheet(tmp_path, workers):
    path = sheet(tmp_path, *(f"{name}\t\t0" for name in NAMES))
    rows = patients.for_each(path, SHEET, work, workers=workers)
    assert [row["patient"] for row in rows] == NAMES
    assert all((row["process"] == os.getpid()) == (workers == 1) for row in rows)


def test_a_bad_sheet_is_refused_whole_before_any_work(tmp_path):
    path = sheet(tmp_path, "p1\t\t2", "p2\tnowhere\t0")
    with pytest.raises(InputError, match=r"row 2: label '2'.*; .*row 3: dicom 'nowhere'"):
        patients.for_each(path, SHEET, pytest.fail, workers=1)
