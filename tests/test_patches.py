"""Patches come from inside the lungs, at the places they state."""

import numpy as np
import pytest

from lungfish import patches
from lungfish.errors import InputError, Refusal
from lungfish.randomness import generator
from lungfish.volume import Volume, axis_aligned_affine

SETTINGS = patches.Settings(per_patient=20, minimum_lung=0.3)


@pytest.fixture
def lungs(rng):
    z, y, x = np.indices((60, 64, 70))
    labels = np.zeros(z.shape, np.uint8)
    labels[((z - 28) / 25) ** 2 + ((y - 32) / 24) ** 2 + ((x - 18) / 16) ** 2 < 1] = 1
    labels[((z - 28) / 25) ** 2 + ((y - 32) / 24) ** 2 + ((x - 52) / 15) ** 2 < 1] = 2
    hu = rng.integers(-1000, 300, labels.shape).astype(np.int16)
    return Volume(hu, axis_aligned_affine((1.5, 1.5, 1.5), (0, 0, 0))), labels


def sample(lungs, patient="p1", settings=SETTINGS):
    rng = generator(0, "patches", patient)
    return patches.sample_patches(*lungs, settings=settings, rng=rng, seed=0)


def test_each_patch_is_what_stands_at_its_corner(lungs):
    volume, labels = lungs
    found = sample(lungs)
    assert found.patches.shape == (20, 32, 32, 32)
    hu = np.pad(volume.hu, 32, constant_values=-1024)
    mask = np.pad(labels, 32) > 0
    for patch, corner, share in zip(
        found.patches, found.corner_voxel + 32, found.lung_fraction, strict=True
    ):
        box = tuple(slice(start, start + 32) for start in corner)
        assert np.array_equal(patch, hu[box])
        assert share == pytest.approx(mask[box].mean())
    assert found.lung_fraction.min() >= 0.3


def test_chance_is_the_patients_own(lungs):
    one, again, other = sample(lungs), sample(lungs), sample(lungs, "p2")
    assert np.array_equal(one.corner_voxel, again.corner_voxel)
    assert not np.array_equal(one.corner_voxel, other.corner_voxel)


def test_store_round_trip_one_patch_a_chunk(lungs, tmp_path):
    import h5py

    found = sample(lungs)
    patches.write_patches(tmp_path / "p1.h5", found)
    back = patches.read_patches(tmp_path / "p1.h5")
    assert np.array_equal(back.patches, found.patches)
    assert np.array_equal(back.corner_voxel, found.corner_voxel)
    assert (back.spacing_mm, back.seed, back.source_hash) == (1.5, 0, found.source_hash)
    with h5py.File(tmp_path / "p1.h5") as store:
        assert store["patches"].chunks == (1, 32, 32, 32)
        assert store["patches"].dtype == np.int16


def test_equal_sets_give_equal_bytes(lungs, tmp_path):
    for name in ("a", "b"):
        patches.write_patches(tmp_path / name, sample(lungs))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_too_little_lung_is_refused(lungs):
    volume, labels = lungs
    with pytest.raises(Refusal, match="no-patches: the lung mask is empty"):
        sample((volume, labels * 0))
    speck = np.zeros_like(labels)
    speck[30, 30, 30] = 1
    with pytest.raises(Refusal, match="0 of 20 places hold 30% of lung"):
        sample((volume, speck))


def test_refused_patient_has_an_empty_store(tmp_path):
    nothing = patches.no_patches(Refusal("missing-slices", "5 mm"), seed=3)
    patches.write_patches(tmp_path / "p.h5", nothing)
    back = patches.read_patches(tmp_path / "p.h5")
    assert back.patches.shape == (0, 32, 32, 32)
    assert (back.code, back.reason) == ("missing-slices", "5 mm")


def test_wrong_files_are_named(tmp_path, lungs):
    with pytest.raises(InputError, match="is missing or is no HDF5"):
        patches.read_patches(tmp_path / "none.h5")
    volume, labels = lungs
    with pytest.raises(InputError, match="differ in shape"):
        sample((volume, labels[1:]))
