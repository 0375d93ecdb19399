"""What is true of digital patients: their anatomy, their scans, their fates, their files."""

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lungfish import nifti, phantom, randomness, records
from lungfish.errors import InputError
from lungfish.phantom import anatomy, nodules, scanner
from lungfish.volume import to_index, to_mm

CLONE = Path(__file__).parent.parent
TINY = phantom.Settings(matrix=96, slices=60, slice_mm=5.0, thickness_mm=5.0)
ROWS = {name: records.read_table(CLONE / "config" / f"{name}.tsv") for name in ("samples", "tiny")}
SOFT, SHARP = "tiny-3", "tiny-2"  # one patient of each scanner


@functools.cache
def tiny(patient: str, seed: int = 0) -> phantom.DigitalPatient:
    return phantom.make_patient(patient, seed=seed, settings=TINY)


def grid_mm(digital: phantom.DigitalPatient) -> np.ndarray:
    """LPS mm (x, y, z) of every voxel, shape (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, digital.volume.hu.shape), indexing="ij"), -1)
    return to_mm(digital.volume.affine, index)


@pytest.mark.parametrize("sheet", ["samples", "tiny"])
def test_the_truth_confirms_the_labels_of_the_sheets(sheet):
    for row in ROWS[sheet]:
        assert row["label"] == str(int(phantom.is_malignant(row["patient"])))
        assert row["dicom"] == ""


def test_the_scanner_says_nothing_about_the_label_in_the_sheets():
    for sheet, each in (("samples", 4), ("tiny", 1)):
        cells = [(row["label"], phantom.scanner_of(row["patient"]).kernel) for row in ROWS[sheet]]
        assert len(set(cells)) == 4
        assert all(cells.count(cell) == each for cell in cells)


@pytest.mark.parametrize("patient", [row["patient"] for row in ROWS["tiny"]])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_patient_carries_nodules_that_confirm_the_fate(patient, seed):
    truth = tiny(patient, seed).truth
    assert 1 <= len(truth["nodules"]) <= TINY.nodules
    assert truth["malignant"] == phantom.is_malignant(patient)
    assert any(nodule["malignant"] for nodule in truth["nodules"]) == truth["malignant"]


def test_equal_arguments_give_equal_bytes_and_another_seed_another_body():
    again = phantom.make_patient(SOFT, seed=0, settings=TINY)
    assert again.volume.hu.tobytes() == tiny(SOFT).volume.hu.tobytes()
    assert again.truth == tiny(SOFT).truth
    assert tiny(SOFT, 1).truth["right_litre"] != tiny(SOFT).truth["right_litre"]


def test_another_process_and_other_patients_before_change_nothing(tmp_path):
    """A patient depends on seed and name alone, not on who was made before in what process."""
    digital = tiny(SOFT)
    script = CLONE / "scripts" / "phantom.py"
    text = '{"matrix": 96, "slices": 60, "slice_mm": 5, "thickness_mm": 5}'
    subprocess.run(
        [sys.executable, script, "--patient", SOFT, "--settings", text, "--dicom",
         tmp_path / "dicom", "--truth", tmp_path / "truth"],
        check=True,
    )  # fmt: skip
    found = records.read_json(tmp_path / "truth" / "truth.json", "phantom/1")
    assert found == {"schema": "phantom/1", **records.plain(digital.truth)}
    phantom.write_dicom(tmp_path / "here", digital)
    for path in sorted((tmp_path / "here").iterdir()):
        assert path.read_bytes() == (tmp_path / "dicom" / path.name).read_bytes()


def test_one_patient_has_the_same_body_on_every_grid():
    coarse = dataclasses.replace(TINY, matrix=64, slices=40, slice_mm=7.5, thickness_mm=7.5)
    other = phantom.make_patient(SOFT, seed=0, settings=coarse).truth
    truth = tiny(SOFT).truth
    assert other["nodules"] == truth["nodules"]
    assert other["right_litre"] == pytest.approx(truth["right_litre"], rel=0.02)


@pytest.mark.parametrize("patient", [row["patient"] for row in ROWS["tiny"]])
def test_lungs_are_of_human_size_and_the_heart_makes_the_left_one_smaller(patient):
    truth = tiny(patient).truth
    assert 3.9 < truth["right_litre"] + truth["left_litre"] < 6.0
    assert 0.80 < truth["left_litre"] / truth["right_litre"] < 0.97


@pytest.mark.parametrize(("side", "field"), [(-1, "right_litre"), (1, "left_litre")])
def test_the_counted_litres_are_those_of_the_implicit_shape(side, field):
    """Monte Carlo over the signed distance, which knows no voxels."""
    build = anatomy.draw_build(0, SOFT)
    random = np.random.default_rng(5)
    x, y, z = random.uniform((-150, -100, -200), (150, 100, 120), (400_000, 3)).T
    share = np.mean(anatomy.lung(x, y, z, build, side) < 0)
    litre = share * 300 * 200 * 320 * 1e-6 * build.scale**3
    assert tiny(SOFT).truth[field] == pytest.approx(litre, rel=0.025)


def test_label_one_is_the_patients_right_lung():
    digital = tiny(SHARP)
    x = grid_mm(digital)[..., 0]
    assert x[digital.lungs == 1].mean() < -40 < 40 < x[digital.lungs == 2].mean()


def test_the_lungs_do_not_touch_each_other_nor_the_ends_of_the_scan():
    for patient in (SOFT, SHARP):
        for seed in (0, 1):
            lungs = tiny(patient, seed).lungs
            near = ndimage.binary_dilation(lungs == 1)
            assert not (near & (lungs == 2)).any()
            assert not lungs[0].any()
            assert not lungs[-1].any()
            assert ndimage.label(lungs == 1)[1] == 1
            assert ndimage.label(lungs == 2)[1] == 1


def test_liver_lies_right_stomach_gas_left_and_heart_left_of_the_middle():
    digital = tiny(SOFT)
    scale = anatomy.draw_build(0, SOFT).scale
    hu = ndimage.uniform_filter(digital.volume.hu.astype(float), 3)

    def at(x, y, z):
        k, j, i = np.rint(to_index(digital.volume.affine, np.array([x, y, z]) * scale)).astype(int)
        return hu[k, j, i]

    assert 45 < at(-70, -10, -135) < 70  # liver
    assert at(58, -36, -150) < -900  # gas in the stomach, in front
    assert 30 < at(40, -40, -75) < 55  # heart
    assert at(-60, -40, -75) < -600  # no heart there but lung and its vessels
    assert at(0, 50, -60) > 200  # vertebra
    assert at(0, 14, 45) < -800  # trachea


def test_air_around_the_body_is_air_and_not_padding():
    hu = tiny(SHARP).volume.hu
    middle = hu.shape[2] // 2
    assert np.median(hu[:, 6:10, middle - 5 : middle + 5]) == pytest.approx(-1000, abs=15)
    assert (hu[:, 0, 0] == -1024).all()
    assert np.median(tiny(SOFT).volume.hu[:, :6, :6]) == pytest.approx(-1000, abs=10)


def test_parenchyma_and_soft_tissue_have_their_hu():
    for patient in (SOFT, SHARP):
        digital = tiny(patient)
        inner = ndimage.binary_erosion(digital.lungs > 0, iterations=2)
        assert -890 < np.median(digital.volume.hu[inner]) < -820
        mask = anatomy.heart(*np.moveaxis(grid_mm(digital), -1, 0), anatomy.draw_build(0, patient))
        assert np.median(digital.volume.hu[mask < -15]) == pytest.approx(42, abs=8)


def test_the_back_of_the_lung_is_denser_than_its_front():
    digital = tiny(SOFT)
    inner = ndimage.binary_erosion(digital.lungs > 0, iterations=2)
    y = grid_mm(digital)[..., 1]
    back = np.median(digital.volume.hu[inner & (y > 30)])
    front = np.median(digital.volume.hu[inner & (y < -30)])
    assert 5 < back - front < 60


@pytest.mark.parametrize("patient", [row["patient"] for row in ROWS["tiny"]])
def test_nodules_lie_in_the_lungs_and_are_where_the_truth_says(patient):
    digital = tiny(patient)
    for nodule in digital.truth["nodules"]:
        mask = digital.nodules == nodule["label"]
        assert mask.any()
        assert (digital.lungs[mask] > 0).mean() > 0.95
        centre = grid_mm(digital)[mask].mean(0)
        assert np.linalg.norm(centre - nodule["centre_mm"]) < 0.3 * nodule["diameter_mm"] + 2


def test_solid_nodules_have_their_hu_and_their_volume():
    """A full-size scan: the middle of a solid nodule is soft tissue, its mask the stated ball."""
    settings = phantom.Settings(matrix=192, smallest_mm=14, noise_soft_hu=0, nodules=3)
    digital = phantom.make_patient("digital-10", seed=0, settings=settings)
    checked = 0
    for nodule in digital.truth["nodules"]:
        mask = digital.nodules == nodule["label"]
        ball = np.pi / 6 * nodule["diameter_mm"] ** 3 * 1e-6
        assert mask.sum() * digital.volume.voxel_litre == pytest.approx(ball, rel=0.06)
        if nodule["density"] == "solid":
            core = ndimage.binary_erosion(mask, iterations=2)
            assert np.median(digital.volume.hu[core]) == pytest.approx(nodule["solid_hu"], abs=12)
            checked += 1
    assert checked


def test_size_does_not_tell_malignant_from_benign_but_margin_and_density_do():
    settings = phantom.Settings()
    random = randomness.generator(0, "test")
    kinds = {
        fate: [nodules.draw_nodule(random, settings, malignant=fate, scale=1.0) for _ in range(400)]
        for fate in (False, True)
    }
    sizes = {fate: np.array([n.radius * 2 for n in kind]) for fate, kind in kinds.items()}
    for values in sizes.values():
        assert 8 <= values.min() < 8.5
        assert 23 < values.max() <= 24
    wins = (sizes[True][:, None] > sizes[False][None, :]).mean()  # the AUC of the diameter
    assert 0.44 < wins < 0.56
    assert {n.margin for n in kinds[False]} == {"smooth"}
    assert {n.margin for n in kinds[True]} == {"lobulated", "spiculated"}
    assert {n.density for n in kinds[False]} == {"solid", "calcified"}
    assert {n.density for n in kinds[True]} == {"part-solid", "heterogeneous"}


def noise_of(patient: str, **changes: float) -> tuple[np.ndarray, phantom.DigitalPatient]:
    """Two scans of one body, with and without noise: their difference is the noise."""
    loud = dataclasses.replace(TINY, **changes)
    quiet = dataclasses.replace(loud, noise_soft_hu=0.0, noise_sharp_hu=0.0)
    scans = [phantom.make_patient(patient, seed=0, settings=each) for each in (loud, quiet)]
    return scans[0].volume.hu.astype(float) - scans[1].volume.hu, scans[0]


def test_noise_is_as_strong_as_stated_and_falls_with_the_root_of_the_thickness():
    for patient, stated in ((SOFT, 12.0), (SHARP, 24.0)):
        noise, digital = noise_of(patient)
        middle = digital.volume.hu.shape[1] // 2
        # In soft tissue, where no clipping at -1024 cuts the noise.
        body = slice(middle - 8, middle + 8)
        part = noise[:, body, body][digital.volume.hu[:, body, body] > -300]
        assert part.std() == pytest.approx(stated * (2.5 / 5.0) ** 0.5, rel=0.12)
        assert abs(part.mean()) < 0.5


def neighbour_correlation(kernel: int) -> float:
    """Correlation of horizontal neighbours 1.4 mm apart in the noise of a scanner."""
    settings = phantom.Settings(slices=118, matrix=128, field_of_view_mm=180)
    noise = scanner.noise(settings, phantom.SCANNERS[kernel], np.random.default_rng(1))[:20]
    return float(np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1])


def test_the_soft_kernel_correlates_its_noise_more_than_the_sharp_one():
    soft, sharp = neighbour_correlation(0), neighbour_correlation(1)
    assert soft > 0.3
    assert sharp < soft - 0.3


def test_noise_has_unit_variance_for_even_and_odd_matrices():
    for matrix in (96, 97):
        settings = dataclasses.replace(TINY, matrix=matrix)
        noise = scanner.noise(settings, phantom.SCANNERS[0], np.random.default_rng(2))
        assert noise.std() == pytest.approx(1, rel=0.02)


def test_a_slice_averages_over_its_thickness():
    """An edge along z becomes a ramp as long as the slice is thick."""
    for thickness in (1.25, 2.5, 5.0, 10.0):
        settings = phantom.Settings(matrix=32, thickness_mm=thickness)
        canvas = scanner.canvas_for(settings, phantom.SCANNERS[0], scale=1.0)
        fine = float(canvas.z_mm[1] - canvas.z_mm[0])
        canvas.hu[:] = 1000 * np.clip(canvas.z_mm / fine, -0.5, 0.5)[:, None, None]
        profile = scanner.average(canvas.hu, settings)[:, 0, 0]
        z = scanner.scan_affine(settings, phantom.SCANNERS[0])[2, 3]
        z += settings.slice_mm * np.arange(settings.slices)
        ideal = np.clip(z / thickness, -0.5, 0.5) * 1000
        np.testing.assert_allclose(profile[3:-3], ideal[3:-3], atol=1000 * 0.15 * fine / thickness)


def test_thicker_slices_blur_the_patient_along_z():
    thick = dataclasses.replace(TINY, thickness_mm=15.0)
    blurred = phantom.make_patient(SOFT, seed=0, settings=thick).volume.hu.astype(float)
    steps = [np.abs(np.diff(hu, axis=0)).mean() for hu in (tiny(SOFT).volume.hu * 1.0, blurred)]
    assert steps[1] < 0.8 * steps[0]


@pytest.mark.parametrize("patient", [SOFT, SHARP])
def test_simpleitk_reads_the_same_scan_in_the_same_place(patient, tmp_path):
    digital = tiny(patient)
    phantom.write_dicom(tmp_path / "dicom", digital)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "dicom"))
    assert len(names) == 60
    image = sitk.ReadImage(names)
    found = sitk.GetArrayFromImage(image)
    inside = np.ones(found.shape[1:], bool)
    if digital.scanner.circular:
        inside = ~scanner.outside_circle(TINY)
        assert (found[:, ~inside] == -2000).all()
    np.testing.assert_array_equal(found[:, inside], digital.volume.hu[:, inside])
    assert image.GetSpacing() == pytest.approx(digital.volume.spacing_mm[::-1], abs=1e-5)
    assert image.GetOrigin() == pytest.approx(digital.volume.affine[:3, 3], abs=1e-5)
    assert image.GetDirection() == pytest.approx(np.eye(3).ravel())


def test_the_headers_are_those_of_two_scanners_and_name_nobody(tmp_path):
    headers = {}
    for patient in (SOFT, SHARP):
        phantom.write_dicom(tmp_path / patient, tiny(patient))
        files = [pydicom.dcmread(path) for path in sorted((tmp_path / patient).iterdir())]
        assert [int(one.InstanceNumber) for one in files] == list(range(1, 61))
        assert len({one.SOPInstanceUID for one in files}) == 60
        assert all(one.SOPInstanceUID.is_valid for one in files)
        assert str(files[0].PatientName) == files[0].PatientID == patient
        assert files[0].PatientPosition == "HFS"
        headers[patient] = files
    soft, sharp = headers[SOFT], headers[SHARP]
    for keyword in ("Manufacturer", "ConvolutionKernel", "PixelSpacing", "PixelRepresentation"):
        assert soft[0][keyword].value != sharp[0][keyword].value
    assert soft[0].SliceThickness == sharp[0].SliceThickness == 5
    assert soft[0].ImagePositionPatient[2] > soft[1].ImagePositionPatient[2]
    assert sharp[0].ImagePositionPatient[2] < sharp[1].ImagePositionPatient[2]
    assert soft[0].StudyInstanceUID != sharp[0].StudyInstanceUID


def test_the_truth_on_disk_is_the_truth_in_memory_and_replaces_what_stood(tmp_path):
    digital = tiny(SOFT)
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "old").write_text("left over")
    phantom.write_truth(tmp_path / "truth", digital)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "lungs.nii.gz", "nodules.nii.gz", "truth.json",
    ]  # fmt: skip
    for name in ("lungs", "nodules"):
        labels, affine = nifti.read_mask(tmp_path / "truth" / f"{name}.nii.gz")
        np.testing.assert_array_equal(labels, getattr(digital, name))
        np.testing.assert_allclose(affine, digital.volume.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"slices": 50}, "50 slices of 2.5 mm cover 125 mm"),
        ({"matrix": 8}, "matrix >= 32"),
        ({"smallest_mm": 30.0}, "smallest_mm <= largest_mm"),
        ({"thickness_mm": 0.0}, "thickness_mm"),
        ({"noise_soft_hu": -1.0}, "noise_soft_hu"),
    ],
)
def test_wrong_settings_are_said_in_a_sentence(changes, text):
    with pytest.raises(InputError, match=text):
        phantom.Settings(**changes)
