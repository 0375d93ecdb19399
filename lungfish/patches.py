"""Cubes of 32 voxels from inside the lungs, and the HDF5 store that holds them."""

import dataclasses
import hashlib
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.stores import new_store
from lungfish.volume import AIR_HU, Volume

EDGE_VOXEL = 32
SCHEMA = "patches/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How many patches, and from where.

    Attributes
    ----------
    per_patient : int
        Patches cut from one patient, at least 1.
    minimum_lung : float
        Least share of lung in a patch, 0 to 1.
    """

    per_patient: int = 128
    minimum_lung: float = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches of one patient.

    Attributes
    ----------
    patches : ndarray of int16, shape (n, 32, 32, 32)
        HU, axes (z, y, x).
    corner_voxel : ndarray of int32, shape (n, 3)
        Index (z, y, x) of the first voxel in the volume; may be negative where a patch reaches
        over the volume's border, which is filled with air.
    lung_fraction : ndarray of float32, shape (n,)
        Share of voxels inside the lungs, 0 to 1.
    spacing_mm : float
        Edge of a voxel; 0 for a refused patient.
    seed : int
        Of the run that chose the corners.
    source_hash : str
        Digest of the volume and mask that the patches were cut from.
    code, reason : str
        Empty, or why there are none.
    """

    patches: NDArray[np.int16]
    corner_voxel: NDArray[np.int32]
    lung_fraction: NDArray[np.float32]
    spacing_mm: float
    seed: int
    source_hash: str
    code: str = ""
    reason: str = ""


def sample_patches(
    volume: Volume,
    labels: NDArray[np.uint8],
    *,
    settings: Settings,
    rng: np.random.Generator,
    seed: int,
) -> PatchSet:
    """Cut patches at random places whose share of lung is large enough.

    Every place on the whole border of the lungs can be drawn: the patch's centre is uniform over
    lung voxels, plus a uniform shift of up to half an edge, and a patch with too little lung is
    drawn again. Corners are sorted, so that the store does not depend on the order of the draws.

    Parameters
    ----------
    volume : Volume
        Isotropic.
    labels : ndarray of uint8, shape (z, y, x)
        Lungs > 0, on the volume's grid.
    settings : Settings
        Of this stage.
    rng : numpy.random.Generator
        Of this patient and purpose.
    seed : int
        Stored beside the patches.

    Returns
    -------
    PatchSet
        With ``settings.per_patient`` patches; places may overlap.

    Raises
    ------
    InputError
        If labels and volume have different shapes.
    Refusal
        ``no-patches`` if the mask is empty or no place holds enough lung.
    """
    if labels.shape != volume.hu.shape:
        raise InputError(
            f"mask and volume differ in shape: {labels.shape} against {volume.hu.shape}; "
            "rerun the lungs stage"
        )
    lungs = np.flatnonzero(labels)
    if not len(lungs):
        raise Refusal("no-patches", "the lung mask is empty, so there is no patch to cut")
    hu = np.pad(volume.hu, EDGE_VOXEL, constant_values=AIR_HU)
    inside = np.pad((labels > 0).astype(np.uint8), EDGE_VOXEL)
    corners, fractions = _draw(lungs, labels.shape, inside, settings, rng)
    ranking = np.lexsort(corners.T[::-1])
    corners, fractions = corners[ranking], fractions[ranking]
    patches = np.stack([_cut(hu, corner + EDGE_VOXEL) for corner in corners])
    return PatchSet(
        patches=patches,
        corner_voxel=corners.astype(np.int32),
        lung_fraction=fractions.astype(np.float32),
        spacing_mm=float(np.mean(volume.spacing_mm)),
        seed=seed,
        source_hash=source_hash(volume, labels),
    )


def _draw(
    lungs: NDArray[np.int64],
    shape: tuple[int, ...],
    inside: NDArray[np.uint8],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw corners until enough hold lung; give up after 20 rounds."""
    corners: list[NDArray[np.int64]] = []
    fractions: list[float] = []
    half = EDGE_VOXEL // 2
    for _ in range(20):
        centres = np.stack(np.unravel_index(rng.choice(lungs, settings.per_patient), shape), axis=1)
        shifts = rng.integers(-half, half + 1, size=centres.shape)
        for corner in centres - half + shifts:
            fraction = float(_cut(inside, corner + EDGE_VOXEL).mean())
            if fraction >= settings.minimum_lung and len(corners) < settings.per_patient:
                corners.append(corner)
                fractions.append(fraction)
        if len(corners) == settings.per_patient:
            return np.array(corners), np.array(fractions)
    raise Refusal(
        "no-patches",
        f"{len(corners)} of {settings.per_patient} places hold {settings.minimum_lung:.0%} of "
        "lung: look at the mask, or lower patches.minimum_lung",
    )


def _cut(array: NDArray[np.generic], corner: NDArray[np.int64]) -> NDArray[np.generic]:
    z, y, x = corner
    return array[z : z + EDGE_VOXEL, y : y + EDGE_VOXEL, x : x + EDGE_VOXEL]


def source_hash(volume: Volume, labels: NDArray[np.uint8]) -> str:
    """Return a digest of the volume and the mask, the first 32 hexadecimal digits."""
    digest = hashlib.sha256(volume.hu.tobytes())
    digest.update(np.rint(volume.affine * 1e3).astype("<i8").tobytes() + labels.tobytes())
    return digest.hexdigest()[:32]


def no_patches(refusal: Refusal, *, seed: int) -> PatchSet:
    """Return the empty set of a refused patient."""
    shape = (0, EDGE_VOXEL, EDGE_VOXEL, EDGE_VOXEL)
    return PatchSet(
        patches=np.zeros(shape, np.int16),
        corner_voxel=np.zeros((0, 3), np.int32),
        lung_fraction=np.zeros(0, np.float32),
        spacing_mm=0.0,
        seed=seed,
        source_hash="",
        code=refusal.code,
        reason=refusal.reason,
    )


def write_patches(path: Path, patch_set: PatchSet) -> None:
    """Write a store, one patch a chunk, so that any patch is one read."""
    with new_store(path) as store:
        count = len(patch_set.patches)
        chunk = {"chunks": (1, *patch_set.patches.shape[1:])} if count else {}
        store.create_dataset("patches", data=patch_set.patches, **chunk)
        store.create_dataset("corner_voxel", data=patch_set.corner_voxel)
        store.create_dataset("lung_fraction", data=patch_set.lung_fraction)
        store.attrs["schema"] = SCHEMA
        store.attrs["status"] = "refused" if patch_set.code else "ok"
        for name in ("spacing_mm", "seed", "source_hash", "code", "reason"):
            store.attrs[name] = getattr(patch_set, name)


def read_patches(path: Path) -> PatchSet:
    """Read a whole store into memory.

    Raises
    ------
    InputError
        If the file is missing or is no patch store.
    """
    try:
        with h5py.File(path, "r") as store:
            if store.attrs.get("schema") != SCHEMA:
                raise InputError(f"{path}: expected a patch store of schema {SCHEMA!r}")
            attributes = {name: store.attrs[name] for name in ("source_hash", "code", "reason")}
            return PatchSet(
                patches=store["patches"][:],
                corner_voxel=store["corner_voxel"][:],
                lung_fraction=store["lung_fraction"][:],
                spacing_mm=float(store.attrs["spacing_mm"]),
                seed=int(store.attrs["seed"]),
                **attributes,
            )
    except OSError:
        raise InputError(f"{path} is missing or is no HDF5 file: rerun the patches stage") from None
