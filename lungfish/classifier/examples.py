"""Pooled vectors from the features of a cohort."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lungfish.classifier.pooling import pool_lungs
from lungfish.classifier.settings import Settings
from lungfish.errors import InputError
from lungfish.features import read_features


def read_vectors(
    shards: Sequence[Path], patients: Iterable[str], *, settings: Settings
) -> dict[str, NDArray[np.float32]]:
    """Read and pool the features of some patients, one patient in memory at a time.

    Parameters
    ----------
    shards : sequence of Path
        The files ``features/{scope}/{shard}.h5`` of one scope.
    patients : iterable of str
        Whose features are wanted.
    settings : Settings
        ``levels`` and ``inside_threshold``.

    Returns
    -------
    dict
        Patient to vector, float32; patients that no shard holds, or that it holds as refused, are
        absent.

    Raises
    ------
    InputError
        If a shard is missing.
    """
    wanted = set(patients)
    vectors: dict[str, NDArray[np.float32]] = {}
    for path in shards:
        for name in sorted(wanted & stored_patients(path)):
            for found in read_features(path, [name]).values():
                vectors[name] = pool_lungs(
                    found.grid,
                    found.inside,
                    levels=settings.levels,
                    threshold=settings.inside_threshold,
                )
    return vectors


def stored_patients(path: Path) -> set[str]:
    """Return the names that a shard holds, those of refused patients too."""
    if not path.is_file():
        raise InputError(f"{path} is missing: run the features stage first")
    with h5py.File(path, "r") as store:
        return set(store)
