"""A dead run is cleared away, a living one and a stranger's are not."""

import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from lungfish import processes, runs
from lungfish.errors import InputError
from lungfish.records import write_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(processes.MARK, raising=False)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    yield tmp_path
    os.environ.pop(processes.MARK, None)
    while runs._CLAIMS:  # of a process that ends, the kernel closes them
        runs._CLAIMS.pop().close()


def own(folder, **changes):
    process = psutil.Process()
    owner = {"pid": process.pid, "started": process.create_time(), "host": socket.gethostname()}
    write_json(folder / ".snakemake/lungfish-run.json", runs.SCHEMA, owner | changes)


def locks(folder):
    return list((folder / ".snakemake/locks").iterdir())


def test_a_dead_run_leaves_no_lock_and_no_command(folder):
    environment = os.environ | {processes.MARK: str(folder.resolve())}
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=environment
    )
    own(folder, pid=2**22 + 1)
    time.sleep(0.2)
    runs.take_over(folder)
    sleeper.wait(timeout=15)
    assert not psutil.pid_exists(sleeper.pid)
    assert not locks(folder)


def test_a_reused_process_number_is_a_dead_run(folder):
    own(folder, started=1.0)
    runs.take_over(folder)
    assert not locks(folder)


def test_a_living_run_keeps_its_lock(folder):
    own(folder)
    with pytest.raises(InputError, match=r"another run \(process \d+\) is working"):
        runs.take_over(folder)
    assert locks(folder)


def test_a_run_on_another_machine_is_left_to_a_person(folder):
    own(folder, host="elsewhere", pid=2**22 + 1)
    with pytest.raises(InputError, match=r"machine elsewhere .* --dead elsewhere"):
        runs.take_over(folder)
    assert locks(folder)


def test_locks_without_a_record_are_not_ours_to_break(folder):
    runs.take_over(folder)
    assert locks(folder)


def test_what_was_typed_is_kept_with_where_and_how(folder, monkeypatch):
    locks(folder)[0].unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder.parent))
    runs.take_over(folder, typed=["--directory", folder.name, "--cores", "2"])
    found = runs.last(folder)
    assert found["typed"] == ["--directory", folder.name, "--cores", "2"]
    assert found["typed_in"] == str(folder.parent)


def test_the_folder_of_another_shell_is_not_taken_for_where_it_was_typed(folder, monkeypatch):
    locks(folder)[0].unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder.parent))
    runs.take_over(folder, typed=["--cores", "2"], on_cluster=True)
    assert runs.last(folder)["typed_in"] == str(folder)


def test_a_run_on_a_cluster_is_not_taken_up_where_its_jobs_cannot_be_looked_for(
    folder, monkeypatch
):
    monkeypatch.setenv("PATH", str(folder))
    own(folder, pid=2**22 + 1, on_cluster=True)
    with pytest.raises(InputError, match=r"had jobs on a cluster\. squeue is not found"):
        runs.take_over(folder)
    assert locks(folder)


def test_a_local_run_is_taken_up_without_slurm(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    own(folder, pid=2**22 + 1)
    runs.take_over(folder)
    assert not locks(folder)
