"""Take up a run that died, on a cluster too: wait for its jobs or cancel them, then go on."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lungfish import command, queues, runs
from lungfish.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
log = logging.getLogger("resume")


def profile_folder(name: Path) -> Path:
    """Return the folder of a profile that was named by its path or by its last word."""
    for place in (name, ROOT / name, ROOT / "profiles" / name):
        if (place / "config.yaml").is_file():
            return place.resolve()
    raise InputError(f"--profile {name}: expected a folder with config.yaml, or a word of profiles")


def next_command(owner: runs.Record | None, folder: Path, profile: Path | None) -> list[str]:
    """Return what to type after `snakemake`: what was typed last, with another profile if named."""
    usual = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    typed = list(owner.get("typed") or usual) if owner else usual
    if profile is None:
        if owner is None:
            raise InputError(f"no run is recorded in {folder}: say with which --profile to start")
        return typed
    # With an equals sign, since the option takes several values and would swallow what follows.
    return [f"--profile={profile_folder(profile)}", *runs.split_off(typed, "--profile")[1]]


def clear_queue(folder: Path, *, cancel: bool) -> None:
    """Wait until no job of an earlier run is queued, after cancelling them if asked to."""
    jobs = queues.jobs_in(folder)
    if jobs:
        log.info("an earlier run left %s", queues.in_words(jobs))
    if jobs and cancel:
        log.info("cancelling them")
        queues.cancel(jobs)
    queues.wait(folder, look_s=2.0 if cancel else 10.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = command.parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path(), help="where the run worked (here)")
    parser.add_argument("--profile", type=Path, help="go on with this profile (that of the run)")
    parser.add_argument("--cancel", action="store_true", help="cancel the jobs, do not wait")
    parser.add_argument("--dead", metavar="MACHINE", help="the run on that machine is dead")
    args = parser.parse_args(argv)
    folder = args.folder.resolve()
    owner = runs.last(folder)
    typed = next_command(owner, folder, args.profile)
    if owner and runs.is_locked(folder) and args.dead != owner["host"]:
        runs.make_sure_dead(owner)
    if queues.answers() or (owner and owner.get("on_cluster")):
        clear_queue(folder, cancel=args.cancel)
    if owner and runs.is_locked(folder) and args.dead == owner["host"]:
        runs.unlock(folder)
    os.chdir(owner.get("typed_in", folder) if owner else folder)
    log.info("snakemake %s", " ".join(typed))
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *typed])


if __name__ == "__main__":
    command.run(main)
