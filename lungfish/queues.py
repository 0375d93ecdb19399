"""SLURM's queue as a run sees it: which of a run's jobs are still there; to wait, to cancel.

Snakemake's SLURM executor gives all jobs of a run one name, a UUID that is new in each run, and
the run's working directory. Jobs outlive a Snakemake that is killed, and a second Snakemake would
submit them again: two jobs would write the same file. So they are looked for by name and folder.
"""

import logging
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lungfish.errors import InputError

log = logging.getLogger(__name__)

OURS = re.compile(r"lungfish-job-.*|(.*_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names of a run's jobs: profiles/generic begins with a word, the SLURM executor ends in a UUID."""
ROW = "%i|%T|%j|%Z|%k"
"""What squeue shall say of a job: number, state, name, working directory, comment."""
PATIENCE_S = 60


@dataclass(frozen=True)
class Job:
    """A job that is in SLURM's queue.

    Attributes
    ----------
    number : str
        SLURM's job number.
    state : str
        Such as ``RUNNING`` or ``PENDING``.
    what : str
        The rule and its wildcards, as the executor wrote them.
    """

    number: str
    state: str
    what: str


def jobs_in(folder: Path) -> list[Job]:
    """Return the jobs that runs in a folder have in SLURM's queue: waiting, running or ending.

    Parameters
    ----------
    folder : Path
        The runs' working directory.

    Raises
    ------
    InputError
        If the queue cannot be asked.
    """
    return read_rows(
        ask("squeue", "--noheader", f"--user={os.getuid()}", f"--format={ROW}"), folder
    )


def answers() -> bool:
    """Say whether there is a SLURM here that answers."""
    try:
        ask("squeue", "--noheader", "--user=0", "--format=%i")
    except InputError:
        return False
    return True


def read_rows(text: str, folder: Path) -> list[Job]:
    """Return the jobs of a folder's runs among the rows that squeue printed.

    Examples
    --------
    >>> rows = '''8|RUNNING|lungfish-job-gmcae|/scans|gmcae
    ... 9|RUNNING|interactive|/scans|'''
    >>> read_rows(rows, Path("/scans"))
    [Job(number='8', state='RUNNING', what='gmcae')]
    """
    found = []
    for row in text.splitlines():
        number, state, name, place, what = row.split("|", maxsplit=4)
        mine = OURS.fullmatch(name) and Path(place).resolve() == folder.resolve()
        if mine and number != os.getenv("SLURM_JOB_ID"):
            found.append(Job(number, state, what.strip()))
    return found


def is_queued(number: str) -> bool:
    """Say whether a job is still in the queue, whatever its name.

    Raises
    ------
    InputError
        If the queue cannot be asked.
    """
    rows = ask("squeue", "--noheader", f"--user={os.getuid()}", "--format=%i").split()
    return number in rows


def ask(*command: str) -> str:
    """Return what a command of SLURM prints.

    Raises
    ------
    InputError
        If it is not found, does not answer in a minute, or ends in an error.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"{command[0]} is not found: type this where SLURM's commands are")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} does not answer: is SLURM up? Try again later") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()) or f"exit status {error.returncode}"
        raise InputError(f"SLURM cannot be asked: {command[0]} says: {said}") from None
    return done.stdout


def cancel(jobs: Sequence[Job]) -> None:
    """Cancel jobs; those that ended meanwhile do not matter.

    Raises
    ------
    InputError
        If SLURM cannot be asked.
    """
    if jobs:
        ask("scancel", "--quiet", *(job.number for job in jobs))


def wait(folder: Path, *, look_s: float = 10.0, tell_s: float = 60.0) -> None:
    """Wait until no job of a folder's runs is in the queue, and say now and then how it stands.

    Parameters
    ----------
    folder : Path
        The runs' working directory.
    look_s : float
        Seconds between two looks at the queue.
    tell_s : float
        Seconds after which a word is said although nothing changed.

    Raises
    ------
    InputError
        If the queue cannot be asked.
    """
    told, told_at = "", time.monotonic()
    while jobs := jobs_in(folder):
        now = in_words(jobs)
        if now != told or time.monotonic() - told_at > tell_s:
            log.info("waiting for %s", now)
            told, told_at = now, time.monotonic()
        time.sleep(look_s)


def in_words(jobs: Sequence[Job], *, most: int = 10) -> str:
    """Return how many jobs there are, in which states, and which.

    Examples
    --------
    >>> in_words([Job("8", "RUNNING", "rule_gmcae"), Job("9", "PENDING", "")])
    '2 jobs (1 pending, 1 running): 8 rule_gmcae, 9'
    """
    states = Counter(job.state.lower() for job in jobs)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    names = [f"{job.number} {job.what}".strip() for job in jobs[:most]]
    names += [f"and {len(jobs) - most} more"] if len(jobs) > most else []
    noun = "job" if len(jobs) == 1 else "jobs"
    return f"{len(jobs)} {noun} ({counts}): {', '.join(names)}"
