"""Stops training at the first number that is not finite, and keeps the batch that made it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.gmcae.density import PACKAGE
from lungfish.records import atomic

FILE_NAME = "diverged.npz"
NAMED = 4
"""Most patches that the sentence names; the file names all."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class WatchedAdam(keras.optimizers.Adam):
    """Adam that remembers the norm of the last gradient, before it was clipped."""

    def build(self, variables: Any) -> None:
        """Make the optimiser's state."""
        super().build(variables)
        self.gradient_norm = self.add_variable(
            shape=(), initializer="zeros", dtype="float32", name="gradient_norm"
        )

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Update the weights."""
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads if g is not None]
        self.gradient_norm.assign(ops.sqrt(sum(squares[1:], squares[0])))
        return super().apply(grads, trainable_variables)


class Sentinel:
    """Looks at the loss, the gradient and every weight after each step.

    The loss of a step is computed before its update, so that the weights can be lost while the loss
    still looks well; a loss alone would name the batch after the guilty one.

    Parameters
    ----------
    network : keras.Model
        Compiled and built, with its optimiser's state.
    folder : Path
        Where the batch is left; what an earlier run left there is removed.
    """

    def __init__(self, network: keras.Model, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._path.unlink(missing_ok=True)
        optimizer = network.optimizer
        weights = [v.value for v in network.variables if "float" in str(v.dtype)]
        # The optimiser's own state follows from gradients; what is finite there, is finite here.
        norm = getattr(optimizer, "gradient_norm", optimizer.iterations)

        def look() -> Any:
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in weights])
            return tf.stack([tf.cast(finite, "float32"), tf.cast(norm.value, "float32")])

        # One call instead of one a variable: some hundredths of a small network's step.
        self._look: Callable[[], Any] = tf.function(look, autograph=False)
        self._watched = hasattr(optimizer, "gradient_norm")
        self._gradient_norm = math.nan

    def gradient_norm(self) -> float:
        """Return the norm of the gradient before clipping, at the last check; nan if unknown."""
        return self._gradient_norm

    def check(
        self,
        loss: float,
        inputs: NDArray[Any],
        targets: NDArray[Any],
        *,
        epoch: int,
        batch: int,
        origins: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Raise if the step just made left anything that is not finite.

        Parameters
        ----------
        loss : float
            Of the step.
        inputs, targets : ndarrays
            The step's batch.
        epoch, batch : int
            Which step it was, from 1.
        origins : callable
            Returns patient and first voxel of each patch of the batch; asked only in need.

        Raises
        ------
        InputError
            With epoch and batch, the patches, and the file that the batch lies in.
        """
        finite, norm = self._look().numpy().tolist()
        self._gradient_norm = norm if self._watched else math.nan
        if math.isfinite(loss) and finite and math.isfinite(norm):
            return
        named = origins()
        with atomic(self._path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, inputs=inputs, targets=targets, epoch=epoch, batch=batch,
                origins=np.array(named, dtype=np.str_), loss=loss,
                gradient_norm=self.gradient_norm(),
            )  # fmt: skip
        self._refuse(self._what(loss), epoch=epoch, batch=batch, origins=named)

    def _what(self, loss: float) -> str:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if self._watched and not math.isfinite(self._gradient_norm):
            return f"the gradient's norm is {self._gradient_norm}"
        return "a weight is not finite"

    def _refuse(self, what: str, *, epoch: int, batch: int, origins: Sequence[str]) -> NoReturn:
        more = f" and {len(origins) - NAMED} more" if len(origins) > NAMED else ""
        patches = f" ({'; '.join(origins[:NAMED])}{more})" if origins else ""
        raise InputError(
            f"training diverged: {what} at epoch {epoch}, batch {batch}{patches}, which lies in "
            f"{self._path}; look at these patches, or lower gmcae.learning_rate, and run again"
        )


def check_validation(nats: float, *, epoch: int) -> None:
    """Raise if the validation loss is not finite though every weight is.

    Raises
    ------
    InputError
        With the epoch.
    """
    if not math.isfinite(nats):
        raise InputError(
            f"training diverged: the validation loss is {nats} after epoch {epoch}, though every "
            "weight is finite; use gmcae.variance: floored, or lower gmcae.learning_rate"
        )
