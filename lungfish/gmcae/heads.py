"""What the two heads have in common: a loss, an image, a density at each voxel, draws."""

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from lungfish.gmcae import density, voxel
from lungfish.gmcae.settings import Settings

Array = NDArray[np.float32]


class Head(Protocol):
    """How the network's output is read. Values are on the scale of `intensity.HuMap`."""

    def loss(self) -> keras.losses.Loss:
        """Return the loss in nats per voxel."""

    def nats(self, target: Array, output: Any) -> Array:
        """Return -log p of each patch a voxel, shape (n,), from targets (n, c)."""

    def surprise(self, target: Array, output: Any) -> Array:
        """Return -log p of each voxel, shape (n, c), in nats."""

    def image(self, output: Any) -> Array:
        """Return the reconstruction, shape (n, c)."""

    def shares(self, target: Array, output: Any) -> Array:
        """Return how much of each patch each component explains, shape (n, m), summing to 1."""

    def draw(self, output: Any, rng: np.random.Generator) -> Array:
        """Draw patches from the density, shape (n, c)."""


@dataclasses.dataclass(frozen=True)
class PatchHead:
    """One mixture for a whole patch; see `density`.

    Attributes
    ----------
    components, voxels : int
        m and c.
    rule : "prior" or "mode"
        Which component makes the image; see `density.choose`.
    """

    components: int
    voxels: int
    rule: str = "prior"

    def loss(self) -> keras.losses.Loss:
        """Return the loss in nats per voxel."""
        return density.GaussianMixtureLoss(self.components, self.voxels)

    def nats(self, target: Array, output: Any) -> Array:
        """Return -log p of each patch a voxel, shape (n,)."""
        total = density.negative_log_likelihood(
            target, output, components=self.components, voxels=self.voxels
        )
        return np.asarray(ops.convert_to_numpy(total) / self.voxels)

    def surprise(self, target: Array, output: Any) -> Array:
        """Return -log p of each voxel under the chosen component, shape (n, c), in nats."""
        mean, sigma, _ = self._chosen(output)
        return np.asarray(
            density.HALF_LOG_TWO_PI + np.log(sigma) + 0.5 * ((target - mean) / sigma) ** 2,
            np.float32,
        )

    def image(self, output: Any) -> Array:
        """Return the mean of the chosen component, shape (n, c)."""
        return np.asarray(self._chosen(output)[0])

    def shares(self, target: Array, output: Any) -> Array:
        """Return 1 for the chosen component and 0 for the others, shape (n, m)."""
        return np.asarray(np.eye(self.components, dtype=np.float32)[self._chosen(output)[2]])

    def draw(self, output: Any, rng: np.random.Generator) -> Array:
        """Draw patches: a component by its prior, then every voxel round its mean."""
        return density.draw_patches(output, rng, components=self.components, voxels=self.voxels)

    def _chosen(self, output: Any) -> tuple[Array, Array, NDArray[Any]]:
        means, chosen = density.reconstruct(
            output, components=self.components, voxels=self.voxels, rule=self.rule
        )
        variances = ops.convert_to_numpy(output)[:, self.components : 2 * self.components]
        sigma = np.sqrt(np.take_along_axis(variances, chosen[:, None], axis=1))
        return means, sigma, chosen


@dataclasses.dataclass(frozen=True)
class VoxelHead:
    """A mixture for each voxel; see `voxel`."""

    def loss(self) -> keras.losses.Loss:
        """Return the loss in nats per voxel."""
        return voxel.VoxelMixtureLoss()

    def nats(self, target: Array, output: Any) -> Array:
        """Return -log p of each patch a voxel, shape (n,)."""
        return np.asarray(self.surprise(target, output).mean(axis=1, dtype=np.float64), np.float32)

    def surprise(self, target: Array, output: Any) -> Array:
        """Return -log p of each voxel, shape (n, c), in nats."""
        return np.asarray(-ops.convert_to_numpy(voxel.voxel_log_likelihood(target, output)))

    def image(self, output: Any) -> Array:
        """Return the expected value of each voxel, shape (n, c)."""
        return np.asarray(ops.convert_to_numpy(voxel.mixture_mean(output)))

    def shares(self, target: Array, output: Any) -> Array:
        """Return the mean responsibility of each component for a patch's voxels, shape (n, m)."""
        shares = ops.convert_to_numpy(voxel.responsibilities(target, output))
        return np.asarray(shares.mean(axis=1))

    def draw(self, output: Any, rng: np.random.Generator) -> Array:
        """Draw each voxel from its own mixture, shape (n, c)."""
        return voxel.draw_voxels(output, rng)


def head_of(settings: Settings, *, voxels: int) -> Head:
    """Return the head that settings name, for patches of c voxels."""
    if settings.head == "voxel":
        return VoxelHead()
    return PatchHead(settings.components, voxels, settings.rule)
