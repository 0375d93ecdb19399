"""Where time, memory and disk went: sums that agree with what was measured, on one page."""

import shutil
import time
from collections import Counter

import pytest

from lungfish import benchmarks, usage
from lungfish.benchmarks import stages
from lungfish.records import read_table
from tests.test_names import STAGES
from tests.workflow_runner import plan, snakemake


def job(stage="lungs", name="a", **changes):
    values = {
        "wall_s": 10.0, "cpu_s": 8.0, "peak_mb": 400.0, "asked_mb": 800, "threads": 1,
        "ended_s": 10.0,
    }  # fmt: skip
    return benchmarks.Job(stage=stage, job=name, **(values | changes))


def write_job(logs, *, wall_s, max_rss, log=""):
    (logs / "lungs").mkdir(parents=True, exist_ok=True)
    (logs / "lungs/a.tsv").write_text(
        f"s\th:m:s\tmax_rss\tcpu_time\n{wall_s}\t0:00:01\t{max_rss}\t0.5\n"
    )
    (logs / "lungs/a.log").write_text(log)


def test_the_systems_count_goes_before_snakemakes_samples(tmp_path):
    line = usage.in_words(usage.Usage(312.0, 900, 2.5, 1))
    write_job(tmp_path, wall_s=3.0, max_rss=200.0, log=f"INFO lungfish.command: {line}\n")
    (found,) = benchmarks.read_jobs(tmp_path)
    assert (found.peak_mb, found.asked_mb, found.cpu_s) == (312.0, 900, 2.5)
    write_job(tmp_path, wall_s=3.0, max_rss=200.0)
    (found,) = benchmarks.read_jobs(tmp_path)
    assert found.peak_mb == pytest.approx(209.7152)  # 200 MiB
    assert found.asked_mb is found.asked_per_used is None
    write_job(tmp_path, wall_s=0.1, max_rss="NA")
    assert benchmarks.read_jobs(tmp_path)[0].peak_mb is None


def test_a_job_that_used_more_than_it_asked_for_is_a_finding():
    (said,) = benchmarks.describe_findings([job(), job(name="b", peak_mb=900.0)])
    assert said.startswith("lungs/b used 900 MB and had asked for 800 MB: ask for more")
    assert said in benchmarks.build_page([job(name="b", peak_mb=900.0)], []).replace("&#39;", "'")
    assert not benchmarks.describe_findings([job(), job(asked_mb=None)])


def test_pauses_are_no_time_in_which_a_job_ran():
    jobs = [job(ended_s=10.0), job(ended_s=15.0), job(ended_s=115.0)]
    assert stages.busy_seconds(jobs) == pytest.approx(25.0)
    assert stages.most_threads(jobs) == 2
    # 24 CPU seconds in 25 seconds with two cores
    assert stages.work_share(jobs) == pytest.approx(24 / 50)
    assert stages.work_share([job(threads=None)]) is None


def test_shares_sum_to_one_and_disk_counts_what_lies_there(tmp_path):
    (tmp_path / "lungs/deep").mkdir(parents=True)
    (tmp_path / "lungs/deep/a").write_bytes(bytes(3_000_000))
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches/b").write_bytes(bytes(1_000_000))
    found = benchmarks.sum_stages([job(), job("gmcae")], benchmarks.sizes_on_disk(tmp_path))
    assert [stage.stage for stage in found] == ["lungs", "patches", "gmcae"]
    assert [stage.disk_share for stage in found] == pytest.approx([0.75, 0.25, 0])
    for share in ("wall_share", "cpu_share", "disk_share"):
        assert sum(getattr(stage, share) for stage in found) == pytest.approx(1)


def test_the_page_is_made_of_what_is_there_and_nothing_else_runs(tiny, tmp_path):
    clone, run = tiny
    shutil.copytree(run, tmp_path / "run")
    assert plan(clone, tmp_path / "run", "benchmarks") == Counter(benchmarks=1)
    before = time.time()
    found = snakemake(clone, tmp_path / "run", "benchmarks")
    assert found.returncode == 0, found.stdout
    assert "Benchmarks: results/benchmarks/index.html" in found.stdout
    assert plan(clone, tmp_path / "run") == Counter()
    place = tmp_path / "run/results/benchmarks"
    assert (place / "index.html").stat().st_mtime >= before
    rows = read_table(place / "benchmarks.tsv")
    assert [row["stage"] for row in rows] == list(STAGES)
    for row in rows:
        for column in ("jobs", "wall_s", "cpu_s", "peak_mb", "asked_mb", "disk_mb"):
            assert float(row[column]) > 0, (row["stage"], column)
        assert float(row["asked_per_used_low"]) >= 1
    assert len(read_table(place / "jobs.tsv")) == sum(int(row["jobs"]) for row in rows)
    page = (place / "index.html").read_text()
    for words in ("<small>MB, most</small>", "<small>s</small>", "Asked / used", "% of disk"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_where_nothing_ran_the_page_says_so(tiny, tmp_path):
    found = snakemake(tiny[0], tmp_path, "benchmarks")
    assert found.returncode == 0, found.stdout
    assert "Nothing has run here yet" in (tmp_path / "results/benchmarks/index.html").read_text()
