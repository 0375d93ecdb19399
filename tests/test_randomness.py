"""Chance belongs to its purpose and to nobody else."""

import subprocess
import sys

import pytest

from lungfish.randomness import generator, stable_hash


def test_equal_purpose_equal_chance_and_other_purpose_other_chance():
    draws = {
        key: tuple(generator(*key).integers(1 << 30, size=4))
        for key in [(0, "patches", "a"), (0, "patches", "b"), (1, "patches", "a"), (0, "x", "a")]
    }
    assert len(set(draws.values())) == 4
    assert tuple(generator(0, "patches", "a").integers(1 << 30, size=4)) == draws[0, "patches", "a"]


def test_names_do_not_run_together():
    assert stable_hash("ab", "c") != stable_hash("a", "bc")


def test_hash_is_the_same_in_every_process():
    command = "from lungfish.randomness import stable_hash; print(stable_hash('shard', 'p1'))"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert int(found.stdout) == stable_hash("shard", "p1")


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        generator(-1, "x")
