"""The front door: the samples sheet and the configuration, every problem found at once."""

import csv
import dataclasses
import difflib
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from lungfish.errors import InputError
from lungfish.records import read_table, write_table


@dataclasses.dataclass(frozen=True)
class Sample:
    """One row of the sheet.

    Attributes
    ----------
    patient : str
        Letters, digits, ``-`` and ``_``.
    dicom : Path or None
        Folder of the scan; None for a digital patient.
    label : int or None
        1 cancer, 0 none, None unknown.
    series : str
        SeriesInstanceUID to use, or empty.
    split : str
        ``train``, ``validation``, ``test``, a fold number, or empty.
    mask : Path or None
        The user's own mask of the lungs; None for ours.
    """

    patient: str
    dicom: Path | None
    label: int | None
    series: str
    split: str
    mask: Path | None = None


def read_samples(path: Path, schema_path: Path) -> tuple[list[Sample], list[str]]:
    """Read a samples sheet whole and check it whole.

    Parameters
    ----------
    path : Path
        A tab-separated table; lines that begin with ``#`` are comments.
    schema_path : Path
        The schema of a row, in YAML, with the words ``expected`` for each column.

    Returns
    -------
    samples : list of Sample
        In the order of the sheet. Relative paths count from the sheet's folder.
    problems : list of str
        One sentence a problem, each with the row (counted as a spreadsheet does: the header is
        row 1) and the column; empty for a good sheet.
    """
    schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
    rows = read_table(path)
    problems = _check_columns(rows, path, schema)
    if problems:
        return [], problems
    for number, row in enumerate(rows, start=2):
        found = _check_row(row, path.parent, schema)
        problems += [f"{path.name} row {number}: {text}" for text in found]
    problems += _check_table(rows, path)
    if problems:
        return [], problems
    return [_sample(row, path.parent) for row in rows], []


def _check_columns(
    rows: Sequence[Mapping[str, str]], path: Path, schema: Mapping[str, Any]
) -> list[str]:
    if not rows:
        return [f"{path.name} has no rows: expected a header and one row a patient"]
    columns, known, needed = list(rows[0]), list(schema["properties"]), schema["required"]
    problems = [
        f"{path.name} lacks the column {name}: expected {', '.join(needed)}, tab-separated"
        for name in needed
        if name not in columns
    ]
    return problems + [
        f"{path.name} has an unknown column {name!r}{_suggest(name, known)}: expected "
        f"{', '.join(known)}"
        for name in columns
        if name not in known
    ]


def _check_row(row: Mapping[str, str], base: Path, schema: Mapping[str, Any]) -> list[str]:
    problems = []
    for error in jsonschema.Draft202012Validator(schema).iter_errors(dict(row)):
        column = str(error.absolute_path[0])
        expected = schema["properties"][column]["expected"]
        problems.append(f"{column} {row[column]!r}: expected {expected}")
    if row["dicom"] and not is_scan(base / row["dicom"]):
        problems.append(
            f"dicom {row['dicom']!r}: no such folder or zip (counted from the sheet's folder)"
        )
    mask = row.get("mask", "")
    if mask and not (base / mask).is_file():
        problems.append(f"mask {mask!r}: no such file (counted from the sheet's folder)")
    return problems


def is_scan(path: Path) -> bool:
    """Say whether a path can hold a scan: a folder, or a zip, known by its content."""
    return path.is_dir() or (path.is_file() and zipfile.is_zipfile(path))


def _check_table(rows: Sequence[Mapping[str, str]], path: Path) -> list[str]:
    counts = Counter(row["patient"] for row in rows)
    problems = [
        f"{path.name}: patient {name!r} stands in {count} rows: expected one row a patient"
        for name, count in counts.items()
        if count > 1
    ]
    kinds = {row.get("split", "").isdecimal() for row in rows if row.get("split")}
    if len(kinds) > 1:
        problems.append(f"{path.name}: the split column mixes words and fold numbers: use one kind")
    numbers = {int(row["split"]) for row in rows if row.get("split", "").isdecimal()}
    missing = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
    if missing:
        problems.append(
            f"{path.name}: the split column has no patient in fold {missing[0]}: count the folds "
            "from 0 without a gap"
        )
    return problems


def _sample(row: Mapping[str, str], base: Path) -> Sample:
    return Sample(
        patient=row["patient"],
        dicom=base / row["dicom"] if row["dicom"] else None,
        label=int(row["label"]) if row["label"] else None,
        series=row.get("series", ""),
        split=row.get("split", ""),
        mask=base / row["mask"] if row.get("mask") else None,
    )


def shared_folders(samples: Sequence[Sample]) -> list[str]:
    """Return a warning for every folder that more than one patient names."""
    owners: dict[Path, list[str]] = {}
    for sample in samples:
        if sample.dicom is not None:
            owners.setdefault(sample.dicom.resolve(), []).append(sample.patient)
    return [
        f"patients {', '.join(names)} name the same DICOM folder"
        for names in owners.values()
        if len(names) > 1
    ]


def check_config(config: Mapping[str, Any], schema_path: Path) -> list[str]:
    """Check a configuration against its schema and return every problem in a sentence.

    Parameters
    ----------
    config : Mapping
        As read from YAML, with whatever the command line set.
    schema_path : Path
        A JSON schema in YAML (draft 2020-12).

    Returns
    -------
    list of str
        Empty if all is well.
    """
    schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    return sorted(sentence for error in errors for sentence in _explain(error))


def _explain(error: jsonschema.ValidationError) -> list[str]:
    part: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(part["properties"])
        found: Any = error.instance
        unknown = sorted(set(found) - set(known))
        prefix = f"{where}." if where else ""
        return [
            f"config key {prefix}{key} is unknown{_suggest(str(key), known)}" for key in unknown
        ]
    unit = part.get("unit", "")
    described = part.get("description", "")
    meaning = (f" [{unit}]" if unit else "") + (f"; it is: {described}" if described else "")
    return [f"config key {where}: {error.message}{meaning}"]


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def with_defaults(config: Mapping[str, Any], schema_path: Path) -> dict[str, Any]:
    """Return a configuration in which every absent key has its schema's default."""
    schema = yaml.safe_load(schema_path.read_text(encoding="utf-8"))
    return dict(_filled(config, schema))


def _filled(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    result = dict(config)
    for key, part in schema["properties"].items():
        if part.get("type") == "object":
            result[key] = _filled(result.get(key) or {}, part)
        elif key not in result and "default" in part:
            result[key] = part["default"]
    return result


def find_patients(data: Path) -> dict[str, Path]:
    """Return the scan of each patient below a folder that holds one subfolder or zip a patient.

    Raises
    ------
    InputError
        If there is no such folder or it has neither subfolder nor zip.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; expected one subfolder a patient in it")
    folders = {
        path.stem if path.is_file() else path.name: path
        for path in sorted(data.iterdir())
        if is_scan(path)
    }
    if not folders:
        raise InputError(
            f"{data} has no subfolders and no zips: expected one a patient, holding its DICOM"
        )
    return {
        name: path / "dicom" if (path / "dicom").is_dir() else path
        for name, path in folders.items()
    }


def read_labels(path: Path) -> dict[str, str]:
    """Read a CSV of labels: a header, then patient and label in the first two columns.

    Raises
    ------
    InputError
        If the file is missing, a label is not 0, 1 or empty, or a patient stands twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV such as 'id,cancer'")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)][1:]
    problems = []
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        patient, label = row[0].strip(), row[1].strip() if len(row) > 1 else ""
        if label not in ("", "0", "1"):
            problems.append(f"row {number}: label {label!r} of {patient}: expected 0, 1 or nothing")
        if patient in labels:
            problems.append(f"row {number}: patient {patient} stands twice")
        labels[patient] = label
    if problems:
        raise InputError(f"{path.name}: " + "; ".join(problems))
    return labels


def write_sheet(path: Path, patients: Mapping[str, Path | None], labels: Mapping[str, str]) -> None:
    """Write a samples sheet; absolute folders stay absolute, relative ones count from the sheet."""
    rows = []
    for patient, folder in patients.items():
        dicom = "" if folder is None else folder.as_posix()
        if folder is not None and not folder.is_absolute():
            dicom = _relative(folder.resolve(), path.resolve().parent)
        rows.append({"patient": patient, "dicom": dicom, "label": labels.get(patient, "")})
    write_table(path, ("patient", "dicom", "label"), rows)


def _relative(folder: Path, start: Path) -> str:
    """Return the path from one folder to another, with ``..`` where needed."""
    common = next(parent for parent in (start, *start.parents) if folder.is_relative_to(parent))
    up = len(start.relative_to(common).parts)
    return Path(*[".."] * up, folder.relative_to(common)).as_posix()
