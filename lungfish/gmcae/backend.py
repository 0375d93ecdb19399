"""TensorFlow started quietly, with the threads it was given, and chance seeded; networks saved."""

import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lungfish.randomness import stable_hash
from lungfish.records import atomic

# Remarks about CPU instructions say nothing to the reader of a log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def _standard_error_to_nowhere() -> Iterator[None]:
    """Drop what C++ prints; TensorFlow 2.21 greets on standard error whatever its level is set to.

    A failing import still shows: its exception travels through Python.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _standard_error_to_nowhere():
    import keras
    import tensorflow as tf

FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def start(*, threads: int | None, seed: int, purpose: str) -> None:
    """Bind TensorFlow to a number of threads and seed all that Keras draws.

    Parameters
    ----------
    threads : int or None
        Threads inside an operation; None leaves the choice to TensorFlow. Results are equal to the
        last bit only at an equal number of threads on one machine.
    seed : int
        Of the run.
    purpose : str
        What the seed is for, such as ``gmcae/cohort``.
    """
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # its advice on tracing is not for users
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(stable_hash(str(seed), purpose) % 2**31)


def save_network(path: Path, network: keras.Model) -> None:
    """Save a network as ``.keras``, whole or not at all; equal networks give equal files.

    Keras writes the date into the archive's metadata and into its entries, and addresses in memory
    into its configuration; the dates are fixed, and what shares an address is numbered instead.
    """
    with atomic(path) as temporary:
        network.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            entries = {name: archive.read(name) for name in sorted(archive.namelist())}
        metadata = json.loads(entries["metadata.json"])
        metadata.pop("date_saved", None)
        entries["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
        entries["config.json"] = _number_shared_objects(entries["config.json"].decode()).encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in entries.items():
                archive.writestr(zipfile.ZipInfo(name, FIXED_DATE), content)
        temporary.write_bytes(packed.getvalue())


def _number_shared_objects(config: str) -> str:
    """Replace the address of each shared object by its number in order of appearance."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers) + 1)}"

    return re.sub(r'("shared_object_id": )(\d+)', number, config)
