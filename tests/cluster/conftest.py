"""A SLURM for the tests that need one, stopped when they are through."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.cluster.slurm_runner import HERE, STARTED, Slurm

PARTS = ("sbatch", "slurmctld", "slurmd", "munged")
ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db")
SEARCHED = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


@pytest.fixture(scope="session")
def open_place():
    """A short path that every user of the machine may enter, away when the tests are through."""
    place = Path(tempfile.mkdtemp(prefix="lungfish-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


PORT = 10_000 + 16 * (os.getpid() % 1200)
"""First of the ports of this process's SLURMs, so that two processes do not meet."""

COMMON = ("--cpus", "4", "--sample", "1", "--min-job-age", "86400")
"""Memory is looked at each second; ended jobs stay visible for as long as the tests may take."""


def started(state, *options):
    """Start a SLURM in a folder, lend it, stop it."""
    begun = subprocess.run([HERE / "start-slurm", state, *options], capture_output=True, text=True)
    assert begun.returncode == 0, begun.stderr
    try:
        yield Slurm(state)
    finally:
        for process in STARTED:
            process.kill()
            process.wait()
        ended = subprocess.run([HERE / "stop-slurm", state], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def need(programs):
    missing = [name for name in programs if shutil.which(name, path=SEARCHED) is None]
    if missing:
        pytest.skip(f"SLURM is not on this machine ({missing[0]} is missing): make test-cluster")


@pytest.fixture(scope="session")
def slurm(open_place):
    """A SLURM without accounting whose four CPUs may be more than the machine's."""
    need(PARTS)
    yield from started(open_place / "slurm", *COMMON, "--gpus", "1", "--port", str(PORT))


@pytest.fixture(scope="session")
def slurm_with_accounting(open_place):
    """A SLURM with slurmdbd, in which sacct answers."""
    need(PARTS + ACCOUNTING)
    if os.getuid() != 0:
        pytest.skip("accounting was only ever started as root")
    options = (*COMMON, "--accounting", "--port", str(PORT + 8))
    yield from started(open_place / "accounting", *options)
