"""What is true of digital patients with disease: litres, HU, sides, diameters, truth, files."""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.interpolate import RegularGridInterpolator

from lungfish import nifti, phantom, records
from lungfish.errors import InputError
from lungfish.phantom import CONSOLIDATION, EFFUSION, MASS, Design, anatomy, body, parenchyma
from lungfish.phantom.tree import central_airways
from lungfish.volume import to_mm

QUIET = Design(noise_hu=6, slice_mm=3.0, sharpness=0.1)


@functools.cache
def case(seed: int = 7, matrix: int = 128, **factors: object) -> phantom.Case:
    plan = dataclasses.replace(QUIET, seed=seed, **factors)
    return phantom.make_case(plan, matrix=matrix)


def litre(digital: phantom.Case, mask: np.ndarray) -> float:
    return float(np.count_nonzero(mask)) * digital.volume.voxel_litre


def inner(mask: np.ndarray, steps: int = 2) -> np.ndarray:
    return ndimage.binary_erosion(mask, iterations=steps)


def median_hu(digital: phantom.Case, mask: np.ndarray) -> float:
    assert mask.any()
    return float(np.median(digital.volume.hu[mask]))


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bodies():
    one, two = (phantom.make_case(14, matrix=64, slice_mm=8) for _ in range(2))
    assert one.volume.hu.tobytes() == two.volume.hu.tobytes()
    assert one.lungs.tobytes() == two.lungs.tobytes()
    assert one.plants.tobytes() == two.plants.tobytes()
    assert one.truth == two.truth
    assert phantom.make_case(15, matrix=64, slice_mm=8).truth != one.truth


@pytest.mark.parametrize("seed", [15])
def test_truth_is_what_fills_more_than_half_of_a_voxel(seed):
    """Brute force: 4 x 4 points of each pixel at 9 heights of the slice, no shares, no blends."""
    plan = dataclasses.replace(phantom.design(seed), slice_mm=5.0, cut=None)
    digital = phantom.make_case(plan, matrix=128)
    drawn = body.make_body(plan, digital.patient, digital.settings, malignant=False)
    lattice, scale = drawn.lattice, drawn.build.scale
    axes = (lattice.z_mm, lattice.y_mm, lattice.x_mm)
    depths = [
        RegularGridInterpolator(axes, field, bounds_error=False, fill_value=99.0)
        for field in drawn.lungs.values()
    ]
    checked = wrong = 0
    for k in (20, 48):
        hits = np.zeros(digital.lungs.shape[1:])
        offsets = (np.arange(4) - 1.5) / 4
        index = np.stack(np.meshgrid(k, np.arange(128), np.arange(128), indexing="ij"), -1)[0]
        for dz, dy, dx in itertools.product((np.arange(9) - 4) / 9, offsets, offsets):
            place = to_mm(digital.volume.affine, index + np.array([dz, dy, dx])) / scale
            x, y, z = np.moveaxis(place, -1, 0)
            inside = np.minimum(*(depth(np.stack([z, y, x], -1)) for depth in depths)) < 0
            hits += inside & (central_airways(x, y, z, drawn.trees) > 0)
        share = hits / (9 * 16)
        # Points count in steps; a share of one half is no share of more than one half.
        clear = (np.abs(share - 0.5) > 0.03) & (digital.plants[k] != MASS)
        checked += np.count_nonzero(clear & (share > 0.5))
        wrong += np.count_nonzero(clear & ((share > 0.5) != (digital.lungs[k] > 0)))
    assert checked > 2500
    assert wrong / checked < 0.001


def test_label_one_is_the_patients_right_lung_in_every_kind_of_case():
    for factors in ({}, {"effusion_litre": 1.9}, {"cut": 0.3}, {"emphysema": 0.5}):
        digital = case(**factors)
        index = [np.argwhere(digital.lungs == side) for side in (1, 2)]
        right, left = (to_mm(digital.volume.affine, each)[:, 0].mean() for each in index)
        assert right < -30 < 30 < left
        assert digital.truth["right_litre"] == pytest.approx(litre(digital, digital.lungs == 1))


@pytest.mark.parametrize("asked", [0.15, 0.8, 1.9])
def test_an_effusion_has_the_asked_litres_and_the_hu_of_fluid_and_is_no_lung(asked):
    digital = case(effusion_litre=asked)
    fluid = digital.plants == EFFUSION
    assert litre(digital, fluid) == pytest.approx(asked, rel=0.1)
    assert not digital.lungs[fluid].any()
    if asked > 0.5:
        assert median_hu(digital, inner(fluid)) == pytest.approx(9, abs=6)


def test_an_effusion_is_dependent_and_its_side_is_known():
    digital = case(effusion_litre=0.8)
    number = {"right": 1, "left": 2}[digital.truth["factors"]["effusion_side"]]
    fluid, lung = np.argwhere(digital.plants == EFFUSION), np.argwhere(digital.lungs == number)
    fluid_mm, lung_mm = (to_mm(digital.volume.affine, each).mean(0) for each in (fluid, lung))
    assert fluid_mm[1] > lung_mm[1] + 40  # behind the lung, since the patient lies on the back
    assert fluid_mm[0] * lung_mm[0] > 0
    front = np.quantile(to_mm(digital.volume.affine, fluid)[:, 1], 0.02)
    assert front > lung_mm[1] - 70  # a crescent, not a shell all around


def test_fluid_takes_its_room_from_the_lung_beside_it_which_grows_denser():
    small, large = case(effusion_litre=0.15), case(effusion_litre=1.9)
    side = small.truth["factors"]["effusion_side"]
    assert large.truth["factors"]["effusion_side"] == side
    number = {"right": 1, "left": 2}[side]
    assert large.truth[f"{side}_litre"] < small.truth[f"{side}_litre"] - 1.0
    assert large.truth[f"{side}_litre"] > 0.3
    means = [median_hu(digital, inner(digital.lungs == number)) for digital in (small, large)]
    assert means[1] > means[0] + 40


@pytest.mark.parametrize("asked", [0.08, 0.4])
def test_a_consolidation_has_its_litres_and_counts_as_lung(asked):
    digital = case(consolidation_litre=asked)
    filled = digital.plants == CONSOLIDATION
    facts = digital.truth["factors"]
    assert litre(digital, filled) == pytest.approx(asked, rel=0.1)
    number = {"right": 1, "left": 2}[facts["consolidation_side"]]
    assert (digital.lungs[filled] == number).all()
    assert -50 <= facts["consolidation_hu"] <= 60
    assert median_hu(digital, inner(filled)) == pytest.approx(facts["consolidation_hu"], abs=20)


def test_a_large_consolidation_shows_air_in_its_bronchi():
    digital = case(matrix=256, consolidation_litre=0.4)
    filled = inner(digital.plants == CONSOLIDATION, 3)
    air = (digital.volume.hu < -300) & filled
    assert 0.001 < air.sum() / filled.sum() < 0.1
    assert case(matrix=256, consolidation_litre=0.4).lungs[air].all()


@pytest.mark.parametrize("kind", ["chest wall", "mediastinum", "apex"])
@pytest.mark.parametrize("diameter", [16.0, 50.0])
def test_a_mass_has_its_diameter_and_counts_as_lung(kind, diameter):
    digital = case(mass_mm=diameter, mass_kind=kind)
    mask = digital.plants == MASS
    points = to_mm(digital.volume.affine, np.argwhere(mask))
    assert points.size
    assert np.ptp(points, axis=0).max() == pytest.approx(diameter, abs=0.2 * diameter + 3)
    ball = math.pi / 6 * diameter**3 * 1e-6
    assert 0.5 < litre(digital, mask) / ball <= 1.02  # the pleura cuts off less than half
    assert ndimage.label(mask)[1] == 1
    side = {"right": 1, "left": 2}[digital.truth["factors"]["mass_side"]]
    assert (digital.lungs[mask] == side).all()
    if diameter > 30:
        assert 15 < median_hu(digital, inner(mask)) < 60


def test_a_mass_sits_at_the_pleura_of_its_place():
    tops, gaps = {}, {}
    for kind in ("chest wall", "mediastinum", "apex"):
        digital = case(mass_mm=16.0, mass_kind=kind)
        mask = digital.plants == MASS
        outside = ndimage.distance_transform_edt(digital.lungs > 0, digital.volume.spacing_mm)
        assert outside[mask].min() < 3.5  # it touches what is not lung
        where = to_mm(digital.volume.affine, np.argwhere(mask))
        tops[kind], gaps[kind] = where[:, 2].mean(), np.abs(where[:, 0]).mean()
    assert tops["apex"] > 60
    assert gaps["mediastinum"] < gaps["chest wall"]


def test_touching_lungs_meet_in_front_of_the_heart_and_behind_the_trachea():
    digital = case(matrix=256, junction_mm=0.4)
    near = ndimage.binary_dilation(digital.lungs == 1) & (digital.lungs == 2)
    points = to_mm(digital.volume.affine, np.argwhere(near))
    front, behind = points[points[:, 1] < -25], points[points[:, 1] > 0]
    assert len(front) > 20
    assert len(behind) > 20
    assert behind[:, 2].min() > 40  # above the arch of the aorta
    assert median_hu(digital, near) < -300  # thinner than a voxel: no fat of its own is seen
    apart = case(matrix=256)
    assert not (ndimage.binary_dilation(apart.lungs == 1) & (apart.lungs == 2)).any()


def test_emphysema_lowers_the_lung_and_makes_it_larger():
    shares = {}
    for share in (None, 0.1, 0.5):
        digital = case(emphysema=share)
        lung = digital.volume.hu[digital.lungs > 0]
        shares[share] = (lung < -950).mean(), litre(digital, digital.lungs > 0)
    assert shares[None][0] < 0.02
    assert shares[0.1][0] == pytest.approx(0.1, abs=0.05)
    assert shares[0.5][0] == pytest.approx(0.5, abs=0.12)
    assert shares[0.5][1] > shares[None][1] + 0.25


def test_bullae_lie_within_the_lungs():
    random = np.random.default_rng(0)
    plan = dataclasses.replace(QUIET, emphysema=0.5)
    drawn = body.make_body(plan, "x", phantom.Settings(), malignant=False)
    found = parenchyma.draw_bullae(drawn.lattice, drawn.lungs, random, share=0.5)
    assert found
    x, y, z = np.array([bulla.centre for bulla in found]).T
    depth = [anatomy.lung(x, y, z, drawn.build, side) for side in (-1, 1)]
    assert (np.minimum(*depth) < 3).all()
    assert all(8 < 2 * radius < 80 for bulla in found for radius in bulla.half)


def test_contrast_medium_is_in_the_blood_alone():
    plain, bright = case(), case(contrast_hu=350.0)
    gain = bright.volume.hu.astype(int) - plain.volume.hu
    assert np.median(gain[gain > 150]) == pytest.approx(290, abs=60)
    muscle = (plain.volume.hu > 30) & (plain.volume.hu < 70) & (bright.lungs == 0) & (gain < 100)
    assert abs(np.median(gain[muscle])) < 3


def test_gas_lies_below_the_diaphragm_outside_the_lungs_and_has_its_litres():
    asked = 0.45
    plain, gas = case(), case(gas_litre=asked)
    new = (gas.volume.hu < -500) & (plain.volume.hu > -500)
    assert litre(gas, new) == pytest.approx(asked, rel=0.1)
    assert (gas.lungs[new] > 0).mean() < 0.02  # fat round the gut in voxels at the diaphragm
    np.testing.assert_array_equal(gas.lungs, plain.lungs)
    z = to_mm(gas.volume.affine, np.argwhere(new))[:, 2]
    assert z.mean() < -110


@pytest.mark.parametrize("kind", ["curved", "flat"])
def test_a_table_changes_nothing_but_what_is_behind_the_back(kind):
    plain, lying = case(), case(table_mm=6.0, table_kind=kind)
    new = np.abs(lying.volume.hu.astype(int) - plain.volume.hu) > 40
    assert new.any()
    y = to_mm(lying.volume.affine, np.argwhere(new))[:, 1]
    assert np.quantile(y, 0.01) > 85
    np.testing.assert_array_equal(lying.lungs, plain.lungs)


def test_arms_lie_beside_the_trunk_and_widen_the_field():
    down = case(matrix=256, arms_mm=5.0)
    k = len(down.lungs) // 2
    parts, count = ndimage.label(ndimage.binary_opening(down.volume.hu[k] > -300, iterations=3))
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
    assert np.count_nonzero(sizes * down.volume.spacing_mm[1] ** 2 > 1500) == 3  # trunk, two arms
    assert down.volume.spacing_mm[1] > 1.6 > case(matrix=256).volume.spacing_mm[1]


@pytest.mark.parametrize("kind", ["lowest", "highest"])
def test_a_cut_scan_lacks_the_stated_share_of_the_lungs(kind):
    whole, cut = case(), case(cut=0.3, cut_kind=kind)
    gone = len(whole.lungs) - len(cut.lungs)
    height = np.count_nonzero(whole.lungs.any((1, 2)))
    filled = np.flatnonzero(whole.lungs.any((1, 2)))
    margin = filled[0] if kind == "lowest" else len(whole.lungs) - 1 - filled[-1]
    assert gone - margin == pytest.approx(0.3 * height, abs=1)
    open_end = cut.lungs[0] if kind == "lowest" else cut.lungs[-1]
    assert open_end.any()
    first = gone if kind == "lowest" else 0
    place = to_mm(whole.volume.affine, np.array([first, 0, 0]))
    np.testing.assert_allclose(cut.volume.affine[:3, 3], place)
    np.testing.assert_array_equal(cut.lungs, whole.lungs[first : first + len(cut.lungs)])


def test_thick_slices_average_what_thin_ones_show():
    """The mean of eight quiet slices of 1 mm is the slice of 8 mm, wherever the grids agree."""
    thin, thick = case(slice_mm=1.0), case(slice_mm=8.0)
    bottoms = [each.volume.affine[2, 3] - each.volume.spacing_mm[0] / 2 for each in (thin, thick)]
    skip = round(bottoms[1] - bottoms[0])
    assert skip >= 0 or -skip < 20
    first = max(0, -skip) // 8 + 1
    start = skip + 8 * first
    count = min((len(thin.lungs) - start) // 8, len(thick.lungs) - first)
    means = thin.volume.hu[start : start + 8 * count].reshape(count, 8, 128, 128).mean(1)
    difference = thick.volume.hu[first : first + count] - means
    assert abs(bottoms[1] - bottoms[0] - skip) < 0.51
    assert np.sqrt((difference**2).mean()) < 45  # noise of both, and up to half a mm of shift
    assert abs(difference.mean()) < 1


def test_sharp_kernels_overshoot_and_soft_ones_do_not():
    steepest = {}
    for sharp in (0.0, 1.0):
        digital = case(matrix=256, sharpness=sharp)
        lungs, hu = digital.lungs[40:60], digital.volume.hu[40:60].astype(np.float32)
        near = ndimage.binary_dilation(lungs > 0, iterations=2) & (lungs == 0)
        steepest[sharp] = np.quantile(ndimage.gaussian_gradient_magnitude(hu, 0.7)[near], 0.9)
    assert steepest[1.0] > 1.15 * steepest[0.0]


@pytest.mark.parametrize("level", [8.0, 40.0])
def test_noise_is_as_strong_as_the_design_says(level):
    digital = case(noise_hu=level)
    difference = digital.volume.hu.astype(float) - case().volume.hu
    middle = difference[:, 54:74, 54:74][digital.volume.hu[:, 54:74, 54:74] > -300]
    assert middle.std() == pytest.approx(abs(level - 6.0) * math.sqrt(2.5 / 3.0), rel=0.2)


def test_simpleitk_reads_a_case_in_its_place(tmp_path):
    digital = case(effusion_litre=0.8)
    phantom.write_dicom(tmp_path / "dicom", digital)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "dicom")))
    np.testing.assert_allclose(image.GetOrigin(), digital.volume.affine[:3, 3], atol=1e-5)
    found = sitk.GetArrayFromImage(image)
    inside = digital.volume.hu > -1024
    np.testing.assert_array_equal(found[inside], digital.volume.hu[inside])


def test_a_person_can_ask_for_factors_by_the_settings(tmp_path):
    settings = phantom.Settings(
        matrix=96, slices=60, slice_mm=5.0, thickness_mm=5.0, factors="effusion_litre=0.7"
    )
    digital = phantom.make_patient("tiny-3", seed=0, settings=settings)
    assert digital.volume.hu.shape == (60, 96, 96)
    fluid = np.count_nonzero(digital.plants == EFFUSION) * digital.volume.voxel_litre
    assert fluid == pytest.approx(0.7, rel=0.1)
    assert digital.truth["malignant"] == phantom.is_malignant("tiny-3")
    phantom.write_truth(tmp_path / "truth", digital)
    plants, _ = nifti.read_mask(tmp_path / "truth" / "plants.nii.gz")
    np.testing.assert_array_equal(plants, digital.plants)
    found = records.read_json(tmp_path / "truth" / "truth.json", "phantom/1")
    assert found["factors"]["effusion_litre"] == 0.7


def test_drawn_factors_differ_between_patients_and_do_not_need_the_name_case():
    settings = phantom.Settings(
        matrix=48, slices=60, slice_mm=5.0, thickness_mm=5.0, factors="drawn"
    )
    facts = [
        phantom.make_patient(name, seed=0, settings=settings).truth["factors"]
        for name in ("a", "b")
    ]
    assert facts[0] != facts[1]


def test_factors_that_no_design_knows_are_said_in_a_sentence():
    settings = phantom.Settings(factors="measles=3")
    with pytest.raises(InputError, match="measles"):
        phantom.make_patient("a", seed=0, settings=settings)
