"""Patches to batches: which patch, turned how, is a pure function of seed, epoch and place."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.randomness import generator, stable_hash
from lungfish.symmetry import apply, symmetries

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
    """Patches to learn from, and fixed ones of other patients to judge by.

    Attributes
    ----------
    training, validation : ndarray of int16, shape (n, 32, 32, 32)
        HU.
    training_patients, validation_patients : tuple of str
        Sorted; disjoint unless there is only one patient.
    """

    training: NDArray[np.int16]
    validation: NDArray[np.int16]
    training_patients: tuple[str, ...]
    validation_patients: tuple[str, ...]


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


def split_patches(patches: Mapping[str, NDArray[np.int16]], settings: Settings) -> Patches:
    """Split patches by patient into those to learn from and those to judge by.

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
    validation = np.concatenate([patches[name] for name in held])
    count = min(len(validation), settings.validation_patches)
    evenly = np.linspace(0, len(validation) - 1, count).round().astype(int)
    training = np.concatenate([patches[name] for name in learned])
    return Patches(training, validation[evenly], tuple(learned), tuple(held))


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


def to_batch(hu: NDArray[Any], hu_map: HuMap) -> Batch:
    """Return input (n, 32, 32, 32, 1) and target (n, 32768) of patches of HU, fresh arrays."""
    values = hu_map.to_network(hu)
    return values[..., None], values.reshape(len(values), -1).copy()


def epoch_batches(
    training: NDArray[np.int16], *, settings: Settings, hu_map: HuMap, seed: int, epoch: int
) -> Iterator[Batch]:
    """Yield the batches of one epoch.

    Patches come in an order of the epoch's own, each turned by one of the 48 symmetries. Nothing
    depends on the epochs before, so that a run taken up in the middle sees what it would have seen.
    """
    wanted = settings.steps_per_epoch * settings.batch_size
    order = np.resize(generator(seed, "gmcae", "order", epoch).permutation(len(training)), wanted)
    turns = generator(seed, "gmcae", "symmetry", epoch).integers(48, size=wanted)
    for start in range(0, wanted, settings.batch_size):
        places = range(start, start + settings.batch_size)
        turned = [apply(symmetries()[turns[k]], training[order[k]]) for k in places]
        yield to_batch(np.stack(turned), hu_map)
