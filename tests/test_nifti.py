"""What is on disk opens elsewhere at the same place."""

import gzip
import resource
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from lungfish import nifti
from lungfish.errors import InputError
from lungfish.volume import Volume, axis_aligned_affine

AFFINE = axis_aligned_affine((2.5, 0.7, 0.8), (-10, 20, -30))
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique(turn, mirror=False):
    """Return an affine whose axes are turned by a rotation vector in radians."""
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_rotvec(turn).as_matrix() * [0.8, 0.7, -2.5 if mirror else 2.5]
    return affine


GRIDS = {
    "along the patient": AFFINE,
    "mirrored": oblique([0, 0, 0], mirror=True),
    "coronal": oblique([np.pi / 2, 0, 0]),
    "oblique": oblique([0.3, -0.8, 1.9]),
    "oblique, mirrored": oblique([-1.1, 0.2, 2.4], mirror=True),
}


@pytest.fixture(params=GRIDS)
def stored(request, tmp_path, rng):
    """A volume of every kind of grid, and the file it was written to."""
    made = Volume(rng.integers(-1024, 3000, (5, 6, 7)).astype(np.int16), GRIDS[request.param] * 1.0)
    nifti.write_volume(tmp_path / "v.nii.gz", made)
    return made, tmp_path / "v.nii.gz"


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


def test_file_holds_no_time_and_no_name(tmp_path):
    nifti.write_mask(tmp_path / "secret.nii.gz", np.ones((2, 3, 4), np.uint8), AFFINE)
    head = (tmp_path / "secret.nii.gz").read_bytes()[:10]
    assert head[:3] == b"\x1f\x8b\x08"
    assert head[3] == 0  # RFC 1952: no name, no comment
    assert head[4:8] == bytes(4)  # no time


def test_simpleitk_reads_the_affine_of_any_grid(stored):
    made, path = stored
    assert nifti.read_volume(path).affine == pytest.approx(made.affine, abs=1e-4)
    image = sitk.ReadImage(str(path))
    corner = image.TransformIndexToPhysicalPoint((6, 5, 4))
    assert corner == pytest.approx((made.affine @ [6, 5, 4, 1])[:3], abs=1e-4)
    assert image[6, 5, 4] == made.hu[4, 5, 6]


def test_sform_and_qform_state_the_same_affine(stored):
    """The quaternion is read as nifti1.h, "METHOD 2", and nifti1_io.c do."""
    made, path = stored
    header = gzip.decompress(path.read_bytes())[:352]
    assert struct.unpack_from("<2h", header, 252) == (1, 1)
    expected = (LPS_TO_RAS @ made.affine)[:3]
    sform = np.reshape(struct.unpack_from("<12f", header, 280), (3, 4))
    assert sform == pytest.approx(expected, abs=1e-5)
    b, c, d, *offset = struct.unpack_from("<6f", header, 256)
    a = 1 - b * b - c * c - d * d
    a = np.sqrt(a) if a > 1e-7 else 0.0
    handedness, *steps = struct.unpack_from("<4f", header, 76)
    turn = np.array([
        [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
        [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
        [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
    ])  # fmt: skip
    qform = turn * np.array(steps) * [1, 1, handedness]
    assert qform == pytest.approx(expected[:, :3], abs=1e-4)
    assert offset == pytest.approx(expected[:, 3], abs=1e-4)


def test_nibabel_reads_the_affine_of_any_grid(stored):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    made, path = stored
    image = nibabel.load(path)
    expected = LPS_TO_RAS @ made.affine
    for found in (image.affine, image.get_qform(), image.get_sform()):
        assert found == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(np.asarray(image.dataobj), made.hu.T)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_sheared_grid_is_never_written(tmp_path):
    tilted = AFFINE.copy()
    tilted[1, 2] = 0.3
    with pytest.raises(ValueError, match="found a sheared grid"):
        nifti.write_mask(tmp_path / "m.nii.gz", np.ones((2, 3, 4), np.uint8), tilted)
    assert not list(tmp_path.iterdir())


def test_any_order_in_memory_gives_the_same_file(tmp_path, rng):
    hu = rng.integers(-1024, 3000, (40, 90, 80)).astype(np.int16)
    for name, array in (("c", hu), ("f", np.asfortranarray(hu)), ("view", hu[::-1][::-1])):
        nifti.write_volume(tmp_path / f"{name}.nii.gz", Volume(array, AFFINE.copy()))
    first, *others = [path.read_bytes() for path in tmp_path.iterdir()]
    assert all(other == first for other in others)
    assert gzip.decompress(first)[352:] == hu.astype("<i2").tobytes()


def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, rng):
    """A limit on the size of files stands for the disk: both refuse the write itself."""
    noise = Volume(rng.integers(-1024, 3000, (64, 64, 64)).astype(np.int16), AFFINE.copy())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            InputError, match=r"cannot be written \(.* GB are free there\): make room"
        ):
            nifti.write_volume(tmp_path / "v.nii.gz", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_axis_longer_than_the_format_holds_is_said(tmp_path):
    with pytest.raises(InputError, match="at most 32767 voxels along an axis, found 32768"):
        nifti.write_mask(tmp_path / "m.nii.gz", np.zeros((32768, 1, 1), np.uint8), AFFINE)


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
