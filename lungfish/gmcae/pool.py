"""The patches of many patients: read in random order where they lie, and counted."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.intensity import HuMap
from lungfish.patches import EDGE_VOXEL, PatchSet, open_store
from lungfish.records import Record

IN_MEMORY_BYTES = 2**30
"""Patches of a scope are held in memory up to here, 16,384 of them, and read from disk beyond."""
COUNT_COLUMNS = (
    "patient", "status", "code", "patches", "inner", "border", "background",
    "lung_fraction", "padded", "clipped",
)  # fmt: skip
INNER = 0.9
"""Least share of lung in a patch that counts as inner: vessels are no lung."""
Which = int | np.integer[Any] | NDArray[Any]
PATCH_SHAPE = (EDGE_VOXEL,) * 3


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """One patient's patches, left on disk: as an array of int16, shape (n, 32, 32, 32), reads.

    A patch is one uncompressed chunk, so that it is read by one plain read at its offset, by any
    number of threads at once; HDF5 itself is asked only once, where the chunks lie. No file stays
    open, so that there may be more patients than a process may have open files.

    Attributes
    ----------
    path : Path
        Of the store.
    offset : ndarray of int64, shape (n,)
        Where each patch begins, in bytes.
    spacing_mm : float
        Edge of a voxel; 0 for a refused patient.
    digest : str
        Of what the patches were cut from, and where.
    """

    path: Path
    offset: NDArray[np.int64]
    spacing_mm: float
    digest: str

    def __len__(self) -> int:
        return len(self.offset)

    def __getitem__(self, which: Which) -> NDArray[np.int16]:
        if isinstance(which, np.ndarray):
            return _stack([self[one] for one in which])
        count = EDGE_VOXEL**3
        values = np.fromfile(self.path, "<i2", count, offset=int(self.offset[which]))
        if len(values) < count:
            raise InputError(f"{self.path} was shortened while it was read: start again")
        return values.reshape(PATCH_SHAPE)

    def __str__(self) -> str:
        """Return what stands for the content: equal texts, equal patches."""
        return self.digest


Source = NDArray[np.int16] | Stored


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Patches of many patients in a row, read as an array of shape (n, 32, 32, 32) would be.

    Attributes
    ----------
    parts : tuple of arrays or `Stored`
        One a patient.
    """

    parts: tuple[Source, ...]

    @functools.cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, which: Which) -> NDArray[np.int16]:
        if isinstance(which, np.ndarray):
            return _stack([self[one] for one in which])
        part = int(np.searchsorted(self._ends, which, side="right"))
        return self.parts[part][which - self._ends[part]]  # counted from the part's end

    def __str__(self) -> str:
        """Return what stands for the content: equal texts, equal patches."""
        return " ".join(
            hashlib.sha256(part.tobytes()).hexdigest()
            if isinstance(part, np.ndarray)
            else str(part)
            for part in self.parts
        )


def _stack(patches: Sequence[NDArray[np.int16]]) -> NDArray[np.int16]:
    return np.stack(patches) if patches else np.zeros((0, *PATCH_SHAPE), np.int16)


def find_patches(path: Path) -> Stored:
    """Look up where the patches of a store lie in its file.

    Raises
    ------
    InputError
        If the file is missing, is no patch store or holds its patches in another layout.
    """
    with open_store(path) as store:
        patches = store["patches"]
        plain = (
            patches.dtype == np.dtype("<i2") and not patches.id.get_create_plist().get_nfilters()
        )
        offset = np.zeros(len(patches), np.int64)
        if len(patches):
            if not plain or patches.chunks != (1, *PATCH_SHAPE):
                raise InputError(f"{path}: expected one plain patch a chunk: rerun patches")
            for k in range(patches.id.get_num_chunks()):
                chunk = patches.id.get_chunk_info(k)
                offset[chunk.chunk_offset[0]] = chunk.byte_offset
        digest = hashlib.sha256(store["corner_voxel"][:].tobytes())
        digest.update(str(store.attrs["source_hash"]).encode())
        return Stored(path, offset, float(store.attrs["spacing_mm"]), digest.hexdigest())


def join(
    parts: Sequence[Source], *, in_memory_bytes: int = IN_MEMORY_BYTES
) -> NDArray[np.int16] | Pool:
    """Put patients' patches in a row: in memory if they fit, else left where they lie.

    Parameters
    ----------
    parts : sequence of arrays (n, 32, 32, 32) of int16, or `Stored`
    in_memory_bytes : int
        Most bytes held in memory.

    Returns
    -------
    ndarray or Pool
        Both have a length and take an index, or an array of indices.
    """
    count = sum(len(part) for part in parts)
    if count * EDGE_VOXEL**3 * 2 > in_memory_bytes:
        return Pool(tuple(parts))
    joined, start = np.empty((count, *PATCH_SHAPE), np.int16), 0
    for part in parts:
        joined[start : start + len(part)] = part[np.arange(len(part))]
        start += len(part)
    return joined


def count_patches(patient: str, patch_set: PatchSet, *, hu_map: HuMap) -> Record:
    """Return a patient's row of the table of counts.

    Parameters
    ----------
    patient : str
    patch_set : PatchSet
        The whole store.
    hu_map : HuMap
        Says which HU are clipped.

    Returns
    -------
    dict
        Keys `COUNT_COLUMNS`. Patches are inner (at least `INNER` lung), background (less lung than
        asked for, or none) or of the border (between the two). The shares ``lung_fraction`` (in
        lungs), ``padded`` (beyond the scan) and ``clipped`` (at or beyond an end of the map,
        padding included) are of all voxels, 0 to 1, and absent without patches.
    """
    lung, count = patch_set.lung_fraction, len(patch_set.patches)
    background = (lung < patch_set.minimum_lung) | (lung == 0)
    inner = (lung >= INNER) & ~background
    row: Record = {
        "patient": patient,
        "status": "refused" if patch_set.code else "ok",
        "code": patch_set.code,
        "patches": count,
        "inner": int(inner.sum()),
        "border": int((~inner & ~background).sum()),
        "background": int(background.sum()),
    }
    if count:
        corner, size = patch_set.corner_voxel, np.array(patch_set.size_voxel)
        seen = np.minimum(corner + EDGE_VOXEL, size) - np.maximum(corner, 0)
        clipped = (patch_set.patches <= hu_map.low_hu) | (patch_set.patches >= hu_map.high_hu)
        row |= {
            "lung_fraction": float(lung.mean()),
            "padded": float(1 - (seen / EDGE_VOXEL).prod(axis=1).mean()),
            "clipped": float(clipped.mean()),
        }
    return row
