"""Training of the U-Net on digital patients, equal for equal seeds, cases and threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lungfish.lungs.unet import grid
from lungfish.lungs.unet.augmentation import Example, vary
from lungfish.lungs.unet.cases import read_case
from lungfish.lungs.unet.network import CLASSES, build_network
from lungfish.randomness import generator

Floats = NDArray[np.float32]
FIELD_VOXEL = (80, 64, 96)
"""Field of training: 320 x 256 x 384 mm, most of a chest without arms."""
BATCH = 2
PEAK_RATE = 2e-3
WARM_UP_STEPS = 40
AHEAD = 4
"""Batches made while the network learns."""
AIRLESS_WEIGHT = 3.0
"""How many voxels of air one of mass, consolidation or effusion counts for: they are few, and what
the network is for."""

Batch = tuple[Floats, Floats, Floats]
"""Scans (n, z, y, x, 3), truths (n, z, y, x, 3) and weights (n, z, y, x); truth and weight are 0
beyond the scan."""


def train(
    files: Sequence[Path], *, steps: int, seed: int, tell: Callable[[str], None]
) -> keras.Model:
    """Train a U-Net; its chance follows from the seed alone.

    Parameters
    ----------
    files : sequence of Path
        Cases, as `cases.store_case` wrote them.
    steps : int
        Batches to learn from.
    seed : int
    tell : callable
        Told a line on loss and Dice now and then.

    Returns
    -------
    keras.Model
        As `network.build_network` makes it.
    """
    tf.config.experimental.enable_op_determinism()
    network = build_network()
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_RATE / 10, steps - WARM_UP_STEPS, warmup_target=PEAK_RATE, warmup_steps=WARM_UP_STEPS
    )
    learn = make_step(network, keras.optimizers.Adam(rate, global_clipnorm=1.0))
    recent: list[tuple[float, float]] = []
    for step, batch in enumerate(batches(files, steps=steps, seed=seed), start=1):
        loss, dice = learn(*map(tf.constant, batch))
        recent.append((float(loss), float(dice)))
        if step % 25 == 0 or step == steps:
            mean_loss, mean_dice = np.mean(recent, axis=0)
            tell(f"step {step} of {steps}: loss {mean_loss:.4f}, Dice {mean_dice:.4f}")
            recent.clear()
    return network


def make_step(
    network: keras.Model, optimizer: keras.Optimizer
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Return the function that learns from one batch and returns its loss and its mean Dice."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def learn(
        scans: tf.Tensor, truths: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            found = network(scans, training=True)
            dice = tf.reduce_mean(soft_dice(truths, found))
            loss = cross_entropy(truths, found, weights) + 1 - dice
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss, dice

    return learn  # type: ignore[no-any-return]


def soft_dice(truths: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Return the Dice of each example and lung, soft on both sides (F. Milletari et al., 2016).

    Parameters
    ----------
    truths, found : tensor, shape (n, z, y, x, 3)
        Shares and probabilities of elsewhere, right and left.

    Returns
    -------
    tensor, shape (n, 2)
        1 is best; a lung that is in neither has 1.
    """
    axes, smooth = (1, 2, 3), 20.0
    both = tf.reduce_sum(truths[..., 1:] * found[..., 1:], axes)
    either = tf.reduce_sum(truths[..., 1:] ** 2 + found[..., 1:] ** 2, axes)
    return (2 * both + smooth) / (either + smooth)


def cross_entropy(truths: tf.Tensor, found: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean of the cross-entropy within the scans, in nats."""
    nats = -tf.reduce_sum(truths * tf.math.log(found + 1e-7), -1)
    return tf.reduce_sum(weights * nats) / tf.reduce_sum(weights)


def batches(files: Sequence[Path], *, steps: int, seed: int) -> Iterator[Batch]:
    """Yield batches of varied cases, each case once in every round, made a few ahead."""
    rounds = -(-steps * BATCH // len(files))
    random = generator(seed, "lungs-unet", "order")
    order = np.concatenate([random.permutation(len(files)) for _ in range(rounds)])

    def make(step: int) -> Batch:
        found = [
            example(files[order[k]], generator(seed, "lungs-unet", "vary", k))
            for k in range(step * BATCH, step * BATCH + BATCH)
        ]
        scans, truths, weights = (np.stack(parts) for parts in zip(*found, strict=True))
        return scans, truths, weights

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, step) for step in range(min(AHEAD, steps))]
        for step in range(steps):
            if step + AHEAD < steps:
                waiting.append(pool.submit(make, step + AHEAD))
            yield waiting.pop(0).result()


def example(file: Path, random: np.random.Generator) -> Batch:
    """Return a varied case on the field of training: scan, truth and weight, without n."""
    hu, shares = window(vary(read_case(file), random), random)
    z, y, x = hu.shape
    truth = np.zeros((*FIELD_VOXEL, CLASSES), np.float32)
    truth[:z, :y, :x, 1:] = shares[..., :2]
    truth[:z, :y, :x, 0] = 1 - shares[..., :2].sum(axis=-1)
    weight = np.zeros(FIELD_VOXEL, np.float32)
    weight[:z, :y, :x] = 1 + (AIRLESS_WEIGHT - 1) * shares[..., 2]
    return grid.to_channels(hu, FIELD_VOXEL), truth, weight


def window(found: Example, random: np.random.Generator) -> Example:
    """Cut an example to the box that the network would see, and to the field of training."""
    hu, shares = found
    box = []
    for part, most in zip(grid.seen_box(hu), FIELD_VOXEL, strict=True):
        spare = max(0, part.stop - part.start - most)
        start = part.start + int(random.integers(spare + 1))
        box.append(slice(start, min(part.stop, start + most)))
    kept = tuple(box)
    return hu[kept], shares[kept]
