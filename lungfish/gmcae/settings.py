"""Settings of the autoencoder; free of Keras, so that scripts answer `--help` at once."""

import dataclasses
from typing import Literal

from lungfish.errors import InputError

MOST_CHANNELS = 512
"""Voxels of a cell: a linear code of more numbers has nothing left to say."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large the autoencoder is and how it is trained.

    Attributes
    ----------
    design : "anchored" or "layered"
        Anchored starts at the linear answer, a block KLT with its ridge decoder, and learns what
        that misses; layered is the network of kdsb17, which starts from nothing.
    head : "voxel" or "patch"
        A mixture for each voxel, or kdsb17's one mixture for a whole patch.
    filters : tuple of int
        Channels of the three levels; (64, 128, 256) is the size of kdsb17. The last is the number
        of features of a cell, at most 512 where anchored.
    normalisation : "none" or "channels"
        Whether the channels of each voxel are normalised after a convolution.
    residual : bool
        Skips round the convolutions of stride 1 of the layered design.
    components : int
        Gaussians of the mixture, m.
    variance : "floored", "shifted_elu" or "kdsb17"
        Of the patch head: how the variance is kept positive. A soft floor below its logarithm;
        x + 1 above 0 and exp(x) below, with a hard floor; or the same without one, which
        is kdsb17's and becomes exactly 0 in float32.
    rule : "prior" or "mode"
        Of the patch head: whose mean is the reconstruction, the component with the largest prior or
        that with the highest mode; never one with a prior below 0.001.
    symmetries : "cube" or "in_plane"
        Patches are turned by the 48 symmetries of the cube, or by the 16 that leave the patient's
        axis in its place: slices are thicker than their pixels, also after resampling.
    jitter_hu : float
        Standard deviation in HU of an offset added to a whole patch; 0 adds none.
    jitter_scale : float
        Standard deviation of a factor, of mean 1, that stretches HU about -1000; 0 stretches none.
    blur_voxel : float
        Largest standard deviation, in voxels, of a blur along each axis; 0 blurs none.
    noise_hu : float
        Largest standard deviation, in HU, of added noise; 0 adds none.
    batch_size : int
        Patches of a step.
    steps_per_epoch : int
        Steps of an epoch.
    epochs : int
        Most epochs.
    patience : int
        Epochs without a better validation loss after which training stops.
    learning_rate : float
        Of Adam, after the warm-up; it falls to 2 % of this along a cosine.
    warmup_steps : int
        Steps over which the learning rate rises from 0.
    clipnorm : float
        Norm to which the gradient is clipped, in nats per voxel a unit of weight.
    validation_share : float
        Share of the patients kept for validation, 0 to 1; at least one where there are two.
    validation_patches : int
        Most patches that the validation loss is computed on; fixed.
    examples : int
        Validation patches stored with their reconstruction.
    checkpoint_minutes : float
        Minutes after which the state is stored within an epoch too, so that a kill loses no more;
        0 stores it after each step. The weights do not depend on it.
    """

    design: Literal["anchored", "layered"] = "anchored"
    head: Literal["voxel", "patch"] = "voxel"
    filters: tuple[int, ...] = (24, 48, 32)
    normalisation: Literal["none", "channels"] = "none"
    residual: bool = False
    components: int = 2
    variance: Literal["floored", "shifted_elu", "kdsb17"] = "floored"
    rule: Literal["prior", "mode"] = "prior"
    symmetries: Literal["cube", "in_plane"] = "in_plane"
    jitter_hu: float = 0.0
    jitter_scale: float = 0.0
    blur_voxel: float = 0.9
    noise_hu: float = 40.0
    batch_size: int = 8
    steps_per_epoch: int = 200
    epochs: int = 16
    patience: int = 8
    learning_rate: float = 0.0003
    warmup_steps: int = 100
    clipnorm: float = 1.0
    validation_share: float = 0.2
    validation_patches: int = 64
    examples: int = 6
    checkpoint_minutes: float = 2.0

    def __post_init__(self) -> None:
        if len(self.filters) != 3 or min(self.filters) < 1:
            raise InputError(
                f"gmcae.filters: expected the channels of three levels, found {self.filters}"
            )
        if self.design == "anchored" and not 2 <= self.filters[-1] <= MOST_CHANNELS:
            raise InputError(
                f"gmcae.filters: the anchored design has 2 to {MOST_CHANNELS} features a cell, at "
                f"most one for each of its voxels, found {self.filters[-1]}"
            )
