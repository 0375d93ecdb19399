"""Settings of the autoencoder; free of Keras, so that scripts answer `--help` at once."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large the autoencoder is and how it is trained.

    Attributes
    ----------
    filters : tuple of int
        Channels of the three levels; (64, 128, 256) is the size of kdsb17. The last is the number
        of features of a cell.
    components : int
        Gaussians of the mixture, m.
    variance : "floored" or "shifted_elu"
        How the variance is kept positive: a soft floor below its logarithm, or kdsb17's x + 1 above
        0 and exp(x) below, with a hard floor.
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
    """

    filters: tuple[int, ...] = (8, 16, 32)
    components: int = 4
    variance: Literal["floored", "shifted_elu"] = "floored"
    batch_size: int = 2
    steps_per_epoch: int = 256
    epochs: int = 10
    patience: int = 5
    learning_rate: float = 0.003
    warmup_steps: int = 100
    clipnorm: float = 1.0
    validation_share: float = 0.2
    validation_patches: int = 64
    examples: int = 6
