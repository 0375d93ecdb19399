"""Settings of the classifier stage, apart so that reading them does not start Keras."""

import dataclasses
from typing import Literal

SCHEMA = "classifier/1"
EPOCH_COLUMNS = ("epoch", "loss", "val_loss")
PREDICTION_COLUMNS = ("patient", "label", "fold", "head", "probability", "calibrated")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a head is built and trained.

    Attributes
    ----------
    head : "spp"
        Kind of head: spatial pyramid pooling and dense layers.
    levels : tuple of int
        Boxes along each axis at each level of the pyramid, 1 or more each; (1, 2, 4) gives
        73 boxes.
    inside_threshold : float
        Cells whose share of lung (0 to 1) is this or less are left out of pooling.
    units : tuple of int
        Width of each dense layer before the sigmoid; (1024, 1024) is the size of kdsb17.
    dropout : float
        Share of dense units silenced in training, 0 to below 1.
    l2 : float
        Weight of the squared dense weights in the loss, 0 or more.
    learning_rate : float
        Of Adam, above 0.
    batch_size : int
        Patients per step, 1 or more.
    epochs : int
        Most passes over the training patients; the inner cross-validation chooses from 0 to this.
    inner_folds : int
        Folds among the training patients, bent to their smaller class; 0 or 1 switches the inner
        cross-validation off.
    uninformed_epochs : int
        Passes where no inner cross-validation could be made.
    """

    head: Literal["spp"] = "spp"
    levels: tuple[int, ...] = (1, 2, 4)
    inside_threshold: float = 0.0
    units: tuple[int, ...] = (64,)
    dropout: float = 0.5
    l2: float = 0.001
    learning_rate: float = 0.001
    batch_size: int = 32
    epochs: int = 60
    inner_folds: int = 3
    uninformed_epochs: int = 20
