"""One seed, and a generator of its own for every use of chance."""

import hashlib

import numpy as np


def stable_hash(*names: str) -> int:
    """Return a 64-bit integer that depends on the names alone, on every machine and day.

    Parameters
    ----------
    *names : str
        What the number stands for, such as ``"shard", "patient-07"``.

    Returns
    -------
    int
        In the range 0 to 2**64 - 1.
    """
    text = "\0".join(names).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of one purpose, so that adding a patient moves nobody else's chance.

    Parameters
    ----------
    seed : int
        The run's seed, 0 or more.
    *purpose : str or int
        What it is for and for whom, such as ``"patches", "patient-07"``.

    Returns
    -------
    numpy.random.Generator
        Equal for equal arguments.
    """
    return np.random.default_rng([seed, stable_hash(*map(str, purpose))])
