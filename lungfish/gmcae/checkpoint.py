"""The state of a training run in one file: taken up, a run goes on to the same weights."""

import dataclasses
import hashlib
import json
import logging
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from keras import Model, ops
from numpy.typing import NDArray

from lungfish.records import Record, atomic

Weights = list[NDArray[Any]]
log = logging.getLogger(__name__)


@dataclasses.dataclass
class Journal:
    """What a training run has seen so far: all but the weights that it takes to go on.

    Attributes
    ----------
    epochs, batches : list of dict
        Rows of the two tables; batches of an epoch that is not finished stand there already.
    best : list of ndarray
        Weights of the epoch with the lowest validation loss; empty before the first.
    """

    epochs: list[Record] = dataclasses.field(default_factory=list)
    batches: list[Record] = dataclasses.field(default_factory=list)
    best: Weights = dataclasses.field(default_factory=list)

    def losses(self, epoch: int) -> list[float]:
        """Return the losses of the steps of an epoch made so far."""
        return [row["loss"] for row in self.batches if row["epoch"] == epoch]

    def best_epoch(self) -> int:
        """Return the epoch, from 1, with the lowest validation loss."""
        return int(np.argmin([row["val_loss"] for row in self.epochs])) + 1

    def should_stop(self, *, epochs: int, patience: int) -> bool:
        """Say whether training is over; depends on the table alone, so a resumed run agrees."""
        done = len(self.epochs)
        return done >= epochs or (done > 0 and done - self.best_epoch() >= patience)


def state_key(*parts: Any) -> str:
    """Return a digest of all that a training run depends on; a stale state has another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else str(part).encode())
    return digest.hexdigest()


class Checkpoint:
    """Stores the state of a run from time to time, and takes it up.

    Keras' BackupAndRestore does not do it: it keeps neither the place within an epoch, nor the
    order of the data, nor the best loss.

    Parameters
    ----------
    path : Path
        Of the one file, ``.npz``.
    model : keras.Model
        Compiled and built, with its optimiser's state.
    key : str
        See `state_key`.
    every_minutes : float
        After which `keep` stores again.
    """

    def __init__(self, path: Path, model: Model, key: str, *, every_minutes: float) -> None:
        self._path, self._model, self._key = path, model, key
        self._every_s = 60 * every_minutes
        self._stored = time.monotonic()

    def keep(self, journal: Journal) -> None:
        """Store the state if the last time was long ago."""
        if time.monotonic() - self._stored >= self._every_s:
            self.save(journal)

    def save(self, journal: Journal) -> None:
        """Store weights, optimiser, best weights and journal, whole or not at all."""
        save_state(self._path, self._model, journal, self._key)
        self._stored = time.monotonic()

    def load(self) -> Journal | None:
        """Take up a stored state of the same run; None where there is none.

        What a killed process had half written is removed.
        """
        for half in self._path.parent.glob(f".*.{self._path.name}"):
            half.unlink()
        return load_state(self._path, self._model, self._key)


def _variables(model: Model) -> list[Any]:
    """Return weights and the optimiser's state, in an order that is the model's own."""
    return [*model.variables, *model.optimizer.variables]


def save_state(path: Path, model: Model, journal: Journal, key: str) -> None:
    """Write weights, optimiser, best weights and journal, whole or not at all."""
    tables = json.dumps({"key": key, "epochs": journal.epochs, "batches": journal.batches})
    arrays = {f"v{k}": ops.convert_to_numpy(v) for k, v in enumerate(_variables(model))}
    arrays |= {f"b{k}": weight for k, weight in enumerate(journal.best)}
    with atomic(path) as temporary:
        np.savez(temporary, tables=np.array(tables), **arrays)


def load_state(path: Path, model: Model, key: str) -> Journal | None:
    """Take up a stored state of the same run; None where there is none, or another's."""
    if not path.is_file():
        return None
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file) as state:
            arrays = dict(state)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError):
        log.warning("%s cannot be read: training begins anew", path.name)
        return None
    tables = json.loads(str(arrays["tables"]))
    if tables["key"] != key:
        return None
    for k, variable in enumerate(_variables(model)):
        variable.assign(arrays[f"v{k}"])
    best = [arrays[f"b{k}"] for k in range(sum(name.startswith("b") for name in arrays))]
    return Journal(tables["epochs"], tables["batches"], best)
