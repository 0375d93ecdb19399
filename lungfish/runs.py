"""Taking up a run that died: its left-over commands ended, its locks removed, nothing else.

Snakemake holds locks in the working directory and leaves them, and its running commands, behind
when it is killed with -9. Whoever then types the same command again should not have to know that.
"""

import argparse
import errno
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import psutil

from lungfish import queues
from lungfish.errors import InputError
from lungfish.processes import MARK, end, is_alive, left_over
from lungfish.records import Record, read_json, write_json

log = logging.getLogger(__name__)

SCHEMA = "run/1"
RECORD = Path(".snakemake/lungfish-run.json")
LOCKS = Path(".snakemake/locks")
CLAIM = Path(".snakemake/lungfish-run.lock")
_CLAIMS: list[IO[bytes]] = []
"""Open as long as this process lives: closing the file would end its claim to the folder."""

LOOKING = {
    "-n", "--dry-run", "--dryrun", "--unlock", "--lint", "--summary", "--detailed-summary", "-l",
    "-D", "-S", "--list", "--list-rules", "--list-target-rules", "--dag", "--rulegraph",
    "--filegraph", "--report", "--cleanup-metadata", "--list-changes", "--d3dag", "-h", "--help",
}  # fmt: skip
"""Options with which Snakemake runs nothing."""


def only_looks(arguments: Sequence[str]) -> bool:
    """Say whether a Snakemake command line runs nothing, such as a dry run.

    Examples
    --------
    >>> only_looks(["snakemake", "-n", "--cores", "2"])
    True
    >>> only_looks(["snakemake", "--cores", "2"])
    False
    """
    return any(argument.split("=")[0] in LOOKING for argument in arguments)


def take_over(folder: Path, *, typed: Sequence[str] = (), on_cluster: bool = False) -> None:
    """Make a working directory ready for this process, and record that it runs here.

    Parameters
    ----------
    folder : Path
        The working directory, in which Snakemake keeps ``.snakemake``.
    typed : sequence of str
        What was typed after ``snakemake``; `scripts/resume.py` goes on with it.
    on_cluster : bool
        Whether this process hands its jobs to a cluster.

    Raises
    ------
    InputError
        If another run lives here, if the one that left the locks ran on another machine, if jobs
        of a run that died are still in SLURM's queue, or if nothing can be written here.
    """
    _claim(folder)
    owner = last(folder)
    dead = owner is not None and is_locked(folder)
    if owner and dead:
        make_sure_dead(owner)
    _refuse_doubles(folder, owner, needed=bool(owner and dead and owner.get("on_cluster")))
    if owner and dead:
        _make_way(owner, folder)
    os.environ[MARK] = str(folder.resolve())
    write_json(folder / RECORD, SCHEMA, _self(typed, on_cluster=on_cluster))


def _self(typed: Sequence[str], *, on_cluster: bool) -> Record:
    """Return what another process has to know of this one."""
    process = psutil.Process()
    shell = Path(os.getenv("PWD", ""))  # Snakemake has gone to its --directory already
    directory = split_off(typed, "--directory", "-d")[0] or "."
    at_shell = shell.is_absolute() and (shell / directory).resolve() == Path.cwd()
    return {
        "pid": process.pid, "started": process.create_time(), "host": socket.gethostname(),
        "slurm_job": os.getenv("SLURM_JOB_ID"), "on_cluster": on_cluster,
        "typed": list(typed), "typed_in": str(shell if at_shell else Path.cwd()),
    }  # fmt: skip


def require_writable(folders: Iterable[Path]) -> None:
    """Complain about folders that stand and cannot be written into, before any work is done.

    Raises
    ------
    InputError
        If the file system is read-only there, or this user may not write.
    """
    shut = [str(folder) for folder in folders if folder.is_dir() and not os.access(folder, os.W_OK)]
    if shut:
        raise InputError(
            f"{', '.join(shut)}: expected a folder that can be written, found one that is "
            "read-only or not yours: mount it for writing, change its owner, or choose another "
            "place with --directory, then type the same command again"
        )


def _claim(folder: Path) -> None:
    """Hold a lock of the kernel's, which ends with this process however it ends.

    Two runs started within the same second both find no lock of Snakemake's yet; only one of them
    gets this one.
    """
    lock = folder / CLAIM
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        claim = lock.open("ab")
    except OSError as error:
        raise InputError(
            f"nothing can be written into this folder ({error.strerror}): choose another with "
            "--directory, or make this one writable or some room in it, then type the same again"
        ) from None
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        raise _busy(last(folder)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        log.warning("this file system knows no locks: do not start two runs here at once")
    _CLAIMS.append(claim)


def _busy(owner: Record | None) -> InputError:
    """Return the sentence for whoever comes second; the first may not have written its name yet."""
    name = f" (process {owner['pid']})" if owner and is_alive(owner) else ""
    return InputError(
        f"another run{name} is working in this folder: wait for it to end, or stop it"
    )


def last(folder: Path) -> Record | None:
    """Return what the last run in a folder left about itself; None where none ran."""
    record = folder / RECORD
    return read_json(record, SCHEMA) if record.is_file() else None


def is_locked(folder: Path) -> bool:
    """Say whether Snakemake's locks are in a folder."""
    locks = folder / LOCKS
    return locks.is_dir() and any(locks.iterdir())


def make_sure_dead(owner: Record) -> None:
    """Complain about a run that lives, or of which that cannot be known from here.

    A run that was itself a SLURM job is dead where SLURM does not know the job any more.

    Raises
    ------
    InputError
        If it lives, or may live.
    """
    if owner["host"] != socket.gethostname():
        job = owner.get("slurm_job")
        if job and not queues.is_queued(job):
            return
        raise InputError(
            f"a run on the machine {owner['host']} locked this folder: go on there, or, if that "
            f"run is dead, type python scripts/resume.py --dead {owner['host']} here"
        )
    if is_alive(owner):
        raise _busy(owner)


def _refuse_doubles(folder: Path, owner: Record | None, *, needed: bool) -> None:
    """Complain if jobs of an earlier run are still queued; if `needed`, if that cannot be known."""
    try:
        jobs = queues.jobs_in(folder)
    except InputError as error:
        if needed:
            raise InputError(f"a run that died here had jobs on a cluster. {error}") from None
        return
    if jobs:
        typed = owner.get("typed", []) if owner else []
        profile = Path(split_off(typed, "--profile")[0] or "slurm").name
        raise InputError(
            f"an earlier run left in SLURM's queue {queues.in_words(jobs)}; to wait for that and "
            f"go on, type make resume PROFILE={profile} FOLDER={folder} (CANCEL=1 cancels), or "
            f"python scripts/resume.py --folder {folder}"
        )


def split_off(typed: Sequence[str], *names: str) -> tuple[str | None, list[str]]:
    """Return the value of an option in a command line, None where it is absent, and the rest.

    Examples
    --------
    >>> split_off(["-n", "--profile", "profiles/slurm", "all"], "--profile")
    ('profiles/slurm', ['-n', 'all'])
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(*names, dest="value")
    found, rest = parser.parse_known_args(list(typed))
    return found.value, rest


def _make_way(owner: Record, folder: Path) -> None:
    """Clear up behind a dead owner."""
    left = list(left_over(folder, slurm_job=owner.get("slurm_job")))
    if left:
        log.warning("ending %d command(s) of a run that died", len(left))
        end(left)
    unlock(folder)
    log.warning("the last run here (process %s) died; going on from its results", owner["pid"])


def unlock(folder: Path) -> None:
    """Remove Snakemake's locks; nobody may be working in the folder."""
    shutil.rmtree(folder / LOCKS)
    (folder / LOCKS).mkdir()
