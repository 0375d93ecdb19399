"""Lungs found in analytic chests of known volume, and on real CT where it is present."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from scipy import ndimage

from lungfish import index, lungs, nifti, records, volumes
from lungfish.errors import InputError, Refusal
from lungfish.lungs import filling, morphology, sides, spine, verdict
from lungfish.resampling import masks, to_patient_grid
from lungfish.settings import load
from lungfish.volume import Volume, axis_aligned_affine
from scripts import lungs as script

SETTINGS = lungs.Settings()
STEP_MM = 3.0
SHAPE = (96, 96, 120)
SEMI_MM = (108.0, 76.0, 54.0)
LITRE = 4 / 3 * np.pi * np.prod(SEMI_MM) * 1e-6


def axes():
    """Positions in mm (z, y, x) from the middle of the analytic chest."""
    return np.meshgrid(
        *[(np.arange(size) - (size - 1) / 2) * STEP_MM for size in SHAPE], indexing="ij"
    )


def ellipsoid(middle, semi):
    z, y, x = axes()
    distance = sum(((p - m) / s) ** 2 for p, m, s in zip((z, y, x), middle, semi, strict=True))
    return distance <= 1


def lung_masks(apart_mm=62.0):
    right = ellipsoid((0, 0, -apart_mm), SEMI_MM)
    left = ellipsoid((0, 0, apart_mm), SEMI_MM)
    return right, left


def trachea():
    z, y, x = axes()
    return (np.hypot(x, y) <= 8) & (z >= 0)


def chest(*, apart_mm=62.0, noise_hu=20.0, table=True):
    """HU of a body of 40 with two lungs of -850, a trachea of -1000, and a table behind."""
    _z, y, x = axes()
    hu = np.full(SHAPE, -1000.0)
    body = (x / 158) ** 2 + (y / 112) ** 2 <= 1
    hu[body] = 40
    for mask in lung_masks(apart_mm):
        hu[mask] = -850
    hu[trachea()] = -1000
    if table:
        shell = (np.abs(y - 125) <= 10) & (np.abs(x) <= 150)
        foam = (np.abs(y - 125) <= 6) & (np.abs(x) <= 144)
        hu[shell] = 300
        hu[foam] = -930
    return hu + np.random.default_rng(0).normal(0, noise_hu, SHAPE)


def as_volume(hu, spacing_mm=(STEP_MM,) * 3):
    return Volume(np.rint(hu).astype(np.int16), axis_aligned_affine(spacing_mm, (-180, -140, -140)))


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + truth.sum())


@pytest.fixture(scope="module")
def plain():
    volume = as_volume(chest())
    return volume, lungs.segment(volume, settings=SETTINGS)


def test_litres_are_the_analytic_ones(plain):
    _, found = plain
    assert found.record["right_litre"] == pytest.approx(LITRE, rel=0.03)
    assert found.record["left_litre"] == pytest.approx(LITRE, rel=0.03)
    assert found.record["verdict"] == "ok", found.record["reasons"]
    assert found.record["mean_hu"] == pytest.approx(-850, abs=5)
    assert found.record["ratio"] == pytest.approx(1, abs=0.03)


def test_right_lung_lies_at_lower_x_of_lps(plain):
    _, found = plain
    right, left = lung_masks()
    assert dice(found.labels == 1, right) > 0.985
    assert dice(found.labels == 2, left) > 0.985


def test_trachea_and_table_are_not_lung(plain):
    _, found = plain
    _, y, _ = axes()
    assert not found.labels[trachea()].any()
    assert not found.labels[y > 112].any()


def test_a_table_changes_nothing(plain):
    _, found = plain
    bare = lungs.segment(as_volume(chest(table=False)), settings=SETTINGS)
    assert np.array_equal(bare.labels, found.labels)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_the_same_patient_on_other_axes_has_the_same_lungs(plain, order, flips):
    volume, found = plain
    turn = tuple(slice(None, None, flip) for flip in flips)
    hu = volume.hu.transpose(order)[turn].copy()
    affine = volume.affine.copy()
    affine[:3, :3] = affine[:3, [2 - axis for axis in reversed(order)]]
    for column, flip in enumerate(reversed(flips)):
        if flip < 0:
            affine[:3, 3] += affine[:3, column] * (hu.shape[2 - column] - 1)
            affine[:3, column] *= -1
    turned = lungs.segment(Volume(hu, affine), settings=SETTINGS)
    assert np.array_equal(turned.labels, found.labels.transpose(order)[turn])
    assert turned.record["right_litre"] == found.record["right_litre"]
    ends = np.sort(np.array(turned.record["box_mm"]), axis=0)
    assert np.allclose(ends, np.sort(np.array(found.record["box_mm"]), axis=0))


def test_another_spacing_gives_the_same_litres():
    coarse = as_volume(chest())
    fine = to_patient_grid(coarse.hu, coarse.affine, spacing_mm=1.5)
    wide = Volume(coarse.hu[::2].copy(), axis_aligned_affine((6, 3, 3), (-180, -140, -140)))
    for volume in (fine, wide):
        record = lungs.segment(volume, settings=SETTINGS).record
        assert record["volume_litre"] == pytest.approx(2 * LITRE, rel=0.03)


def test_fine_in_plane_voxels_are_refined_at_the_threshold():
    hu = chest(noise_hu=0).repeat(4, axis=1).repeat(4, axis=2)
    volume = Volume(
        (hu + np.random.default_rng(1).normal(0, 60, hu.shape)).astype(np.int16),
        axis_aligned_affine((3, 0.75, 0.75), (0, 0, 0)),
    )
    found = lungs.segment(volume, settings=SETTINGS)
    truth = lung_masks()[0].repeat(4, axis=1).repeat(4, axis=2)
    assert dice(found.labels == 1, truth) > 0.985


def test_gas_below_the_lungs_is_not_lung():
    hu = chest()
    bubble = ellipsoid((-115, -60, 60), (26, 26, 26))
    hu[bubble & (hu > -500)] = -1000
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    gas_alone = bubble & ~ndimage.binary_dilation(lung_masks()[1], iterations=2)
    assert gas_alone.sum() > 500
    assert not found.labels[gas_alone].any()


def test_nodule_at_the_pleura_is_lung():
    hu = chest()
    nodule = ellipsoid((0, 0, 62 + 54 - 8), (8, 8, 8))
    hu[nodule] = 40
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    assert (found.labels[nodule & lung_masks()[1]] == 2).mean() > 0.95
    open_ = lungs.segment(as_volume(hu), settings=dataclasses.replace(SETTINGS, closing_mm=0.0))
    assert (open_.labels[nodule & lung_masks()[1]] == 2).mean() < 0.5


def test_mass_and_vessels_inside_a_lung_are_lung():
    hu = chest()
    mass = ellipsoid((0, 0, -62), (30, 30, 30))
    hu[mass] = 40
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    assert (found.labels[mass] == 1).all()


def test_touching_lungs_are_two():
    hu = chest(apart_mm=53.0, noise_hu=10)
    hu[trachea()] = 40
    _, _y, x = axes()
    hu[(np.abs(x) <= STEP_MM) & (hu < -500)] = -650
    volume = as_volume(hu)
    pieces, _ = ndimage.label(ndimage.binary_erosion(hu < -450, iterations=1))
    assert np.unique(pieces[lung_masks(53.0)[0] & (hu < -800)]).size < 4
    found = lungs.segment(volume, settings=SETTINGS)
    assert found.record["right_litre"] == pytest.approx(LITRE, rel=0.05)
    assert found.record["left_litre"] == pytest.approx(LITRE, rel=0.05)
    assert not (found.labels[x < -4] == 2).any()
    assert not (found.labels[x > 4] == 1).any()


def test_box_is_end_exclusive_and_loses_no_plane(plain):
    volume, found = plain
    start, stop = found.record["box_voxel"]
    box = tuple(slice(low, high) for low, high in zip(start, stop, strict=True))
    assert np.count_nonzero(found.labels[box]) == np.count_nonzero(found.labels)
    for axis in range(3):
        for edge in (start[axis], stop[axis] - 1):
            assert found.labels.take(edge, axis=axis).any()
    first, last = found.record["box_mm"]
    assert np.allclose(first, volume.affine[:3, :3] @ start[::-1] + volume.affine[:3, 3])
    ends = np.array(stop[::-1]) - 1
    assert np.allclose(last, volume.affine[:3, :3] @ ends + volume.affine[:3, 3])


def test_lungs_cut_by_the_border_keep_every_plane_and_go_to_review():
    volume = as_volume(chest()[40:])
    found = lungs.segment(volume, settings=SETTINGS)
    assert found.labels[0].any()
    assert (found.labels[0] > 0).sum() > 0.95 * (found.labels[1] > 0).sum()
    assert found.record["border_contact"] > 0.05
    assert found.record["verdict"] == "review"
    assert "border of the scan" in " ".join(found.record["reasons"])


def test_two_dense_lungs_are_found_by_the_fall_back_and_go_to_review():
    hu = chest()
    hu[lung_masks()[0] | lung_masks()[1]] += 850 - 400
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    assert found.record["path"] == "fall-back: threshold -300 HU"
    assert found.record["right_litre"] == pytest.approx(LITRE, rel=0.05)
    assert found.record["left_litre"] == pytest.approx(LITRE, rel=0.05)
    assert found.record["verdict"] == "review"
    assert "no lung was found" in found.record["reasons"][0]
    settings = dataclasses.replace(SETTINGS, fallback_hu=())
    with pytest.raises(Refusal, match="no-lungs"):
        lungs.segment(as_volume(hu), settings=settings)


def test_one_dense_lung_is_found_by_the_fall_back():
    hu = chest()
    hu[lung_masks()[1]] += 850 - 400
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    assert found.record["path"] == "fall-back: threshold -300 HU"
    assert found.record["left_litre"] == pytest.approx(LITRE, rel=0.05)
    assert found.record["verdict"] == "review"
    assert "only one lung was found" in found.record["reasons"][0]


def test_one_lung_goes_to_review_and_keeps_its_side():
    hu = chest()
    hu[lung_masks()[1]] = 40
    found = lungs.segment(as_volume(hu), settings=SETTINGS)
    assert found.record["left_litre"] == 0
    assert found.record["ratio"] is None
    assert found.record["right_litre"] == pytest.approx(LITRE, rel=0.03)
    assert found.record["verdict"] == "review"
    assert found.record["path"] == "threshold -450 HU"
    assert "only one lung" in " ".join(found.record["reasons"])


@pytest.mark.parametrize("place", ["top", "bottom"])
@pytest.mark.parametrize("slices", [1, 2])
def test_a_scan_that_only_touches_the_lungs_ends_in_a_refusal(place, slices):
    hu = chest()
    slab = np.repeat(hu[:1], 10, axis=0)
    slab[-slices:] = hu[SHAPE[0] // 2]
    slab = slab if place == "top" else slab[::-1]
    found = lungs.segment(as_volume(slab, (5.0, STEP_MM, STEP_MM)), settings=SETTINGS)
    assert found.record["verdict"] == "reject"
    assert "litres" in found.record["reason"]


def test_a_lung_wholly_across_the_spine_is_filled_with_nothing():
    hu = np.full((50, 80, 90), 40, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[5:45, 20:60, 8:44] = 1
    labels[5:45, 20:35, 44:70] = 1
    labels[10:30, 50:58, 45:48] = 2
    hu[labels > 0] = -850
    hu[:, 50:62, 49:52] = 500  # a spine to the left of what is left of the left lung
    everywhere = np.ones(hu.shape, bool)
    added = filling.fill_airless(hu, labels, ~everywhere, everywhere, (4.0, 4.0, 4.0), ~everywhere)
    assert not added.any()


def test_the_midline_is_the_spines_and_the_lungs_where_too_little_bone_is_seen():
    bone, seen = np.zeros((2, 30, 60, 80), bool)
    seen[5:25, 20:50, 10:60] = True
    bone[5:25, 44:56, 38:43] = True  # x of 40; 6 rows of it behind the lungs
    half_mm3 = 20 * 6 * 5 * 4.0**3
    middle = functools.partial(spine.spine_middle, bone, seen, (4.0, 4.0, 4.0))
    assert middle(behind_mm=0.0, least_mm3=half_mm3) == 40
    assert middle(behind_mm=0.0, least_mm3=half_mm3 + 1) == 34.5
    assert middle(behind_mm=24.0, least_mm3=2 * half_mm3) == 40


def test_no_share_of_one_lung_divides_by_nothing():
    settings = dataclasses.replace(SETTINGS, one_lung_share=0.0)
    one = GOOD | {"left_litre": 0.0, "ratio": None}
    judged = verdict.judge(one, trachea=True, settings=settings)
    assert "only one lung was found: the left has 0.00" in " ".join(judged["reasons"])


def test_a_body_without_air_is_refused():
    _z, y, x = axes()
    hu = np.where((x / 158) ** 2 + (y / 112) ** 2 <= 1, 40, -1000)
    with pytest.raises(Refusal, match="no-lungs"):
        lungs.segment(as_volume(hu), settings=SETTINGS)
    with pytest.raises(Refusal, match="no-lungs"):
        lungs.segment(as_volume(np.full((4, 5, 6), -1000)), settings=SETTINGS)


def test_a_slab_is_rejected_with_the_litres():
    found = lungs.segment(as_volume(chest()[45:50]), settings=SETTINGS)
    assert found.record["status"] == "refused"
    assert found.record["code"] == "lungs-rejected"
    assert found.record["verdict"] == "reject"
    assert "0.50 are expected" in found.record["reason"]
    with pytest.raises(Refusal, match="litres"):
        records.require_ok(found.record)


def test_phantom_of_the_house_agrees_with_its_truth():
    from lungfish import phantom

    small = phantom.Settings(matrix=96, slices=60, slice_mm=5.0, thickness_mm=5.0)
    patient = phantom.make_patient("digital-01", seed=0, settings=small)
    found = lungs.segment(patient.volume, settings=SETTINGS)
    for side in (1, 2):
        assert dice(found.labels == side, patient.lungs == side) > 0.98
    assert (found.labels[patient.nodules > 0] > 0).mean() > 0.95
    assert found.record["verdict"] == "ok", found.record["reasons"]


GOOD = {
    "right_litre": 2.5, "left_litre": 2.2, "volume_litre": 4.7, "ratio": 1.14, "mean_hu": -830.0,
    "border_contact": 0.0, "airway_leak_litre": 0.004, "components": 2, "height_mm": 250.0,
}  # fmt: skip


def test_good_measures_are_ok():
    judged = verdict.judge(GOOD, trachea=True, settings=SETTINGS)
    assert (judged["verdict"], judged["reasons"], judged["status"]) == ("ok", [], "ok")


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({"volume_litre": 0.3}, "reject", "0.30 litres"),
        ({"mean_hu": -1000.0}, "reject", "-1000 HU"),
        ({"mean_hu": 150.0}, "reject", "150 HU"),
        ({"volume_litre": 12.4}, "review", "12.40 litres"),
        ({"right_litre": 4.4, "left_litre": 1.0}, "review", "right over left is 4.40"),
        ({"right_litre": 0.1}, "review", "only one lung was found: the right has 0.10"),
        ({"mean_hu": -500.0}, "review", "-500 HU"),
        ({"border_contact": 0.26}, "review", "26% of the lungs' surface"),
        ({"airway_leak_litre": 0.2}, "review", "0.2 litres inside the lungs"),
        ({"components": 5}, "review", "5 pieces"),
        ({"height_mm": 45.0}, "review", "45 mm of height"),
    ],
)
def test_each_threshold_fires_and_says_its_number(change, outcome, words):
    judged = verdict.judge(GOOD | change, trachea=True, settings=SETTINGS)
    assert judged["verdict"] == outcome
    assert words in " ".join(judged["reasons"])
    assert judged["status"] == ("refused" if outcome == "reject" else "ok")


def test_missing_trachea_goes_to_review():
    judged = verdict.judge(GOOD, trachea=False, settings=SETTINGS)
    assert judged["verdict"] == "review"
    assert "no trachea" in judged["reasons"][0]


def test_unknown_method_is_wrong_input():
    with pytest.raises(InputError, match="method"):
        load(lungs.Settings, '{"method": "atlas"}')


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"review_litre": [5, 2]}', "review_litre"), ('{"closing_mm": -1}', "closing_mm")],
)
def test_settings_out_of_bounds_are_wrong_input(text, words):
    with pytest.raises(InputError, match=words):
        load(lungs.Settings, text)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.9)])
def test_bounded_distance_is_euclidean(spacing):
    mask = np.random.default_rng(2).random((14, 17, 19)) < 0.01
    truth = ndimage.distance_transform_edt(~mask, sampling=spacing)
    near = truth <= 6
    found = np.sqrt(morphology.squared_distance(mask, spacing, 6.0))
    assert np.allclose(found[near], truth[near], rtol=1e-5)
    assert (found[~near] > 6).all()


def test_closing_is_that_by_a_ball_and_idempotent():
    mask = np.pad(np.random.default_rng(3).random((8, 9, 10)) < 0.05, 6)
    grid = np.ogrid[-4:5, -4:5, -4:5]
    ball = sum(part**2 for part in grid) <= 16
    closed = morphology.close(mask, (1, 1, 1), 4.0)
    assert np.array_equal(closed, ndimage.binary_closing(mask, ball))
    assert np.array_equal(morphology.close(closed, (1, 1, 1), 4.0), closed)


def test_cheapest_path_follows_a_free_sheet():
    columns = 8 + np.rint(4 * np.sin(np.arange(30) / 5)).astype(int)
    cost = np.ones((2, 30, 20), np.float32)
    cost[:, np.arange(30), columns] = 0
    assert np.array_equal(sides.cheapest_path(cost), np.stack([columns, columns]))


def prepare(folder, volume, record):
    """Store the inputs of the script; return its arguments and the paths of its outputs."""
    source, given = folder / "v.nii.gz", folder / "v.json"
    nifti.write_volume(source, volume)
    records.write_json(given, "volumes/1", record)
    outputs = [folder / "out" / name for name in ("m.nii.gz", "m.json", "m.png")]
    options = ("--volume", "--record", "--output", "--measures", "--mosaic")
    pairs = zip(options, (source, given, *outputs), strict=True)
    return [str(part) for pair in pairs for part in pair], outputs


def test_script_writes_mask_measures_and_picture(tmp_path, plain):
    volume, found = plain
    arguments, (mask, measures, picture) = prepare(tmp_path, volume, records.accepted())
    assert script.main(arguments) == 0
    labels, affine = nifti.read_mask(mask)
    record = records.read_json(measures, "lungs/1")
    assert np.array_equal(labels, found.labels)
    assert np.allclose(affine, volume.affine)
    assert record["volume_litre"] == found.record["volume_litre"]
    assert picture.read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("code", ["missing-slices", "no-lungs", "lungs-rejected"])
def test_refusal_travels_through_the_script(tmp_path, code):
    refusal = Refusal("missing-slices", "a slice seems to be missing after 48")
    upstream = code == "missing-slices"
    record = records.refused(refusal) if upstream else records.accepted()
    hu = chest()[45:50] if code == "lungs-rejected" else np.full((6, 6, 6), 40)
    arguments, (mask, measures, picture) = prepare(tmp_path, as_volume(hu), record)
    with pytest.raises(Refusal, match=code):
        script.main(arguments)
    written = json.loads(measures.read_text())
    assert nifti.read_mask(mask)[0].shape == (1, 1, 1)
    assert (written["status"], written["code"]) == ("refused", code)
    assert written["verdict"] == "reject"
    assert picture.stat().st_size < 60_000


def read_series(folder):
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    hu = np.clip(sitk.GetArrayFromImage(image), -1024, 3071).astype(np.int16)
    return Volume(hu, nifti._affine(image))


def test_real_lungs_agree_with_the_reference(real_ct):
    folder = real_ct / "cip-ct64"
    volume = read_series(folder / "dicom")
    truth, affine = nifti.read_mask(folder / "reference" / "lung_right1_left2.nii.gz")
    found = lungs.segment(volume, settings=SETTINGS)
    carried = nifti.carry_mask(found.labels, volume.affine, shape=truth.shape, to_affine=affine)
    assert dice(carried > 0, truth > 0) >= 0.985
    for side in (1, 2):
        assert dice(carried == side, truth == side) >= 0.98
    assert found.record["verdict"] == "ok", found.record["reasons"]


@pytest.mark.parametrize("spacing", [1.0, 1.5])
def test_lungs_of_the_working_grid_agree_on_the_acquired_one(real_ct, spacing):
    folder = real_ct / "cip-ct64"
    found = index.index_folder(folder / "dicom", settings=index.Settings())
    resampled = volumes.Settings(spacing_mm=spacing)
    volume, _ = volumes.build_volume(folder / "dicom", found, settings=resampled)
    labels = lungs.segment(volume, settings=SETTINGS).labels
    grid = masks.SliceGrid.of(found["geometry"])
    carried = masks.to_slices(labels, volume.affine, grid)
    truth, _ = nifti.read_mask(folder / "reference" / "lung_right1_left2.nii.gz")
    assert dice(carried > 0, truth > 0) >= 0.985
    for side in (1, 2):
        assert dice(carried == side, truth == side) >= 0.98


CHESTS = ["cip-ct64", "dx-a0001-b", "dx-a0002-b70f", "lidc-0001", "lidc-0028", "lidc-0306"]


@functools.cache
def real_lungs(folder):
    """Return a real chest at 3 mm and its lungs."""
    acquired = read_series(folder / "dicom")
    volume = to_patient_grid(acquired.hu, acquired.affine, spacing_mm=3.0)
    return volume, lungs.segment(volume, settings=SETTINGS)


@pytest.mark.parametrize("name", CHESTS)
def test_real_chests_give_two_lungs_at_the_first_threshold(real_ct, name):
    record = real_lungs(real_ct / name)[1].record
    for side in ("right_litre", "left_litre"):
        assert 0.8 < record[side] < 5.5
    assert record["path"] == "threshold -450 HU"
    assert record["gas_litre"] < 0.02
    assert record["verdict"] == "ok", record["reasons"]


@pytest.mark.parametrize(
    ("name", "side"),
    [("dx-a0001-b", 1), ("dx-a0002-b70f", 2)]
    + [(name, side) for name in CHESTS if name.startswith(("cip", "lidc")) for side in (1, 2)],
)
def test_a_lung_without_a_tumour_holds_no_tissue_far_from_its_air(real_ct, name, side):
    """Neither liver nor shoulder nor heart is in it; the vessels of the hilum reach so deep."""
    volume, found = real_lungs(real_ct / name)
    lung = found.labels == side
    depth_mm = ndimage.distance_transform_edt(~(lung & (volume.hu < -450)), sampling=3.0)
    assert depth_mm[lung].max() <= 20


@pytest.mark.parametrize(("name", "least"), [("dx-a0001-b", 0.3), ("dx-a0002-b70f", 0.8)])
def test_tumours_at_the_pleura_are_mostly_inside(real_ct, name, least):
    """The boxes hold more than tumour; a bare threshold covers 0.15 and 0.34 of them."""
    volume, found = real_lungs(real_ct / name)
    path = real_ct / name / "reference" / "tumour_box.nii.gz"
    boxes, affine = nifti.read_mask(path)
    carried = nifti.carry_mask(found.labels, volume.affine, shape=boxes.shape, to_affine=affine)
    assert (carried[boxes > 0] > 0).mean() >= least


def test_contoured_nodule_lies_inside(real_ct):
    folder = real_ct / "lidc-0001"
    acquired = read_series(folder / "dicom")
    volume = to_patient_grid(acquired.hu, acquired.affine, spacing_mm=2.0)
    votes, affine = nifti.read_mask(folder / "reference" / "nodule_votes.nii.gz")
    found = lungs.segment(volume, settings=SETTINGS)
    carried = nifti.carry_mask(found.labels, volume.affine, shape=votes.shape, to_affine=affine)
    assert (carried[votes > 0] == 2).mean() >= 0.99


def test_lung_bases_alone_go_to_review(odd_ct):
    record = lungs.segment(read_series(odd_ct / "lung-bases-only"), settings=SETTINGS).record
    assert record["verdict"] == "review"
    assert "border of the scan" in " ".join(record["reasons"])


def test_abdomen_has_no_lungs(odd_ct):
    with pytest.raises(Refusal, match="no-lungs"):
        lungs.segment(read_series(odd_ct / "abdomen-no-lung"), settings=SETTINGS)
