"""A mask of somebody's own is taken as it is, or refused with a sentence."""

import dataclasses
import hashlib
import json

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from lungfish import index, lungs, model, nifti, phantom, predict, records, volumes
from lungfish.errors import InputError, Refusal
from lungfish.lungs import conventions, given
from lungfish.lungs.unet import weights
from lungfish.resampling import to_patient_grid
from lungfish.volume import Volume, axis_aligned_affine
from scripts import lungs as script
from tests import test_lungs as chests
from tests.workflow_runner import copy_clone, plan, snakemake

SETTINGS = lungs.Settings()
EXTRA = {
    "method", "airway_leak_litre", "mask_labels", "mask_inside_share", "mask_air_share",
    "mask_covered_share", "path",
}  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    """An analytic chest and our own mask of it."""
    volume = chests.as_volume(chests.chest())
    return volume, lungs.segment(volume, settings=SETTINGS)


def adopt(volume, labels, affine=None, **options):
    return lungs.adopt(
        volume, labels, volume.affine if affine is None else affine, settings=SETTINGS, **options
    )


def moved(affine, shift_mm):
    """Return an affine of a grid that lies elsewhere by LPS mm (x, y, z)."""
    result = affine.copy()
    result[:3, 3] += shift_mm
    return result


def code_of(volume, labels, affine=None):
    with pytest.raises(Refusal, match="mask-") as caught:
        adopt(volume, labels, affine)
    assert "/" not in caught.value.reason
    return caught.value.code


def test_our_own_mask_given_back_has_the_same_measures_and_verdict(plain):
    volume, own = plain
    found = adopt(volume, own.labels)
    assert np.array_equal(found.labels, own.labels)
    assert found.record["method"] == "given"
    same = own.record.keys() - EXTRA
    assert json.dumps(records.plain({key: found.record[key] for key in same}), sort_keys=True) == (
        json.dumps(records.plain({key: own.record[key] for key in same}), sort_keys=True)
    )
    assert found.record["mask_covered_share"] > 0.99
    assert found.record["mask_air_share"] > 0.9
    assert found.record["mask_inside_share"] == 1


def test_a_mask_of_another_grid_keeps_its_litres_and_place(plain):
    volume, own = plain
    shape = (140, 70, 200)
    affine = axis_aligned_affine((2.05, 4.1, 1.9), (-185, -142, -141))
    elsewhere = nifti.carry_mask(own.labels, volume.affine, shape=shape, to_affine=affine)
    found = adopt(volume, elsewhere, affine)
    assert chests.dice(found.labels == 1, own.labels == 1) > 0.96
    assert chests.dice(found.labels == 2, own.labels == 2) > 0.96
    assert found.record["volume_litre"] == pytest.approx(own.record["volume_litre"], rel=0.01)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "SRP", "AIL", "PSR"])
def test_a_file_in_any_order_of_axes_is_the_same_mask(tmp_path, plain, axes):
    volume, own = plain
    image = sitk.DICOMOrient(nifti._image(own.labels, volume.affine), axes)
    path = tmp_path / "m.nii.gz"
    sitk.WriteImage(image, str(path))
    found = adopt(volume, *nifti.read_mask(path))
    assert np.array_equal(found.labels, own.labels)


@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkInt16])
def test_whole_labels_of_any_number_type_are_labels(tmp_path, plain, kind):
    volume, own = plain
    path = tmp_path / "m.nii"
    sitk.WriteImage(sitk.Cast(nifti._image(own.labels, volume.affine), kind), str(path))
    assert np.array_equal(adopt(volume, *nifti.read_mask(path)).labels, own.labels)


@pytest.mark.parametrize("label", [1, 255])
def test_one_label_for_both_is_split_into_right_and_left(plain, label):
    volume, own = plain
    found = adopt(volume, np.where(own.labels > 0, label, 0).astype(np.uint8))
    assert np.array_equal(found.labels, own.labels)
    assert found.record["mask_labels"] == "one label for both lungs"


def test_one_label_for_two_touching_lungs_is_cut_between_them():
    hu = chests.chest(apart_mm=53.0, noise_hu=10)
    hu[chests.trachea()] = 40
    _, _, x = chests.axes()
    hu[(np.abs(x) <= chests.STEP_MM) & (hu < -500)] = -650
    right, left = chests.lung_masks(53.0)
    found = adopt(chests.as_volume(hu), (right | left).astype(np.uint8))
    assert not (found.labels[x < -4] == 2).any()
    assert not (found.labels[x > 4] == 1).any()
    assert found.record["right_litre"] == pytest.approx(chests.LITRE, rel=0.03)


def lobes(volume, labels, numbers):
    """Cut two lungs across: `numbers` are left upper, left lower, right upper, middle, lower."""
    z, _, _ = chests.axes()
    upper, middle = z > 20, (z > -20) & (z <= 20)
    result = np.zeros_like(labels)
    for side, names in ((2, numbers[:2]), (1, numbers[2:])):
        parts = (upper, ~upper) if side == 2 else (upper, middle, ~upper & ~middle)
        for name, part in zip(names, parts, strict=True):
            result[(labels == side) & part] = name
    return result


@pytest.mark.parametrize("numbers", [(1, 2, 3, 4, 5), (10, 11, 12, 13, 14)])
def test_lobes_of_lungmask_and_totalsegmentator_are_two_lungs(plain, numbers):
    volume, own = plain
    found = adopt(volume, lobes(volume, own.labels, numbers))
    assert np.array_equal(found.labels, own.labels)


def test_lobes_numbered_in_another_order_are_refused(plain):
    """Others number from the right: 1 to 3 right, 4 and 5 left."""
    volume, own = plain
    assert code_of(volume, lobes(volume, own.labels, (4, 5, 1, 2, 3))) == "mask-swapped"


@pytest.mark.parametrize(
    "numbers", [(13, 14, 15, 16, 17), (2, 3, 4, 5, 6), (10, 11, 12, 13, 15), (3, 4, 1, 2, 7)]
)
def test_label_sets_that_nobody_documented_are_refused(plain, numbers):
    volume, own = plain
    with pytest.raises(Refusal, match=r"mask-labels.*has the labels .*accepted are 1 right"):
        adopt(volume, lobes(volume, own.labels, numbers))


def test_two_lungs_with_a_stray_label_are_not_taken_for_lobes(plain):
    """lungmask issue 16: single voxels of label 3 at the border of a lung."""
    volume, own = plain
    stray = own.labels.copy()
    stray[tuple(np.argwhere(own.labels == 1)[0])] = 3
    assert code_of(volume, stray) == "mask-labels"


def test_lobes_of_one_side_only_could_be_either_table_and_are_refused(plain):
    volume, own = plain
    left = lobes(volume, np.where(own.labels == 2, 2, 0).astype(np.uint8), (13, 14, 0, 0, 0))
    assert code_of(volume, left) == "mask-labels"


def test_swapped_labels_are_refused_and_never_swapped(plain):
    volume, own = plain
    swapped = np.array([0, 2, 1], np.uint8)[own.labels]
    with pytest.raises(Refusal, match=r"label 2 must .* label 1's, but lies 12\d mm to the right"):
        adopt(volume, swapped)


def test_labels_above_each_other_are_no_right_and_left(plain):
    volume, own = plain
    z, _, _ = chests.axes()
    halves = np.where(own.labels > 0, np.where(z > 0, 1, 2), 0).astype(np.uint8)
    assert code_of(volume, halves) == "mask-swapped"


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_mask_shifted_by_40_mm_is_refused(plain, axis, sign):
    volume, own = plain
    shift_mm = np.zeros(3)
    shift_mm[axis] = 40.0 * sign
    code = code_of(volume, own.labels, moved(volume.affine, shift_mm))
    assert code in ("mask-not-lung", "mask-apart")


def test_a_mask_mirrored_right_to_left_is_refused(plain):
    volume, own = plain
    assert code_of(volume, own.labels[:, :, ::-1].copy()) == "mask-swapped"


def cones(*, upside_down=False):
    """A chest whose lungs are cones, and their mask: its mirror image is another."""
    z, y, x = chests.axes()
    height = (-z if upside_down else z) + 108
    width = np.clip(1.25 - height / 216, 0, None)
    labels = np.zeros(chests.SHAPE, np.uint8)
    for side, middle in ((1, -66), (2, 66)):
        near = ((x - middle) / 54) ** 2 + (y / 80) ** 2 <= width**2
        labels[near & (height >= 0) & (height <= 216)] = side
    hu = np.where((x / 158) ** 2 + (y / 112) ** 2 <= 1, 40.0, -1000.0)
    hu[labels > 0] = -850
    hu[chests.trachea() & (labels == 0)] = -1000
    return chests.as_volume(hu), labels


def test_a_mask_upside_down_is_refused():
    volume, labels = cones()
    assert adopt(volume, labels).record["mask_covered_share"] > 0.95
    assert code_of(volume, cones(upside_down=True)[1]) == "mask-not-lung"


def test_a_mask_on_a_chest_with_shifted_hu_is_refused(plain):
    volume, own = plain
    high = Volume((volume.hu + 1000).astype(np.int16), volume.affine)
    assert code_of(high, own.labels) == "mask-not-lung"


def test_a_mask_of_tissue_is_refused(plain):
    volume, _ = plain
    heart = (np.abs(chests.ellipsoid((0, -90, 0), (20, 10, 40))) > 0).astype(np.uint8)
    assert code_of(volume, heart) == "mask-not-lung"


def test_a_mask_outside_the_scan_is_refused_with_the_share(plain):
    volume, own = plain
    with pytest.raises(Refusal, match=r"mask-apart.*only 0% of the mask.*at least 90%"):
        adopt(volume, own.labels, moved(volume.affine, (0, 0, 5000)))


def test_a_mask_that_leaves_the_scan_a_little_is_doubted(plain):
    volume, own = plain
    cut = Volume(volume.hu[17:].copy(), moved(volume.affine, (0, 0, 17 * chests.STEP_MM)))
    found = adopt(cut, own.labels, volume.affine)
    assert 0.9 < found.record["mask_inside_share"] < 0.99
    assert found.record["verdict"] == "review"
    assert "lies outside the scan" in " ".join(found.record["reasons"])


def test_an_empty_mask_is_refused(plain):
    volume, own = plain
    with pytest.raises(Refusal, match="mask-empty: the mask given for this patient is empty"):
        adopt(volume, np.zeros_like(own.labels))


def test_a_tight_mask_and_one_with_the_trachea_are_doubted(plain):
    from scipy import ndimage

    volume, own = plain
    tight = own.labels * ndimage.binary_erosion(own.labels > 0)
    reasons = " ".join(adopt(volume, tight).record["reasons"])
    assert "of the air that it touches" in reasons
    z, _, _ = chests.axes()
    wide = np.where((own.labels == 0) & chests.trachea() & (z < 105), 1, own.labels)
    reasons = " ".join(adopt(volume, wide.astype(np.uint8)).record["reasons"])
    assert "of trachea and main bronchi" in reasons


def test_consolidation_in_the_mask_is_no_ground_for_refusal(plain):
    volume, own = plain
    hu = volume.hu.copy()
    z, _, _ = chests.axes()
    drowned = (own.labels == 1) & (z < -10)
    hu[drowned] = 40
    found = adopt(Volume(hu, volume.affine), own.labels)
    assert np.array_equal(found.labels, own.labels)
    assert found.record["verdict"] == "review"
    assert "effusion or consolidation inside" in " ".join(found.record["reasons"])


def test_a_lone_lung_keeps_its_side_or_is_refused(plain):
    volume, own = plain
    hu = volume.hu.copy()
    hu[own.labels == 1] = 40
    alone = Volume(hu, volume.affine)
    left = np.where(own.labels == 2, 2, 0).astype(np.uint8)
    found = adopt(alone, left)
    assert np.array_equal(found.labels, left)
    assert "only one lung" in " ".join(found.record["reasons"])
    hu = volume.hu.copy()
    hu[own.labels == 2] = 40
    assert code_of(Volume(hu, volume.affine), 2 * (own.labels == 1).astype(np.uint8)) == (
        "mask-swapped"
    )


def test_conventions_are_those_of_the_documents():
    """lungmask issues 25 and 61; TotalSegmentator 2's table of classes."""
    one, two = conventions.LOBES
    assert (one.right, one.left) == ((3, 4, 5), (1, 2))
    assert (two.right, two.left) == ((12, 13, 14), (10, 11))
    assert (conventions.TWO_LUNGS.right, conventions.TWO_LUNGS.left) == ((1,), (2,))


def run_script(folder, volume, mask):
    arguments, outputs = chests.prepare(folder, volume, records.accepted())
    return [*arguments, "--mask", str(mask)], outputs


def test_the_script_takes_a_mask_and_draws_it(tmp_path, plain):
    volume, own = plain
    mask = tmp_path / "mine.nii.gz"
    nifti.write_mask(mask, own.labels, volume.affine)
    arguments, (written, measures, picture) = run_script(tmp_path, volume, mask)
    assert script.main(arguments) == 0
    assert np.array_equal(nifti.read_mask(written)[0], own.labels)
    assert records.read_json(measures, "lungs/1")["method"] == "given"
    assert picture.read_bytes()[1:4] == b"PNG"


def half(labels):
    return labels.astype(np.float32) / 2


def test_what_is_no_mask_is_refused_without_its_name(tmp_path, plain):
    volume, own = plain
    secret = tmp_path / "Zqvxjk Jane.nii.gz"
    for content in ("fractions", "text"):
        if content == "text":
            secret.write_text("no image")
        else:
            sitk.WriteImage(nifti._image(half(own.labels), volume.affine), str(secret))
        arguments, (written, measures, _) = run_script(tmp_path, volume, secret)
        with pytest.raises(Refusal, match="mask-unreadable: the mask given for this patient"):
            script.main(arguments)
        assert json.loads(measures.read_text())["code"] == "mask-unreadable"
        assert "Zqvxjk" not in measures.read_text()
        assert nifti.read_mask(written)[0].shape == (1, 1, 1)
    arguments, _ = run_script(tmp_path, volume, tmp_path / "none.nii")
    with pytest.raises(InputError, match=r"none\.nii is missing"):
        script.main(arguments)


def test_a_refused_scan_stays_refused_whatever_the_mask(tmp_path, plain):
    volume, own = plain
    mask = tmp_path / "mine.nii.gz"
    nifti.write_mask(mask, own.labels, volume.affine)
    refusal = records.refused(Refusal("missing-slices", "a slice seems to be missing"))
    arguments, _ = chests.prepare(tmp_path, volume, refusal)
    with pytest.raises(Refusal, match="missing-slices"):
        script.main([*arguments, "--mask", str(mask)])


@pytest.fixture(scope="module")
def real(real_ct):
    """Real chests at 3 mm and our masks of them."""
    found = {}
    for name in ("cip-ct64", "lidc-0306", "dx-a0002-b70f"):
        acquired = chests.read_series(real_ct / name / "dicom")
        volume = to_patient_grid(acquired.hu, acquired.affine, spacing_mm=3.0)
        found[name] = volume, lungs.segment(volume, settings=SETTINGS).labels
    return found


def test_a_reference_mask_is_accepted(real_ct, real):
    volume, own = real["cip-ct64"]
    path = real_ct / "cip-ct64/reference/lung_right1_left2.nii.gz"
    found = adopt(volume, *nifti.read_mask(path))
    assert found.record["verdict"] in ("ok", "review")
    assert chests.dice(found.labels == 1, own == 1) > 0.95


def test_masks_of_other_patients_shifted_and_mirrored_are_refused(real):
    """Laid middle on middle: the best that a wrong mask can do."""
    for name, (volume, own) in real.items():
        middle = np.argwhere(own > 0).mean(axis=0)
        for other, (_, labels) in real.items():
            if other != name:
                index = np.argwhere(labels > 0)
                shift = (middle - index.mean(axis=0)).round()[::-1] * 3.0
                affine = moved(volume.affine, shift)
                assert code_of(volume, labels, affine) in ("mask-not-lung", "mask-apart")
        for axis in range(3):
            shift = 40.0 * np.eye(3)[axis]
            assert code_of(volume, own, moved(volume.affine, shift)) in (
                "mask-not-lung", "mask-apart",
            )  # fmt: skip
        rows = np.flatnonzero((own > 0).any(axis=(1, 2)))
        flipped = np.zeros_like(own)
        flipped[rows[0] : rows[-1] + 1] = own[rows[0] : rows[-1] + 1][::-1]
        assert code_of(volume, flipped) == "mask-not-lung"


NAME = "Zqvxjk Jane"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two small patients as far as the lungs, one with a mask in a file of her name."""
    place = tmp_path_factory.mktemp("masks")
    clone = copy_clone(place / "clone")
    sheet = place / "samples.tsv"
    sheet.write_text("patient\tdicom\tlabel\na\t\t1\nb\t\t0\n")
    work(clone, place)
    (place / NAME).mkdir()
    labels, affine = nifti.read_mask(place / "run/results/lungs/a.nii.gz")
    nifti.write_mask(place / NAME / f"{NAME}.nii.gz", labels, affine)
    sheet.write_text(f"patient\tdicom\tlabel\tmask\na\t\t1\t{NAME}/{NAME}.nii.gz\nb\t\t0\t\n")
    return clone, place


def options(place):
    targets = [f"results/lungs/{name}.json" for name in "ab"]
    return [*targets, "--config", f"samples={place / 'samples.tsv'}"]


def work(clone, place):
    found = snakemake(clone, place / "run", *options(place))
    assert found.returncode == 0, found.stdout


def test_a_mask_in_the_sheet_reruns_its_patient_alone(run):
    clone, place = run
    assert plan(clone, place / "run", *options(place)) == {"lungs": 1}
    before = records.read_json(place / "run/results/lungs/a.json", "lungs/1")
    work(clone, place)
    after = records.read_json(place / "run/results/lungs/a.json", "lungs/1")
    assert (before["method"] != "given", after["method"]) == (True, "given")
    assert after["volume_litre"] == before["volume_litre"]
    schema = yaml.safe_load((clone / "workflow/schemas/lungs.schema.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(after)
    assert records.read_json(place / "run/results/lungs/b.json", "lungs/1")["method"] != "given"
    mask = place / NAME / f"{NAME}.nii.gz"
    mask.touch()
    assert plan(clone, place / "run", *options(place)) == {}
    for path in [*(place / "run").rglob("*")]:
        texts = [path.name.encode(), path.read_bytes() if path.is_file() else b""]
        if not path.is_symlink():
            assert not any(b"Zqvxjk" in text for text in texts), path
    labels, affine = nifti.read_mask(mask)
    labels[labels.shape[0] // 2 :][labels[labels.shape[0] // 2 :] == 1] = 0
    nifti.write_mask(mask, labels, affine)
    assert plan(clone, place / "run", *options(place)) == {"lungs": 1}


@pytest.fixture
def new_patient(tmp_path):
    """A digital patient's DICOM, our mask of it, and a model without a classifier."""
    phantom.write_dicom(
        tmp_path / "dicom",
        phantom.make_patient(
            "p", seed=0, settings=phantom.Settings(matrix=96, slices=60, slice_mm=5.0)
        ),
    )
    resampling = volumes.Settings(spacing_mm=3.0)
    found = index.index_folder(tmp_path / "dicom", settings=index.Settings())
    volume, _ = volumes.build_volume(tmp_path / "dicom", found, settings=resampling)
    preparation = model.preparation(index=index.Settings(), volumes=resampling, lungs=SETTINGS)
    refusal = Refusal("one-class", "all patients have label 0")
    about = {
        "preparation": preparation,
        "evaluation": {"conclusion": "inconclusive", "reason": "too few patients"},
        "trained_on": {"n": 5, "events": 0, "content_hashes": [], "unlabelled_hashes": []},
    }
    path = tmp_path / "model/model.json"
    records.write_json(path, model.SCHEMA, records.refused(refusal) | about)
    return tmp_path, volume, lungs.segment(volume, settings=SETTINGS)


def test_a_new_patient_is_predicted_on_a_given_mask(new_patient):
    folder, volume, own = new_patient
    arguments = folder / "dicom", folder / "model"
    mask = folder / "mask.nii.gz"
    nifti.write_mask(mask, own.labels, volume.affine)
    found = predict.predict_folder(*arguments, mask=mask)
    assert found["code"] == "one-class"
    assert found["lungs"]["right_litre"] == own.record["right_litre"]
    nifti.write_mask(mask, np.array([0, 2, 1], np.uint8)[own.labels], volume.affine)
    found = predict.predict_folder(*arguments, mask=mask)
    assert (found["status"], found["code"]) == ("abstained", "mask-swapped")
    mask.write_text("no image")
    found = predict.predict_folder(*arguments, mask=mask)
    assert (found["status"], found["code"]) == ("abstained", "mask-unreadable")
    assert "mask.nii" not in found["reason"]


def test_a_model_made_with_another_lungs_network_is_not_used(new_patient):
    folder, *_ = new_patient
    path = folder / "model/model.json"
    about = records.read_json(path, model.SCHEMA)
    learned = dataclasses.replace(SETTINGS, method="unet")
    about["preparation"]["lungs"] = dataclasses.asdict(learned)
    about["preparation"]["lungs_weights"] = {"sha256": "0" * 64}
    records.write_json(path, model.SCHEMA, about)
    found = predict.predict_folder(folder / "dicom", folder / "model")
    assert (found["status"], found["code"]) == ("abstained", "lungs-weights")
    kept = model.preparation(lungs=learned)["lungs_weights"]["sha256"]
    assert kept == hashlib.sha256(weights.FILE.read_bytes()).hexdigest()


def test_shares_are_between_none_and_all():
    fit = given.Fit(1.0, 0.95, 0.95)
    given.check_fit(fit)
    for worse in ({"covered_share": 0.7}, {"air_share": 0.3}):
        with pytest.raises(Refusal, match=r"(30|95)% of the mask is air .* (70|95)% of the air"):
            given.check_fit(dataclasses.replace(fit, **worse))
