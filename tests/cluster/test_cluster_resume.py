"""A coordinator killed with -9: its jobs are waited for or cancelled, and none is doubled."""

import signal

import pytest

from tests.chaos import differences
from tests.cluster.slurm_runner import resume, start, wait_for
from tests.workflow_runner import CLONE

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def killed(slurm, folder, profile, word):
    """Kill a run's coordinator while a job of a word runs, and return the job's number."""
    process = start(slurm, CLONE, folder, profile)
    number = slurm.running(folder, word)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return number


def assert_refused(slurm, folder, profile, number):
    """A plain run names the jobs and the way out, and submits nothing."""
    before = slurm.submitted(folder)
    process = start(slurm, CLONE, folder, profile)
    assert process.wait(timeout=300) != 0
    said = (folder / "terminal.txt").read_text()
    assert f"an earlier run left in SLURM's queue 1 job (1 running): {number}" in said
    assert f"type make resume PROFILE={profile} FOLDER={folder} (CANCEL=1" in said
    assert slurm.submitted(folder) == before


@pytest.mark.parametrize("profile", ["slurm-no-accounting", "generic"])
def test_jobs_of_a_dead_run_are_waited_for(tiny, slurm, open_place, profile):
    plugin = "cluster_generic" if profile == "generic" else "slurm"
    pytest.importorskip(f"snakemake_executor_plugin_{plugin}")
    folder = open_place / f"waited-{profile}"
    number = killed(slurm, folder, profile, "GROUP" if profile == "generic" else "lungs")
    assert_refused(slurm, folder, profile, number)
    done = resume(slurm, folder, "--profile", profile)
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"waiting for 1 job (1 running): {number}" in done.stdout
    assert not differences(folder, tiny[1])
    assert set(slurm.submitted(folder).values()) == {1}, "no work was handed in twice"


def test_jobs_of_a_dead_run_are_cancelled_on_request(tiny, slurm, open_place):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    folder = open_place / "given-up"
    number = killed(slurm, folder, "slurm-no-accounting", "lungs")
    assert_refused(slurm, folder, "slurm-no-accounting", number)
    done = resume(slurm, folder, "--cancel")
    assert done.returncode == 0, done.stdout[-6000:]
    assert not differences(folder, tiny[1])
    states = {job[0]: job[1] for job in slurm.jobs(folder)}
    assert states.pop(number) == "CANCELLED"
    assert set(states.values()) == {"COMPLETED"}
    order = sorted(map(int, states))
    assert wait_for(lambda: "none left" if not slurm.active(folder) else None, "jobs are left")
    assert int(number) < order[0], "what was cancelled was handed in again, after it"
