"""The page that says where time, memory and disk went."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lungfish.benchmarks.jobs import Job
from lungfish.benchmarks.stages import (
    StageCost,
    busy_seconds,
    describe_findings,
    most_threads,
    work_share,
)
from lungfish.report import figures
from lungfish.report.pages import TEMPLATES as REPORT_TEMPLATES
from lungfish.report.pages import faint, typeset
from lungfish.report.wording import ABSENT, number

TEMPLATES = Path(__file__).parent / "templates"
LISTED = 10
"""Jobs in the lists of the slowest and the largest."""


def build_page(jobs: Sequence[Job], stages: Sequence[StageCost]) -> str:
    """Return the page: one HTML document that asks for nothing and needs no script.

    Parameters
    ----------
    jobs : sequence of Job
        As `read_jobs` gives them.
    stages : sequence of StageCost
        As `sum_stages` gives them.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, REPORT_TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "faint": faint}
    style = (REPORT_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template(
        "benchmarks.html"
    ).render(
        style=Markup(style),  # our own file
        sections=(),
        facts=_facts(jobs, stages),
        findings=describe_findings(jobs),
        rows=[_stage_row(stage) for stage in stages],
        total=_stage_row(_total(jobs, stages)),
        time=_bars({stage.stage: stage.cpu_s for stage in stages}, "CPU time (s)", "cpu"),
        memory=_bars(
            {stage.stage: stage.peak_mb for stage in stages if stage.peak_mb is not None},
            "highest memory of one job (MB)",
            "memory",
        ),
        disk=_bars({stage.stage: stage.disk_mb for stage in stages}, "results (MB)", "disk"),
        slowest=[_job_row(job) for job in sorted(jobs, key=lambda job: -job.wall_s)[:LISTED]],
        largest=[
            _job_row(job) for job in sorted(jobs, key=lambda job: -(job.peak_mb or 0.0))[:LISTED]
        ],
    )


def _facts(jobs: Sequence[Job], stages: Sequence[StageCost]) -> dict[str, str]:
    threads, share = most_threads(jobs), work_share(jobs)
    cpu_s = sum(stage.cpu_s for stage in stages)
    return {
        "jobs": str(len(jobs)),
        "in which a job ran": duration(busy_seconds(jobs)),
        "of CPU time": duration(cpu_s),
        "threads at once, at most": ABSENT if threads is None else str(threads),
        "of the core time was the stages' own work": (
            ABSENT if share is None else f"{number(share, 0, scale=100)} %"
        ),
        "of results on disk": f"{number(sum(stage.disk_mb for stage in stages), 0)} MB",
    }


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    Examples
    --------
    >>> duration(42.31), duration(600), duration(9000)
    ('42.3 s', '10.0 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _total(jobs: Sequence[Job], stages: Sequence[StageCost]) -> StageCost:
    def most(values: Sequence[Any]) -> Any:
        return max((value for value in values if value is not None), default=None)

    lows = [stage.asked_per_used_low for stage in stages if stage.asked_per_used_low is not None]
    return StageCost(
        stage="All",
        jobs=len(jobs),
        wall_s=sum(stage.wall_s for stage in stages),
        wall_share=1.0,
        cpu_s=sum(stage.cpu_s for stage in stages),
        cpu_share=1.0,
        peak_mb=most([stage.peak_mb for stage in stages]),
        asked_mb=most([stage.asked_mb for stage in stages]),
        asked_per_used_low=min(lows, default=None),
        asked_per_used_high=most([stage.asked_per_used_high for stage in stages]),
        disk_mb=sum(stage.disk_mb for stage in stages),
        disk_share=1.0,
    )


def _stage_row(stage: StageCost) -> dict[str, Any]:
    low, high = stage.asked_per_used_low, stage.asked_per_used_high
    texts = {number(low, 1), number(high, 1)}
    return dataclasses.asdict(stage) | {
        "wall": number(stage.wall_s, 1),
        "cpu": number(stage.cpu_s, 1),
        "cpu_percent": number(stage.cpu_share, 0, scale=100),
        "peak": number(stage.peak_mb, 0),
        "asked": number(stage.asked_mb, 0),
        "ratio": texts.pop() if len(texts) == 1 else f"{number(low, 1)} to {number(high, 1)}",
        "over": low is not None and low < 1,
        "disk": number(stage.disk_mb, 1),
        "disk_percent": number(stage.disk_share, 0, scale=100),
    }


def _job_row(job: Job) -> dict[str, str]:
    return {
        "stage": job.stage,
        "job": job.job,
        "wall": number(job.wall_s, 1),
        "cpu": number(job.cpu_s, 1),
        "peak": number(job.peak_mb, 0),
        "asked": number(job.asked_mb, 0),
    }


def _bars(values: Mapping[str, float], xlabel: str, name: str) -> Markup | None:
    if not values:
        return None
    most = max(values, key=values.__getitem__)
    said = f"Bars by stage, {xlabel}; {most} has most. The table gives the numbers."
    return figures.draw_bars(values, xlabel=xlabel, name=name, alt=said)
