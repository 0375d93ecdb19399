"""A real SLURM on this machine, and runs of the tiny cohort through it."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests import workflow_runner

T = TypeVar("T")
HERE = Path(__file__).parent
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "20")
"""Looks at the queue as often as the executor can; the profiles' pace is for hours, not minutes."""
STARTED: list[subprocess.Popen] = []
"""Every run of these tests; one that a failing test left behind is ended with its SLURM."""


@dataclass(frozen=True)
class Slurm:
    """One SLURM: the folder that holds its configuration, its wrappers and its state."""

    state: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of a stranger who can reach this SLURM."""
        found = workflow_runner.environment()
        found["PATH"] = f"{self.state / 'bin'}:{found['PATH']}"
        return found | {"SLURM_CONF": str(self.state / "etc/slurm.conf")}

    def ask(self, *words: str) -> str:
        """Return what one of SLURM's commands prints."""
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, folder: Path) -> list[tuple[str, str, str]]:
        """Return number, state and comment of every job a folder's runs had, ended ones too."""
        rows = self.ask("squeue", "--noheader", "--states=all", "--format=%i|%T|%Z|%k|%j")
        found = [row.split("|") for row in rows.splitlines()]
        return [
            (row[0], row[1], row[3] if row[3] != "(null)" else row[4])
            for row in found
            if row[2] == str(folder)
        ]

    def active(self, folder: Path) -> list[tuple[str, str, str]]:
        """Return those of a folder's jobs that wait or run."""
        return [job for job in self.jobs(folder) if job[1] in {"PENDING", "RUNNING"}]

    def submitted(self, folder: Path) -> Counter[str]:
        """Return how often each work was handed to SLURM."""
        return Counter(what for _, _, what in self.jobs(folder))

    def running(self, folder: Path, word: str, *, patience_s: float = 600) -> str:
        """Wait until a job whose comment holds a word runs, and return its number."""
        return wait_for(
            lambda: next(
                (job[0] for job in self.active(folder) if word in job[2] and job[1] == "RUNNING"),
                None,
            ),
            f"no job of {word} runs",
            patience_s=patience_s,
        )


def wait_for(look: Callable[[], T], complaint: str, *, patience_s: float = 600) -> T:
    """Look until there is something to see, and return it."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(complaint)


def arguments(clone: Path, folder: Path, profile: str, *more: str) -> list[str]:
    """Return what is typed after `snakemake` for a run of the tiny cohort with a profile."""
    config = [] if "--configfile" in more else ["--configfile", str(clone / "config/tiny.yaml")]
    quick = () if profile == "generic" else QUICK
    return [
        "--snakefile", str(clone / "Snakefile"), "--directory", str(folder), *config,
        "--profile", str(clone / "profiles" / profile), *quick, *more,
    ]  # fmt: skip


def start(
    slurm: Slurm, clone: Path, folder: Path, profile: str, *more: str,
    python: Path = Path(sys.executable), home: Path | None = None, **options,
):  # fmt: skip
    """Start a run and return its process; what it says goes to terminal.txt beside its results."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = slurm.environment() | ({"HOME": str(home)} if home else {})
    words = [str(python), "-m", "snakemake", *arguments(clone, folder, profile, *more)]
    with (folder / "terminal.txt").open("a") as terminal:
        process = subprocess.Popen(
            words, env=environment, cwd=folder, stdout=terminal, stderr=subprocess.STDOUT,
            start_new_session=True, **options,
        )  # fmt: skip
    STARTED.append(process)
    return process


def finish(process, folder: Path, *, patience_s: float = 1500) -> str:
    """Wait for a run that should end well, and return what it said."""
    status = process.wait(timeout=patience_s)
    said = (folder / "terminal.txt").read_text()
    assert status == 0, said[-6000:]
    return said


def resume(slurm: Slurm, folder: Path, *more: str):
    """Run scripts/resume.py to its end, as a user types it."""
    script = workflow_runner.CLONE / "scripts/resume.py"
    return subprocess.run(
        [sys.executable, str(script), "--folder", str(folder), *more], env=slurm.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500,
    )  # fmt: skip


def is_root() -> bool:
    """Say whether the tests run as root."""
    return os.getuid() == 0
