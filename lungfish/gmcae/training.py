"""Training of the autoencoder: an epoch at a time, judged on fixed patches of other patients."""

import dataclasses
import logging
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.gmcae.batches import Patches, epoch_batches, to_batch
from lungfish.gmcae.board import write_events
from lungfish.gmcae.checkpoint import Journal, load_state, save_state, state_key
from lungfish.gmcae.density import GaussianMixtureLoss, reconstruct, refuse_low_precision
from lungfish.gmcae.network import VOXELS, build_gmcae
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.provenance import code_digest
from lungfish.randomness import stable_hash
from lungfish.records import Record

log = logging.getLogger(__name__)

EPOCH_COLUMNS = (
    "epoch", "loss", "val_loss", "val_nats_per_voxel", "val_rmse_hu", "learning_rate",
)  # fmt: skip
BATCH_COLUMNS = ("epoch", "batch", "loss")


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
    chosen : ndarray of int, shape (n,)
        Component with the largest prior, for each of them.
    """

    network: keras.Model
    journal: Journal
    reconstructions: NDArray[np.float32]
    chosen: NDArray[np.int64]


def train(
    patches: Patches, *, settings: Settings, hu_map: HuMap, seed: int, folder: Path
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
        For the state after each epoch (``checkpoint/state.npz``) and TensorBoard's events; a run
        that was killed goes on from the state to the same weights, bit for bit at equal threads.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        If the loss or a weight is no longer finite, with epoch and batch, or if the Keras policy
        is bfloat16.
    """
    refuse_low_precision()
    # Here and not in the caller, so that the first weights too depend on the seed alone.
    keras.utils.set_random_seed(stable_hash("gmcae weights", str(seed)) % 2**31)
    network = compile_network(settings)
    # A state made by other code or from other patches has another key, and is not gone on with.
    code = code_digest(Path(__file__), Path(__file__).parents[2]) + keras.__version__
    key = state_key(settings, hu_map, seed, code, patches.training, patches.validation)
    state = folder / "checkpoint" / "state.npz"
    journal = load_state(state, network, key)
    if journal.epochs:
        log.info("going on after epoch %d of a run that stopped", len(journal.epochs))
    while not journal.should_stop(epochs=settings.epochs, patience=settings.patience):
        epoch = len(journal.epochs) + 1
        loss = _run_epoch(network, patches, journal, settings, hu_map, seed, epoch)
        row = {"epoch": epoch, "loss": loss, **judge(network, patches.validation, settings, hu_map)}
        row["learning_rate"] = float(network.optimizer.learning_rate)
        journal.epochs.append(row)
        if journal.best_epoch() == epoch:
            journal.best = [weight.copy() for weight in network.get_weights()]
        save_state(state, network, journal, key)
        _say(row, settings)
        write_events(folder / "tensorboard", journal.epochs, EPOCH_COLUMNS[1:])
    network.set_weights(journal.best)
    reconstructions, chosen = reconstruct_hu(network, patches.validation, settings, hu_map)
    return Trained(network, journal, reconstructions, chosen)


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
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=settings.clipnorm, name="adam")
    loss = GaussianMixtureLoss(settings.components, VOXELS)
    # XLA is some 27 times slower than TensorFlow's own kernels for these gradients on a CPU.
    network.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    optimizer.build(network.trainable_variables)
    return network


def _run_epoch(
    network: keras.Model,
    patches: Patches,
    journal: Journal,
    settings: Settings,
    hu_map: HuMap,
    seed: int,
    epoch: int,
) -> float:
    """Train one epoch, write down each batch, and return the mean loss in nats per voxel."""
    losses = []
    batches = epoch_batches(
        patches.training, settings=settings, hu_map=hu_map, seed=seed, epoch=epoch
    )
    for number, (inputs, targets) in enumerate(batches, start=1):
        network.reset_metrics()  # Keras would return the mean of all batches so far
        loss = float(network.train_on_batch(inputs, targets))
        if not np.isfinite(loss):
            _refuse_divergence(f"the loss is {loss} at epoch {epoch}, batch {number}")
        losses.append(loss)
        journal.batches.append({"epoch": epoch, "batch": number, "loss": loss})
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        _refuse_divergence(f"a weight is not finite after epoch {epoch}")
    return float(np.mean(losses))


def _refuse_divergence(what: str) -> None:
    raise InputError(f"training diverged: {what}; lower gmcae.learning_rate and run again")


def judge(
    network: keras.Model, validation: NDArray[np.int16], settings: Settings, hu_map: HuMap
) -> Record:
    """Return the validation loss in nats per voxel and the reconstruction's error in HU.

    Lower is better in both; patches are taken as they stand, never turned.
    """
    losses, squares = [], []
    loss = GaussianMixtureLoss(settings.components, VOXELS)
    for start in range(0, len(validation), settings.batch_size):
        inputs, targets = to_batch(validation[start : start + settings.batch_size], hu_map)
        output = network.predict_on_batch(inputs)
        losses += [float(loss(targets, output))] * len(inputs)
        means, _ = reconstruct(output, components=settings.components, voxels=VOXELS)
        squares.append(((means - targets) ** 2).mean(axis=1))
    nats = float(np.mean(losses))
    rmse = float(np.sqrt(np.concatenate(squares).mean())) * hu_map.hu_per_unit
    return {"val_loss": nats, "val_nats_per_voxel": nats, "val_rmse_hu": rmse}


def reconstruct_hu(
    network: keras.Model, patches: NDArray[np.int16], settings: Settings, hu_map: HuMap
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the reconstruction of patches in HU, and the component chosen for each."""
    made, chosen = [], []
    for start in range(0, len(patches), settings.batch_size):
        inputs, _ = to_batch(patches[start : start + settings.batch_size], hu_map)
        output = network.predict_on_batch(inputs)
        means, which = reconstruct(output, components=settings.components, voxels=VOXELS)
        made.append(hu_map.to_hu(means).reshape(inputs.shape[:4]))
        chosen.append(which)
    return np.concatenate(made), np.concatenate(chosen)


def _say(row: Record, settings: Settings) -> None:
    """Say in the log how an epoch went."""
    log.info(
        "epoch %d of %d: loss %.3f, validation %.3f nats per voxel, RMSE %.0f HU",
        row["epoch"], settings.epochs, row["loss"], row["val_loss"], row["val_rmse_hu"],
    )  # fmt: skip
