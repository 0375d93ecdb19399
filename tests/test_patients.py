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


def count_threads(sample):
    import numpy  # noqa: F401 - starts the libraries whose threads are counted
    import SimpleITK as sitk
    import threadpoolctl

    blas = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return {"itk": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), "blas": max(blas)}


def test_libraries_in_a_worker_start_no_threads_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")
    rows = patients.for_each(sheet(tmp_path, "p1\t\t0"), SHEET, count_threads, workers=2)
    assert rows == [{"itk": 1, "blas": 1}]


def test_a_bad_sheet_is_refused_whole_before_any_work(tmp_path):
    path = sheet(tmp_path, "p1\t\t2", "p2\tnowhere\t0")
    with pytest.raises(InputError, match=r"row 2: label '2'.*; .*row 3: dicom 'nowhere'"):
        patients.for_each(path, SHEET, pytest.fail, workers=1)
