"""What each job of a run took: from Snakemake's benchmark files and the last lines of the logs."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from lungfish import usage
from lungfish.records import read_table
from lungfish.report.inputs import measured

MIB = 2**20 / 1e6
JOB_COLUMNS = (
    "stage", "job", "wall_s", "cpu_s", "threads", "peak_mb", "asked_mb", "asked_per_used",
    "ended_s",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Job:
    """One job as it last ran.

    Attributes
    ----------
    stage, job : str
        Folder and name of its log.
    wall_s : float
        From its start to its end, in seconds.
    cpu_s : float or None
        User and system seconds of all its threads; None for a job that was over too soon.
    peak_mb : float or None
        Highest resident memory, in MB (1e6 bytes); likewise.
    asked_mb, threads : int or None
        What the rule asked for; None where the log does not say.
    ended_s : float
        When it ended, in whole and parts of seconds since 1970: its benchmark file's time.
    """

    stage: str
    job: str
    wall_s: float
    cpu_s: float | None
    peak_mb: float | None
    asked_mb: int | None
    threads: int | None
    ended_s: float

    @property
    def asked_per_used(self) -> float | None:
        """Memory asked for in units of what was used; below 1 is too little."""
        if self.asked_mb is None or not self.peak_mb:
            return None
        return self.asked_mb / self.peak_mb

    def row(self) -> dict[str, object]:
        """Return the row of the table of jobs; the keys are `JOB_COLUMNS`."""
        return dataclasses.asdict(self) | {"asked_per_used": self.asked_per_used}


def read_jobs(logs: Path, *, leave_out: str = "benchmarks") -> list[Job]:
    """Read what every job of a run took.

    The system's own count, in the job's log, goes before Snakemake's samples, which miss short
    peaks. Tables without a column ``s`` are no benchmark files and are passed over.

    Parameters
    ----------
    logs : Path
        Folder with a folder for each stage.
    leave_out : str
        Folder that does not count: the one of whoever asks.
    """
    return [
        _read_job(path, row)
        for path in sorted(logs.glob("*/*.tsv"))
        if path.parent.name != leave_out
        for row in read_table(path)[:1]
        if measured(row.get("s")) is not None
    ]


def _read_job(path: Path, row: dict[str, str]) -> Job:
    counted = usage.read(path.with_suffix(".log"))
    sampled_mib = measured(row.get("max_rss"))
    return Job(
        stage=path.parent.name,
        job=path.stem,
        wall_s=measured(row["s"]) or 0.0,
        cpu_s=counted.cpu_s if counted else measured(row.get("cpu_time")),
        peak_mb=counted.peak_mb if counted else sampled_mib and sampled_mib * MIB,
        asked_mb=counted.asked_mb if counted else None,
        threads=counted.threads if counted else None,
        ended_s=path.stat().st_mtime,
    )


def sizes_on_disk(results: Path) -> dict[str, float]:
    """Return the size of each folder of results with all that is in it, in MB (1e6 bytes)."""
    if not results.is_dir():
        return {}
    folders = sorted(path for path in results.iterdir() if path.is_dir())
    return {folder.name: sum(_sizes(folder)) / 1e6 for folder in folders}


def _sizes(folder: Path) -> Iterator[int]:
    """Yield the bytes of every file below a folder; a link counts as a link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry))
            else:
                yield entry.stat(follow_symlinks=False).st_size
