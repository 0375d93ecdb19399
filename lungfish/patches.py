"""Cubes of 32 voxels from inside the lungs, and the HDF5 store that holds them."""

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError, Refusal
from lungfish.stores import new_store
from lungfish.volume import AIR_HU, Volume

EDGE_VOXEL = 32
SCHEMA = "patches/1"
DRAWS = 1000
"""Places tried for each patch wanted before the mask is given up; lungs need 3 or 4."""
ATTRIBUTES = ("spacing_mm", "seed", "source_hash", "code", "reason", "minimum_lung", "size_voxel")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How many patches, and from where.

    Attributes
    ----------
    per_patient : int
        Patches cut from one patient, at least 1.
    minimum_lung : float
        Least share of lung in a patch, 0 to 1.
    background : float
        Share of the patches that is cut beside the lungs instead, where there is less lung than
        that; 0 to 1.
    """

    per_patient: int = 128
    minimum_lung: float = 0.25
    background: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches of one patient.

    Attributes
    ----------
    patches : ndarray of int16, shape (n, 32, 32, 32)
        HU, axes (z, y, x).
    corner_voxel : ndarray of int32, shape (n, 3)
        Index (z, y, x) of the first voxel in the volume; may be negative where a patch reaches
        over the volume's border, which is filled with -1024 HU.
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
    minimum_lung : float
        Patches that hold less lung are background.
    size_voxel : tuple of 3 int
        Shape (z, y, x) of the volume.
    """

    patches: NDArray[np.int16]
    corner_voxel: NDArray[np.int32]
    lung_fraction: NDArray[np.float32]
    spacing_mm: float
    seed: int
    source_hash: str
    code: str = ""
    reason: str = ""
    minimum_lung: float = 0.0
    size_voxel: tuple[int, ...] = (0, 0, 0)


def sample_patches(
    volume: Volume,
    labels: NDArray[np.uint8],
    *,
    settings: Settings,
    rng: np.random.Generator,
    seed: int,
) -> PatchSet:
    """Cut patches at random places whose share of lung is large enough.

    Every place that holds enough lung is as likely as any other, also where it reaches over the
    volume's border. So a voxel of the lungs' surface lies in nearly as many patches as one in their
    middle; drawing the centre or any voxel of a patch from the lungs would favour the middle.
    Corners are sorted, so that the store does not depend on the order of the draws.

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
        If labels and volume have different shapes, or background is wanted though every place
        counts as lung.
    Refusal
        ``no-patches`` if the mask is empty or too few places hold enough lung, or little enough.
    """
    if labels.shape != volume.hu.shape:
        raise InputError(
            f"mask and volume differ in shape: {labels.shape} against {volume.hu.shape}; "
            "rerun the lungs stage"
        )
    if settings.background and not settings.minimum_lung:
        raise InputError(
            f"patches.background {settings.background:g} needs patches.minimum_lung above 0: with "
            "0 no place holds too little lung to be background"
        )
    corners, fractions = _draw(labels, settings, rng)
    ranking = np.lexsort(corners.T[::-1])
    corners, fractions = corners[ranking], fractions[ranking]
    return PatchSet(
        patches=np.stack([_cut(volume.hu, corner) for corner in corners]),
        corner_voxel=corners.astype(np.int32),
        lung_fraction=fractions.astype(np.float32),
        spacing_mm=float(np.mean(volume.spacing_mm)),
        seed=seed,
        source_hash=source_hash(volume, labels),
        minimum_lung=settings.minimum_lung,
        size_voxel=volume.hu.shape,
    )


def _draw(
    labels: NDArray[np.uint8], settings: Settings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw corners near the lungs until there are enough of both kinds, or `DRAWS` is used up."""
    low, high = _box(labels)
    beside = round(settings.background * settings.per_patient)
    wanted = {True: settings.per_patient - beside, False: beside}
    found: dict[bool, list[tuple[NDArray[np.int64], float]]] = {True: [], False: []}
    for _ in range(DRAWS):
        # All places that hold a voxel of the lungs' box.
        for corner in rng.integers(low - EDGE_VOXEL + 1, high, (settings.per_patient, 3)):
            seen = _seen(corner, labels.shape)
            fraction = int(np.count_nonzero(labels[seen])) / EDGE_VOXEL**3
            kind = fraction >= settings.minimum_lung
            # Far corners beside the lungs are air outside the body: background is centred in the
            # box, as what the encoder sees there.
            centre = corner + EDGE_VOXEL // 2
            centred = bool(((low <= centre) & (centre < high)).all())
            if len(found[kind]) < wanted[kind] and (kind or centred):
                found[kind].append((corner, fraction))
        if all(len(found[kind]) == wanted[kind] for kind in wanted):
            chosen = found[True] + found[False]
            return np.array([one for one, _ in chosen]), np.array([share for _, share in chosen])
    raise _too_few(len(found[True]), len(found[False]), wanted, settings)


def _too_few(inside: int, beside: int, wanted: dict[bool, int], settings: Settings) -> Refusal:
    """Return the refusal of a scan in which too few places were found."""
    if inside < wanted[True]:
        text = (
            f"{inside} of {wanted[True]} places hold {settings.minimum_lung:.0%} of lung: look at "
            "the mask, or lower patches.minimum_lung"
        )
    else:
        text = (
            f"{beside} of {wanted[False]} places beside the lungs hold less than "
            f"{settings.minimum_lung:.0%} of lung: look at the mask, or lower patches.background"
        )
    return Refusal("no-patches", text)


def _box(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the end index of the lungs along each axis."""
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(labels.any(axis=others))
        if not len(planes):
            raise Refusal("no-patches", "the lung mask is empty, so there is no patch to cut")
        spans.append((planes[0], planes[-1] + 1))
    low, high = np.array(spans).T
    return low, high


def _seen(corner: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the part of the volume that a patch covers."""
    return tuple(
        slice(max(start, 0), min(start + EDGE_VOXEL, length))
        for start, length in zip(corner.tolist(), shape, strict=True)
    )


def _cut(hu: NDArray[np.int16], corner: NDArray[np.int64]) -> NDArray[np.int16]:
    """Return a patch; what lies beyond the volume is `AIR_HU`, as outside the field of view."""
    patch = np.full((EDGE_VOXEL,) * 3, AIR_HU, np.int16)
    seen = _seen(corner, hu.shape)
    here = tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(seen, corner.tolist(), strict=True)
    )
    patch[here] = hu[seen]
    return patch


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
    """Write a store, one plain patch a chunk, so that any patch is one read of 64 kB."""
    with new_store(path) as store:
        count = len(patch_set.patches)
        chunk = {"chunks": (1, *patch_set.patches.shape[1:])} if count else {}
        store.create_dataset("patches", data=patch_set.patches, **chunk)
        store.create_dataset("corner_voxel", data=patch_set.corner_voxel)
        store.create_dataset("lung_fraction", data=patch_set.lung_fraction)
        store.attrs["schema"] = SCHEMA
        store.attrs["status"] = "refused" if patch_set.code else "ok"
        for name in ATTRIBUTES:
            store.attrs[name] = getattr(patch_set, name)


def read_patches(path: Path) -> PatchSet:
    """Read a whole store into memory.

    Raises
    ------
    InputError
        If the file is missing or is no patch store of this version.
    """
    with open_store(path) as store:
        # NumPy's scalars and arrays become Python's own.
        attributes = {name: np.asarray(store.attrs[name]).tolist() for name in ATTRIBUTES}
        arrays = {name: store[name][:] for name in ("patches", "corner_voxel", "lung_fraction")}
    size = tuple(attributes.pop("size_voxel"))
    return PatchSet(**arrays, **attributes, size_voxel=size)


@contextmanager
def open_store(path: Path) -> Iterator[h5py.File]:
    """Lend a patch store to read from.

    Raises
    ------
    InputError
        If the file is missing or is no patch store of this version.
    """
    try:
        store = h5py.File(path, "r")
    except OSError:
        raise InputError(f"{path} is missing or is no HDF5 file: rerun the patches stage") from None
    with store:
        if store.attrs.get("schema") != SCHEMA or not set(ATTRIBUTES) <= set(store.attrs):
            raise InputError(
                f"{path}: expected a patch store of schema {SCHEMA!r}: rerun the patches stage"
            )
        yield store
