"""The learned alternative: its weights, what it proposes, and how that becomes a mask."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from lungfish import lungs, nifti, records
from lungfish.errors import InputError, Refusal
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.unet import augmentation, cases, fitting, grid, method, proposal, store, weights
from lungfish.phantom import CONSOLIDATION, EFFUSION, MASS, TRAINING_SEEDS, Design, make_case
from lungfish.randomness import generator
from lungfish.volume import Volume, axis_aligned_affine
from scripts import lungs_unet as script

SETTINGS = lungs.Settings()
TABLE = {"table_mm": 5.0, "noise_hu": 12.0, "slice_mm": 4.0}


@pytest.fixture(scope="module")
def trained():
    from lungfish.lungs.unet import network

    return network.load_network(weights.FILE)


@pytest.fixture(scope="module")
def easy():
    return make_case(Design(seed=3, **TABLE), matrix=128)


@pytest.fixture(scope="module")
def hard():
    """A chest with a lobe without any air, fluid on the other side and a mass."""
    case = make_case(
        Design(seed=31, consolidation_litre=0.4, effusion_litre=0.8, mass_mm=50.0, **TABLE),
        matrix=128,
    )
    hu = np.array(case.volume.hu)
    hu[case.plants == CONSOLIDATION] = 40
    return dataclasses.replace(case, volume=Volume(hu, np.array(case.volume.affine)))


@pytest.fixture(scope="module")
def answer(trained):
    """What the network proposes for a volume, asked once for each."""
    from lungfish.lungs.unet import network

    known = {}

    def ask(volume):
        if id(volume) not in known:
            known[id(volume)] = (volume, network.propose(volume, trained))
        return known[id(volume)][1]

    return ask


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())


def of_truth(case):
    """The proposal of a network that is always right."""
    affine = np.array(case.volume.affine)
    shares = [
        grid.to_coarse(Volume((case.lungs == side).astype(np.int16) * 1000, affine.copy()))
        for side in (1, 2)
    ]
    probability = np.stack([np.clip(share.hu, 0, 1000) * 0.255 for share in shares])
    return proposal.Proposal(probability.astype(np.uint8), shares[0].affine, "")


def presented(volume, order, flips):
    """The same patient with the array's axes in another order and direction."""
    hu = volume.hu.transpose(order)
    affine = np.array(volume.affine)
    columns = [2 - axis for axis in reversed(order)]
    affine[:3, :3] = volume.affine[:3, columns]
    for column, (axis, flip) in enumerate(zip((2, 1, 0), flips, strict=True)):
        if flip:
            hu = np.flip(hu, axis)
            affine[:3, 3] += affine[:3, column] * (hu.shape[axis] - 1)
            affine[:3, column] *= -1
    return Volume(np.ascontiguousarray(hu), affine)


def test_weights_are_small_and_their_provenance_is_theirs():
    content = weights.FILE.read_bytes()
    facts = json.loads(weights.FILE.with_suffix(".json").read_text())
    assert len(content) <= 5e6
    assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    assert set(range(*facts["training_seeds"])) <= set(TRAINING_SEEDS)
    assert facts["command"].startswith("scripts/train_lungs_unet.py ")


def test_weights_are_plain_arrays_that_hold_no_code():
    with np.load(weights.FILE, allow_pickle=False) as stored:
        assert all(np.isfinite(stored[name]).all() for name in stored.files)


def test_weights_that_are_damaged_missing_or_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(InputError, match=r"w.npz, the weights .* missing: .*make lungs-unet"):
        weights.read_weights(path, {})
    weights.write_weights(path, {"a/kernel": np.zeros((2, 3), np.float16)}, {"command": "x"})
    assert weights.read_weights(path, {"a/kernel": (2, 3)}).arrays["a/kernel"].dtype == np.float32
    with pytest.raises(InputError, match=r"1 weights do not fit .* expected \(4, 3\), found \(2"):
        weights.read_weights(path, {"a/kernel": (4, 3)})
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"expected SHA-256 \w+\.\.\. as its .json says, found"):
        weights.read_weights(path, {"a/kernel": (2, 3)})


def test_the_light_side_of_the_room_starts_no_network():
    code = (
        "import sys, lungfish.lungs, lungfish.lungs.unet.method, lungfish.lungs.unet.store;"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_training_seeds_train():
    for seed in (0, 600, 659, 1199):
        with pytest.raises(ValueError, match="expected one of range"):
            cases.make_training_case(seed)


def test_changes_to_a_case_follow_from_the_seed_and_keep_right_right(tmp_path):
    path = cases.store_case(tmp_path, TRAINING_SEEDS[0])
    case = cases.read_case(path)
    for k in range(4):
        hu, shares = augmentation.vary(case, generator(k, "test"))
        again, _ = augmentation.vary(case, generator(k, "test"))
        np.testing.assert_array_equal(hu, again)
        assert shares.shape == (*hu.shape, 3)
        assert shares.min() >= 0
        assert shares[..., :2].sum(axis=-1).max() < 1 + 1e-5
        right, left = (np.average(np.arange(hu.shape[2]), weights=shares[..., side].sum((0, 1)))
                       for side in (0, 1))  # fmt: skip
        assert right < left


def test_a_right_proposal_becomes_the_right_mask(easy, hard):
    for case in (easy, hard):
        found = fitting.fit(case.volume, of_truth(case), settings=SETTINGS)
        labels = turn_of(case.volume.affine).back(found.labels)
        assert dice(labels > 0, case.lungs > 0) > 0.98
        for side in (1, 2):
            assert dice(labels == side, case.lungs == side) > 0.97


def test_a_proposal_of_another_volume_is_refused(easy):
    moved = np.array(easy.volume.affine)
    moved[0, 3] += 5
    with pytest.raises(InputError, match="made of another volume"):
        fitting.fit(Volume(easy.volume.hu, moved), of_truth(easy), settings=SETTINGS)


def test_the_network_finds_healthy_lungs(easy, answer):
    found = method.segment_learned(easy.volume, answer(easy.volume), settings=SETTINGS)
    assert dice(found.labels > 0, easy.lungs > 0) > 0.97
    for side in (1, 2):
        assert dice(found.labels == side, easy.lungs == side) > 0.96
    assert found.record["path"] == "unet"


def test_the_network_holds_a_lobe_without_air_and_a_mass_and_leaves_fluid_out(hard, answer):
    found = method.segment_learned(hard.volume, answer(hard.volume), settings=SETTINGS)
    held = {
        plant: (found.labels[hard.plants == plant] > 0).mean()
        for plant in (MASS, EFFUSION, CONSOLIDATION)
    }
    assert dice(found.labels > 0, hard.lungs > 0) > 0.93
    assert held[CONSOLIDATION] > 0.75
    assert held[MASS] > 0.75
    assert held[EFFUSION] < 0.25


def test_every_orientation_gives_the_same_labels(easy, answer, trained):
    from lungfish.lungs.unet import network

    expected = method.segment_learned(easy.volume, answer(easy.volume), settings=SETTINGS)
    for order, flips in (((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True))):
        turned = presented(easy.volume, order, flips)
        found = method.segment_learned(turned, network.propose(turned, trained), settings=SETTINGS)
        back = presented(Volume(expected.labels.astype(np.int16), np.array(easy.volume.affine)),
                         order, flips)  # fmt: skip
        np.testing.assert_array_equal(found.labels, back.hu)


@pytest.mark.parametrize("part", [np.s_[20:45], np.s_[:1], np.s_[30:33, 40:60, 30:50]])
def test_parts_of_a_chest_and_small_fields_are_taken(easy, trained, part):
    from lungfish.lungs.unet import network

    volume = Volume(np.ascontiguousarray(easy.volume.hu[part]), np.array(easy.volume.affine))
    found = fitting.fit(volume, network.propose(volume, trained), settings=SETTINGS)
    assert found.labels.shape == volume.hu.shape


def test_air_alone_is_refused(trained):
    from lungfish.lungs.unet import network

    air = Volume(np.full((20, 30, 30), -1000, np.int16), axis_aligned_affine((3, 3, 3), (0, 0, 0)))
    with pytest.raises(Refusal, match="proposes no lung"):
        method.segment_learned(air, network.propose(air, trained), settings=SETTINGS)


def test_the_fallback_is_taken_only_for_a_better_verdict(easy, hard):
    good = of_truth(easy)
    healthy = method.segment_or_learned(easy.volume, good, settings=SETTINGS)
    assert healthy.record["path"].startswith("threshold")
    learned = method.segment_learned(easy.volume, good, settings=SETTINGS)
    doubted = {"verdict": "review", "reasons": ["only one lung was found"]}
    poor = dataclasses.replace(learned, record=learned.record | doubted)
    ok = dataclasses.replace(learned, record=learned.record | {"verdict": "ok", "reasons": []})
    taken = method.better_of(poor, ok)
    assert taken.record["path"] == "unet"
    assert "was judged review: only one lung was found" in taken.record["reasons"][0]
    assert method.better_of(poor, dataclasses.replace(ok, record=poor.record)) is poor
    refusal = Refusal("no-lungs", "no air looks like a lung")
    assert "no air looks like a lung" in method.better_of(refusal, ok).record["reasons"][0]


def test_proposals_come_back_from_their_store(easy, tmp_path):
    one = of_truth(easy)
    path = tmp_path / "shard-0.h5"
    store.write_proposals(path, {"a": one, "b": Refusal("missing-slices", "two are missing")})
    back = store.read_proposal(path, "a")
    np.testing.assert_array_equal(back.probability, one.probability)
    np.testing.assert_array_equal(back.affine, one.affine)
    with pytest.raises(Refusal, match="two are missing"):
        store.read_proposal(path, "b")
    with pytest.raises(InputError, match="has no patient c"):
        store.read_proposal(path, "c")
    with pytest.raises(InputError, match="is missing"):
        store.read_proposal(tmp_path / "none.h5", "a")


def test_a_shard_is_proposed_by_the_command(easy, answer, tmp_path):
    nifti.write_volume(tmp_path / "a.nii.gz", easy.volume)
    records.write_json(tmp_path / "a.json", "volumes/1", records.accepted())
    nifti.write_refused(tmp_path / "b.nii.gz", "empty", mask=False)
    records.write_json(
        tmp_path / "b.json", "volumes/1", records.refused(Refusal("empty", "it has no files"))
    )
    path = tmp_path / "shard-1.h5"
    names = ["a", "b"]
    assert script.main([
        "--volumes", *(str(tmp_path / f"{name}.nii.gz") for name in names),
        "--records", *(str(tmp_path / f"{name}.json") for name in names), "--output", str(path),
    ]) == 0  # fmt: skip
    found = store.read_proposal(path, "a")
    assert np.abs(found.probability.astype(int) - answer(easy.volume).probability).max() <= 2
    assert found.weights == hashlib.sha256(weights.FILE.read_bytes()).hexdigest()
    with pytest.raises(Refusal, match="it has no files"):
        store.read_proposal(path, "b")
