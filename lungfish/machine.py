"""The memory that jobs may share here: what is free, what a container or a SLURM job allows."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

LEFT_SHARE, LEFT_MB = 0.1, 1000
"""What is left to the system and to Snakemake itself: a tenth of what is free, at least this."""
LEAST_MB = 500
UNLIMITED = 2**60
"""Control groups without a limit state a number near 2**63."""


def memory_for_jobs_mb(free_mb: float) -> int:
    """Return how much of the free memory jobs may share, in MB.

    Examples
    --------
    >>> memory_for_jobs_mb(14000)
    12600
    >>> memory_for_jobs_mb(3000)
    2000
    """
    return int(max(LEAST_MB, free_mb - max(LEFT_MB, LEFT_SHARE * free_mb)))


def free_memory_mb(
    *,
    proc: Path = Path("/proc/self/cgroup"),
    groups: Path = Path("/sys/fs/cgroup"),
    environment: Mapping[str, str] = os.environ,
) -> float:
    """Return the memory that this process and its children may still take, in MB (1e6 bytes).

    Parameters
    ----------
    proc, groups : Path
        Where Linux says in which control groups a process is, and their limits; elsewhere absent.
    environment : mapping
        In which SLURM says how much a job was given; it need not enforce it.

    Returns
    -------
    float
        The least of what the machine has free, the room in every control group (a container's
        limit is one) and what SLURM gave. The page cache counts as free.
    """
    free = [psutil.virtual_memory().available, *_room_in_groups(proc, groups)]
    return min([*(each / 1e6 for each in free), *_given_by_slurm_mb(environment)])


def _room_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Yield the bytes that each control group above this process still allows."""
    if not proc.is_file():
        return
    for line in proc.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, names = (groups, VERSION_2) if not controllers else (groups / "memory", VERSION_1)
        # In a container the path may be the host's, of which only the root is seen.
        place = root / path.strip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                break
            room = _room(folder, *names)
            if room is not None:
                yield room


VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def _room(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    """Return the bytes that a control group still allows; None without a limit."""
    try:
        limit = (folder / limit_name).read_text().strip()
        if limit == "max" or int(limit) >= UNLIMITED:
            return None
        used = int((folder / used_name).read_text())
        statistics = (folder / "memory.stat").read_text()
    except OSError:
        return None  # no such group is seen from here
    cache = re.search(rf"^{cache_name} (\d+)$", statistics, re.M)
    return max(0, int(limit) - used + (int(cache[1]) if cache else 0))


def _given_by_slurm_mb(environment: Mapping[str, str]) -> Iterator[float]:
    """Yield what SLURM gave the job that this process is part of; it counts in MiB."""
    whole = environment.get("SLURM_MEM_PER_NODE", "")
    each, cores = (
        environment.get(name, "") for name in ("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE")
    )
    if whole.isdigit() and int(whole):  # 0 means all of the node
        yield int(whole) * 2**20 / 1e6
    elif each.isdigit() and cores.isdigit() and int(each):
        yield int(each) * int(cores) * 2**20 / 1e6
