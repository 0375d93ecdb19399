"""One patient's mask, from the records of the stages to a DICOM SEG, and what to say of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish import volumes
from lungfish.errors import InputError, Refusal
from lungfish.records import Record, require_ok
from lungfish.resampling.masks import SliceGrid, to_slices
from lungfish.segments.dataset import build, write
from lungfish.segments.source import read_source

COLUMNS = (
    "patient", "status", "code", "reason", "verdict", "file", "slices", "right_litre", "left_litre",
)  # fmt: skip


def export_patient(
    folder: Path,
    stages: Mapping[str, Record],
    mask: tuple[NDArray[np.uint8], NDArray[np.float64]],
    output: Path,
    *,
    settings: volumes.Settings,
    salt: str = "",
    version: str,
) -> Record:
    """Write the mask of one patient as a DICOM SEG on the acquired slices.

    Parameters
    ----------
    folder : Path
        The folder or zip that was indexed.
    stages : Mapping
        Records of ``index``, ``volumes`` and ``lungs``.
    mask : tuple
        Labels, uint8 of shape (z, y, x), and their affine in LPS mm.
    output : Path
        Ending in ``.dcm``.
    settings : volumes.Settings
        By which the volume was made.
    salt : str
        The index stage's.
    version : str
        Of lungfish.

    Returns
    -------
    dict
        Of `COLUMNS`, those that are known here; litres are of the mask as written.

    Raises
    ------
    Refusal
        That of an earlier stage; ``source-missing`` where the scan or some of it is gone;
        ``changed-since-index`` or ``changed-since-volumes`` where the files are not those that the
        mask was made from; as `read_source` and `build`.
    """
    require_ok(stages["lungs"])
    index = stages["index"]
    if not folder.exists():
        raise Refusal("source-missing", "the scan is not where it was: correct the sheet's row")
    try:
        found = volumes.acquired_digest(folder, index, settings=settings, salt=salt)
    except InputError as error:  # files are gone: no reason to keep the other patients waiting
        raise Refusal("source-missing", str(error)) from None
    if found != stages["volumes"]["content_hash"]:
        raise Refusal(
            "changed-since-volumes",
            "the HU of the scan are not those that the mask was made from: `snakemake recheck` "
            "says how to take them up",
        )
    grid = SliceGrid.of(index["geometry"])
    labels = to_slices(*mask, grid)
    source = read_source(folder, index, salt=salt)
    write(output, build(labels, source, stages["lungs"], version=version))
    voxel_litre = abs(float(np.linalg.det(grid.affine[:3, :3]))) * 1e-6
    counts = np.bincount(labels.ravel(), minlength=3)
    return {
        "status": "ok",
        "verdict": stages["lungs"]["verdict"],
        "file": output.name,
        "slices": len(labels),
        "right_litre": float(counts[1] * voxel_litre),
        "left_litre": float(counts[2] * voxel_litre),
    }


def summarise(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how many were written, and a line for each patient without, its reason with it."""
    without = [row for row in rows if row["status"] != "ok"]
    written = len(rows) - len(without)
    lines = [f"DICOM SEG of {written} of {len(rows)} patients written. They identify the patients."]
    lines += [f"{row['patient']}: none ({row['code']}): {row['reason']}" for row in without]
    return "\n".join(lines) + "\n"
