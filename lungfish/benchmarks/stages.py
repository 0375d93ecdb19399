"""Jobs summed by stage, the whole run in a few numbers, and what should be looked at."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from lungfish.benchmarks.jobs import Job

STAGES = (
    "phantom", "index", "volumes", "lungs", "lungs_unet", "patches", "cohort", "gmcae", "features",
    "classifier", "evaluation", "model", "report",
)  # fmt: skip
"""In this order; what was made on request comes behind."""
COLUMNS = (
    "stage", "jobs", "wall_s", "wall_share", "cpu_s", "cpu_share", "peak_mb", "asked_mb",
    "asked_per_used_low", "asked_per_used_high", "disk_mb", "disk_share",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StageCost:
    """What a stage took, all its jobs together.

    Attributes
    ----------
    stage : str
    jobs : int
    wall_s, cpu_s : float
        Seconds, summed over the jobs.
    wall_share, cpu_share, disk_share : float
        Of the sum over all stages, 0 to 1.
    peak_mb : float or None
        Highest resident memory of one job, in MB.
    asked_mb : int or None
        The most that a job asked for, in MB.
    asked_per_used_low, asked_per_used_high : float or None
        Memory asked for in units of what was used, of the worst and of the best served job; below
        1 is too little.
    disk_mb : float
        Size of its results, in MB.
    """

    stage: str
    jobs: int
    wall_s: float
    wall_share: float
    cpu_s: float
    cpu_share: float
    peak_mb: float | None
    asked_mb: int | None
    asked_per_used_low: float | None
    asked_per_used_high: float | None
    disk_mb: float
    disk_share: float


def sum_stages(jobs: Sequence[Job], disk_mb: Mapping[str, float]) -> list[StageCost]:
    """Return what each stage took that ran or has results, in the order of the stages."""
    names = {job.stage for job in jobs} | {name for name, size in disk_mb.items() if size}
    known = [stage for stage in STAGES if stage in names]
    order = known + sorted(names - set(known) - {"benchmarks"})
    totals = _seconds(jobs), sum(disk_mb.get(name, 0.0) for name in order)
    return [
        _sum_stage(name, [job for job in jobs if job.stage == name], disk_mb.get(name, 0.0), totals)
        for name in order
    ]


def _seconds(jobs: Iterable[Job]) -> tuple[float, float]:
    pairs = [(job.wall_s, job.cpu_s or 0.0) for job in jobs]
    return sum(wall for wall, _ in pairs), sum(cpu for _, cpu in pairs)


def _sum_stage(
    stage: str, jobs: Sequence[Job], disk_mb: float, totals: tuple[tuple[float, float], float]
) -> StageCost:
    (all_wall_s, all_cpu_s), all_disk_mb = totals
    wall_s, cpu_s = _seconds(jobs)
    ratios = [ratio for job in jobs if (ratio := job.asked_per_used) is not None]
    return StageCost(
        stage=stage,
        jobs=len(jobs),
        wall_s=wall_s,
        wall_share=wall_s / all_wall_s if all_wall_s else 0.0,
        cpu_s=cpu_s,
        cpu_share=cpu_s / all_cpu_s if all_cpu_s else 0.0,
        peak_mb=max((job.peak_mb for job in jobs if job.peak_mb is not None), default=None),
        asked_mb=max((job.asked_mb for job in jobs if job.asked_mb is not None), default=None),
        asked_per_used_low=min(ratios, default=None),
        asked_per_used_high=max(ratios, default=None),
        disk_mb=disk_mb,
        disk_share=disk_mb / all_disk_mb if all_disk_mb else 0.0,
    )


def busy_seconds(jobs: Iterable[Job]) -> float:
    """Return the seconds in which at least one job ran, pauses between runs left out."""
    busy_s = end_s = 0.0
    for job in sorted(jobs, key=lambda job: job.ended_s - job.wall_s):
        start_s = max(job.ended_s - job.wall_s, end_s)
        busy_s += max(0.0, job.ended_s - start_s)
        end_s = max(end_s, job.ended_s)
    return busy_s


def most_threads(jobs: Iterable[Job]) -> int | None:
    """Return how many threads were given out at once at most; None if a job's are not known.

    A quarter of a second at both ends of a job is left out: times of files are not that exact.
    """
    changes = []
    for job in jobs:
        if job.threads is None:
            return None
        if job.wall_s > 0.5:
            start_s = job.ended_s - job.wall_s
            changes += [(start_s + 0.25, job.threads), (job.ended_s - 0.25, -job.threads)]
    running = itertools.accumulate(change for _, change in sorted(changes))
    return max(running, default=0) or None


def work_share(jobs: Sequence[Job]) -> float | None:
    """Return the share of the core time that the stages' own commands worked, 0 to 1.

    CPU seconds of all jobs, in units of the time in which any job ran times the most threads that
    ran at once. The rest is waiting: for the disk, for other programs, for a core without a job.
    Higher is better; None where threads or seconds are not known.
    """
    threads, busy_s = most_threads(jobs), busy_seconds(jobs)
    if not threads or not busy_s or any(job.cpu_s is None for job in jobs):
        return None
    return _seconds(jobs)[1] / (busy_s * threads)


def describe_findings(jobs: Sequence[Job]) -> list[str]:
    """Return a sentence for each job that used more than it had asked for, the worst first."""
    over = [job for job in jobs if (job.asked_per_used or 1.0) < 1.0]
    return [
        f"{job.stage}/{job.job} used {job.peak_mb:.0f} MB and had asked for {job.asked_mb} MB: ask "
        "for more with --set-resources, and report it, since the formula is wrong for this scan"
        for job in sorted(over, key=lambda job: job.asked_per_used or 1.0)
    ]
