"""Training of one head on pooled vectors."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lungfish.classifier.calibration import log_odds
from lungfish.classifier.heads import build_classifier
from lungfish.classifier.settings import Settings
from lungfish.cohort import assign_folds
from lungfish.randomness import generator

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
AT_ONCE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A head and its curve.

    Attributes
    ----------
    network : keras.Model
        Pooled vector to probability.
    loss : ndarray of float64, shape (epochs + 1,)
        Mean log loss in nats of the training patients after 0, 1, ... epochs, without dropout and
        penalty; lower is better.
    watched : ndarray of float64, shape (epochs + 1, n)
        Probabilities of the watched patients after 0, 1, ... epochs.
    """

    network: Any
    loss: Floats
    watched: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class InnerResult:
    """What cross-validation among the training patients found.

    Attributes
    ----------
    folds : int
        Inner folds made.
    loss, val_loss : ndarray of float64, shape (epochs + 1,)
        Mean log loss in nats over patients after 0, 1, ... epochs, of those trained on and of
        those left out; lower is better.
    epochs : int
        Where `val_loss` is least.
    probability : ndarray of float64, shape (n,)
        Out-of-fold probability of every training patient at that epoch.
    """

    folds: int
    loss: Floats
    val_loss: Floats
    epochs: int
    probability: Floats


def log_losses(probability: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Return the log loss of each patient in nats; 0 is perfect, a sure error costs 13.8."""
    sign = np.where(labels == 1, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, sign * log_odds(probability)))


def predict(network: Any, vectors: Vectors) -> Floats:
    """Return the probability of label 1 of each vector, shape (n,)."""
    starts = range(0, len(vectors), AT_ONCE)
    parts = [network.predict_on_batch(vectors[start : start + AT_ONCE]) for start in starts]
    return np.concatenate([np.zeros((0, 1)), *parts])[:, 0].astype(np.float64)


def train_head(
    vectors: Vectors,
    labels: Labels,
    *,
    settings: Settings,
    epochs: int,
    seed: int,
    purpose: tuple[str | int, ...],
    watched: Vectors | None = None,
) -> Trained:
    """Train one head for a given number of epochs.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, features)
        Pooled features of the training patients.
    labels : ndarray of int64, shape (n,)
        0 or 1.
    settings : Settings
        Of the classifier.
    epochs : int
        Passes over the patients, 0 or more; after 0 the head answers the prevalence.
    seed : int
        Of the run.
    purpose : tuple
        Which training this is; equal arguments give equal weights on one machine.
    watched : ndarray of float32, shape (k, features), optional
        Patients to predict after every epoch; nothing is learned from them.

    Returns
    -------
    Trained
    """
    keras.utils.set_random_seed(int(generator(seed, "weights", *purpose).integers(2**31)))
    network = build_classifier(vectors.shape[1], settings)
    network.get_layer("standardise").adapt(vectors)
    start_at_prevalence(network, labels)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    network.compile(optimizer, "binary_crossentropy", jit_compile=False)
    others = vectors[:0] if watched is None else watched
    loss, seen = [], []
    for epoch in range(epochs + 1):
        if epoch:
            order = generator(seed, "order", *purpose, epoch).permutation(len(vectors))
            _one_epoch(network, vectors[order], labels[order], settings.batch_size)
        loss.append(float(log_losses(predict(network, vectors), labels).mean()))
        seen.append(predict(network, others))
    # The same layers without their optimizer: its memory would treble the stored file.
    plain = keras.Model(network.inputs, network.outputs, name=network.name)
    return Trained(plain, np.array(loss), np.array(seen))


def start_at_prevalence(network: Any, labels: Labels) -> None:
    """Set the last bias to the log-odds of the training prevalence.

    So epoch 0 of every curve is the constant, the baseline that the head has to beat.
    """
    layer = network.get_layer("probability")
    layer.bias.assign(log_odds(np.array([labels.mean()])).astype(np.float32))


def _one_epoch(network: Any, vectors: Vectors, labels: Labels, batch_size: int) -> None:
    for start in range(0, len(vectors), batch_size):
        batch = slice(start, start + batch_size)
        network.train_on_batch(vectors[batch], labels[batch, None].astype(np.float32))


def number_of_inner_folds(labels: Labels, wanted: int) -> int:
    """Return the inner folds that the labels allow: 0 where none can be made."""
    smaller = int(min((labels == 0).sum(), (labels == 1).sum()))
    folds = min(wanted, smaller)
    return folds if folds >= 2 else 0


def cross_validate(
    examples: Mapping[str, tuple[Vectors, int]],
    *,
    settings: Settings,
    seed: int,
    purpose: tuple[str | int, ...],
) -> InnerResult | None:
    """Choose the number of epochs among the training patients alone, by patient and stratified.

    Parameters
    ----------
    examples : mapping of str to (ndarray of float32, int)
        Training patient to pooled vector and label.
    settings : Settings
        Of the classifier.
    seed : int
        Of the run.
    purpose : tuple
        Which training this is.

    Returns
    -------
    InnerResult or None
        None where the smaller class has fewer than two patients, or settings switch it off.
    """
    names = list(examples)
    vectors = np.stack([examples[name][0] for name in names])
    labels = np.array([examples[name][1] for name in names], np.int64)
    folds = number_of_inner_folds(labels, settings.inner_folds)
    if not folds:
        return None
    inner_seed = int(generator(seed, "inner", *purpose).integers(2**31))
    dealt = assign_folds({name: examples[name][1] for name in names}, folds, seed=inner_seed)
    fold_of = np.array([dealt[name] for name in names])
    loss = np.zeros(settings.epochs + 1)
    probability = np.zeros((settings.epochs + 1, len(names)))
    for fold in range(folds):
        left_out = fold_of == fold
        trained = train_head(
            vectors[~left_out],
            labels[~left_out],
            settings=settings,
            epochs=settings.epochs,
            seed=seed,
            purpose=(*purpose, "inner", fold),
            watched=vectors[left_out],
        )
        loss += trained.loss / folds
        probability[:, left_out] = trained.watched
    val_loss = np.array([log_losses(row, labels).mean() for row in probability])
    best = int(val_loss.argmin())
    return InnerResult(folds, loss, val_loss, best, probability[best])
