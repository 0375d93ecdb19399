"""Spoiled files end in a refusal with a reason or in a right volume, and in nothing else."""

import collections
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

from lungfish.randomness import generator
from tests import mutations
from tests.mutated_bases import Walk, base_files
from tests.mutation_worker import run_in_process, write

LONGEST_S = 30
GOOD = {"refused", "right", "right by spline"}
# A volume came back that the plain reader cannot judge. Each sort was looked at by hand.
KNOWN = (
    # No checksum in JPEG lossless: of a damaged stream every decoder makes something else.
    "JPEG lossless, .*: decoders disagree",
    "JPEG lossless, .*: plain reader refuses: Jpegsof3Error",
    # A tilt or an oblique plane, where no voxel is an acquired one: tests of resampling judge it.
    ".*: resampled",
)


class Worker:
    """A process that runs cases, started anew when it dies or takes too long."""

    def __init__(self, clone, scratch):
        self.clone, self.scratch, self.process = clone, scratch, None
        self.log = scratch.with_suffix(".log").open("w")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.log.close()

    def start(self):
        self.scratch.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation_worker", str(self.scratch)],
            cwd=self.clone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            stderr=self.log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def end(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None
            shutil.rmtree(self.scratch)

    def run(self, way, seed):
        """Return what became of a case."""
        fresh = self.process is None
        if fresh:
            self.start()
        try:
            self.process.stdin.write(f"{way} {seed}\n".encode())
            line = self.answer(LONGEST_S + 60 * fresh)
        except BrokenPipeError:
            line = b""
        if line.endswith(b"\n"):
            return json.loads(line)
        status = self.process.poll()
        self.end()
        case = mutations.make_case(seed)
        outcome = "too slow" if status is None else f"died with {status}"
        return {
            "seed": seed, "base": case.base, "kind": case.kind, "outcome": outcome, "detail": "",
        }  # fmt: skip

    def answer(self, patience_s):
        """Return one line, or what there is of it when the patience or the process ends."""
        line, until = b"", time.monotonic() + patience_s
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], until - time.monotonic())
            if not ready:
                return line
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                self.process.wait(10)
                return line
            line += more
        return line


@pytest.fixture
def run(clone, tmp_path):
    """Run cases in a worker; return their outcomes."""

    def run(way, seeds):
        with Worker(clone, tmp_path / "worker") as worker:
            return [worker.run(way, seed) for seed in seeds]

    return run


def told(one):
    return "seed {seed}, {base}, {kind}: {outcome}: {detail}".format(**one)


def known(one):
    """Say whether an unjudged outcome is of a sort that was looked at."""
    text = "{base}, {kind}: {outcome}: {detail}".format(**one)
    return any(re.match(pattern, text) for pattern in KNOWN)


def check(found):
    """Hold outcomes against what is allowed; return how many there are of each."""
    bad = [told(one) for one in found if one["outcome"] not in GOOD and not known(one)]
    assert not bad, "\n".join(bad)
    return collections.Counter(one["outcome"] for one in found)


def test_a_hundred_mutations_end_refused_or_right(run):
    counts = check(run("in process", range(100)))
    assert counts["right"] > 20
    assert counts["refused"] > 40


@pytest.mark.slow
def test_two_thousand_mutations_end_refused_or_right(run):
    counts = check(run("in process", range(2000)))
    assert counts["right"] > 500
    assert counts["refused"] > 1000
    assert counts.total() - sum(counts[outcome] for outcome in GOOD) < 20


def test_twenty_mutations_through_the_scripts_exit_0_or_3(run):
    found = run("by scripts", range(2000, 2020))
    wrong = [told(one) for one in found if one["outcome"] not in ("ok", "refused")]
    assert not wrong, "\n".join(wrong)
    assert len({one["outcome"] for one in found}) == 2


@pytest.mark.slow
def test_twenty_mutations_through_real_processes_exit_0_or_3(clone, tmp_path):
    for seed in range(2000, 2020):
        case, place = mutations.make_case(seed), tmp_path / str(seed)
        place.mkdir()
        for name, content in case.files.items():
            (place / name).write_bytes(content)
        dicom = place / "scan.zip" if "scan.zip" in case.files else place
        out = tmp_path / f"{seed} results"
        index = ["index", "--dicom", dicom, "--output", out / "i.json"]
        volumes = ["volumes", "--dicom", dicom, "--index", out / "i.json"]
        volumes += ["--output", out / "v.nii.gz", "--record", out / "v.json"]
        for name, *options in (index, volumes):
            arguments = [sys.executable, f"scripts/{name}.py", *map(str, options)]
            done = subprocess.run(arguments, cwd=clone, capture_output=True, text=True)
            assert done.returncode in (0, 3), (seed, case.kind, done.stderr)
        assert sorted(path.name for path in out.iterdir()) == ["i.json", "v.json", "v.nii.gz"]
        assert sorted(path.name for path in place.iterdir()) == sorted(case.files)


def test_damage_to_a_deflated_stream_is_refused_where_inflating_shows_it(tmp_path):
    files = base_files("deflated")
    for draw in range(40):
        rng = generator(draw, "mutations", "deflated")
        spoiled = bytearray(files["0004"])
        spoiled[int(rng.integers(600, len(spoiled)))] ^= int(rng.integers(1, 256))
        spoiled_files = {**files, "0004": bytes(spoiled)}
        place = write(tmp_path / str(draw), spoiled_files)
        found = run_in_process(place, spoiled_files)
        assert found["outcome"] in GOOD, (draw, found)


def test_bytes_put_into_native_pixels_are_refused(tmp_path):
    for base in ("big endian", "coronal", "half slope"):  # where the last pixel is not zero
        files = dict(base_files(base))
        name = max(files)
        at = Walk(files[name]).pixels.value_at + 40
        files[name] = files[name][:at] + b"\1\2" + files[name][at:]
        found = run_in_process(write(tmp_path / base, files), files)
        assert found["outcome"] == "refused", (base, found)


def test_a_worker_that_dies_is_told_and_replaced(clone, tmp_path):
    with Worker(clone, tmp_path / "worker") as worker:
        before = worker.run("in process", 5)
        worker.process.kill()
        assert worker.run("in process", 5)["outcome"] == "died with -9"
        assert worker.run("in process", 5) == before


def test_every_hundred_holds_every_kind_and_most_bases():
    cases = [mutations.make_case(seed) for seed in range(100)]
    assert {case.kind for case in cases} == {*mutations.FILE_KINDS, *mutations.FOLDER_KINDS}
    assert len({case.base for case in cases}) >= 15
    again = [mutations.make_case(seed) for seed in range(0, 100, 7)]
    assert all(case == cases[k] for case, k in zip(again, range(0, 100, 7), strict=True))
