"""Every place of the lungs is learned from: fair chances for their surface, a stated background."""

import numpy as np
import pytest
from scipy import ndimage

from lungfish import patches
from lungfish.errors import InputError, Refusal
from lungfish.gmcae import pool
from lungfish.intensity import HuMap
from lungfish.randomness import generator
from lungfish.records import read_table
from lungfish.volume import Volume, axis_aligned_affine
from scripts import patch_counts

EDGE = 32


@pytest.fixture(scope="module")
def chest():
    """Two lungs that touch the first slice of the volume, in soft tissue."""
    z, y, x = np.indices((64, 70, 96))
    labels = np.zeros(z.shape, np.uint8)
    labels[(z / 55) ** 2 + ((y - 35) / 25) ** 2 + ((x - 24) / 19) ** 2 < 1] = 1
    labels[(z / 60) ** 2 + ((y - 35) / 22) ** 2 + ((x - 72) / 17) ** 2 < 1] = 2
    hu = np.where(labels > 0, -850, 40).astype(np.int16)
    return Volume(hu, axis_aligned_affine((2.0, 2.0, 2.0), (0, 0, 0))), labels


def sample(chest, *, seed=0, **settings):
    return patches.sample_patches(
        *chest,
        settings=patches.Settings(**settings),
        rng=generator(seed, "patches", "p"),
        seed=seed,
    )


@pytest.fixture(scope="module")
def coverage(chest):
    """How many patches of 60 seeds each voxel lies in, and how many are to be expected."""
    count = np.zeros(chest[1].shape)
    for seed in range(60):
        for corner in sample(chest, seed=seed, per_patient=64).corner_voxel:
            count[tuple(slice(max(start, 0), start + EDGE) for start in corner)] += 1
    wide = np.pad((chest[1] > 0).astype(float), EDGE)
    # The window of SciPy's mean over an even length begins half of it before the voxel.
    share = ndimage.uniform_filter(wide, EDGE, origin=-(EDGE // 2), mode="constant")
    places = (share >= 0.25 - 1e-9).astype(float)
    expected = ndimage.uniform_filter(places, EDGE, origin=EDGE // 2 - 1, mode="constant")
    expected *= EDGE**3 / places.sum() * 60 * 64
    return count, expected[(slice(EDGE, -EDGE),) * 3]


def test_every_place_with_enough_lung_is_as_likely_as_any_other(chest, coverage):
    count, expected = coverage
    inside = chest[1] > 0
    assert count.sum() == pytest.approx(expected.sum(), rel=0.01)
    # A count is a sum of rare events: its variance is not above its mean.
    away = (count - expected)[inside] / np.sqrt(expected[inside])
    assert np.abs(away).max() < 5
    assert away.std() < 1.2


def test_the_outermost_voxels_have_a_fair_chance(chest, coverage):
    count, _ = coverage
    inside = chest[1] > 0
    # The volume's first slice is cut lung, and no surface.
    surface = inside & ~ndimage.binary_erosion(np.pad(inside, ((9, 0), (0, 0), (0, 0)), "edge"))[9:]
    deep = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1] > 9
    assert count[inside].min() > 0
    assert count[surface].mean() > 0.5 * count[deep].mean()
    assert count[inside].min() > 0.15 * count[deep].mean()


def test_beyond_the_scan_is_fill_of_the_scanner(chest):
    found = sample(chest, per_patient=64)
    beyond = found.corner_voxel[:, 0] < 0
    assert beyond.any()
    for patch, corner in zip(found.patches[beyond], found.corner_voxel[beyond], strict=True):
        assert (patch[: -corner[0]] == -1024).all()
        assert (patch[-corner[0] :, 16, 16] > -1000).all()


def test_lungs_smaller_than_a_patch_are_padded_on_all_sides(chest):
    small = Volume(np.full((9, 20, 30), -800, np.int16), chest[0].affine)
    found = sample((small, np.ones((9, 20, 30), np.uint8)), per_patient=5, minimum_lung=0.1)
    for patch, share in zip(found.patches, found.lung_fraction, strict=True):
        assert (patch == -800).mean() == pytest.approx(share)
        assert set(np.unique(patch)) == {-1024, -800}


def test_a_stated_share_is_cut_beside_the_lungs(chest):
    found = sample(chest, per_patient=40, background=0.25)
    assert (found.lung_fraction < 0.25).sum() == 10
    low, high = (np.array(edge) for edge in zip(*_spans(chest[1]), strict=True))
    centres = found.corner_voxel[found.lung_fraction < 0.25] + EDGE // 2
    assert ((low <= centres) & (centres < high)).all()
    # Those of the lungs are the first ones of a run without background.
    alone = sample(chest, per_patient=40).corner_voxel.tolist()
    lungs = found.corner_voxel[found.lung_fraction >= 0.25].tolist()
    assert all(corner in alone for corner in lungs)


def _spans(labels):
    return [(part.start, part.stop) for part in ndimage.find_objects((labels > 0).astype(int))[0]]


def test_background_that_cannot_be_is_said(chest):
    with pytest.raises(InputError, match=r"background 0\.5 needs patches\.minimum_lung above 0"):
        sample(chest, background=0.5, minimum_lung=0.0)
    full = np.ones_like(chest[1])
    with pytest.raises(Refusal, match="0 of 4 places beside the lungs hold less than 10%"):
        sample((chest[0], full), per_patient=8, background=0.5, minimum_lung=0.1)


def test_no_least_share_takes_the_whole_box_as_kdsb17_did(chest):
    found = sample(chest, per_patient=64, minimum_lung=0.0)
    assert (found.lung_fraction < 0.05).any()
    assert (found.lung_fraction > 0.3).any()


def test_the_table_counts_what_the_stores_hold(chest, tmp_path):
    found = sample(chest, per_patient=40, background=0.1, seed=3)
    patches.write_patches(tmp_path / "b.h5", found)
    nothing = patches.no_patches(Refusal("missing-slices", "5 mm"), seed=3)
    patches.write_patches(tmp_path / "a.h5", nothing)
    stores = [str(tmp_path / name) for name in ("b.h5", "a.h5")]
    table = tmp_path / "patches.tsv"
    assert patch_counts.main(["--patches", *stores, "--output", str(table)]) == 0
    refused, row = read_table(table)
    assert (refused["patient"], refused["status"], refused["code"]) == (
        "a", "refused", "missing-slices",
    )  # fmt: skip
    assert (refused["patches"], refused["lung_fraction"], refused["clipped"]) == ("0", "", "")
    assert (row["patient"], row["patches"], row["background"]) == ("b", "40", "4")
    assert int(row["inner"]) + int(row["border"]) == 36
    # Soft tissue and lung are within the map, so only the fill is clipped; and lungs are -850.
    assert float(row["clipped"]) == pytest.approx((found.patches == -1024).mean(), rel=1e-5)
    assert row["padded"] == row["clipped"]
    assert float(row["lung_fraction"]) == pytest.approx((found.patches == -850).mean(), rel=1e-5)


def test_all_of_a_metal_patch_is_clipped(chest):
    metal = Volume(np.full((40, 40, 40), 3000, np.int16), chest[0].affine)
    found = sample((metal, np.ones((40, 40, 40), np.uint8)), per_patient=3)
    assert pool.count_patches("p", found, hu_map=HuMap())["clipped"] == 1


@pytest.mark.parametrize("held", [0, 100, 10**9])
def test_patches_are_read_where_they_lie(chest, tmp_path, held, rng):
    sets = [sample(chest, seed=k, per_patient=5 + k) for k in range(3)]
    sets.insert(1, patches.no_patches(Refusal("missing-slices", "5 mm"), seed=0))
    for k, one in enumerate(sets):
        patches.write_patches(tmp_path / f"{k}.h5", one)
    stored = [pool.find_patches(tmp_path / f"{k}.h5") for k in range(4)]
    assert [len(one) for one in stored] == [5, 0, 6, 7]
    assert [one.spacing_mm for one in stored] == [2.0, 0.0, 2.0, 2.0]
    joined = pool.join(stored, in_memory_bytes=held)
    expected = np.concatenate([one.patches for one in sets])
    assert isinstance(joined, np.ndarray) == (held == 10**9)
    which = rng.permutation(18)
    assert len(joined) == 18
    assert np.array_equal(joined[which], expected[which])
    assert np.array_equal(joined[17], expected[17])
    assert np.array_equal(pool.join([one.patches for one in sets])[which], expected[which])


def test_a_pool_is_known_by_what_it_holds(chest, tmp_path):
    def pooled(name, *, seed):
        patches.write_patches(tmp_path / name, sample(chest, seed=seed, per_patient=4))
        return str(pool.join([pool.find_patches(tmp_path / name)], in_memory_bytes=0))

    assert pooled("a.h5", seed=1) == pooled("b.h5", seed=1)
    assert pooled("a.h5", seed=1) != pooled("b.h5", seed=2)


def test_a_store_that_cannot_be_read_plainly_is_named(chest, tmp_path):
    import h5py

    with pytest.raises(InputError, match="is missing or is no HDF5"):
        pool.find_patches(tmp_path / "none.h5")
    path = tmp_path / "p.h5"
    found = sample(chest, per_patient=4)
    patches.write_patches(path, found)
    stored = pool.find_patches(path)
    path.write_bytes(path.read_bytes()[: stored.offset[3] + 100])
    with pytest.raises(InputError, match="was shortened while it was read"):
        stored[3]
    patches.write_patches(path, found)
    with h5py.File(path, "r+") as store:
        del store["patches"]
        store.create_dataset("patches", data=found.patches, compression="gzip")
    with pytest.raises(InputError, match="expected one plain patch a chunk"):
        pool.find_patches(path)
    with h5py.File(path, "r+") as store:
        store.attrs["schema"] = "patches/0"
    with pytest.raises(InputError, match="expected a patch store of schema 'patches/1'"):
        patches.read_patches(path)
