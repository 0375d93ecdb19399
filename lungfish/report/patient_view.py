"""What one patient's page says: plain values, ready to print."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lungfish.records import Record
from lungfish.report.cohort_view import View, view_prediction
from lungfish.report.figures import data_uri
from lungfish.report.inputs import PatientInputs
from lungfish.report.wording import (
    ABSENT,
    ACQUISITION,
    LUNG_MEASURES,
    counted,
    number,
    sentence,
    triple,
)

VERDICTS = {
    "ok": "Nothing unusual was found in the mask. Look at the outlines all the same.",
    "review": "Look at the outlines below before you use anything of this patient.",
    "reject": "The mask cannot be lungs, so this patient was left out.",
}
NEXT_STEPS = {
    # By the code's beginning.
    "lungs-rejected": "Look at the mosaic. If the scan is usable, draw a mask (right 1, left 2) "
    "and name it in the mask column of the samples sheet; if not, leave the patient out.",
    "mask-": "Look at the given mask over the scan and correct the file, or empty its cell in the "
    "mask column: then our own mask is made.",
}
NEXT_STEP = (
    "Correct what the sentence names, or leave the patient as it is: the run goes on without it."
)


def next_step(code: str) -> str:
    """Return what a person can do about a refusal."""
    fitting = (step for start, step in NEXT_STEPS.items() if code.startswith(start))
    return next(fitting, NEXT_STEP)


def view_heading(inputs: PatientInputs) -> View:
    """Say first whether the patient is in, why not, what to do, and how the mask was judged."""
    row, lungs = inputs.cohort, inputs.lungs or {}
    scan = (inputs.volumes or {}).get("reasons") or []
    refused = row["status"] != "ok"
    verdict = str(row.get("verdict") or lungs.get("verdict") or "")
    return {
        "refused": refused,
        "code": row["code"],
        "reason": sentence(row["reason"] or row["code"]) if refused else "",
        "next": next_step(row["code"]),
        "verdict": verdict,
        "meaning": VERDICTS.get(verdict, ""),
        "reasons": [sentence(reason) for reason in [*scan, *(lungs.get("reasons") or [])]],
        "label": row["label"] or "none",
        "fold": row["fold"] or "none",
    }


def view_mosaic(inputs: PatientInputs) -> View | None:
    """Embed the mosaic; None where there was no volume to draw."""
    if inputs.mosaic is None or not _has_volume(inputs):
        return None
    return {
        "picture": data_uri(inputs.mosaic),
        "alt": f"Axial, coronal and sagittal planes of patient {inputs.patient} in lung window "
        "with the lungs outlined; in axial and coronal planes the patient's right (R) is at the "
        "picture's left.",
    }


def _has_volume(inputs: PatientInputs) -> bool:
    return (inputs.volumes or {}).get("status") == "ok"


def view_surprise(inputs: PatientInputs) -> View | None:
    """Embed the surprise map, and list its places; None where no map was asked for or made."""
    record = inputs.surprise or {}
    if inputs.surprise_picture is None or record.get("status") != "ok":
        return None
    seen = "has seen this patient" if record["seen_in_training"] else "has never seen this patient"
    return {
        "picture": data_uri(inputs.surprise_picture),
        "alt": f"CT of patient {inputs.patient} above the same planes with the surprise in colour, "
        "dark to bright; the patient's right (R) is at the picture's left.",
        "origin": f"Judged by the autoencoder of scope {record['scope']}, which {seen}.",
        "mean": number(record["mean_nats"], 2),
        "bits": number(record["mean_nats"] / math.log(2), 2),
        "p95": number(record["p95_nats"], 2),
        "p99": number(record["p99_nats"], 2),
        "places": [
            {
                "nats": number(place["nats"], 2),
                "hu": number(place["hu"], 0),
                "position": [number(value, 0) for value in place["position_mm"]],
            }
            for place in record["places"]
        ],
    }


def view_measures(inputs: PatientInputs) -> View | None:
    """List the measures with unit and meaning; None where nothing was measured."""
    lungs = inputs.lungs or {}
    rows = [
        {"name": each.name, "value": each.text(lungs), "unit": each.unit, "meaning": each.meaning}
        for each in LUNG_MEASURES
    ]
    if all(row["value"] == ABSENT for row in rows):
        return None
    return {"rows": rows, "method": str(lungs.get("method") or "")}


def view_prediction_of(inputs: PatientInputs) -> View | None:
    """List the patient's predictions out of fold; None if there are none."""
    rows = [view_prediction(row) for row in inputs.predictions]
    return {"rows": rows} if rows else None


def view_scan(inputs: PatientInputs) -> View:
    """List how the scan was acquired, what became of the files, and the volume made of it."""
    index, volumes = inputs.index or {}, inputs.volumes or {}
    acquisition = index.get("acquisition") or {}
    geometry = index.get("geometry") or {}
    facts: list[View] = []
    if acquisition:
        facts += [
            {"name": name, "value": _fact(acquisition.get(key), unit)}
            for key, name, unit in ACQUISITION
        ]
    if geometry:
        facts += _series_facts(index) + _geometry_facts(geometry)
    if _has_volume(inputs):
        facts += _volume_facts(volumes)
    return {"facts": facts, "fates": _count_fates(index)}


def _series_facts(index: Record) -> list[View]:
    """Say why this series was chosen, and what a person should know of it."""
    series = index.get("series") or {}
    found = series.get("series_found") or 1
    facts = [{"name": "Noticed", "value": sentence(text)} for text in index.get("findings") or []]
    if found > 1:
        why = f"{found} series in the folder; chosen by {series.get('rule') or 'the sheet'}"
        facts.append({"name": "Series", "value": why})
    return facts


def _geometry_facts(geometry: Mapping[str, Any]) -> list[View]:
    """Describe the grid on which the slices were acquired."""
    return [
        {
            "name": "Acquired spacing (z x y x x)",
            "value": triple(geometry.get("spacing_mm"), 3, "mm"),
        },
        {
            "name": "Acquired size (z x y x x)",
            "value": triple(geometry.get("size"), 0, "voxels"),
        },
        {
            "name": "Widest gap between slice centres",
            "value": _fact(geometry.get("largest_gap_mm"), "mm"),
        },
        {"name": "Gantry tilt", "value": _fact(geometry.get("tilt_degrees"), "degrees")},
        {
            "name": "Turned against the patient's axes",
            "value": _fact(geometry.get("oblique_degrees"), "degrees"),
        },
    ]


def _volume_facts(volumes: Record) -> list[View]:
    """Describe the volume that all later stages read."""
    return [
        {"name": "Volume spacing (z x y x x)", "value": triple(volumes.get("spacing_mm"), 3, "mm")},
        {"name": "Volume size (z x y x x)", "value": triple(volumes.get("size"), 0, "voxels")},
        {"name": "Saturated values", "value": _fact(volumes.get("saturated"), "voxels")},
        {"name": "Slices filled in", "value": _fact(volumes.get("filled"), "slices")},
        {"name": "Air (about -1000 is right)", "value": _fact(volumes.get("air_hu"), "HU")},
        {"name": "Soft tissue (0 to 100 is right)", "value": _fact(volumes.get("tissue_hu"), "HU")},
        {"name": "Content hash (SHA-256)", "value": str(volumes.get("content_hash") or ABSENT)},
    ]


def _fact(value: Any, unit: str) -> str:
    """Return a value from a header with its unit; text is kept as it is."""
    if value is None or value == "":
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        text = number(value, 0 if float(value).is_integer() else 3)
        return text if unit in ("", "count") else f"{text} {unit}"
    return f"{value} {unit}".strip() if unit not in ("", "count") else str(value)


def _count_fates(index: Record) -> list[View]:
    """Count the files of the folder by what became of them; copies are counted as one fate."""
    fates = Counter(
        "duplicate" if str(file.get("fate")).startswith("duplicate") else str(file.get("fate"))
        for file in index.get("files") or ()
    )
    ordered = sorted(fates.items(), key=lambda item: (-item[1], item[0]))
    return [{"fate": fate, "files": counted(count, "file")} for fate, count in ordered]
