"""What a command took is counted by the system and stands at the end of its log."""

import os
import subprocess
import sys

import pytest

from lungfish import usage

HUNGRY = """
import logging, numpy as np
from lungfish import command
def main(argv):
    block = np.ones({mb} * 125_000)  # 8 bytes each, touched, and gone before the end
    del block
    return 0
command.run(main)
"""


def run(clone, mb, **variables):
    """Return what a script that fills so much memory for a moment says on standard error."""
    return subprocess.run(
        [sys.executable, "-c", HUNGRY.format(mb=mb)], text=True, capture_output=True, check=True,
        env=os.environ | {"PYTHONPATH": str(clone)} | variables,
    ).stderr  # fmt: skip


def test_a_peak_that_was_over_before_the_end_is_counted(clone, tmp_path):
    log = tmp_path / "job.log"
    peaks = {}
    for mb in (1, 301):
        log.write_text(run(clone, mb, **{usage.ASKED: "900", "OMP_NUM_THREADS": "1"}))
        found = usage.read(log)
        assert (found.asked_mb, found.threads) == (900, 1)
        assert found.cpu_s > 0.05
        peaks[mb] = found.peak_mb
    assert peaks[301] - peaks[1] == pytest.approx(300, abs=20)


def test_by_hand_nothing_is_said(clone):
    assert run(clone, 1, **{usage.ASKED: ""}) == ""


def test_the_last_line_counts_and_a_log_without_one_says_nothing(tmp_path):
    log = tmp_path / "job.log"
    assert usage.read(log) is None
    log.write_text("killed\n")
    assert usage.read(log) is None
    usages = [usage.Usage(float(mb), 700, 1.5, 2) for mb in (100, 200)]
    log.write_text("".join(f"INFO x: {usage.in_words(each)}\n" for each in usages))
    assert usage.read(log) == usages[-1]
