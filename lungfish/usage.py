"""What a command of the workflow took: memory and CPU seconds, as the last line of its log.

Snakemake samples its jobs, every half second at first and every half minute later, so that its
benchmark files miss short peaks and short jobs. The system counts without gaps.
"""

import dataclasses
import os
import re
import resource
import sys
from pathlib import Path

ASKED = "LUNGFISH_MEM_MB"
"""Environment variable that the rules set: the memory that the job asked for, in MB."""
LINE = re.compile(
    r"used (?P<peak_mb>\d+) MB of (?P<asked_mb>\d+) MB asked for, "
    r"(?P<cpu_s>[\d.]+) CPU s, (?P<threads>\d+) threads?\b"
)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What one command took, and what its rule had asked for.

    Attributes
    ----------
    peak_mb : float
        Highest resident memory of the largest process, in MB (1e6 bytes).
    asked_mb : int
        Memory that the rule asked for, in MB.
    cpu_s : float
        User and system seconds of all threads and children, the interpreter's start included.
    threads : int
        That the rule was given.
    """

    peak_mb: float
    asked_mb: int
    cpu_s: float
    threads: int


def measure() -> Usage | None:
    """Return what this process took until now; None where no rule started it."""
    if not os.environ.get(ASKED, "").isdigit():
        return None
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return Usage(
        peak_mb=max(_own_peak_mb(own.ru_maxrss), _in_mb(children.ru_maxrss)),
        asked_mb=int(os.environ[ASKED]),
        cpu_s=sum(each.ru_utime + each.ru_stime for each in (own, children)),
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
    )


def _own_peak_mb(highest: int) -> float:
    """Return VmHWM where there is one: getrusage's may be that of who started the process."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 / 1e6 if found else _in_mb(highest)


def _in_mb(highest: int) -> float:
    """Return ru_maxrss in MB; Linux counts it in KiB, macOS in bytes."""
    return highest * (1 if sys.platform == "darwin" else 1024) / 1e6


def in_words(usage: Usage) -> str:
    """Return a line for a log.

    Examples
    --------
    >>> in_words(Usage(peak_mb=311.6, asked_mb=900, cpu_s=2.314, threads=1))
    'used 312 MB of 900 MB asked for, 2.31 CPU s, 1 thread'
    """
    return (
        f"used {usage.peak_mb:.0f} MB of {usage.asked_mb} MB asked for, {usage.cpu_s:.2f} CPU s, "
        f"{usage.threads} thread{'s' * (usage.threads != 1)}"
    )


def read(log: Path) -> Usage | None:
    """Return what the last line of that kind in a log says; None if it has none."""
    try:
        found = list(LINE.finditer(log.read_text(encoding="utf-8", errors="replace")))
    except FileNotFoundError:
        return None
    if not found:
        return None
    values = found[-1]
    return Usage(
        peak_mb=float(values["peak_mb"]),
        asked_mb=int(values["asked_mb"]),
        cpu_s=float(values["cpu_s"]),
        threads=int(values["threads"]),
    )
