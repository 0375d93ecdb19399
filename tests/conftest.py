"""What several test files share: where real CT may lie, and DICOM series of known truth."""

from pathlib import Path

import numpy as np
import pytest

from tests import dicom_maker
from tests.workflow_runner import copy_clone, snakemake

CLONE = Path(__file__).parent.parent
SHARED = CLONE.parent / "shared" / "data"


@pytest.fixture(scope="session")
def clone() -> Path:
    """The root of the clone under test."""
    return CLONE


@pytest.fixture(scope="session")
def real_ct() -> Path:
    """Six real chest CT; nothing made from them may be written into the clone."""
    if not (SHARED / "ct").is_dir():
        pytest.skip("real CT (shared/data/ct) is not on this machine")
    return SHARED / "ct"


@pytest.fixture(scope="session")
def odd_ct() -> Path:
    """Folders of real CT that are odd in one way each."""
    if not (SHARED / "odd-ct").is_dir():
        pytest.skip("odd real CT (shared/data/odd-ct) is not on this machine")
    return SHARED / "odd-ct"


@pytest.fixture
def series(tmp_path) -> dicom_maker.Series:
    """A small axial series whose HU is a linear function of the patient's position."""
    return dicom_maker.Series(tmp_path / "dicom")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20171009)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A clone and the finished run of the tiny cohort in another folder."""
    place = tmp_path_factory.mktemp("tiny")
    clone = copy_clone(place / "clone")
    found = snakemake(clone, place / "run")
    assert found.returncode == 0, found.stdout
    return clone, place / "run"


@pytest.fixture(scope="session")
def mixed(tiny, tmp_path_factory):
    """A cohort of a good digital patient's DICOM under another name, and two bad folders."""
    import pydicom

    clone, run = tiny
    place = tmp_path_factory.mktemp("mixed")
    source = run / "results/phantom/tiny-1/dicom"
    for name, skipped in (("good one", ()), ("gap", (30, 31))):
        (place / name).mkdir()
        files = sorted(path for path in source.glob("*.dcm"))
        for number, path in enumerate(files):
            if number not in skipped:
                dataset = pydicom.dcmread(path)
                for keyword in IDENTIFYING:
                    setattr(dataset, keyword, SECRET)
                dataset.save_as(place / name / path.name)
    (place / "empty").mkdir()
    (place / "empty/notes.txt").write_text(SECRET)
    sheet = place / "samples.tsv"
    sheet.write_text("patient\tdicom\tlabel\na\tgood one\t1\nb\tgap\t0\nc\tempty\t0\nd\t\t\n")
    found = snakemake(clone, place / "run", "--config", f"samples={sheet}")
    assert found.returncode == 0, found.stdout
    return place / "run", found.stdout


SECRET = "PLANTED-4711"
IDENTIFYING = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientTelephoneNumbers",
    "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "OperatorsName",
    "PerformingPhysicianName", "AccessionNumber", "StudyID", "StudyDescription",
    "SeriesDescription", "ProtocolName", "StationName", "DeviceSerialNumber", "PatientComments",
    "ImageComments", "RequestingPhysician", "PhysiciansOfRecord", "AdditionalPatientHistory",
)  # fmt: skip
