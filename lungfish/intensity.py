"""The one map from Hounsfield units to what the networks see."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class HuMap:
    """Clip HU and map them affinely onto [-1, 1].

    Pretraining, features and prediction all use this map; it is stored inside the model, so that
    an encoder never sees another scale than the one it learned on.

    Attributes
    ----------
    low_hu, high_hu : int
        HU that become -1 and 1; what lies beyond is clipped, so that metal and bone do not
        dominate squared errors.
    """

    low_hu: int = -1000
    high_hu: int = 400

    @property
    def hu_per_unit(self) -> float:
        """HU that one unit of the network's scale spans: 700 by default."""
        return (self.high_hu - self.low_hu) / 2

    def to_network(self, hu: NDArray[Any]) -> NDArray[np.float32]:
        """Map HU of any numeric dtype and shape to float32 in [-1, 1]."""
        clipped = np.clip(hu, self.low_hu, self.high_hu).astype(np.float32)
        scaled = (clipped - np.float32(self._middle_hu)) / np.float32(self.hu_per_unit)
        return np.asarray(scaled, np.float32)

    def to_hu(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map values of the network's scale back to HU, float32; values beyond 1 are kept."""
        scaled = np.asarray(values, np.float32) * np.float32(self.hu_per_unit)
        return scaled + np.float32(self._middle_hu)

    @property
    def _middle_hu(self) -> float:
        return (self.high_hu + self.low_hu) / 2
