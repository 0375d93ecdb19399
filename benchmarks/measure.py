"""CPU seconds, wall seconds and peak memory of one piece of work in a process of its own.

Imports come before the clock starts; the totals of the process, imports included, stand beside.
Ways are measured in turn, round after round, so that a busy machine is busy for all of them.
"""

import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
Work = Callable[[], Any]
"""What is measured: it returns whatever it made."""
Check = Callable[[Any], Any]
"""Turns what the work made into an answer for JSON, after the clock has stopped."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One run of one way.

    Attributes
    ----------
    cpu_s : float
        User and system seconds of all threads and children, after the imports.
    wall_s : float
        Seconds on the wall, after the imports.
    peak_mb : float
        Peak resident memory above what was resident after the imports, in MB (1e6 bytes).
    total_cpu_s, total_peak_mb : float
        Of the whole process, the interpreter's start and imports included.
    answer : Any
        What the check returned.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    total_cpu_s: float
    total_peak_mb: float
    answer: Any


def _cpu_s(*whose: int) -> float:
    usages = [resource.getrusage(who) for who in whose]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory_mb(field: str) -> float:
    """Return VmRSS (now) or VmHWM (highest since the last reset) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}: benchmarks need Linux")


def report_here(prepare: Callable[[], tuple[Work, Check]]) -> None:
    """Measure in this process and print the result as JSON, for `in_fresh_process` to read.

    Parameters
    ----------
    prepare : callable
        Imports all that is needed and returns the work and its check.
    """
    work, check = prepare()
    import_peak_mb = _memory_mb("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the high-water mark
    resident_mb = _memory_mb("VmRSS")
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before_cpu_s, before_s = _cpu_s(*both), time.perf_counter()
    made = work()
    wall_s, total_cpu_s = time.perf_counter() - before_s, _cpu_s(*both)
    peak_mb = _memory_mb("VmHWM")
    found = Measurement(
        cpu_s=total_cpu_s - before_cpu_s,
        wall_s=wall_s,
        peak_mb=peak_mb - resident_mb,
        total_cpu_s=total_cpu_s,
        total_peak_mb=max(peak_mb, import_peak_mb),
        answer=check(made),
    )
    print(json.dumps(dataclasses.asdict(found)))


def in_fresh_process(module: str, arguments: Sequence[str]) -> Measurement:
    """Run ``python -m module arguments`` and return what its `report_here` printed."""
    command = [sys.executable, "-m", module, *arguments]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Measurement(**json.loads(run.stdout.splitlines()[-1]))


def interleaved(
    ways: Mapping[str, Callable[[], Measurement]], rounds: int
) -> dict[str, list[Measurement]]:
    """Measure every way once a round, the order turned round each time.

    One round before, not kept, fills the page cache.
    """
    found: dict[str, list[Measurement]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            measurement = ways[name]()
            if number:
                found[name].append(measurement)
                print(f"round {number} {name}: {measurement.cpu_s:.2f} CPU s", file=sys.stderr)
    return found


def least(runs: Iterable[Measurement], field: str) -> float:
    """Return the least of a field: what the work costs where nothing disturbs it."""
    return float(min(getattr(run, field) for run in runs))


def median(runs: Iterable[Measurement], field: str) -> float:
    """Return the median of a field."""
    return float(statistics.median(getattr(run, field) for run in runs))


def both(runs: Sequence[Measurement], field: str) -> str:
    """Return ``least (median)`` of a field in seconds."""
    return f"{least(runs, field):.2f} ({median(runs, field):.2f})"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine() -> str:
    """Return the machine and the versions in words, without any name of it."""
    import importlib.metadata as metadata

    packages = ("numpy", "scipy", "SimpleITK", "pydicom", "imagecodecs", "isal")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores ({platform.machine()}), load {load:.1f} at the end, "
        f"Python {platform.python_version()}, {versions}."
    )


def publish(text: str, output: Path | None) -> None:
    """Print a page and, where wanted, store it."""
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
