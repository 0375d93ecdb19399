"""Kills runs of the tiny cohort with -9, takes them up again, and compares what comes out.

``make chaos KILLS=36``. Each round is one run in a folder of its own: it is killed once in every
stage, alternately Snakemake alone and its whole process group, at a moment drawn from the time that
the stage's commands take, started again after each kill, and at its end compared with a run that
nothing disturbed.
"""

import argparse
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import psutil

from lungfish.records import read_table
from tests.test_names import STAGES
from tests.workflow_runner import command, copy_clone, environment, snakemake

PATIENCE_S = 900
SEED = 20171009


@dataclass(frozen=True)
class Kill:
    """One kill: which stage was meant, when, and what was at work when it fell.

    `age_s` are the seconds that the oldest command of the stage had run, at most; `hit` is false
    where the stage was over before its moment came, so that the kill does not count for it.
    """

    stage: str
    group: bool
    age_s: float
    at_work: tuple[str, ...]

    @property
    def hit(self) -> bool:
        return self.stage in self.at_work


def at_work(process: psutil.Process, first_seen_s: dict[int, float]) -> dict[str, float]:
    """Return the scripts that a run's commands execute, and the age in seconds of each.

    Ages count from the first look at a process: the system knows its start to a second only.
    """
    ages: dict[str, float] = {}
    for child in process.children(recursive=True):
        try:
            script = re.search(r"/scripts/(\w+)\.py$", [*child.cmdline(), "", ""][1])
            if script:
                now_s = time.monotonic()
                age_s = now_s - first_seen_s.setdefault(child.pid, now_s)
                ages[script[1]] = max(ages.get(script[1], 0.0), age_s)
        except psutil.Error:
            continue  # it has just ended
    return ages


def kill_in(clone, run, stage, *, group, moment_s, arguments=()) -> Kill:
    """Start a run and kill it with -9 when a command of the stage has worked for `moment_s`.

    Where the stage is over before, the run is killed then, and the kill says that it was no hit; so
    it does of a run that ended well because a left-over command had done the stage already.
    """
    later = set(STAGES[max(STAGES.index("gmcae"), STAGES.index(stage) + 1) :])
    longest_s, first_seen_s = -1.0, {}
    with (run / "terminal.txt").open("a") as terminal:
        process = psutil.Popen(
            command(clone, run, *arguments), env=environment(), start_new_session=True,
            stdout=terminal, stderr=subprocess.STDOUT,
        )  # fmt: skip
        since = time.time()
        while True:
            ages, ended = at_work(process, first_seen_s), process.poll() is not None
            over = longest_s >= 0 and stage not in ages and (ended or later & set(ages))
            longest_s = max(longest_s, ages.get(stage, -1.0))
            if over or ages.get(stage, -1.0) >= moment_s:
                break
            text = (run / "terminal.txt").read_text()[-4000:]
            assert not process.poll(), f"the run failed before {stage} began: {text}"
            if ended:
                break
            assert time.time() - since < PATIENCE_S, f"{stage} never began: {text}"
            time.sleep(0.02)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()
    return Kill(stage, group, longest_s, tuple(sorted(ages)))


def datasets(source) -> dict[str, np.ndarray]:
    """Return every dataset and attribute of an HDF5 file."""
    found = {}

    def visit(name, node):
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = np.asarray(value)
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(source) as store:
        visit("", store)
        store.visititems(visit)
    return found


def content(path: Path) -> dict[str, np.ndarray]:
    """Return what a result holds, without what its container adds, such as a time of saving."""
    if path.suffix == ".h5":
        return datasets(path)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return datasets(io.BytesIO(archive.read("model.weights.h5")))
    return {"bytes": np.frombuffer(path.read_bytes(), np.uint8)}


def results(run: Path) -> dict[str, Path]:
    """Return the results that must not depend on what happened; the cohort's page states times."""
    return {
        path.relative_to(run).as_posix(): path
        for path in sorted((run / "results").rglob("*"))
        if path.is_file()
        and path.name not in (".snakemake_timestamp", "index.html")
        and not {"tensorboard", "checkpoint"} & set(path.parts)
    }


def differences(run: Path, other: Path) -> list[str]:
    """Return the results that one run lacks, or whose content differs; left-overs count too."""
    ours, theirs = results(run), results(other)
    return sorted(set(ours) ^ set(theirs)) + [
        name
        for name in sorted(set(ours) & set(theirs))
        if ours[name].read_bytes() != theirs[name].read_bytes()
        and not same(content(ours[name]), content(theirs[name]))
    ]


def same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> bool:
    """Say whether two files hold the same arrays under the same names."""
    return set(one) == set(two) and all(np.array_equal(one[key], two[key]) for key in one)


def seconds_of(run: Path) -> dict[str, float]:
    """Return the seconds that the shortest command of each stage took in a finished run."""
    return {
        stage: min(
            float(read_table(path)[0]["s"]) for path in (run / f"logs/{stage}").glob("*.tsv")
        )
        for stage in STAGES
    }


def plan_kills(kills: int, seed: int) -> list[list[tuple[str, bool, float]]]:
    """Return, for each round, the stages to kill in, whether the group, and a share of the stage.

    Every stage gets as many kills as every other, or one more; each is killed both ways in turn.
    """
    chance = random.Random(seed)
    rounds = []
    for number in range(-(-kills // len(STAGES))):
        count = min(len(STAGES), kills - number * len(STAGES))
        chosen = sorted(chance.sample(range(len(STAGES)), count))
        rounds.append([(STAGES[k], (number + k) % 2 == 1, chance.random()) for k in chosen])
    return rounds


def kill_until_hit(clone, run, stage, *, group, moment_s) -> list[Kill]:
    """Kill in a stage; where it was over too early, force it again and kill sooner."""
    found = [kill_in(clone, run, stage, group=group, moment_s=moment_s)]
    while not found[-1].hit:
        moment_s = min(moment_s, abs(found[-1].age_s)) / 2
        forced = ("--forcerun", stage)
        found.append(kill_in(clone, run, stage, group=group, moment_s=moment_s, arguments=forced))
    return found


def say(number: int, kill: Kill) -> None:
    """Print one line about a kill."""
    whom = "the whole group" if kill.group else "Snakemake alone"
    what = f"{kill.age_s:.1f} s into {kill.stage}" if kill.hit else f"too late for {kill.stage}"
    print(f"kill {number:3d}  {whom}, {what}; at work: {', '.join(kill.at_work)}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill and compare; 1 if any result differs from the undisturbed run's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=36, help="spread over the stages (36)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all moments ({SEED})")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the runs")
    args = parser.parse_args(argv)
    place = args.scratch.resolve()
    if place.is_dir() and any(place.iterdir()):
        parser.error(f"{args.scratch} is not empty: name another folder, or remove it")
    clone, calm = copy_clone(place / "clone"), place / "undisturbed"
    found = snakemake(clone, calm)
    if found.returncode:
        print(f"the undisturbed run failed:\n{found.stdout[-4000:]}", file=sys.stderr)
        return 1
    takes_s, kills, bad = seconds_of(calm), [], []
    for number, round_ in enumerate(plan_kills(args.kills, args.seed)):
        run = place / f"round-{number}"
        run.mkdir()
        for stage, group, share in round_:
            moment_s = share * takes_s[stage]
            for kill in kill_until_hit(clone, run, stage, group=group, moment_s=moment_s):
                kills.append(kill)
                say(len(kills), kill)
        bad += finish(clone, run, calm)
    print(table(kills))
    print(f"{len(bad)} results differ from the undisturbed run's" if bad else
          f"all results of {number + 1} runs equal the undisturbed run's")  # fmt: skip
    return int(bool(bad))


def finish(clone: Path, run: Path, calm: Path) -> list[str]:
    """Let a killed run end, compare it, say so, and return what differs or why it failed."""
    found = snakemake(clone, run)
    bad = [found.stdout[-4000:]] if found.returncode else differences(run, calm)
    files = results(run)
    equal = sum(
        path.read_bytes() == (calm / name).read_bytes()
        for name, path in files.items()
        if (calm / name).is_file()
    )
    print(
        f"{run.name}: {len(files)} results, {equal} equal byte for byte, "
        f"{len(files) - equal - len(bad)} more in all that they hold, {len(bad)} not",
        *bad, sep="\n  ", flush=True,
    )  # fmt: skip
    return bad


def table(kills: Sequence[Kill]) -> str:
    """Return how often each stage was hit, and how."""
    hits = Counter((kill.stage, kill.group) for kill in kills if kill.hit)
    rows = [f"{'stage':<12}{'Snakemake alone':>16}{'whole group':>13}"]
    rows += [f"{stage:<12}{hits[stage, False]:>16}{hits[stage, True]:>13}" for stage in STAGES]
    missed = sum(not kill.hit for kill in kills)
    return "\n".join([*rows, f"{sum(hits.values())} kills in their stage, {missed} beside it"])


if __name__ == "__main__":
    raise SystemExit(main())
