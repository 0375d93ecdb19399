"""A trained autoencoder as the pages see it, read from its folder."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.records import Record, read_json, read_table

Row = Mapping[str, str]
Patches = NDArray[np.int16]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What the model drew itself; HU, axes (z, y, x).

    Attributes
    ----------
    drawn : ndarray of int16, shape (n, 32, 32, 32)
        From the density, given each example's code.
    free, free_mean : ndarray of int16, shape (n, 32, 32, 32)
        From the density, given a code that was drawn too; and that code's image.
    responsibility : ndarray of uint8, shape (n, 32, 32, m)
        Of each component in the examples' middle axial plane, in 255ths.
    fitted : int
        Training patches behind the codes that were drawn.
    """

    drawn: Patches
    free: Patches
    free_mean: Patches
    responsibility: NDArray[np.uint8]
    fitted: int


@dataclasses.dataclass(frozen=True)
class Examples:
    """Validation patches before and after the autoencoder.

    Attributes
    ----------
    before, after : numpy.ndarray of int16, shape (n, 32, 32, 32)
        Input and reconstruction in HU, axes (z, y, x).
    component : numpy.ndarray of int, shape (n,)
        The mixture component that explains most of each patch.
    samples : Drawn or None
        None in stores made before there were samples.
    """

    before: Patches
    after: Patches
    component: NDArray[np.int64]
    samples: Drawn | None = None


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """One trained GMCAE.

    Attributes
    ----------
    scope : str
    epochs : tuple of mappings
        Rows of text.
    examples : Examples or None
    record : dict
        Of ``gmcae.json``; empty where there is none.
    """

    scope: str
    epochs: tuple[Row, ...]
    examples: Examples | None
    record: Record = dataclasses.field(default_factory=dict)


def read_autoencoder(folder: Path) -> Autoencoder:
    """Read what there is of one scope; the folder's name is the scope."""
    stored, record = folder / "examples.h5", folder / "gmcae.json"
    return Autoencoder(
        scope=folder.name,
        epochs=tuple(read_table(folder / "epochs.tsv")),
        examples=read_examples(stored) if stored.is_file() else None,
        record=read_json(record, "gmcae/1") if record.is_file() else {},
    )


def read_examples(path: Path) -> Examples | None:
    """Read validation patches, their reconstructions and samples; None if there are none.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as store:
            if "input" not in store:  # the scope was refused
                return None
            before, after = store["input"][:], store["reconstruction"][:]
            component = store["component"][:].astype(np.int64)
            samples = _read_samples(store) if "free" in store else None
    except (OSError, KeyError):
        raise InputError(f"{path.name} cannot be read: rerun the gmcae stage") from None
    return Examples(before, after, component, samples) if len(before) else None


def _read_samples(store: h5py.File) -> Drawn:
    names = ("drawn", "free", "free_mean", "responsibility")
    arrays = {name: store[name][:] for name in names}
    return Drawn(**arrays, fitted=int(store.attrs["fitted"]))
