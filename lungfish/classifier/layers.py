"""Keras layers of the classifier, fit for anybody's Keras project."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from lungfish.classifier.pooling import LEVELS, check_levels, pyramid_length

LIMIT = 5.0
"""How many training standard deviations a standardised feature may reach."""


@keras.saving.register_keras_serializable(package="lungfish")
class SpatialPyramidPooling3D(keras.layers.Layer):
    """Pool volumes of any size into vectors of one length, losing no voxel.

    Maxima of each channel over the boxes of a pyramid, as `pooling.spatial_pyramid` in NumPy
    computes them. Sizes may be None and may be as small as 1; the gradient goes to the maxima.

    It slices and takes maxima, and uses neither ``AdaptiveMaxPooling3D`` nor a pooling window:
    TensorFlow ends the whole process with SIGFPE where such a window is longer than the axis.

    Parameters
    ----------
    levels : sequence of int
        Boxes along each axis, level by level; (1, 2, 4) gives 73 boxes.
    **options
        Of every Keras layer, such as ``name``.

    Notes
    -----
    Input shape (batch, z, y, x, channels); output shape (batch, channels * sum(level ** 3)), order
    level, then box z, y, x (x fastest), then channel.

    Examples
    --------
    A classifier of volumes of any size::

        scan = keras.Input((None, None, None, 1))
        features = keras.layers.Conv3D(16, 3, activation="relu")(scan)
        vector = SpatialPyramidPooling3D(levels=(1, 2, 4))(features)
        model = keras.Model(scan, keras.layers.Dense(1, activation="sigmoid")(vector))
    """

    def __init__(self, levels: Sequence[int] = LEVELS, **options: Any) -> None:
        super().__init__(**options)
        self.levels = check_levels(levels)

    def call(self, inputs: Any) -> Any:
        """Pool a tensor (batch, z, y, x, channels) to (batch, length)."""
        width = [level**3 * inputs.shape[-1] for level in self.levels]
        pooled = [
            ops.reshape(self._level(inputs, level), (-1, size))
            for level, size in zip(self.levels, width, strict=True)
        ]
        return ops.concatenate(pooled, axis=1)

    @staticmethod
    def _level(values: Any, bins: int) -> Any:
        """Return the maxima of one level, shape (batch, bins, bins, bins, channels)."""
        for axis in (1, 2, 3):
            # The size is a number where it is known and a scalar tensor where it is not; the edges
            # of pooling.bin_edges hold for both, so the rounding up is written without negatives.
            count = ops.shape(values)[axis]
            before = (slice(None),) * axis
            parts = [
                ops.max(
                    values[
                        (*before, slice(i * count // bins, ((i + 1) * count + bins - 1) // bins))
                    ],
                    axis=axis,
                )
                for i in range(bins)
            ]
            values = ops.stack(parts, axis=axis)
        return values

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, int]:
        """Return (batch, channels * sum(level ** 3)); the channels must be known."""
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"expected a known number of channels, found shape {input_shape}")
        return input_shape[0], pyramid_length(channels, self.levels)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "levels": list(self.levels)}


@keras.saving.register_keras_serializable(package="lungfish")
class Standardise(keras.layers.Layer):
    """Bring each feature to mean 0 and standard deviation 1 of the training patients.

    The statistics are weights that no training moves, so a saved head carries those of its own
    training patients. Results are clipped to five standard deviations either way: a feature that
    was almost constant in training must not decide alone on a new scan. A feature that was
    constant becomes 0.

    Notes
    -----
    Input and output shape (batch, features), float32.
    """

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the statistics: mean 0 and scale 1 until `adapt`."""
        size = (input_shape[-1],)
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=size, initializer="ones", trainable=False, name="scale")

    def adapt(self, vectors: NDArray[np.float32]) -> None:
        """Take the statistics from training vectors, shape (patients, features)."""
        spread = vectors.std(axis=0, dtype=np.float64)
        varies = spread > 1e-6
        self.mean.assign(vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
        self.scale.assign(np.where(varies, 1 / np.where(varies, spread, 1), 0).astype(np.float32))

    def call(self, inputs: Any) -> Any:
        """Standardise a tensor (batch, features)."""
        return ops.clip((inputs - self.mean) * self.scale, -LIMIT, LIMIT)
