"""Training that was killed goes on to the same weights, bit for bit, whoever makes the batches."""

import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

from lungfish import patches, records
from lungfish.gmcae.settings import Settings
from lungfish.settings import dump
from tests.workflow_runner import copy_clone, environment

# Small and stored after each step, so that a good part of the time is spent on storing.
SMALL = Settings(
    filters=(2, 2, 4), batch_size=1, steps_per_epoch=60, epochs=4, patience=4,
    validation_patches=2, examples=1, checkpoint_minutes=0.0,
)  # fmt: skip
PATIENCE_S = 240


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three patients with 8 patches each of a ball in noise, their table, and the code's copy.

    A state is taken up by equal code alone, so that nobody may change it meanwhile.
    """
    folder = tmp_path_factory.mktemp("cohort")
    copy_clone(folder / "clone")
    rng = np.random.default_rng(5)
    z, y, x = np.indices((32, 32, 32)) - 15.5
    ball = (z**2 + y**2 + x**2 < 100) * 900 - 850
    rows = []
    for number in range(3):
        found = patches.PatchSet(
            patches=(ball + rng.normal(0, 30, (8, 32, 32, 32))).astype(np.int16),
            corner_voxel=rng.integers(0, 99, (8, 3)).astype(np.int32),
            lung_fraction=np.ones(8, np.float32),
            spacing_mm=1.5, seed=0, source_hash=f"{number}",
        )  # fmt: skip
        patches.write_patches(folder / f"p{number}.h5", found)
        rows.append({"patient": f"p{number}", "status": "ok", "fold": number})
    records.write_table(folder / "cohort.tsv", ("patient", "status", "fold"), rows)
    return folder


def start(cohort, output, settings, *, workers=1):
    """Start the stage's command in a process of its own."""
    output.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, str(cohort / "clone/scripts/gmcae.py"), "--patches"]
    line += [*map(str, sorted(cohort.glob("*.h5"))), "--cohort", str(cohort / "cohort.tsv")]
    line += ["--output", str(output), "--threads", "1", "--settings", dump(settings)]
    line += ["--workers", str(workers)]
    with (output.parent / f"{output.name}.log").open("a") as log:
        one_thread = {"PYTHONPATH": str(cohort / "clone"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(line, env=environment() | one_thread, stdout=log, stderr=log)


def finish(process, output):
    log = output.parent / f"{output.name}.log"
    assert process.wait(timeout=PATIENCE_S) == 0, log.read_text()[-3000:]


def stored_at(output):
    """Return when the state was last stored; 0 if it never was."""
    state = output / "checkpoint" / "state.npz"
    try:
        return state.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill(cohort, output, settings, *, delay_s, workers):
    """Start training, kill it with -9 some time after it began to work, say if it still did."""
    before = stored_at(output)
    process = start(cohort, output, settings, workers=workers)
    since = time.monotonic()
    while stored_at(output) == before and process.poll() is None:
        assert time.monotonic() - since < PATIENCE_S
        time.sleep(0.005)
    time.sleep(delay_s)
    alive = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if alive else None
    process.wait()
    return alive


def weights(path):
    with (
        zipfile.ZipFile(path) as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as store,
    ):
        found = {}
        store.visititems(
            lambda name, node: found.update({name: node[()]} if hasattr(node, "shape") else {})
        )
    return found


def assert_equal_runs(one, other):
    for name in ("gmcae.keras", "encoder.keras"):
        ours, theirs = weights(one / name), weights(other / name)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours), name
    for name in ("epochs.tsv", "batches.tsv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def assert_killed_ends_alike(cohort, folder, settings, *, kills, longest_s):
    chance = random.Random(20171009 + kills)
    undisturbed = start(cohort, folder / "whole", settings)
    done = [
        # Another number of workers each time: it must not matter either.
        kill(
            cohort, folder / "killed", settings,
            delay_s=chance.uniform(0, longest_s), workers=(0, 3, 1)[number % 3],
        )
        for number in range(kills)
    ]  # fmt: skip
    finish(undisturbed, folder / "whole")
    finish(start(cohort, folder / "killed", settings, workers=2), folder / "killed")
    assert all(done), "training was over before it was killed: make it longer"
    log = (folder / "killed.log").read_text()
    assert log.count("of a run that stopped") >= kills - 1
    assert_equal_runs(folder / "whole", folder / "killed")
    assert not list((folder / "killed").glob("**/.*"))


def test_killed_twice_it_ends_in_equal_weights(cohort, tmp_path):
    assert_killed_ends_alike(cohort, tmp_path, SMALL, kills=2, longest_s=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["anchored", "layered"])
def test_killed_ten_times_it_ends_in_equal_weights(cohort, tmp_path, design):
    head = "voxel" if design == "anchored" else "patch"
    longer = Settings(**(vars(SMALL) | {"design": design, "head": head, "epochs": 16}))
    assert_killed_ends_alike(cohort, tmp_path, longer, kills=10, longest_s=0.8)
