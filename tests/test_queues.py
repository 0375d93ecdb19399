"""A run's jobs are told from others by name and folder; a queue that is silent is said to be."""

import pytest

from lungfish import queues
from lungfish.errors import InputError

RUN = "cbadbdcb-9a4e-4f0e-8f6b-0123456789ab"


def found(row, folder):
    return [job.number for job in queues.read_rows(row, folder)]


@pytest.mark.parametrize("name", [RUN, f"prefix_{RUN}", "lungfish-job-gmcae"])
def test_a_runs_job_is_known_by_its_name_and_folder(tmp_path, name):
    assert found(f"7|PENDING|{name}|{tmp_path}|rule_gmcae", tmp_path) == ["7"]
    assert found(f"7|PENDING|{name}|{tmp_path / 'another'}|rule_gmcae", tmp_path) == []


@pytest.mark.parametrize("name", ["bash", "lungfish", "snakemake", f"{RUN}-2"])
def test_other_jobs_in_the_same_folder_are_not_ours(tmp_path, name):
    assert found(f"7|RUNNING|{name}|{tmp_path}|", tmp_path) == []


def test_a_folder_is_the_same_by_whatever_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(f"7|RUNNING|{RUN}|{tmp_path / 'link'}|a|b", tmp_path / "real") == ["7"]


def test_the_job_that_asks_does_not_find_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert found(f"7|RUNNING|{RUN}|{tmp_path}|", tmp_path) == []


def test_many_jobs_are_counted_and_some_named():
    jobs = [queues.Job(str(number), "RUNNING", "rule_lungs") for number in range(12)]
    assert queues.in_words(jobs).startswith("12 jobs (12 running): 0 rule_lungs, 1 rule_lungs")
    assert queues.in_words(jobs).endswith("9 rule_lungs, and 2 more")


def test_without_slurm_the_queue_cannot_be_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="squeue is not found"):
        queues.jobs_in(tmp_path)
    assert not queues.answers()


def test_what_slurm_complains_about_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error' >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="squeue says: slurm_load_jobs error"):
        queues.jobs_in(tmp_path)
