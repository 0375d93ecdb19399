"""Taking up a run that died: its left-over commands ended, its locks removed, nothing else.

Snakemake holds locks in the working directory and leaves them, and its running commands, behind
when it is killed with -9. Whoever then types the same command again should not have to know that.
"""

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

from lungfish.errors import InputError
from lungfish.records import Record, read_json, write_json

log = logging.getLogger(__name__)

SCHEMA = "run/1"
MARK = "LUNGFISH_RUN"
"""Environment variable that every command of a run inherits; it holds the working directory."""

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


def take_over(folder: Path) -> None:
    """Make a working directory ready for this process, and record that it runs here.

    Parameters
    ----------
    folder : Path
        The working directory, in which Snakemake keeps ``.snakemake``.

    Raises
    ------
    InputError
        If another run lives here, the one that left the locks ran on another machine, or nothing
        can be written here.
    """
    record = folder / ".snakemake" / "lungfish-run.json"
    locks = folder / ".snakemake" / "locks"
    _claim(folder / ".snakemake" / "lungfish-run.lock", record)
    locked = locks.is_dir() and any(locks.iterdir())
    if locked and record.is_file():
        _make_way(read_json(record, SCHEMA), folder, locks)
    os.environ[MARK] = str(folder.resolve())
    process = psutil.Process()
    mine = {"pid": process.pid, "started": process.create_time(), "host": socket.gethostname()}
    write_json(record, SCHEMA, mine)


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


def _claim(lock: Path, record: Path) -> None:
    """Hold a lock of the kernel's, which ends with this process however it ends.

    Two runs started within the same second both find no lock of Snakemake's yet; only one of them
    gets this one.
    """
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
        owner = read_json(record, SCHEMA) if record.is_file() else {}
        raise _busy(owner) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        log.warning("this file system knows no locks: do not start two runs here at once")
    _CLAIMS.append(claim)


def _busy(owner: Record) -> InputError:
    """Return the sentence for whoever comes second; the first may not have written its name yet."""
    name = f" (process {owner['pid']})" if owner and is_alive(owner) else ""
    return InputError(
        f"another run{name} is working in this folder: wait for it to end, or stop it"
    )


def _make_way(owner: Record, folder: Path, locks: Path) -> None:
    """Clear up behind a dead owner; complain about a living one."""
    if owner["host"] != socket.gethostname():
        raise InputError(
            f"a run on the machine {owner['host']} locked this folder: go on there, or, if that "
            "run is dead and none of its jobs is left, type snakemake --unlock first"
        )
    if is_alive(owner):
        raise _busy(owner)
    left = list(left_over(folder))
    if left:
        log.warning("ending %d command(s) of a run that died", len(left))
        end(left)
    shutil.rmtree(locks)
    locks.mkdir()
    log.warning("the last run here (process %s) died; going on from its results", owner["pid"])


def is_alive(owner: Record) -> bool:
    """Say whether the recorded process still runs; a reused process number does not count."""
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left_over(folder: Path) -> Iterable[psutil.Process]:
    """Yield the commands that a run in a folder started and that outlived it."""
    own = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK)
            if mark == str(folder.resolve()) and process.pid not in own:
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
