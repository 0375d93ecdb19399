"""A run killed with -9 anywhere ends, by the same command again, in the same results."""

import io
import os
import random
import signal
import subprocess
import time
import zipfile

import h5py
import numpy as np
import pytest

from tests.test_names import STAGES
from tests.workflow_runner import command, environment, snakemake

PATIENCE_S = 300


def began(run, stage, since):
    """Say whether a command of the stage began after a moment."""
    return any(path.stat().st_mtime >= since for path in run.glob(f"logs/{stage}/*.log"))


def kill_in(clone, run, stage, *, group, delay_s):
    """Start a run and kill it with -9 while a command of the stage is at work."""
    since = time.time() - 0.01
    with (run / "terminal.txt").open("a") as terminal:
        process = subprocess.Popen(
            command(clone, run), env=environment(), start_new_session=True,
            stdout=terminal, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while not began(run, stage, since):
            assert process.poll() is None, (run / "terminal.txt").read_text()[-4000:]
            assert time.time() - since < PATIENCE_S, f"{stage} never began"
            time.sleep(0.02)
        time.sleep(delay_s)
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def datasets(source):
    """Return every dataset and attribute of an HDF5 file."""
    found = {}

    def visit(name, node):
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = np.asarray(value)
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(source) as store:
        visit("", store)
        store.visititems(visit)
    return found


def content(path):
    """Return what a result holds, without what its container adds, such as a time of saving."""
    if path.suffix == ".h5":
        return datasets(path)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return datasets(io.BytesIO(archive.read("model.weights.h5")))
    return {"bytes": np.frombuffer(path.read_bytes(), np.uint8)}


def results(run):
    """Return the results that must not depend on what happened; pages state times."""
    return {
        path.relative_to(run).as_posix(): path
        for path in sorted((run / "results").rglob("*"))
        if path.is_file()
        and path.suffix != ".html"
        and not {"tensorboard", "checkpoint"} & set(path.parts)
        and path.name != ".snakemake_timestamp"
    }


def assert_equal_results(run, other):
    ours, theirs = results(run), results(other)
    assert set(ours) == set(theirs)
    for name, path in ours.items():
        one, two = content(path), content(theirs[name])
        assert set(one) == set(two), name
        for key in one:
            assert np.array_equal(one[key], two[key]), (name, key)


@pytest.mark.parametrize("group", [False, True], ids=["snakemake alone", "whole group"])
def test_killed_in_each_stage_it_ends_in_equal_results(tiny, tmp_path, group):
    clone, undisturbed = tiny
    chance = random.Random(20171009 + group)
    run = tmp_path / "run"
    run.mkdir()
    for stage in STAGES:
        kill_in(clone, run, stage, group=group, delay_s=chance.uniform(0, 0.6))
    found = snakemake(clone, run)
    assert found.returncode == 0, found.stdout
    assert_equal_results(run, undisturbed)
    assert not [path for path in (run / "results").rglob(".*.*") if "timestamp" not in path.name]
