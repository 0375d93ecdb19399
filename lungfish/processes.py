"""The processes of a run on this machine: whether it lives, what outlived it, and ending that."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from lungfish.records import Record

log = logging.getLogger(__name__)

MARK = "LUNGFISH_RUN"
"""Environment variable that every command of a run inherits; it holds the working directory."""


def is_alive(owner: Record) -> bool:
    """Say whether the recorded process still runs; a reused process number does not count."""
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left_over(folder: Path, *, slurm_job: str | None = None) -> Iterable[psutil.Process]:
    """Yield the commands that a run in a folder started on this machine and that outlived it.

    Parameters
    ----------
    folder : Path
        The run's working directory.
    slurm_job : str, optional
        The SLURM job that the run itself was. Commands of other SLURM jobs inherit its mark too,
        but they are SLURM's to end.
    """
    own = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            found = process.environ()
            marked = found.get(MARK) == str(folder.resolve())
            if marked and found.get("SLURM_JOB_ID") == slurm_job and process.pid not in own:
                yield process
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # somebody else's, or gone meanwhile


def end(processes: Sequence[psutil.Process], *, patience_s: float = 10.0) -> None:
    """Ask processes to end, then make them; they write their results whole or not at all."""
    for process in processes:
        _signal(process, kill=False)
    _, stubborn = psutil.wait_procs(processes, timeout=patience_s)
    for process in stubborn:
        _signal(process, kill=True)
    psutil.wait_procs(stubborn, timeout=patience_s)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        log.info("process %d had ended already", process.pid)
