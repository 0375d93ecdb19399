"""A job cancelled, over its memory or over its time, a drained node: the run ends whole."""

import os
import shutil
import signal

import psutil
import pytest

from tests.chaos import differences
from tests.cluster.slurm_runner import finish, start, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
pytest.importorskip("snakemake_executor_plugin_slurm")
PROFILE = "slurm-no-accounting"


@pytest.fixture
def model_missing(tiny, open_place, request):
    """A finished run without its last stages, so that little is left to do."""
    folder = open_place / request.node.name.removeprefix("test_")[:20]
    shutil.copytree(tiny[1], folder)
    shutil.rmtree(folder / "results/model")
    shutil.rmtree(folder / "results/evaluation")
    return folder


def states(slurm, folder, word):
    """Return how each try of a work ended, the first one first."""
    found = [job for job in slurm.jobs(folder) if word in job[2]]
    return [state for _, state, _ in sorted(found, key=lambda job: int(job[0]))]


def test_a_cancelled_bundle_is_done_again(tiny, slurm, open_place):
    clone, undisturbed = tiny
    folder = open_place / "cancelled"
    process = start(slurm, clone, folder, PROFILE)
    slurm.ask("scancel", slurm.running(folder, "lungs"))
    finish(process, folder)
    assert not differences(folder, undisturbed)
    assert states(slurm, folder, "lungs") == ["CANCELLED", "COMPLETED"]


def test_a_job_over_its_memory_is_done_again_with_more(tiny, slurm, model_missing):
    clone, undisturbed = tiny
    # TensorFlow alone takes more than the 350 MB of the first attempt; the second has 3,150.
    more = ("--set-resources", "model:mem_mb=350 + 2800 * (attempt - 1)")
    finish(start(slurm, clone, model_missing, PROFILE, *more), model_missing)
    assert not differences(model_missing, undisturbed)
    assert states(slurm, model_missing, "rule_model") == ["FAILED", "COMPLETED"]
    logs = (model_missing / ".snakemake/slurm_logs/rule_model").rglob("*.log")
    assert any("exceeded memory limit" in path.read_text() for path in logs)


def process_of(script, number):
    """Return the process of a script in a SLURM job; None before it began."""
    for process in psutil.process_iter():
        try:
            runs_it = any(script in word for word in process.cmdline()[1:2])
            if runs_it and process.environ().get("SLURM_JOB_ID") == number:
                return process.pid
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def test_a_job_over_its_time_is_done_again_with_more(tiny, slurm, model_missing):
    clone, undisturbed = tiny
    more = ("--set-resources", "evaluation:runtime=1 + 9 * (attempt - 1)")
    process = start(slurm, clone, model_missing, PROFILE, *more)
    number = slurm.running(model_missing, "rule_evaluation")
    # Stopped, so that it lasts longer than its minute; where it did not begin by then, the better.
    wait_for(
        lambda: (
            process_of("evaluation.py", number)
            or "TIMEOUT" in states(slurm, model_missing, "rule_evaluation")
        ),
        "the evaluation never began",
    )
    if pid := process_of("evaluation.py", number):
        os.kill(pid, signal.SIGSTOP)
    finish(process, model_missing)
    assert not differences(model_missing, undisturbed)
    assert states(slurm, model_missing, "rule_evaluation") == ["TIMEOUT", "COMPLETED"]


def test_a_drained_node_holds_the_run_up_and_no_more(tiny, slurm, model_missing):
    clone, undisturbed = tiny
    slurm.ask("scontrol", "update", "nodename=localhost", "state=drain", "reason=a test")
    try:
        process = start(slurm, clone, model_missing, PROFILE)
        wait_for(
            lambda: [job for job in slurm.jobs(model_missing) if job[1] == "PENDING"],
            "no job waits for the node",
        )
        assert process.poll() is None
    finally:
        slurm.ask("scontrol", "update", "nodename=localhost", "state=resume")
    finish(process, model_missing)
    assert not differences(model_missing, undisturbed)
    assert set(slurm.submitted(model_missing).values()) == {1}
