"""What the pages say about the autoencoder: rivals, components, samples, patches, surprise."""

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imsave

from lungfish import records
from scripts import report as script
from tests.test_report import Page, arguments, make_results

RIVALS = {
    "fixed Gaussian": {"kind": "marginal", "nats_per_voxel": 30.0, "rmse_hu": 333.0},
    "block KLT": {"kind": "given a code", "nats_per_voxel": -0.9, "rmse_hu": 76.6},
    "far code": {"kind": "given a code", "nats_per_voxel": 31.0, "rmse_hu": 334.0},
    "codec": {"kind": "whole message", "nats_per_voxel": -1.0, "rmse_hu": 0.0},
}
COUNTS = {
    "patient": "d001", "status": "ok", "code": "", "patches": 128, "inner": 61, "border": 59,
    "background": 8, "lung_fraction": 0.712, "padded": 0.013, "clipped": 0.0456,
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_results(tmp_path_factory.mktemp("results"))
    folder = root / "gmcae/cohort"
    validation = {"component_shares": [0.75, 0.25, 0.0], "components_used": 2}
    record = records.accepted() | {
        "hu_map": {"low_hu": -1000, "high_hu": 400}, "validation": validation, "rivals": RIVALS,
    }  # fmt: skip
    records.write_json(folder / "gmcae.json", "gmcae/1", record)
    refused = {"patient": "d003", "status": "refused", "code": "missing-slices", "patches": 0}
    records.write_table(root / "patches.tsv", tuple(COUNTS), [COUNTS, refused])
    rng = np.random.default_rng(0)
    with h5py.File(folder / "examples.h5", "a") as store:
        for name in ("drawn", "free", "free_mean"):
            store[name] = rng.normal(-800, 90, store["input"].shape).astype(np.int16)
        store["responsibility"] = rng.integers(0, 255, (12, 32, 32, 3)).astype(np.uint8)
        store.attrs["fitted"] = 354
    place = {"position_mm": [-56.3, 12.0, -204.0], "nats": 7.16, "hu": -553.0}
    surprise = records.accepted() | {
        "scope": "fold-1", "seen_in_training": False, "voxels": 9, "mean_nats": 4.85,
        "median_nats": 4.5, "p95_nats": 6.33, "p99_nats": 7.72, "places": [place],
    }  # fmt: skip
    records.write_json(root / "surprise/d001.json", "surprise/1", surprise)
    imsave(root / "surprise/d001.png", rng.integers(0, 255, (40, 70, 3)).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def index(results: Path) -> str:
    extra = ["--patches", str(results / "patches.tsv")]
    assert script.main([*arguments(results, "cohort"), *extra]) == 0
    return (results / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def patient(results: Path) -> str:
    extra = ["--surprise", str(results / "surprise/d001.json")]
    assert script.main([*arguments(results, "patients"), *extra]) == 0
    return (results / "report/patients/d001.html").read_text(encoding="utf-8")


def section(page: str, key: str) -> str:
    """Return the words of one section."""
    found = page.split(f'<section id="{key}">')[1].split("</section>")[0]
    return Page(f"<section>{found}</section>").text


def test_the_loss_stands_in_bits_beside_rivals_the_best_first(index: str) -> None:
    text = section(index, "training")
    best = 3 / 19 - 1.1
    assert f"{(best + math.log(700)) / math.log(2):.2f}" in text
    assert text.index("block KLT") < text.rindex("fixed Gaussian")
    klt = (-0.9 + math.log(700)) / math.log(2)
    assert f"block KLT cohort given a code \N{MINUS SIGN}0.900 {klt:.2f} 76.6" in text
    assert "codec cohort whole message" in text
    assert "this autoencoder cohort given a code" in text


def test_a_rival_far_away_does_not_press_the_curves_flat(index: str) -> None:
    loss, error = index.split('<section id="training">')[1].split("<svg")[1:3]
    assert "block KLT" in loss
    assert "far code" not in loss
    assert "far code" in error


def test_no_curve_of_a_loss_given_a_code_stands_beside_another_kind(index: str) -> None:
    loss, error = index.split('<section id="training">')[1].split("<svg")[1:3]
    assert "codec" not in loss
    assert "fixed Gaussian" not in loss
    assert "codec" not in error.split("</svg>")[0]


def test_it_is_said_how_many_components_are_used(index: str) -> None:
    assert "2 of 3 used; 75.0 %, 25.0 %, 0.0 %" in section(index, "training")
    assert index.count('alt="Responsibility of component 2') == 6


def test_what_is_drawn_with_no_input_is_said_to_be(index: str) -> None:
    text = section(index, "samples")
    for words in ("Drawn, given the real one's code", "no input", "354 training patches"):
        assert words in text
    assert index.split('<section id="samples">')[1].split("</section>")[0].count("<img") == 24


def test_each_patients_patches_are_counted(index: str) -> None:
    text = section(index, "counts")
    assert "128 patches in all" in text
    assert "d001 128 61 59 8 71.2 1.3 4.6" in text
    assert "d003 missing-slices 0 n/a" in text


def test_a_patients_page_shows_the_map_and_who_judged(patient: str) -> None:
    text = section(patient, "surprise")
    assert "scope fold-1, which has never seen this patient" in text
    assert f"4.85 nats per voxel, that is {4.85 / math.log(2):.2f} bits" in text
    assert "1 7.16 \N{MINUS SIGN}553 \N{MINUS SIGN}56 12 \N{MINUS SIGN}204" in text
    assert "the patient's right (R) is at the picture's left" in text


def test_who_has_no_map_has_no_section(results: Path, patient: str) -> None:
    page = (results / "report/patients/d002.html").read_text(encoding="utf-8")
    assert 'id="surprise"' not in page


def test_a_folder_without_record_and_samples_still_has_a_page(tmp_path: Path) -> None:
    root = make_results(tmp_path)
    assert script.main(arguments(root, "cohort")) == 0
    page = (root / "report/index.html").read_text(encoding="utf-8")
    assert 'id="samples"' not in page
    assert 'id="counts"' not in page
    assert "Rivals" not in page
