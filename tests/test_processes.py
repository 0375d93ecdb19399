"""What a run started on this machine is found by its mark; what is SLURM's is left alone."""

import os
import subprocess
import sys
import time

import psutil

from lungfish import processes


def test_commands_of_slurm_jobs_are_left_to_slurm(tmp_path):
    environment = os.environ | {processes.MARK: str(tmp_path.resolve()), "SLURM_JOB_ID": "4711"}
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=environment
    )
    try:
        time.sleep(0.2)
        assert sleeper.pid not in {process.pid for process in processes.left_over(tmp_path)}
        found = {process.pid for process in processes.left_over(tmp_path, slurm_job="4711")}
        assert sleeper.pid in found, "the run was itself that job"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_another_folders_commands_are_not_ours(tmp_path):
    environment = os.environ | {processes.MARK: str((tmp_path / "other").resolve())}
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=environment
    )
    try:
        time.sleep(0.2)
        assert sleeper.pid not in {process.pid for process in processes.left_over(tmp_path)}
    finally:
        sleeper.kill()
        sleeper.wait()


def test_who_ignores_a_request_is_ended_all_the_same():
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    sleeper = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    sleeper.stdout.read(1)
    processes.end([psutil.Process(sleeper.pid)], patience_s=0.3)
    sleeper.stdout.close()
    assert not psutil.pid_exists(sleeper.pid)
    sleeper.wait(timeout=10)
