"""JSON and TSV on disk, written whole or not at all."""

import csv
import glob
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lungfish.errors import InputError, Refusal

Record = dict[str, Any]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Lend a temporary path in the same folder and rename it to `path` if nothing went wrong.

    The temporary name keeps the suffixes, since writers such as SimpleITK choose the format by
    them. A reader therefore sees the old file, the new file or none, never a half. What a killed
    writer of the same file left is removed first: it may be a whole volume.

    Parameters
    ----------
    path : Path
        Where the file shall stand; its folder is made.

    Yields
    ------
    Path
        Where to write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    _remove_left_over(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left_over(path: Path) -> None:
    """Remove the temporary files of this file whose process is dead."""
    for found in path.parent.glob(f".*.{glob.escape(path.name)}"):
        number = found.name[1:].split(".")[0]
        if found.name == f".{number}.{path.name}" and number.isdigit() and not _lives(int(number)):
            found.unlink(missing_ok=True)


def _lives(number: int) -> bool:
    """Say whether a process of this number runs here."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays, tuples and paths' strings into what JSON can hold.

    Raises
    ------
    InputError
        If a number is infinite or not a number: JSON has no word for it, and a reader in another
        language would fail.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"cannot store {value} in JSON: expected a finite number or null")
    return value


def write_json(path: Path, schema: str, record: Mapping[str, Any]) -> None:
    """Write one record as JSON with sorted keys.

    Parameters
    ----------
    path : Path
        Where.
    schema : str
        Name and version of its shape, such as ``lungs/1``; stored under ``schema``.
    record : Mapping
        What; numbers must be finite.
    """
    text = json.dumps(plain({"schema": schema, **record}), indent=2, sort_keys=True)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, schema: str) -> Record:
    """Read a record that `write_json` wrote, and check that it is of the kind expected.

    Raises
    ------
    InputError
        If the file is missing, is not JSON or carries another schema.
    """
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run the stage that writes it first") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not JSON (line {error.lineno}): "
            "name the right file, or rerun the stage that writes it"
        ) from None
    found = record.get("schema") if isinstance(record, dict) else None
    if found != schema:
        raise InputError(f"{path}: expected schema {schema!r}, found {found!r}")
    return record


def format_cell(value: Any) -> str:
    """Return the text of one table cell: empty for None, six significant digits for a float."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as tab-separated values with a header; a key that a row lacks stays empty."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([format_cell(row.get(column)) for column in columns])


def read_table(path: Path) -> list[dict[str, str]]:
    """Read tab-separated values with a header; every cell is text, an absent one is empty.

    Raises
    ------
    InputError
        If the file is missing or is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: expected a tab-separated table") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it as tab-separated text") from None
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    reader = csv.DictReader(kept, delimiter="\t", restval="")
    return [
        {str(key).strip(): (cell or "").strip() for key, cell in row.items() if key is not None}
        for row in reader
    ]


def require_ok(record: Mapping[str, Any]) -> None:
    """Raise the refusal that a record of an earlier stage carries, if it carries one.

    Raises
    ------
    Refusal
        With the code and the reason of the stage that refused.
    """
    if record["status"] == "refused":
        raise Refusal(record["code"], record["reason"])


def refused(refusal: Refusal) -> Record:
    """Return the fields that stand in the JSON of every stage from a refusal on."""
    return {"status": "refused", "code": refusal.code, "reason": refusal.reason}


def accepted() -> Record:
    """Return the fields that stand in the JSON of a stage that went well."""
    return {"status": "ok", "code": "", "reason": ""}
