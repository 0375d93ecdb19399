"""All patients' surprise in one table; free of Keras."""

import math
from collections.abc import Sequence
from pathlib import Path

from lungfish import records

SCHEMA = "surprise/1"
COLUMNS = (
    "patient", "status", "code", "scope", "seen_in_training", "mean_nats", "median_nats",
    "p95_nats", "p99_nats", "voxels",
)  # fmt: skip


def write_table(path: Path, measures: Sequence[Path]) -> None:
    """Write a row for each patient from the JSON of each map, the most surprising first.

    A patient whose mean is far above the others' is one to look at: another scanner, dose or kernel
    raises it as much as disease does.
    """
    rows = []
    for file in measures:
        record = records.read_json(file, SCHEMA)
        rows.append({"patient": file.name.split(".", 1)[0], **record})
    rows.sort(key=lambda row: (-row.get("mean_nats", -math.inf), row["patient"]))
    records.write_table(path, COLUMNS, rows)
