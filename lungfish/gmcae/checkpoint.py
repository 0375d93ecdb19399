"""The state of a training run in one file: taken up, a run goes on to the same weights."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from keras import Model, ops
from numpy.typing import NDArray

from lungfish.records import Record, atomic

Weights = list[NDArray[Any]]


@dataclasses.dataclass
class Journal:
    """What a training run has seen so far.

    Attributes
    ----------
    epochs, batches : list of dict
        Rows of the two tables.
    best : list of ndarray
        Weights of the epoch with the lowest validation loss; empty before the first.
    """

    epochs: list[Record] = dataclasses.field(default_factory=list)
    batches: list[Record] = dataclasses.field(default_factory=list)
    best: Weights = dataclasses.field(default_factory=list)

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


def load_state(path: Path, model: Model, key: str) -> Journal:
    """Take up a saved state of the same run, or return an empty journal."""
    if not path.is_file():
        return Journal()
    with np.load(path) as state:
        tables = json.loads(str(state["tables"]))
        if tables["key"] != key:
            return Journal()
        for k, variable in enumerate(_variables(model)):
            variable.assign(state[f"v{k}"])
        count = sum(name.startswith("b") for name in state.files)
        best = [state[f"b{k}"] for k in range(count)]
    return Journal(tables["epochs"], tables["batches"], best)
