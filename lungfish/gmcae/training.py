"""Training of the autoencoder: an epoch at a time, judged on fixed patches of other patients."""

import dataclasses
import functools
import logging
import math
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from lungfish.gmcae.batches import Patches, epoch_batches, evenly, fixed_batches
from lungfish.gmcae.board import write_events
from lungfish.gmcae.checkpoint import Checkpoint, Journal, state_key
from lungfish.gmcae.density import refuse_low_precision
from lungfish.gmcae.heads import head_of
from lungfish.gmcae.loading import WORKERS, places
from lungfish.gmcae.network import VOXELS, anchor, build_gmcae
from lungfish.gmcae.sentinel import Sentinel, WatchedAdam, check_validation
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.provenance import code_digest
from lungfish.randomness import stable_hash
from lungfish.records import Record

log = logging.getLogger(__name__)

EPOCH_COLUMNS = (
    "epoch", "loss", "val_loss", "val_nats_per_voxel", "val_bits_per_voxel", "val_rmse_hu",
    "components_used", "learning_rate",
)  # fmt: skip
BATCH_COLUMNS = ("epoch", "batch", "loss", "gradient_norm")
LEAST_SHARE = 0.01
"""A component is used if it explains at least this share of any one validation patch."""
ANCHOR_PATCHES = 4096
"""Most patches that the linear code is fitted to: 260,000 blocks for 864 unknowns each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained autoencoder.

    Attributes
    ----------
    network : keras.Model
        With the weights of the best epoch.
    journal : Journal
        Tables of epochs and batches.
    reconstructions : ndarray of float32, shape (n, 32, 32, 32)
        Of the validation patches, in HU.
    shares : ndarray of float32, shape (n, m)
        How much of each of them each component explains, summing to 1.
    """

    network: keras.Model
    journal: Journal
    reconstructions: NDArray[np.float32]
    shares: NDArray[np.float32]


def train(
    patches: Patches,
    *,
    settings: Settings,
    hu_map: HuMap,
    seed: int,
    folder: Path,
    workers: int = WORKERS,
) -> Trained:
    """Train the autoencoder.

    Parameters
    ----------
    patches : Patches
        To learn from and to judge by.
    settings : Settings
        Of this stage.
    hu_map : HuMap
        From HU to what the network sees.
    seed : int
        Of the run.
    folder : Path
        For the state after each epoch and, in long ones, between (``checkpoint/state.npz``), and
        TensorBoard's events; a run that was killed goes on from the state to the same weights, bit
        for bit at equal threads.
    workers : int
        Threads that make batches ahead; the weights do not depend on them.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        If the loss, the gradient or a weight is no longer finite, with epoch, batch and patches, or
        if the Keras policy is bfloat16.
    """
    refuse_low_precision()
    # Here and not in the caller, so that the first weights too depend on the seed alone.
    keras.utils.set_random_seed(stable_hash("gmcae weights", str(seed)) % 2**31)
    network = compile_network(settings)
    run = _Run(network, patches, settings, hu_map, seed, Sentinel(network, folder), workers)
    checkpoint = Checkpoint(
        folder / "checkpoint" / "state.npz", network, run.key(),
        every_minutes=settings.checkpoint_minutes,
    )  # fmt: skip
    journal = checkpoint.load()
    if journal is None:
        journal = Journal()
        run.begin()
        checkpoint.save(journal)
    elif journal.batches:
        log.info("going on after step %d of a run that stopped", len(journal.batches))
    while not journal.should_stop(epochs=settings.epochs, patience=settings.patience):
        run.epoch(journal, checkpoint)
        checkpoint.save(journal)
        _say(journal.epochs[-1], settings)
        write_events(folder / "tensorboard", journal.epochs, EPOCH_COLUMNS[1:])
    network.set_weights(journal.best)
    reconstructions, shares = reconstruct_hu(network, patches.validation, settings, hu_map)
    return Trained(network, journal, reconstructions, shares)


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """A network in training, and all that its training depends on."""

    network: keras.Model
    patches: Patches
    settings: Settings
    hu_map: HuMap
    seed: int
    sentinel: Sentinel
    workers: int

    def key(self) -> str:
        """Return a digest of all that the weights depend on.

        A state made by other code or from other patches has another, and is not gone on with.
        """
        code = code_digest(Path(__file__), Path(__file__).parents[2]) + keras.__version__
        settings = dataclasses.replace(self.settings, checkpoint_minutes=0.0)
        arrays = (self.patches.training, self.patches.validation)
        return state_key(settings, self.hu_map, self.seed, code, *arrays)

    def begin(self) -> None:
        """Begin the anchored design at the linear answer."""
        if self.settings.design == "anchored":
            chosen = evenly(self.patches.training, ANCHOR_PATCHES)
            anchor(self.network, self.hu_map.to_network(chosen), self.settings)

    def epoch(self, journal: Journal, checkpoint: Checkpoint) -> None:
        """Train what is left of an epoch, judge the network and write both down."""
        epoch = len(journal.epochs) + 1
        self._steps(epoch, journal, checkpoint)
        scores = judge(self.network, self.patches.validation, self.settings, self.hu_map)
        check_validation(scores["val_loss"], epoch=epoch)
        rate = float(self.network.optimizer.learning_rate)
        loss = float(np.mean(journal.losses(epoch)))
        journal.epochs.append({"epoch": epoch, "loss": loss, **scores, "learning_rate": rate})
        if journal.best_epoch() == epoch:
            journal.best = [weight.copy() for weight in self.network.get_weights()]

    def _steps(self, epoch: int, journal: Journal, checkpoint: Checkpoint) -> None:
        """Make the steps of an epoch that are not made yet."""
        done = len(journal.losses(epoch))
        batches = epoch_batches(
            self.patches.training, settings=self.settings, hu_map=self.hu_map, seed=self.seed,
            epoch=epoch, first=done, workers=self.workers,
        )  # fmt: skip
        for number, (inputs, targets) in enumerate(batches, start=done + 1):
            self.network.reset_metrics()  # Keras would return the mean of all batches so far
            loss = float(self.network.train_on_batch(inputs, targets))
            self.sentinel.check(
                loss, inputs, targets, epoch=epoch, batch=number,
                origins=functools.partial(self.origins, epoch, number),
            )  # fmt: skip
            norm = self.sentinel.gradient_norm()
            row = {"epoch": epoch, "batch": number, "loss": loss, "gradient_norm": norm}
            journal.batches.append(row)
            checkpoint.keep(journal)

    def origins(self, epoch: int, batch: int) -> list[str]:
        """Return patient and first voxel of each patch of a batch, as far as they are known."""
        if not self.patches.origins:
            return []
        size = self.settings.batch_size
        first = ((epoch - 1) * self.settings.steps_per_epoch + batch - 1) * size
        taken = places(len(self.patches.training), seed=self.seed, first=first, count=size)
        return [self.patches.origins[which] for which in taken]


def compile_network(settings: Settings) -> keras.Model:
    """Build the network with its loss, and an optimiser whose state exists from the start."""
    network = build_gmcae(settings)
    steps = max(1, settings.epochs * settings.steps_per_epoch - settings.warmup_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=steps,
        alpha=0.02,
        warmup_target=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
    )
    optimizer = WatchedAdam(schedule, global_clipnorm=settings.clipnorm, name="adam")
    loss = head_of(settings, voxels=VOXELS).loss()
    # XLA is some 27 times slower than TensorFlow's own kernels for these gradients on a CPU.
    network.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    optimizer.build(network.trainable_variables)
    return network


def judge(
    network: keras.Model, validation: NDArray[np.int16], settings: Settings, hu_map: HuMap
) -> Record:
    """Return how well a network does on patches.

    They are taken as they stand, never turned, with a dequantisation that is always the same.

    Returns
    -------
    dict
        ``val_loss`` and, the same, ``val_nats_per_voxel`` on the scale of `hu_map`;
        ``val_bits_per_voxel`` at a resolution of 1 HU, which no density brings below 0;
        ``val_rmse_hu`` of the reconstruction; lower is better in all. ``components_used``: how many
        explain at least `LEAST_SHARE` of any one patch.
    """
    head = head_of(settings, voxels=VOXELS)
    nats, squares, shares = [], [], []
    for inputs, targets in fixed_batches(validation, batch_size=settings.batch_size, hu_map=hu_map):
        output = network.predict_on_batch(inputs)
        nats.append(head.nats(targets, output))
        squares.append(((head.image(output) - inputs.reshape(targets.shape)) ** 2).mean(axis=1))
        shares.append(head.shares(targets, output))
    mean = float(np.concatenate(nats).mean())
    return {
        "val_loss": mean,
        "val_nats_per_voxel": mean,
        "val_bits_per_voxel": bits_per_voxel(mean, hu_map),
        "val_rmse_hu": float(np.sqrt(np.concatenate(squares).mean())) * hu_map.hu_per_unit,
        "components_used": components_used(np.concatenate(shares)),
    }


def bits_per_voxel(nats: float, hu_map: HuMap) -> float:
    """Return nats per voxel on the scale of a map as bits at a resolution of 1 HU.

    (nats + ln of the HU of one unit) / ln 2: the length of a lossless code for a voxel, given the
    network's own code, if HU are dequantised; 0 or more (Theis et al. 2016, section 3.1).
    """
    return (nats + math.log(hu_map.hu_per_unit)) / math.log(2)


def components_used(shares: NDArray[np.float32]) -> int:
    """Return how many components explain at least `LEAST_SHARE` of any one patch, of (n, m)."""
    return int((shares >= LEAST_SHARE).any(axis=0).sum())


def reconstruct_hu(
    network: keras.Model, patches: NDArray[np.int16], settings: Settings, hu_map: HuMap
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the reconstruction of patches in HU, and each component's share of them."""
    head = head_of(settings, voxels=VOXELS)
    made, shares = [], []
    for inputs, targets in fixed_batches(patches, batch_size=settings.batch_size, hu_map=hu_map):
        output = network.predict_on_batch(inputs)
        made.append(hu_map.to_hu(head.image(output)).reshape(inputs.shape[:4]))
        shares.append(head.shares(targets, output))
    return np.concatenate(made), np.concatenate(shares)


def _say(row: Record, settings: Settings) -> None:
    """Say in the log how an epoch went."""
    log.info(
        "epoch %d of %d: loss %.3f, validation %.3f nats per voxel (%.2f bits at 1 HU), RMSE %.0f "
        "HU, %d of %d components used",
        row["epoch"], settings.epochs, row["loss"], row["val_loss"], row["val_bits_per_voxel"],
        row["val_rmse_hu"], row["components_used"], settings.components,
    )  # fmt: skip
