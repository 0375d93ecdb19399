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
