"""What is on disk opens elsewhere at the same place."""

import numpy as np
import pytest
import SimpleITK as sitk

from lungfish import nifti
from lungfish.errors import InputError
from lungfish.volume import Volume, axis_aligned_affine

AFFINE = axis_aligned_affine((2.5, 0.7, 0.8), (-10, 20, -30))


def test_volume_round_trip(tmp_path, rng):
    made = Volume(rng.integers(-1024, 3000, (5, 6, 7)).astype(np.int16), AFFINE.copy())
    nifti.write_volume(tmp_path / "a.nii.gz", made, description="a test")
    found = nifti.read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(found.hu, made.hu)
    assert found.affine == pytest.approx(made.affine, abs=1e-6)
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetOrigin() == pytest.approx((-10, 20, -30))
    assert image.GetSpacing() == pytest.approx((0.8, 0.7, 2.5))
    assert image.GetMetaData("descrip") == "a test"
    assert image[1, 2, 3] == made.hu[3, 2, 1]


def test_equal_volumes_give_equal_bytes(tmp_path):
    made = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE.copy())
    for name in ("a", "b"):
        nifti.write_volume(tmp_path / f"{name}.nii.gz", made)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_mask_carried_to_another_grid_keeps_its_place():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:10, 6:12, 7:13] = 2
    coarse = axis_aligned_affine((2, 2, 2), (0, 0, 0))
    fine = axis_aligned_affine((1, 1, 1), (-0.5, -0.5, -0.5))
    moved = nifti.carry_mask(labels, coarse, shape=(40, 40, 40), to_affine=fine)
    expected = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(moved, expected)
    back = nifti.carry_mask(moved, fine, shape=(20, 20, 20), to_affine=coarse)
    assert np.array_equal(back, labels)


def test_refused_files_say_so(tmp_path):
    nifti.write_refused(tmp_path / "v.nii.gz", "missing-slices", mask=False)
    nifti.write_refused(tmp_path / "m.nii.gz", "missing-slices", mask=True)
    assert nifti.read_volume(tmp_path / "v.nii.gz").hu.shape == (1, 1, 1)
    assert nifti.read_mask(tmp_path / "m.nii.gz")[0].sum() == 0
    image = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    assert image.GetMetaData("descrip") == "refused: missing-slices"


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        nifti.read_volume(tmp_path / "none.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(InputError, match="cannot be read"):
        nifti.read_volume(tmp_path / "text.nii.gz")
    sitk.WriteImage(sitk.Image(2, 2, 2, sitk.sitkFloat32), str(tmp_path / "f.nii.gz"))
    with pytest.raises(InputError, match="expected 16-bit signed integer HU, found 32-bit float"):
        nifti.read_volume(tmp_path / "f.nii.gz")
