"""HDF5 files, written whole or not at all."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from lungfish.records import atomic


@contextmanager
def new_store(path: Path) -> Iterator[h5py.File]:
    """Lend an HDF5 file to fill, and put it on disk if nothing went wrong.

    It is built in memory first: the HDF5 library crashes the process where a disk is full, while
    plain bytes end in an error that a person can read.

    Parameters
    ----------
    path : Path
        Where the file shall stand; its folder is made.

    Yields
    ------
    h5py.File
        Open for writing.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as store:
        yield store
    with atomic(path) as temporary:
        temporary.write_bytes(memory.getbuffer())
