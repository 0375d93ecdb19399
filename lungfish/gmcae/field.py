"""Which input voxels a cell of an encoder sees, derived from the encoder's layers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from lungfish.errors import InputError

Span = tuple[int, int]
WINDOWS = (
    layers.Conv3D, layers.MaxPooling3D, layers.AveragePooling3D,
)  # fmt: skip
BY_VOXEL = (
    layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Add, layers.Subtract,
    layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate,
    layers.LayerNormalization, layers.BatchNormalization, layers.Dense, layers.Identity,
    layers.Dropout, layers.SpatialDropout3D, layers.GaussianNoise, layers.Rescaling,
)  # fmt: skip
"""Layers that act on each voxel by itself once they are trained."""


@dataclasses.dataclass(frozen=True)
class Reach:
    """What a layer's output j sees of its input: stride * j - before to stride * j + after.

    A layer of one's own says so in a method ``reach() -> Reach``. Padding by p voxels in front is
    ``Reach(1, p, -p)``: output j is input j - p.

    Attributes
    ----------
    stride, before, after : int
        In voxels of the layer's input, equal on all axes.
    """

    stride: int
    before: int
    after: int


@dataclasses.dataclass(frozen=True)
class Field:
    """Which input voxels a cell sees: cell j sees stride * j + first to stride * j + last."""

    stride: int
    first: int
    last: int

    @property
    def halo(self) -> Span:
        """Voxels that a tile needs before and after itself, in multiples of the stride."""
        before = max(0, -(self.first // self.stride) * self.stride)
        after = max(0, -(-(self.last - self.stride + 1) // self.stride) * self.stride)
        return before, after

    def beyond(self, reach: Reach) -> "Field":
        """Return what a cell after one more layer sees."""
        return Field(
            self.stride * reach.stride,
            self.first - reach.before * self.stride,
            self.last + reach.after * self.stride,
        )


def receptive_field(model: keras.Model) -> Field:
    """Derive which voxels a cell of an encoder sees, from its kernels, strides and paddings.

    Where paths meet again, a cell sees what it sees along any of them.

    Parameters
    ----------
    model : keras.Model
        Functional, of convolutions, poolings, paddings, layers that act on each voxel alone, and
        layers with a method ``reach`` (see `Reach`), one after the other or side by side.

    Raises
    ------
    InputError
        If a layer is none of these, is dilated, differs by axis, or if paths of other strides meet.
    """
    # In the order of the layers everything has been seen before it is used.
    fields: dict[int, Field] = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            fields[id(layer.output)] = Field(1, 0, 0)
            continue
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        met = [fields[id(tensor)] for tensor in inputs]
        if len({field.stride for field in met}) > 1:
            raise InputError(f"encoder layer {layer.name}: its inputs have different strides")
        first, last = min(field.first for field in met), max(field.last for field in met)
        fields[id(layer.output)] = Field(met[0].stride, first, last).beyond(reach_of(layer))
    return fields[id(model.output)]


def reach_of(layer: keras.layers.Layer) -> Reach:
    """Return what a layer's output sees of its input.

    Raises
    ------
    InputError
        If that is unknown; see `receptive_field`.
    """
    if hasattr(layer, "reach"):
        found: Reach = layer.reach()
        return found
    if isinstance(layer, layers.ZeroPadding3D):
        front = _one(layer, "padding", [pair[0] for pair in layer.padding])
        return Reach(1, front, -front)
    if isinstance(layer, WINDOWS):
        return _window(layer)
    if isinstance(layer, BY_VOXEL) and _on_channels(layer):
        return Reach(1, 0, 0)
    raise InputError(
        f"encoder layer {layer.name}: how far a {type(layer).__name__} looks is unknown, so its "
        "halo cannot be derived: give it a method reach (see lungfish.gmcae.field)"
    )


def _window(layer: keras.layers.Layer) -> Reach:
    """Return the reach of a convolution or a pooling.

    With 'same' padding and a length that the stride divides, k - s voxels are padded, the smaller
    half of them before: none before and one after for a kernel of 3 at stride 2.
    """
    dilation = _one(layer, "dilation", getattr(layer, "dilation_rate", (1,)))
    if dilation != 1 or layer.padding not in ("same", "valid"):
        raise InputError(
            f"encoder layer {layer.name}: expected padding 'same' or 'valid' without dilation, "
            f"found {layer.padding!r} and {dilation}: its halo cannot be derived"
        )
    window = layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size
    size, stride = _one(layer, "window", window), _one(layer, "stride", layer.strides)
    before = max(0, size - stride) // 2 if layer.padding == "same" else 0
    return Reach(stride, before, size - 1 - before)


def _one(layer: keras.layers.Layer, name: str, values: Sequence[int]) -> int:
    """Return what is equal on all axes."""
    if len(set(values)) > 1:
        raise InputError(
            f"encoder layer {layer.name}: expected one {name} for all axes, found {tuple(values)}: "
            "cells must be cubes"
        )
    return int(values[0])


def _on_channels(layer: keras.layers.Layer) -> bool:
    """Say whether what a layer does along an axis, it does along that of the channels."""
    axis: Any = getattr(layer, "axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return all(each in (-1, 4) for each in axes)
