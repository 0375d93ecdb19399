"""What died goes on with what was typed last; what lives, or may live, is not touched."""

import os
import socket
from pathlib import Path

import psutil
import pytest

from lungfish import runs
from lungfish.errors import InputError
from lungfish.records import write_json
from scripts import resume

TYPED = ["--profile", "profiles/generic", "--config", "samples=samples.tsv"]


class GoneOn(Exception):
    """Raised where the script would become Snakemake."""


@pytest.fixture
def died(tmp_path, monkeypatch):
    """A locked folder of a run that died; returns what the script would run, and where."""

    def become(program, words):
        raise GoneOn(words[words.index("snakemake") + 1 :], Path.cwd())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM
    (tmp_path / "run" / runs.LOCKS).mkdir(parents=True)
    (tmp_path / "run" / runs.LOCKS / "0.input.lock").touch()
    return tmp_path / "run"


def record(folder, **changes):
    process = psutil.Process()
    owner = {"pid": 2**22 + 1, "started": process.create_time(), "host": socket.gethostname()}
    owner |= {"typed": TYPED, "typed_in": str(folder.parent), "on_cluster": False}
    write_json(folder / runs.RECORD, runs.SCHEMA, owner | changes)


def gone_on(*arguments):
    with pytest.raises(GoneOn) as found:
        resume.main(arguments)
    return found.value.args


def test_it_types_again_what_was_typed_last_and_where(died):
    record(died)
    assert gone_on("--folder", "run") == (TYPED, died.parent)


def test_another_profile_takes_the_place_of_the_first(died, clone):
    record(died)
    words, _ = gone_on("--folder", "run", "--profile", "slurm")
    assert words == [f"--profile={clone / 'profiles/slurm'}", "--config", "samples=samples.tsv"]


def test_a_folder_in_which_nothing_ran_is_begun_with_the_profile_named(died, clone):
    words, place = gone_on("--folder", "run", "--profile", str(clone / "profiles/slurm"))
    assert words[1:] == ["--snakefile", str(clone / "Snakefile"), "--directory", str(died)]
    assert place == died
    with pytest.raises(InputError, match=r"no run is recorded in .*: say with which --profile"):
        resume.main(["--folder", "run"])


def test_a_profile_that_is_none_is_named(died):
    record(died)
    with pytest.raises(InputError, match=r"--profile slrum: expected a folder with config.yaml"):
        resume.main(["--folder", "run", "--profile", "slrum"])


def test_a_living_run_is_not_disturbed(died):
    record(died, pid=os.getpid())
    with pytest.raises(InputError, match=rf"another run \(process {os.getpid()}\) is working"):
        resume.main(["--folder", "run"])
    assert runs.is_locked(died)


def test_a_run_on_another_machine_goes_on_only_when_said_to_be_dead(died):
    record(died, host="login-2")
    with pytest.raises(InputError, match=r"login-2 .* --dead login-2"):
        resume.main(["--folder", "run"])
    with pytest.raises(InputError, match="login-2"):
        resume.main(["--folder", "run", "--dead", "login-3"])
    assert runs.is_locked(died)
    assert gone_on("--folder", "run", "--dead", "login-2") == (TYPED, died.parent)
    assert not runs.is_locked(died)


def test_jobs_that_cannot_be_looked_for_stop_it(died):
    record(died, on_cluster=True)
    with pytest.raises(InputError, match="squeue is not found"):
        resume.main(["--folder", "run"])
    assert runs.is_locked(died)
