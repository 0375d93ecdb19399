"""Somebody else's encoder is taken with its HU map and voxel size, or refused in a sentence."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import shutil
from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

from lungfish import command, nifti, records
from lungfish.errors import InputError
from lungfish.features import read_features
from lungfish.gmcae import pretrained
from lungfish.gmcae.artefacts import write_pretrained
from lungfish.gmcae.encoder import load_encoder
from lungfish.intensity import HuMap
from scripts import features as features_script
from scripts import gmcae_pretrained as script
from tests.workflow_runner import plan, snakemake

STATED = {"hu_map": {"low_hu": -1350, "high_hu": 150}, "spacing_mm": 2.0, "stride_voxel": 4}


def stranger(folder, *, shape=(None, None, None, 1), **changed):
    """Write an encoder as another group might: a stride of 4, another HU map, other names."""
    inputs = x = keras.Input(shape, name="ct")
    for _ in range(2):
        x = layers.Conv3D(3, 3, 2, padding="same", activation="gelu")(x)
    keras.Model(inputs, x).save(folder / "encoder.keras")
    stated = {key: value for key, value in (STATED | changed).items() if value is not None}
    (folder / "gmcae.json").write_text(json.dumps(stated))
    return folder


def test_a_folder_and_a_file_in_it_are_the_same_encoder(tmp_path):
    folder = stranger(tmp_path)
    shutil.copy(folder / "encoder.keras", folder / "theirs.keras")
    for path in (folder, folder / "theirs.keras"):
        encoder = pretrained.load_pretrained(path)
        assert encoder.hu_map == HuMap(-1350, 150)
        assert (encoder.spacing_mm, encoder.channels) == (2.0, 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hu_map": None}, "expected hu_map with whole low_hu below high_hu.*found None"),
        ({"hu_map": {"low_hu": 400, "high_hu": -1000}}, "expected hu_map with whole low_hu below"),
        ({"hu_map": {"low_hu": -1000}}, "expected hu_map with whole low_hu below high_hu"),
        ({"spacing_mm": None}, "expected spacing_mm above 0, as the encoder was trained"),
        ({"spacing_mm": 0}, "expected spacing_mm above 0.*found 0"),
        ({"stride_voxel": "4"}, "expected stride_voxel above 0.*found '4'"),
        ({"stride_voxel": 8}, "a stride of 4 voxels, but its gmcae.json says stride_voxel 8"),
        ({"shape": (32, 32, 32, 1)}, r"of any size to .*found one from \(None, 32, 32, 32, 1\)"),
    ],
)
def test_what_does_not_say_how_it_was_trained_is_refused(tmp_path, changed, words):
    with pytest.raises(InputError, match=words):
        pretrained.load_pretrained(stranger(tmp_path, **changed))


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"expected a folder with encoder\.keras and gmcae\.json"):
        pretrained.load_pretrained(tmp_path)
    folder = stranger(tmp_path)
    (folder / "gmcae.json").write_text("half of")
    with pytest.raises(InputError, match="is not JSON: state hu_map, spacing_mm, stride_voxel"):
        pretrained.load_pretrained(folder)
    stranger(tmp_path)
    (folder / "encoder.keras").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"encoder\.keras cannot be loaded by Keras 3"):
        pretrained.load_pretrained(folder)


def test_another_voxel_size_than_that_of_the_volumes_is_refused(tmp_path):
    line = ["--pretrained", str(stranger(tmp_path)), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"on voxels of 2 mm, but volumes\.spacing_mm is 1"):
        script.main([*line, "--spacing-mm", "1.0"])
    assert not (tmp_path / "out").exists()
    assert script.main([*line, "--spacing-mm", "2.0"]) == command.DONE
    assert script.main(line) == command.DONE  # volumes that keep their own are compared one by one


def test_it_is_used_with_its_own_hu_map_and_stride(tmp_path, rng):
    theirs = pretrained.load_pretrained(stranger(tmp_path))
    write_pretrained(tmp_path / "out", theirs, digest="abc")
    ours = load_encoder(tmp_path / "out")
    assert (ours.hu_map, ours.spacing_mm) == (HuMap(-1350, 150), 2.0)
    record = records.read_json(tmp_path / "out" / "gmcae.json", "gmcae/1")
    assert (record["pretrained"], record["stride_voxel"]) == ("abc", 4)

    from lungfish.volume import Volume, axis_aligned_affine

    hu = rng.integers(-1400, 300, (20, 17, 23)).astype(np.int16)
    volume = Volume(hu, axis_aligned_affine((2.0, 2.0, 2.0), (0, 0, 0)))
    nifti.write_volume(tmp_path / "p.nii.gz", volume)
    nifti.write_mask(tmp_path / "m.nii.gz", np.ones(hu.shape, np.uint8), volume.affine)
    box = {"box_voxel": [[0, 0, 0], list(hu.shape)]}
    records.write_json(tmp_path / "p.json", "lungs/1", records.accepted() | box)
    line = ["--encoder", str(tmp_path / "out"), "--volumes", str(tmp_path / "p.nii.gz")]
    line += ["--lungs", str(tmp_path / "m.nii.gz"), "--lungs-records", str(tmp_path / "p.json")]
    assert features_script.main([*line, "--output", str(tmp_path / "f.h5")]) == command.DONE
    found = read_features(tmp_path / "f.h5")["p"]
    padded = np.pad(hu, [(0, 0), (0, 3), (0, 1)], constant_values=-1024)
    values = (np.clip(padded, -1350, 150) + 600) / np.float32(750)
    expected = np.asarray(theirs.model(values[None, ..., None].astype(np.float32)))[0]
    assert found.step_mm == 8.0
    assert found.grid == pytest.approx(expected, abs=1e-5)


def with_encoder(folder, spacing_mm=3.0):
    return ["--config", f"gmcae={{pretrained: {stranger(folder, spacing_mm=spacing_mm)}}}"]


def test_with_it_nothing_is_trained(tiny, tmp_path):
    options = with_encoder(tmp_path)
    found = plan(tiny[0], tmp_path / "run", *options)
    assert found["gmcae_pretrained"] == 1
    assert found["gmcae"] == 0
    assert found["features"] == 2
    missing = snakemake(tiny[0], tmp_path / "run", "-n", "--config", "gmcae={pretrained: none}")
    assert "gmcae.pretrained: none: expected a folder with encoder.keras" in missing.stdout


@pytest.mark.slow
def test_a_cohort_runs_on_it_and_a_newcomer_touches_only_his_shard(tiny, tmp_path):
    clone, run = tiny[0], tmp_path / "run"
    shutil.copytree(tiny[1], run)
    options = with_encoder(tmp_path)
    found = snakemake(clone, run, *options)
    assert found.returncode == 0, found.stdout
    assert plan(clone, run, *options) == Counter()
    sheet = tmp_path / "more.tsv"
    sheet.write_text((clone / "config/tiny.tsv").read_text() + "newcomer\t\t\n")
    found = plan(clone, run, *options, f"samples={sheet}")
    assert found["features"] == 1
    assert found["gmcae_pretrained"] == found["gmcae"] == 0
    other = with_encoder(tmp_path, spacing_mm=1.0)
    refused = snakemake(clone, run, *other)
    assert refused.returncode != 0
    assert "learned on voxels of 1 mm, but volumes.spacing_mm is 3:" in refused.stdout
