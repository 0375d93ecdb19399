"""Where time, memory and disk went: read from the logs of a run, summed by stage, as a page."""

from lungfish.benchmarks.jobs import JOB_COLUMNS, Job, read_jobs, sizes_on_disk
from lungfish.benchmarks.page import build_page
from lungfish.benchmarks.stages import COLUMNS, StageCost, describe_findings, sum_stages

__all__ = [
    "COLUMNS",
    "JOB_COLUMNS",
    "Job",
    "StageCost",
    "build_page",
    "describe_findings",
    "read_jobs",
    "sizes_on_disk",
    "sum_stages",
]
