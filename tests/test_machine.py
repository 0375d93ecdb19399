"""Memory for jobs is what the machine, its containers and SLURM leave free."""

import psutil
import pytest

from lungfish import machine

NOWHERE = {}


def version_2(tmp_path, path="/", **limits):
    """Make a tree of control groups: folder to (limit, used, page cache) in bytes."""
    (tmp_path / "proc").write_text(f"0::{path}\n")
    for folder, (limit, used, cache) in limits.items():
        place = tmp_path / "groups" / folder.replace("_", "/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "memory.max").write_text(f"{limit}\n")
        (place / "memory.current").write_text(f"{used}\n")
        (place / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nfile 7\n")
    return {"proc": tmp_path / "proc", "groups": tmp_path / "groups"}


def test_without_groups_it_is_what_the_system_calls_available(tmp_path):
    absent = {"proc": tmp_path / "none", "groups": tmp_path / "none"}
    free = machine.free_memory_mb(**absent, environment=NOWHERE)
    assert free == pytest.approx(psutil.virtual_memory().available / 1e6, rel=0.2)


def test_the_narrowest_group_above_counts_and_page_cache_is_free(tmp_path):
    groups = version_2(
        tmp_path, "/a/b", a=(400_000_000, 250_000_000, 50_000_000), a_b=("max", 10, 0)
    )
    assert machine.free_memory_mb(**groups, environment=NOWHERE) == pytest.approx(200)


def test_a_container_sees_the_hosts_path_and_only_its_root(tmp_path):
    groups = version_2(tmp_path, "/docker/4711")
    (tmp_path / "groups").mkdir()
    for name, text in (("max", "300000000"), ("current", "100000000"), ("stat", "anon 1\n")):
        (tmp_path / "groups" / f"memory.{name}").write_text(text)
    assert machine.free_memory_mb(**groups, environment=NOWHERE) == pytest.approx(200)


def test_the_older_groups_are_read_too_and_their_unlimited_is_none(tmp_path):
    (tmp_path / "proc").write_text("9:name=systemd:/\n4:memory:/job\n0::/\n")
    for folder, limit in (("", 2**63 - 4096), ("job", 500_000_000)):
        place = tmp_path / "groups/memory" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "memory.limit_in_bytes").write_text(str(limit))
        (place / "memory.usage_in_bytes").write_text("200000000")
        (place / "memory.stat").write_text("total_inactive_file 100000000\n")
    free = machine.free_memory_mb(
        proc=tmp_path / "proc", groups=tmp_path / "groups", environment=NOWHERE
    )
    assert free == pytest.approx(400)


@pytest.mark.parametrize(
    ("given", "mb"),
    [
        ({"SLURM_MEM_PER_NODE": "200"}, 209.7152),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "3"}, 314.5728),
    ],
)
def test_a_slurm_job_has_what_slurm_gave_it(tmp_path, given, mb):
    absent = {"proc": tmp_path / "none", "groups": tmp_path / "none"}
    assert machine.free_memory_mb(**absent, environment=given) == pytest.approx(mb)
    whole_node = machine.free_memory_mb(**absent, environment={"SLURM_MEM_PER_NODE": "0"})
    assert whole_node > mb


@pytest.mark.parametrize("free_mb", [600.0, 4000.0, 16000.0, 512000.0])
def test_something_is_left_to_the_system(free_mb):
    shared_mb = machine.memory_for_jobs_mb(free_mb)
    assert machine.LEAST_MB <= shared_mb < free_mb
