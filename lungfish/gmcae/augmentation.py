"""Patches varied as scanners vary: turned, blurred, made noisy, shifted and stretched in HU."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.gmcae.settings import Settings
from lungfish.symmetry import Symmetry, apply, symmetries
from lungfish.volume import AIR_HU as BEYOND_HU

AIR_HU = -1000
"""Air by definition; a scanner's fill for what lies beyond its field of view is `BEYOND_HU`."""


@functools.cache
def allowed(name: str) -> tuple[Symmetry, ...]:
    """Return the symmetries of a name in `Settings.symmetries`: 48 or 16."""
    if name == "cube":
        return symmetries()
    return tuple(one for one in symmetries() if one[0][0] == 0)


def vary(patch: NDArray[Any], settings: Settings, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a patch as another scanner might have shown it.

    First it is turned, then blurred, then gets noise, then HU are stretched and shifted, then they
    are rounded, as a scanner stores them. Half of the patches are not blurred, and half get no
    noise. Voxels at `BEYOND_HU` or below stay as they are: a scanner's fill has no noise. Nothing
    is clipped here: what the network does not see is clipped once, after all this.

    The random numbers drawn do not depend on which of the options are on, so that one can be turned
    on without changing the others.

    Parameters
    ----------
    patch : ndarray, shape (32, 32, 32)
        HU.
    settings : Settings
    rng : numpy.random.Generator
        Of this patch in this epoch alone.

    Returns
    -------
    ndarray of float32, shape (32, 32, 32)
        Whole HU; a new array.
    """
    choices = allowed(settings.symmetries)
    turn = choices[int(rng.integers(len(choices)))]
    offset, stretch = rng.standard_normal(2)
    blurred, noisy = np.maximum(0, 2 * rng.random(2) - 1)
    widths, grains = rng.random((2, 3))
    hu = np.array(apply(turn, patch), np.float32, order="C")
    beyond = hu <= BEYOND_HU
    smooth(hu, settings.blur_voxel * blurred * widths)
    if settings.noise_hu * noisy:
        # Between white and the grain of a smooth kernel, along each axis its own.
        hu += np.float32(settings.noise_hu * noisy) * grainy(hu.shape, grains, rng)
    factor = 1 + settings.jitter_scale * stretch
    if factor != 1:
        hu *= np.float32(factor)
    shift = (factor - 1) * -AIR_HU + settings.jitter_hu * offset
    if shift:
        hu += np.float32(shift)
    np.rint(hu, out=hu)
    np.copyto(hu, BEYOND_HU, where=beyond)
    return hu


def smooth(values: NDArray[np.float32], widths_voxel: Sequence[float] | NDArray[Any], *,
           around: bool = False) -> None:  # fmt: skip
    """Blur in place, along each axis by its own width.

    Heat flows from each voxel to its neighbours, a few short steps long: the kernel's variance is
    exactly the width's square, its transfer is nowhere negative, and the sum of the values is kept.
    That is a third of the cost of a sampled Gaussian, and the same bits on every machine.

    Parameters
    ----------
    values : ndarray of float32
        Changed.
    widths_voxel : sequence of float
        Standard deviation along each axis; 0 leaves the axis as it is.
    around : bool
        Whether the last plane is the first one's neighbour; else nothing flows over the border.
    """
    for axis, width in enumerate(widths_voxel):
        steps, flow = _steps(float(width))
        line = values.swapaxes(0, axis)
        for _ in range(steps):
            over = (line[0] - line[-1]) * flow if around else None
            moved = line[1:] - line[:-1]
            moved *= flow
            line[:-1] += moved
            line[1:] -= moved
            if over is not None:
                line[-1] += over
                line[0] -= over


def _steps(width: float) -> tuple[int, np.float32]:
    """Return how many steps make a width, and the share that flows to each neighbour in one.

    A step's kernel is (a, 1 - 2 a, a): its variance is 2 a, and with a up to a quarter its transfer
    1 - 2 a (1 - cos w) is not negative.
    """
    variance = width**2
    steps = max(2, math.ceil(2 * variance)) if variance else 0
    return steps, np.float32(variance / (2 * max(steps, 1)))


def grainy(
    shape: tuple[int, ...], widths_voxel: Sequence[float] | NDArray[Any], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw noise of mean 0 and standard deviation 1 that has a grain.

    Parameters
    ----------
    shape : tuple of int
    widths_voxel : sequence of float
        Of the blur of white noise, along each axis.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32
        Each voxel has the same deviation: the blur runs around the borders.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth(noise, widths_voxel, around=True)
    noise *= np.float32(1 / math.prod(_gain(float(width), length) for width, length in
                                      zip(widths_voxel, shape, strict=True)))  # fmt: skip
    return noise


def _gain(width: float, length: int) -> float:
    """Return the standard deviation that white noise keeps when it is blurred along one axis."""
    steps, flow = _steps(width)
    waves = np.cos(2 * np.pi * np.arange(length) / length)
    transfer = (1 - 2 * float(flow) * (1 - waves)) ** steps
    return math.sqrt(float(np.mean(transfer**2)))
