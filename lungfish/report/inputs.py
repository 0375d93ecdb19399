"""What the pages are made of, read from results on disk."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungfish.errors import InputError
from lungfish.records import Record, read_json, read_table
from lungfish.report.autoencoders import Autoencoder, Row, read_autoencoder

STAGES = (
    "phantom",
    "index",
    "volumes",
    "lungs",
    "patches",
    "cohort",
    "gmcae",
    "features",
    "classifier",
    "evaluation",
    "model",
    "report",
)


@dataclasses.dataclass(frozen=True)
class StageTime:
    """What one stage took, from Snakemake's benchmark files.

    Attributes
    ----------
    stage : str
    jobs : int
        Benchmark files found.
    wall_seconds, cpu_seconds : float
        Sums over the jobs; jobs that ran side by side count each in full.
    memory_mib : float
        Largest resident memory of any of its jobs.
    """

    stage: str
    jobs: int
    wall_seconds: float
    cpu_seconds: float
    memory_mib: float


@dataclasses.dataclass(frozen=True)
class CohortInputs:
    """All that the cohort page shows; what was not made is None or empty."""

    cohort: tuple[Row, ...]
    index: Mapping[str, Record] = dataclasses.field(default_factory=dict)
    lungs: Mapping[str, Record] = dataclasses.field(default_factory=dict)
    metrics: Record | None = None
    predictions: tuple[Row, ...] = ()
    autoencoders: tuple[Autoencoder, ...] = ()
    patches: tuple[Row, ...] = ()
    times: tuple[StageTime, ...] = ()
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PatientInputs:
    """All that one patient's page shows; pictures are PNG files' bytes or None."""

    patient: str
    cohort: Row
    index: Record | None = None
    volumes: Record | None = None
    lungs: Record | None = None
    mosaic: bytes | None = None
    predictions: tuple[Row, ...] = ()
    surprise: Record | None = None
    surprise_picture: bytes | None = None


def name_of(path: Path) -> str:
    """Return the patient that a file belongs to: its name up to the first dot."""
    return path.name.split(".", 1)[0]


def read_records(paths: Iterable[Path], schema: str) -> dict[str, Record]:
    """Read one record per patient, keyed by the patient."""
    return {name_of(path): read_json(path, schema) for path in paths}


def read_cohort(
    cohort: Path,
    *,
    index: Sequence[Path] = (),
    lungs: Sequence[Path] = (),
    metrics: Path | None = None,
    predictions: Path | None = None,
    gmcae: Sequence[Path] = (),
    patches: Path | None = None,
    logs: Path | None = None,
    config: str = "{}",
) -> CohortInputs:
    """Read all that the cohort page shows.

    Parameters
    ----------
    cohort : Path
        ``cohort.tsv``.
    index, lungs : sequence of Path
        JSON of each patient.
    metrics, predictions : Path, optional
        Of the evaluation; absent where there was none.
    gmcae : sequence of Path
        Folder of each scope.
    patches : Path, optional
        Table of how many patches each patient gave.
    logs : Path, optional
        Folder with a folder of benchmark files for each stage; may be absent.
    config : str
        The settings of the run as JSON text, a section for each stage.

    Raises
    ------
    InputError
        If a named file is missing or is not what it should be.
    """
    return CohortInputs(
        cohort=tuple(read_table(cohort)),
        index=read_records(index, "index/1"),
        lungs=read_records(lungs, "lungs/1"),
        metrics=read_json(metrics, "evaluation/1") if metrics else None,
        predictions=tuple(read_table(predictions)) if predictions else (),
        autoencoders=tuple(read_autoencoder(folder) for folder in gmcae),
        patches=tuple(read_table(patches)) if patches else (),
        times=read_times(logs) if logs else (),
        config=read_config(config),
    )


def read_patients(
    cohort: Path,
    *,
    index: Sequence[Path],
    volumes: Sequence[Path],
    lungs: Sequence[Path],
    mosaics: Sequence[Path],
    predictions: Path | None = None,
    surprise: Sequence[Path] = (),
) -> list[PatientInputs]:
    """Read what the pages of the patients named by `lungs` show, in that order.

    Of surprise maps the JSON is named; its picture lies beside it.

    Raises
    ------
    InputError
        If a patient is not in the cohort table, or a file is missing or not what it should be.
    """
    rows = {row["patient"]: row for row in read_table(cohort)}
    scores = read_table(predictions) if predictions else []
    indices, grids = read_records(index, "index/1"), read_records(volumes, "volumes/1")
    pictures = {name_of(path): path for path in mosaics}
    maps = {name_of(path): path for path in surprise}
    result = []
    for patient, record in read_records(lungs, "lungs/1").items():
        if patient not in rows:
            raise InputError(f"{patient} is not in {cohort.name}: rerun the cohort stage")
        picture, mapped = pictures.get(patient), maps.get(patient)
        result.append(
            PatientInputs(
                patient=patient,
                cohort=rows[patient],
                index=indices.get(patient),
                volumes=grids.get(patient),
                lungs=record,
                mosaic=picture.read_bytes() if picture else None,
                predictions=tuple(row for row in scores if row["patient"] == patient),
                surprise=read_json(mapped, "surprise/1") if mapped else None,
                surprise_picture=mapped.with_suffix(".png").read_bytes() if mapped else None,
            )
        )
    return result


def read_config(text: str) -> dict[str, Any]:
    """Read the settings of the run from JSON text.

    Raises
    ------
    InputError
        If it is not JSON or not an object.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--config is not JSON: {error.msg} at {error.pos}") from None
    if not isinstance(config, dict):
        raise InputError(f"--config: expected a JSON object, found {type(config).__name__}")
    return config


def read_times(folder: Path) -> tuple[StageTime, ...]:
    """Sum Snakemake's benchmark files below ``folder/<stage>/``, in the order of the stages.

    Other tables there (without a column ``s``) are passed over, and so is a missing folder:
    times are a courtesy, not a result.
    """
    found = []
    for stage in STAGES:
        jobs = [
            row
            for path in sorted((folder / stage).rglob("*.tsv"))
            for row in read_table(path)
            if measured(row.get("s")) is not None
        ]
        if jobs:
            found.append(_sum_jobs(stage, jobs))
    return tuple(found)


def _sum_jobs(stage: str, jobs: Sequence[Row]) -> StageTime:
    def column(name: str) -> list[float]:
        return [measured(row.get(name)) or 0.0 for row in jobs]

    return StageTime(
        stage=stage,
        jobs=len(jobs),
        wall_seconds=sum(column("s")),
        cpu_seconds=sum(column("cpu_time")),
        memory_mib=max(column("max_rss")),
    )


def measured(cell: Any) -> float | None:
    """Return a finite number, or None for what is empty, ``NA``, ``-`` or not a number."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
