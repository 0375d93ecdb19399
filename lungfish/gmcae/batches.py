"""Patches to batches: which patch, turned how, is a pure function of seed, epoch and place."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.gmcae.augmentation import vary
from lungfish.gmcae.loading import WORKERS, ahead, places
from lungfish.gmcae.pool import Pool, Source, join
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.randomness import generator, stable_hash

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
Many = NDArray[np.int16] | Pool


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
    """Patches to learn from, and fixed ones of other patients to judge by.

    Attributes
    ----------
    training : ndarray of int16, shape (n, 32, 32, 32), or Pool
        HU; a pool where they are too many for the memory.
    validation : ndarray of int16, shape (n, 32, 32, 32)
        HU; fixed.
    training_patients, validation_patients : tuple of str
        Sorted; disjoint unless there is only one patient.
    origins : tuple of str
        Patient and first voxel (z, y, x) of each training patch, or empty where nobody knows.
    """

    training: Many
    validation: NDArray[np.int16]
    training_patients: tuple[str, ...]
    validation_patients: tuple[str, ...]
    origins: tuple[str, ...] = ()


def validation_patients(patients: list[str], share: float) -> list[str]:
    """Choose patients for validation by their names alone, so that adding one moves nobody.

    Parameters
    ----------
    patients : list of str
        All of the scope.
    share : float
        Share wanted, 0 to 1.

    Returns
    -------
    list of str
        Sorted; at least one and not all where there are two or more, the only one where there is
        one.
    """
    ranked = sorted(patients, key=lambda name: stable_hash("gmcae validation", name))
    if len(ranked) == 1:
        return ranked
    chosen = [name for name in ranked if stable_hash("gmcae validation", name) < share * 2**64]
    return sorted((chosen or ranked[:1])[: len(ranked) - 1])


def split_patches(patches: Mapping[str, Source], settings: Settings) -> Patches:
    """Split patches by patient into those to learn from and those to judge by.

    Parameters
    ----------
    patches : mapping of str to array of int16, shape (n, 32, 32, 32), or to `pool.Stored`
        Of each patient of the scope.
    settings : Settings

    Returns
    -------
    Patches

    Raises
    ------
    Refusal
        ``no-patches`` if there is none.
    """
    names = sorted(name for name, found in patches.items() if len(found))
    if not names:
        raise Refusal("no-patches", "no accepted patient has patches: look at the cohort table")
    held = validation_patients(names, settings.validation_share)
    learned = [name for name in names if name not in held] or held
    judges = evenly_of_each([patches[name] for name in held], settings.validation_patches)
    training = join([patches[name] for name in learned])
    return Patches(training, judges, tuple(learned), tuple(held))


def evenly(patches: Source | Pool, most: int) -> NDArray[np.int16]:
    """Return at most so many patches, evenly chosen from first to last."""
    count = min(len(patches), most)
    # The middles of equal parts; the ends alone would be the lungs' ends.
    return patches[(2 * np.arange(count) + 1) * len(patches) // (2 * max(count, 1))]


def evenly_of_each(patients: Sequence[Source], most: int) -> NDArray[np.int16]:
    """Return at most so many patches, as equally many of each patient as there are.

    Parameters
    ----------
    patients : sequence of arrays of int16, shape (n, 32, 32, 32), or `pool.Stored`
        One or more, none of them empty.
    most : int
        Patches wanted; where they do not go round, some patients, evenly chosen, give one more.

    Returns
    -------
    ndarray of int16, shape (count, 32, 32, 32)
        In the order of the patients, within each evenly from first to last.
    """
    given = np.zeros(len(patients), int)
    room = np.array([len(patient) for patient in patients])
    while most > given.sum() < room.sum():
        able = np.flatnonzero(given < room)
        left = most - given.sum()
        # A round for all who have any left, or for some of them.
        chosen = (
            able if left >= len(able) else able[(2 * np.arange(left) + 1) * len(able) // (2 * left)]
        )
        given[chosen] += 1
    return np.concatenate([evenly(*pair) for pair in zip(patients, given.tolist(), strict=True)])


def common_spacing_mm(spacing_mm: Mapping[str, float]) -> float:
    """Return the voxel size of all patients, in mm; 0 where there is none.

    Raises
    ------
    InputError
        If two differ by more than 0.001 mm: the encoder would learn on two scales at once.
    """
    smallest = min(spacing_mm, key=lambda name: spacing_mm[name], default="")
    for name in sorted(spacing_mm):
        if spacing_mm[name] - spacing_mm[smallest] > 1e-3:
            raise InputError(
                f"patches of {smallest} have voxels of {spacing_mm[smallest]:.3f} mm and those of "
                f"{name} of {spacing_mm[name]:.3f} mm: rerun volumes with one volumes.spacing_mm"
            )
    return spacing_mm[smallest] if spacing_mm else 0.0


def dequantise(values: NDArray[np.float32], hu_map: HuMap, rng: np.random.Generator) -> Any:
    """Spread each value evenly over the whole HU that it stands for.

    Without this a density can put all its mass on whole numbers and on the clipped ends, and its
    logarithm has no bound; with it no density gets below ln(1 / `hu_per_unit`) nats per voxel, 0
    bits at a resolution of 1 HU (Theis et al. 2016, section 3.1).

    Parameters
    ----------
    values : ndarray of float32
        On the network's scale, clipped.
    hu_map : HuMap
    rng : numpy.random.Generator
    """
    spread = rng.random(values.shape, dtype=np.float32)
    spread -= np.float32(0.5)
    spread /= np.float32(hu_map.hu_per_unit)
    spread += values
    return spread


def fixed_batches(patches: NDArray[np.int16], *, batch_size: int, hu_map: HuMap) -> Iterator[Batch]:
    """Yield patches as they stand, always with the same dequantisation, to judge by.

    Patch k has the same target whatever the size of the batch and the seed of the run.
    """
    for start in range(0, len(patches), batch_size):
        hu = patches[start : start + batch_size]
        streams = [generator(0, "gmcae", "dequantise", start + k) for k in range(len(hu))]
        yield to_batch(hu, hu_map, streams)


def to_batch(
    hu: Iterable[NDArray[Any]], hu_map: HuMap, streams: Sequence[np.random.Generator]
) -> Batch:
    """Return input (n, 32, 32, 32, 1) and dequantised target (n, 32768) of patches of HU.

    Parameters
    ----------
    hu : arrays, shape (32, 32, 32)
    hu_map : HuMap
        Here and nowhere else HU are clipped.
    streams : sequence of numpy.random.Generator
        One for the target of each patch.
    """
    inputs = np.stack([hu_map.to_network(patch) for patch in hu])
    pairs = zip(inputs.reshape(len(inputs), -1), streams, strict=True)
    targets = np.stack([dequantise(values, hu_map, stream) for values, stream in pairs])
    return inputs[..., None], targets


def epoch_batches(
    training: Many,
    *,
    settings: Settings,
    hu_map: HuMap,
    seed: int,
    epoch: int,
    first: int = 0,
    workers: int = WORKERS,
) -> Iterator[Batch]:
    """Yield the batches of one epoch.

    Each patch is taken once before any is taken twice, over the epochs too; each is varied and
    dequantised by random streams of its own place. Nothing depends on the epochs before, nor on who
    makes a batch, so that a run taken up in the middle, or with other workers, sees the same bytes.

    Parameters
    ----------
    training : array of int16, shape (n, 32, 32, 32), or `pool.Pool`
        HU.
    settings : Settings
    hu_map : HuMap
    seed : int
        Of the run.
    epoch : int
        From 1.
    first : int
        Batches of the epoch to leave out: a run taken up has seen them.
    workers : int
        Threads that make batches ahead of their use; 0 makes each when it is asked for.
    """
    wanted = settings.steps_per_epoch * settings.batch_size
    order = places(len(training), seed=seed, first=(epoch - 1) * wanted, count=wanted)

    def make(start: int) -> Batch:
        ks = range(start, start + settings.batch_size)
        streams = [generator(seed, "gmcae", "target", epoch, k) for k in ks]
        hu = [
            vary(training[order[k]], settings, generator(seed, "gmcae", "patch", epoch, k))
            for k in ks
        ]
        return to_batch(hu, hu_map, streams)

    starts = range(first * settings.batch_size, wanted, settings.batch_size)
    return ahead(make, starts, workers=workers)
