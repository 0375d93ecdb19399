"""What each stage takes: memory and time as functions of the size of its input.

The coefficients are fitted to real runs by ``benchmarks/resources.py``; docs/how-to/benchmarks.md
has the measurements beside them. A rule asks for more than the fit, see `MARGIN`.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

MARGIN = 1.5
"""A rule asks for so many times the fitted memory: measurements lie within a fifth of the fit."""
SNAKEMAKE_MB = 300
"""Each job of a cluster holds two Snakemakes of some 140 MB."""
LEAST_MB = 600
SLOWER = 10
"""A rule asks for so many times the fitted seconds: other processors, shared disks, full nodes."""
LEAST_MINUTES = 10
OF_A_PATIENT = ("phantom", "index", "volumes", "lungs", "patches")
OF_A_PATIENT_LEAST_MINUTES = 2
"""A cluster's job sums the minutes of many of these: with ten each, 20 patients asked for 15 h."""
MEGA = 1e6


@dataclasses.dataclass(frozen=True)
class Size:
    """How large the input of a job is; lengths are counted in millions of voxels.

    Attributes
    ----------
    acquired_mvoxel, volume_mvoxel : float
        Of the largest scan as acquired, and of the largest volume at ``volumes.spacing_mm``.
    patients : int
    all_mvoxel : float
        Of the volumes of all patients together.
    patches : int
        Of all patients together.
    drawn : int
        Patches that training looks at, each as often as it is drawn.
    """

    acquired_mvoxel: float = 0.0
    volume_mvoxel: float = 0.0
    patients: int = 1
    all_mvoxel: float = 0.0
    patches: int = 0
    drawn: int = 0

    @classmethod
    def of(cls, acquired: Sequence[float], volume: Sequence[float]) -> Self:
        """Return the size of one scan from the voxels along its axes, acquired and of the volume.

        Examples
        --------
        >>> Size.of((500, 512, 512), (400, 400, 400)).volume_mvoxel
        64.0
        """
        volume_mvoxel = math.prod(volume) / MEGA
        return cls(math.prod(acquired) / MEGA, volume_mvoxel, all_mvoxel=volume_mvoxel)

    @classmethod
    def of_many(cls, sizes: Sequence[Self], **totals: int) -> Self:
        """Return the size of several patients together."""
        return cls(
            acquired_mvoxel=max((size.acquired_mvoxel for size in sizes), default=0.0),
            volume_mvoxel=max((size.volume_mvoxel for size in sizes), default=0.0),
            patients=len(sizes),
            all_mvoxel=sum(size.all_mvoxel for size in sizes),
            **totals,
        )


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage takes: a base, and so much for each unit of its input's size.

    Attributes
    ----------
    base : float
        In MB or in CPU seconds, and so are the others.
    acquired, volume, all_volumes : float
        For each million voxels of `Size.acquired_mvoxel`, `volume_mvoxel` and `all_mvoxel`.
    patient, patch, drawn : float
        For each of `Size.patients`, `patches` and `drawn`.
    most_patches : float
        Most that the patches take.
    """

    base: float
    acquired: float = 0.0
    volume: float = 0.0
    all_volumes: float = 0.0
    patient: float = 0.0
    patch: float = 0.0
    drawn: float = 0.0
    most_patches: float = math.inf

    def of(self, size: Size) -> float:
        """Return what an input of a size takes."""
        return (
            self.base
            + self.acquired * size.acquired_mvoxel
            + self.volume * size.volume_mvoxel
            + self.all_volumes * size.all_mvoxel
            + self.patient * size.patients
            + min(self.patch * size.patches, self.most_patches)
            + self.drawn * size.drawn
        )


MEMORY = {
    "phantom": Cost(255, acquired=14.6),
    "index": Cost(45),
    "volumes": Cost(195, acquired=2.4, volume=1.5),
    "lungs": Cost(265, volume=4.4),
    "lungs_unet": Cost(800, volume=6),
    "patches": Cost(195, volume=7.0),
    "patch_counts": Cost(70),
    "cohort": Cost(50, patient=0.6),
    "gmcae": Cost(1050, patch=0.066, most_patches=1080),
    "gmcae_pretrained": Cost(800),
    "features": Cost(820, volume=5.2, all_volumes=0.15),
    "classifier": Cost(800, volume=1, patient=0.1),
    "evaluation": Cost(170, patient=0.1),
    "model": Cost(810, volume=1, patient=0.1),
    "report": Cost(100, patient=0.6),
    "report_patients": Cost(90, patient=0.6),
    "survey": Cost(150, patient=0.1),
    "recheck": Cost(195, acquired=2.4, volume=1.5),
    "segments": Cost(200, acquired=4, volume=2),
    "surprise": Cost(50, patient=0.01),
    "surprise_patient": Cost(960, volume=9.7),
    "benchmarks": Cost(100, patient=0.05),
}
"""Highest resident memory in MB (1e6 bytes) of each rule's command."""
SECONDS = {
    "phantom": Cost(1.5, acquired=0.11),
    "index": Cost(0.3, acquired=0.001),
    "volumes": Cost(0.7, acquired=0.018),
    "lungs": Cost(2, volume=0.035),
    "lungs_unet": Cost(10, all_volumes=1),
    "patches": Cost(0.6, volume=0.032),
    "patch_counts": Cost(1, patient=0.05),
    "cohort": Cost(1, patient=0.01),
    "gmcae": Cost(25, patient=0.1, drawn=0.03),
    "gmcae_pretrained": Cost(10),
    "features": Cost(6, all_volumes=0.08),
    "classifier": Cost(10, patient=0.2, all_volumes=0.002),
    "evaluation": Cost(60, patient=0.2),
    "model": Cost(30, patient=0.5, all_volumes=0.002),
    "report": Cost(5, patient=0.01),
    "report_patients": Cost(5, patient=0.1),
    "survey": Cost(10, patient=1),
    "recheck": Cost(10, patient=2),
    "segments": Cost(10, patient=5),
    "surprise": Cost(1, patient=0.01),
    "surprise_patient": Cost(16, volume=0.3),
    "benchmarks": Cost(5, patient=0.01),
}
"""CPU seconds of each rule's command, on one core of 2026's servers; of rules that handle many
patients, and of those made on request, estimates on the safe side."""
STAGES = tuple(MEMORY)


def memory_mb(stage: str, size: Size, *, attempt: int = 1, workers: int = 1) -> int:
    """Return the memory that a job asks for, in MB.

    Parameters
    ----------
    stage : str
        A key of `MEMORY`.
    size : Size
    attempt : int
        From 1; a second attempt asks for twice as much.
    workers : int
        Processes side by side, each with all that one takes; 1 where a job is one process.
    """
    wanted = MARGIN * MEMORY[stage].of(size) * workers + SNAKEMAKE_MB
    return attempt * math.ceil(max(wanted, LEAST_MB) / 100) * 100


def minutes(stage: str, size: Size, *, attempt: int = 1) -> int:
    """Return the time that a job asks for, in minutes; a second attempt asks for twice as much."""
    least = OF_A_PATIENT_LEAST_MINUTES if stage in OF_A_PATIENT else LEAST_MINUTES
    return attempt * math.ceil(least + SLOWER * SECONDS[stage].of(size) / 60)


TYPICAL_MM = (400.0, 400.0, 400.0)
TYPICAL_ACQUIRED = (500, 512, 512)
"""Taken for a scan whose index does not stand yet: a long chest in thin slices."""


def typical(spacing_mm: float | str) -> Size:
    """Return the size that is taken for a scan of which nothing is known yet.

    Parameters
    ----------
    spacing_mm : float or str
        ``volumes.spacing_mm``: a number, or ``native``.
    """
    return Size.of(TYPICAL_ACQUIRED, _resampled(TYPICAL_ACQUIRED, TYPICAL_MM, spacing_mm))


def digital(phantom: Mapping[str, Any], spacing_mm: float | str) -> Size:
    """Return the size of a digital patient's scan, which the section ``phantom`` determines."""
    acquired = (phantom["slices"], phantom["matrix"], phantom["matrix"])
    field_mm = 1.04 * phantom["field_of_view_mm"]  # of scanner B, the wider one
    extent_mm = (phantom["slices"] * phantom["slice_mm"], field_mm, field_mm)
    return Size.of(acquired, _resampled(acquired, extent_mm, spacing_mm))


def _resampled(
    acquired: Sequence[float], extent_mm: Sequence[float], spacing_mm: float | str
) -> list[float]:
    """Return the voxels along each axis at another spacing."""
    if isinstance(spacing_mm, str):
        return list(acquired)
    return [length_mm / spacing_mm for length_mm in extent_mm]


def read_size(volume: Path, index: Path, spacing_mm: float | str) -> Size | None:
    """Return the size of a scan from what stands of its records; None if neither does.

    Parameters
    ----------
    volume, index : Path
        JSON of the stages volumes and index; the first says it exactly, the second nearly.
    spacing_mm : float or str
        ``volumes.spacing_mm``.
    """
    record = _read_part(volume, "")
    if record is not None:
        # A refused patient has a volume of one voxel.
        return Size.of(record.get("acquired_size", (1,)), record.get("size", (1,)))
    geometry = _read_part(index, '"geometry": ')
    if geometry is None:
        return None
    acquired = geometry["size"]
    extent_mm = [n * mm for n, mm in zip(acquired, geometry["spacing_mm"], strict=True)]
    return Size.of(acquired, _resampled(acquired, extent_mm, spacing_mm))


def _read_part(path: Path, key: str) -> dict[str, Any] | None:
    """Return one value of a JSON file; of a long one just that part is parsed.

    The index of a scan is long, and there may be thousands of them when a run is planned.
    """
    try:
        text = path.read_text(encoding="utf-8")
        part, _ = DECODER.raw_decode(text, text.index(key) + len(key))
    except (FileNotFoundError, ValueError):  # not made yet, refused, or of another version
        return None
    return part if isinstance(part, dict) else None


DECODER = json.JSONDecoder()
