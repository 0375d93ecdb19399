"""Batches are a pure function of seed, epoch and place; patches vary as stated."""

import dataclasses
import itertools
import threading

import numpy as np
import pytest
from scipy import stats

from lungfish import patches
from lungfish.errors import Refusal
from lungfish.gmcae import augmentation, batches, loading, pool
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.randomness import generator
from lungfish.symmetry import apply

STILL = Settings(blur_voxel=0.0, noise_hu=0.0, jitter_hu=0.0, jitter_scale=0.0)
LOUD = Settings(
    blur_voxel=0.9, noise_hu=40.0, jitter_hu=10.0, jitter_scale=0.01, batch_size=3,
    steps_per_epoch=5,
)  # fmt: skip
STILL_SHORT = dataclasses.replace(STILL, batch_size=1, steps_per_epoch=2)
HU_MAP = HuMap()


def flat(hu):
    return np.full((32, 32, 32), hu, np.int16)


def varied(patch, settings, *, count):
    return [augmentation.vary(patch, settings, generator(k, "test")) for k in range(count)]


def epoch(training, settings=LOUD, *, seed=7, number=1, workers=0):
    made = batches.epoch_batches(
        training, settings=settings, hu_map=HU_MAP, seed=seed, epoch=number, workers=workers
    )
    inputs, targets = zip(*made, strict=True)
    return np.concatenate(inputs), np.concatenate(targets)


@pytest.fixture
def textured(rng):
    return rng.integers(-1020, 600, (11, 32, 32, 32)).astype(np.int16)


# What a patch becomes


@pytest.mark.parametrize(("name", "size"), [("cube", 48), ("in_plane", 16)])
def test_symmetries_are_a_group_and_all_distinct(name, size):
    cube = np.arange(27).reshape(3, 3, 3)
    group = augmentation.allowed(name)
    images = {apply(one, cube).tobytes() for one in group}
    assert len(group) == len(images) == size
    for one, two in itertools.product(group, group[::3]):
        assert apply(two, apply(one, cube)).tobytes() in images


def test_in_plane_leaves_the_patients_axis_in_its_place():
    slices = np.broadcast_to(np.arange(5)[:, None, None], (5, 5, 5))
    for one in augmentation.allowed("in_plane"):
        assert apply(one, slices).std(axis=(1, 2)).max() == 0


def test_all_symmetries_are_drawn_and_keep_the_histogram(rng):
    patch = rng.integers(-1000, 400, (32, 32, 32)).astype(np.int16)
    settings = dataclasses.replace(STILL, symmetries="cube")
    found = varied(patch, settings, count=400)
    assert len({one.tobytes() for one in found}) == 48
    assert np.array_equal(np.sort(found[3], axis=None), np.sort(patch, axis=None))


def test_jitter_moves_air_by_the_offset_and_water_by_the_stretch_too():
    settings = dataclasses.replace(STILL, jitter_hu=20.0, jitter_scale=0.03)
    air = np.array([one[0, 0, 0] for one in varied(flat(-1000), settings, count=600)])
    water = np.array([one[0, 0, 0] for one in varied(flat(0), settings, count=600)])
    assert (air + 1000).mean() == pytest.approx(0, abs=3)
    assert air.std() == pytest.approx(20, rel=0.08)
    # A stretch about -1000 of sd 0.03 moves water by 1000 times that, independently.
    assert (water - air - 1000).std() == pytest.approx(30, rel=0.08)
    assert np.corrcoef(air, water - air)[0, 1] == pytest.approx(0, abs=0.12)


def test_noise_has_the_stated_deviation_and_half_of_the_patches_none():
    settings = dataclasses.replace(STILL, noise_hu=40.0)
    found = np.array([one.std() for one in varied(flat(-500), settings, count=300)])
    assert (found == 0).mean() == pytest.approx(0.5, abs=0.09)
    noisy = found[found > 0]
    assert noisy.max() < 40 * 1.05
    assert stats.kstest(noisy / 40, "uniform").pvalue > 0.01


@pytest.mark.parametrize("widths", [(0, 0, 0), (0.3, 0.6, 0.9), (1.0, 1.0, 1.0), (1.5, 0.5, 0.0)])
def test_noise_is_as_strong_everywhere_and_has_its_grain(widths):
    shape = (16, 16, 16)
    rng = generator(0, "noise")
    drawn = np.stack([augmentation.grainy(shape, widths, rng) for _ in range(300)])
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.var() == pytest.approx(1, rel=0.01)
    assert drawn[:, 0, 0, 0].var() == pytest.approx(1, rel=0.3)
    for axis, width in enumerate(widths):
        found = (drawn * np.roll(drawn, 1, axis + 1)).mean()
        # White noise behind a kernel k has the autocorrelation of k.
        kernel = np.zeros((41, 1, 1), np.float32)
        kernel[20] = 1
        augmentation.smooth(kernel, (width, 0, 0))
        expected = (kernel[1:] * kernel[:-1]).sum() / (kernel**2).sum()
        assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("width", [0.0, 0.2, 0.5, 0.9, 1.4])
def test_blur_widens_a_blob_by_its_variance(width):
    place = np.arange(32) - 15.5
    blob = np.exp(-(place**2) / (2 * 2.0**2))
    values = (blob[:, None, None] * blob[:, None] * blob).astype(np.float32)
    before = values.sum(dtype=float)
    augmentation.smooth(values, (width, 0, 0))
    assert values.sum(dtype=float) == pytest.approx(before, rel=1e-6)
    for axis, added in enumerate((width**2, 0, 0)):
        line = values.sum(axis=tuple({0, 1, 2} - {axis}), dtype=float)
        variance = (line * place**2).sum() / line.sum()
        assert variance == pytest.approx(2.0**2 + added, rel=1e-4)
    wide = np.exp(-(place**2) / (2 * (4 + width**2))) / np.sqrt(1 + width**2 / 4)
    assert np.abs(values[:, 15, 15] / blob[15] ** 2 - wide).max() < 0.01


def test_blur_leaves_what_is_even_and_never_overshoots(rng):
    even = np.full((8, 8, 8), -700, np.float32)
    augmentation.smooth(even, (0.9, 0.9, 0.9))
    assert (even == -700).all()
    rough = rng.uniform(-1000, 3000, (12, 12, 12)).astype(np.float32)
    low, high = rough.min(), rough.max()
    augmentation.smooth(rough, (1.4, 0.9, 0.3))
    assert low <= rough.min() < rough.max() <= high


def test_what_is_beyond_the_scan_stays_the_scanners_fill():
    patch = flat(-700)
    patch[:9] = -1024
    settings = dataclasses.replace(LOUD, symmetries="in_plane", jitter_hu=60.0)
    for one in varied(patch, settings, count=60):
        assert (one == -1024).sum() == 9 * 32 * 32
        assert (one[9:-9] != -1024).all()
        assert (HU_MAP.to_network(one) == -1).sum() >= 9 * 32 * 32


def test_nothing_is_clipped_before_the_network_sees_it():
    """Metal blurs into its surroundings as metal, not as the end of the network's scale."""
    patch = flat(-800)
    patch[:, :, 16:] = 3071
    settings = dataclasses.replace(STILL, blur_voxel=0.9)
    sharp, blurred = 0, 0
    for one in varied(patch, settings, count=40):
        assert {-800, 3071} <= set(np.unique(one))
        sharp += len(np.unique(one)) == 2
        blurred += ((one > 400) & (one < 3071)).any()
    assert sharp > 8
    assert blurred > 4
    extreme = varied(flat(32767), dataclasses.replace(STILL, jitter_scale=0.1), count=20)
    assert max(one.max() for one in extreme) > 33000


def test_hu_are_whole_as_a_scanner_stores_them(textured):
    for one in varied(textured[0], LOUD, count=10):
        assert one.dtype == np.float32
        assert np.array_equal(one, np.rint(one))


def test_an_option_changes_nothing_but_itself(textured):
    some = dataclasses.replace(STILL, jitter_hu=30.0)
    more = dataclasses.replace(some, noise_hu=5.0)
    for plain, noisy in zip(*(varied(textured[0], one, count=20) for one in (some, more)),
                            strict=True):  # fmt: skip
        assert np.abs(plain - noisy).max() < 30


def test_the_stored_patch_is_never_written_to(textured):
    before = textured.copy()
    varied(textured[0], LOUD, count=5)
    epoch(textured)
    assert np.array_equal(textured, before)


# Which patches, in which order, made by whom


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_another_number_of_workers_gives_the_same_bytes(textured, workers):
    for one, other in zip(epoch(textured), epoch(textured, workers=workers), strict=True):
        assert one.tobytes() == other.tobytes()


def test_stores_on_disk_give_the_same_bytes_as_arrays(textured, tmp_path):
    for name, part in (("a", textured[:4]), ("b", textured[4:])):
        found = dataclasses.replace(
            patches.no_patches(Refusal("", ""), seed=0),
            patches=part,
            corner_voxel=np.zeros((len(part), 3), np.int32),
            lung_fraction=np.ones(len(part), np.float32),
        )
        patches.write_patches(tmp_path / f"{name}.h5", found)
    stored = [pool.find_patches(tmp_path / f"{name}.h5") for name in "ab"]
    lazy = epoch(pool.join(stored, in_memory_bytes=0), workers=3)
    for one, other in zip(epoch(textured), lazy, strict=True):
        assert one.tobytes() == other.tobytes()


def test_another_size_of_batch_varies_each_draw_alike(textured):
    larger = dataclasses.replace(LOUD, batch_size=5, steps_per_epoch=3)
    for one, other in zip(epoch(textured), epoch(textured, larger), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_run_taken_up_sees_what_it_would_have_seen(textured):
    run = [epoch(textured, number=number)[0].tobytes() for number in (1, 2, 3)]
    assert len(set(run)) == 3
    assert epoch(textured, number=3)[0].tobytes() == run[2]
    assert epoch(textured, number=3, seed=8)[0].tobytes() != run[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_taken_up_goes_on_with_the_next_batch(textured, workers):
    whole, _ = epoch(textured, number=2)
    rest = batches.epoch_batches(
        textured, settings=LOUD, hu_map=HU_MAP, seed=7, epoch=2, first=3, workers=workers
    )
    inputs = np.concatenate([one for one, _ in rest])
    assert inputs.tobytes() == whole[3 * LOUD.batch_size :].tobytes()


def test_each_patch_is_taken_once_before_any_is_taken_twice():
    draws = [loading.places(11, seed=3, first=15 * k, count=15) for k in range(22)]
    whole = np.concatenate(draws).reshape(-1, 11)
    assert (np.sort(whole, axis=1) == np.arange(11)).all()
    assert len({one.tobytes() for one in whole}) > 25
    assert np.array_equal(loading.places(11, seed=3, first=0, count=330), whole.ravel())


def test_a_fault_in_a_worker_is_told_and_leaving_early_ends_them():
    def make(start):
        if start == 6:
            raise ValueError(f"patch {start}")
        return start

    before = threading.active_count()
    made = loading.ahead(make, range(10), workers=2)
    assert [next(made) for _ in range(6)] == list(range(6))
    with pytest.raises(ValueError, match="patch 6"):
        next(made)
    left = loading.ahead(make, range(5), workers=3)
    next(left)
    left.close()
    assert threading.active_count() == before


# What is learned from and what is judged by


def test_targets_are_spread_evenly_over_the_whole_hu_they_stand_for(textured):
    inputs, targets = epoch(textured)
    away = (targets - inputs.reshape(targets.shape)).ravel() * HU_MAP.hu_per_unit
    assert np.abs(away).max() < 0.501  # float32 on a scale of 700 HU
    assert stats.kstest(away[::50] + 0.5, "uniform").pvalue > 0.01
    clipped = np.abs(inputs.ravel()) == 1
    assert clipped.any()
    assert stats.kstest(away[clipped][::50] + 0.5, "uniform").pvalue > 0.01
    # Rounded, a target is the whole HU that the network saw: not a bit is lost.
    whole = np.rint(HU_MAP.to_hu(inputs)).reshape(targets.shape)
    assert (np.rint(HU_MAP.to_hu(targets)) == whole).mean() > 0.9999


def test_training_spreads_anew_each_epoch_and_evaluation_never():
    one, two = (epoch(flat(-800)[None], STILL_SHORT, number=number)[1] for number in (1, 2))
    assert not np.array_equal(one, two)
    hu = np.stack([flat(-800 + k) for k in range(5)])
    judged = [
        np.concatenate([targets for _, targets in
                        batches.fixed_batches(hu, batch_size=size, hu_map=HU_MAP)])
        for size in (1, 2, 5, 5)
    ]  # fmt: skip
    assert all(np.array_equal(judged[0], other) for other in judged)
    assert not np.array_equal(
        judged[0][0] - judged[0][0].mean(), judged[0][1] - judged[0][1].mean()
    )


def test_evaluation_takes_patches_as_they_stand(textured):
    inputs = np.concatenate(
        [one for one, _ in batches.fixed_batches(textured, batch_size=4, hu_map=HU_MAP)]
    )
    assert np.array_equal(inputs[..., 0], HU_MAP.to_network(textured))


def numbered(patient, count):
    """Patches that say in their first voxel whose they are and which."""
    made = np.zeros((count, 32, 32, 32), np.int16)
    made[:, 0, 0, 0] = 1000 * patient + np.arange(count)
    return made


@pytest.mark.parametrize(
    ("sizes", "most", "given"),
    [
        ((50, 50, 50), 9, (3, 3, 3)),
        ((50, 2, 50), 12, (5, 2, 5)),
        ((3, 3), 64, (3, 3)),
        ((9, 9, 9, 9), 2, (0, 1, 0, 1)),
        ((7,), 3, (3,)),
    ],
)
def test_those_judged_by_are_of_all_patients_alike(sizes, most, given):
    found = batches.evenly_of_each([numbered(*pair) for pair in enumerate(sizes)], most)
    patient, number = np.divmod(found[:, 0, 0, 0], 1000)
    assert tuple(np.bincount(patient, minlength=len(sizes))) == given
    for one, size, count in zip(range(len(sizes)), sizes, given, strict=True):
        mine = number[patient == one]
        assert len(set(mine)) == len(mine)
        if count:
            # Evenly: each is within half a step of the middle of its share.
            wanted = (np.arange(count) + 0.5) * size / count
            assert np.abs(mine + 0.5 - wanted).max() <= 0.5


def test_those_judged_by_stay_when_a_patient_is_added_to_learn_from():
    settings = Settings(validation_share=0.3, validation_patches=6)
    cohort = {f"p{k}": numbered(k, 5) for k in range(6)}
    before = batches.split_patches(cohort, settings)
    added = next(
        f"q{k}" for k in range(100)
        if f"q{k}" not in batches.validation_patients([*cohort, f"q{k}"], 0.3)
    )  # fmt: skip
    after = batches.split_patches(cohort | {added: numbered(9, 5)}, settings)
    assert np.array_equal(before.validation, after.validation)
    assert len(before.validation) == 6
    assert not {*after.validation_patients} & {*after.training_patients}
    assert added in after.training_patients
