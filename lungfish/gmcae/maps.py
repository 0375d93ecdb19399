"""One patient's surprise map: which network judges him, and what is left on disk."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfish import nifti, records
from lungfish.errors import InputError, Refusal
from lungfish.gmcae import pictures, surprise
from lungfish.gmcae.autoencoder import load_autoencoder, scope_for
from lungfish.gmcae.surprise_table import SCHEMA
from lungfish.lungs.morphology import bounds, grow_box
from lungfish.lungs.mosaic import draw_refused
from lungfish.lungs.mosaic import encode as encode_words
from lungfish.volume import Volume, to_mm

MARGIN_MM = 30.0
"""Shown round the lungs."""
FINEST_NATS = 1 / 64
"""Maps are rounded to this: noise beyond it would be half of the file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped:
    """A map and what is said about it.

    Attributes
    ----------
    values : ndarray of float32, shape (z, y, x)
        Nats per voxel above the bound of 1 HU; nan outside of the lungs.
    record : dict
        Of ``surprise/{patient}.json``.
    """

    values: NDArray[np.float32]
    record: records.Record


def map_patient(
    patient: str, fold: str, folders: Sequence[Path], volume: Volume, lungs: NDArray[np.bool_]
) -> Mapped:
    """Map a patient's lungs by an autoencoder that has not seen him, if there is one.

    Parameters
    ----------
    patient : str
    fold : str
        In which he is held out; empty for none.
    folders : sequence of Path
        Of all trained autoencoders, each called by its scope.
    volume : Volume
    lungs : ndarray of bool, shape (z, y, x)

    Raises
    ------
    InputError
        If the wanted autoencoder is not among the folders.
    Refusal
        If it could not be trained, or learned at another voxel size.
    """
    known = {folder.name: folder for folder in folders}
    scope = scope_for(fold, known)
    if scope not in known:
        raise InputError(f"expected the autoencoder of scope {scope}, found {', '.join(known)}")
    judge = load_autoencoder(known[scope])
    judge.require_spacing(volume)
    values = surprise.surprise(judge.network, judge.head, volume.hu, lungs, hu_map=judge.hu_map)
    for plane in values:
        np.rint(plane / FINEST_NATS, out=plane)
        plane *= FINEST_NATS
    near, map_near = around_lungs(volume, values)
    record = records.accepted() | {
        "scope": scope,
        "seen_in_training": patient in judge.trained_on,
        **surprise.summary(map_near),
        "places": surprise.places(map_near, near),
    }
    return Mapped(values, record)


def around_lungs(volume: Volume, values: NDArray[np.float32]) -> tuple[Volume, NDArray[np.float32]]:
    """Return the part of a volume and of its map that holds the lungs, and some way round them.

    A long scan has three times as many voxels, and everything that is looked for lies here.
    """
    width = [int(np.ceil(MARGIN_MM / step)) for step in volume.spacing_mm]
    box = grow_box(bounds(np.isfinite(values)), width, values.shape)
    affine = volume.affine.copy()
    # The affine's index order is x, y, z.
    affine[:3, 3] = to_mm(volume.affine, np.array([[part.start for part in box]]))[0]
    return Volume(volume.hu[box], affine), values[box]


def write_map(output: Path, measures: Path, picture: Path, mapped: Mapped, volume: Volume) -> None:
    """Write map, picture and record, the record last; the map's nan becomes 0 in place."""
    near, map_near = around_lungs(volume, mapped.values)
    drawn = pictures.draw_surprise(
        near, map_near, mapped.record["places"], caption=origin(mapped.record)
    )
    with records.atomic(picture) as temporary:
        temporary.write_bytes(pictures.encode(drawn))
    # A long scan at 1 mm has 630 MB of it: a second one is too many.
    for plane in mapped.values:
        np.nan_to_num(plane, copy=False, nan=0.0)
    nifti.write_map(
        output, mapped.values, volume.affine, description="surprise, nats per voxel; 0 outside"
    )
    records.write_json(measures, SCHEMA, mapped.record)


def origin(record: records.Record) -> str:
    """Say which network judged, and whether it had seen the patient."""
    seen = "has seen this patient" if record["seen_in_training"] else "has never seen this patient"
    return f"autoencoder of scope {record['scope']}, which {seen}"


def write_refused(output: Path, measures: Path, picture: Path, refusal: Refusal) -> None:
    """Write what stands for a patient without a map."""
    empty = np.zeros((1, 1, 1), np.float32)
    nifti.write_map(output, empty, np.eye(4), description=f"refused: {refusal.code}")
    with records.atomic(picture) as temporary:
        temporary.write_bytes(encode_words(draw_refused(refusal.code, refusal.reason)))
    records.write_json(measures, SCHEMA, records.refused(refusal))
