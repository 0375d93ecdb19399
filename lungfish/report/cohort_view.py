"""What the cohort page says about patients and scores: plain values, ready to print."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungfish.records import Record
from lungfish.report import figures
from lungfish.report.autoencoders import Row
from lungfish.report.inputs import CohortInputs, measured
from lungfish.report.wording import ABSENT, BASELINES, METRICS, counted, number, sentence

View = dict[str, Any]
LONG_TABLE = 40


def summarize_cohort(rows: Sequence[Row]) -> View:
    """Count patients: all, in, out by code, to be reviewed, labelled, with label 1."""
    kept = [row for row in rows if row["status"] == "ok"]
    codes = Counter(row["code"] for row in rows if row["status"] != "ok")
    return {
        "patients": len(rows),
        "kept": len(kept),
        "refused": len(rows) - len(kept),
        "codes": dict(sorted(codes.items())),
        "review": sum(row.get("verdict") == "review" for row in kept),
        "zeros": sum(row["label"] == "0" for row in kept),
        "ones": sum(row["label"] == "1" for row in kept),
        "unlabelled": sum(row["label"] == "" for row in kept),
    }


def view_conclusion(inputs: CohortInputs) -> View:
    """Say first what can be concluded: nothing, nothing better than a baseline, or something.

    ``kind`` is ``none``, ``inconclusive``, ``no-better`` or ``better``. What is not one of the
    evaluation's own words counts as inconclusive, so that nothing looks like a result by mistake.
    """
    metrics, counts = inputs.metrics, summarize_cohort(inputs.cohort)
    if metrics is None or metrics["status"] != "ok" or not inputs.predictions:
        return {
            "kind": "none",
            "word": "inconclusive",
            "heading": "Nothing can be concluded: there is no classifier",
            "text": why_no_classifier(inputs, counts),
        }
    word = str(metrics["conclusion"])
    kinds = {"better than every baseline": "better"}
    kind = kinds.get(word, "no-better" if word.startswith("no better than") else "inconclusive")
    reason = str(metrics.get("reason") or "")
    if kind == "inconclusive":
        heading = f"Nothing can be concluded: {scored(metrics)}"
        # The evaluation's sentence begins as the heading does; once is enough.
        reason = re.sub("^nothing can be concluded from", "there are", reason, flags=re.IGNORECASE)
        reason = reason or "the scores below may be chance"
        return {"kind": kind, "word": "inconclusive", "heading": heading, "text": sentence(reason)}
    for baseline, (name, _) in BASELINES.items():
        word = word.replace(baseline, name.lower())
    heading = f"{sentence(word)[:-1]}: {scored(metrics)}"
    return {"kind": kind, "word": word, "heading": heading, "text": sentence(reason)}


def scored(metrics: Record) -> str:
    """Return how many patients were scored, in words."""
    patients, events = int(metrics["n"]), int(metrics["events"])
    return f"{counted(patients, 'patient')}, {counted(events, 'event')} (label 1)"


def why_no_classifier(inputs: CohortInputs, counts: Mapping[str, Any]) -> str:
    """Return the sentence of the evaluation, or one made from the labels."""
    reason = (inputs.metrics or {}).get("reason")
    if reason:
        return sentence(reason)
    return (
        f"No classifier was evaluated: of {counted(counts['kept'], 'accepted patient')} "
        f"{counts['ones']} have label 1, {counts['zeros']} have label 0 and "
        f"{counts['unlabelled']} have none."
    )


def view_cohort(inputs: CohortInputs) -> View:
    """List every patient, in or out, and why."""
    return {
        "counts": summarize_cohort(inputs.cohort),
        "rows": [_member(row, inputs.lungs.get(row["patient"], {})) for row in inputs.cohort],
        "long": len(inputs.cohort) > LONG_TABLE,
    }


def _member(row: Row, lungs: Record) -> View:
    kept = row["status"] == "ok"
    return {
        "patient": row["patient"],
        "kept": kept,
        "code": row["code"],
        "why": _why_in(row, lungs) if kept else sentence(row["reason"] or row["code"]),
        "label": row["label"] or "none",
        "fold": row["fold"] or "none",
        "verdict": row.get("verdict") or lungs.get("verdict") or "none",
        "right": number(lungs.get("right_litre"), 2),
        "left": number(lungs.get("left_litre"), 2),
        "mean_hu": number(lungs.get("mean_hu"), 0),
        "emphysema": number(lungs.get("emphysema_index"), 1, scale=100),
    }


def _why_in(row: Row, lungs: Record) -> str:
    """Say what an accepted patient is used for, and what to look at."""
    if row["fold"]:
        use = f"Labelled; held out in fold {row['fold']}."
    elif row["label"]:
        use = "Labelled; in no fold, so not scored."
    else:
        use = "No label: seen by the autoencoder only, not scored."
    if row.get("verdict") != "review":
        return use
    reasons = "; ".join(str(reason) for reason in lungs.get("reasons", ()))
    return f"{use} Look at {f'the lungs: {reasons}' if reasons else 'the scan: see its page'}."


def view_acquisition(inputs: CohortInputs) -> View | None:
    """Count patients by how they were scanned and by label; None if no index was given."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for row in inputs.cohort:
        found = (inputs.index.get(row["patient"]) or {}).get("acquisition") or {}
        if row["status"] != "ok" or not found:
            continue
        key = (
            str(found.get("manufacturer") or "not stated"),
            str(found.get("kernel") or "not stated"),
            number(found.get("thickness_mm"), 2),
            number(found.get("kvp"), 0),
        )
        counts.setdefault(key, Counter())[row["label"]] += 1
    if not counts:
        return None
    rows = [
        {"key": key, "zeros": count["0"], "ones": count["1"], "none": count[""]}
        for key, count in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    ]
    return {"rows": rows, "long": len(rows) > LONG_TABLE}


def view_metrics(inputs: CohortInputs) -> View | None:
    """Set the heads beside the baselines; None without an evaluation."""
    metrics = inputs.metrics
    if view_conclusion(inputs)["kind"] == "none" or metrics is None:
        return None
    rows = [
        {"name": f"Head “{head}”", "note": "reads the CT", "head": True, "cells": _cells(record)}
        for head, record in sorted(metrics["heads"].items())
    ]
    rows += [
        {"name": name, "note": note, "head": False, "cells": _cells(metrics["baselines"][key])}
        for key, (name, note) in BASELINES.items()
        if key in metrics["baselines"]
    ]
    return {
        "muted": view_conclusion(inputs)["kind"] == "inconclusive",
        "rows": rows,
        "columns": [
            {"name": name, "unit": unit, "better": better, "constant": _constant(metrics, key)}
            for key, name, unit, better in METRICS
        ],
        "counts": {key: metrics.get(key, "n/a") for key in ("n", "events", "folds")},
        "differences": _differences(metrics),
    }


def _cells(record: Mapping[str, Any]) -> list[View]:
    return [_estimate(record.get(key), 2 if key == "auc" else 3) for key, *_ in METRICS]


def _estimate(record: Any, digits: int) -> View:
    found = record if isinstance(record, Mapping) else {}
    low, high = (number(found.get(key), digits) for key in ("low", "high"))
    interval = "no interval" if ABSENT in (low, high) else f"{low} to {high}"
    return {"value": number(found.get("value"), digits), "interval": interval}


def _constant(metrics: Record, key: str) -> str:
    """Return what a constant scores: as evaluated, or that of the prevalence."""
    given = metrics["baselines"].get("constant", {}).get(key)
    if isinstance(given, Mapping) and measured(given.get("value")) is not None:
        return number(given["value"], 2 if key == "auc" else 3)
    return "0.50" if key == "auc" else "n/a"


def _differences(metrics: Record) -> list[View]:
    """List each head's log loss minus each baseline's, which is what the conclusion rests on."""
    return [
        {"head": head, "baseline": BASELINES[key][0], **_estimate(record["differences"][key], 3)}
        for head, record in sorted(metrics["heads"].items())
        for key in BASELINES
        if key in record.get("differences", {})
    ]


def view_predictions(inputs: CohortInputs) -> View:
    """List the predictions out of fold and draw them by label, or say why there are none."""
    conclusion = view_conclusion(inputs)
    if conclusion["kind"] == "none":
        return {"why": conclusion["text"], "caption": ""}
    return {
        "rows": [view_prediction(row) for row in inputs.predictions],
        "why": "",
        "drawings": _dots(inputs),
        "long": len(inputs.predictions) > LONG_TABLE,
        "muted": conclusion["kind"] == "inconclusive",
    }


def view_prediction(row: Row) -> View:
    """Return one prediction with its probabilities as text."""
    return {
        "patient": row["patient"],
        "head": row["head"],
        "label": row["label"] or "none",
        "fold": row["fold"] or "none",
        "probability": number(row["probability"], 3),
        "calibrated": number(row["calibrated"], 3),
    }


def _dots(inputs: CohortInputs) -> list[Any]:
    """Draw the calibrated probabilities of each head by label."""
    metrics = inputs.metrics or {}
    patients = metrics.get("n") or 0
    constant = metrics["events"] / patients if patients else None
    drawings = []
    for number_of_head, head in enumerate(sorted({row["head"] for row in inputs.predictions})):
        groups = {}
        for label in ("1", "0"):
            found = [
                measured(row["calibrated"] or row["probability"])
                for row in inputs.predictions
                if row["head"] == head and row["label"] == label
            ]
            values = [value for value in found if value is not None]
            groups[f"label {label} (n = {len(values)})"] = np.array(values, np.float64)
        alt = f"Dot plot of the probabilities of head {head}: " + "; ".join(
            f"{name}, {_span(values)}" for name, values in groups.items()
        )
        name = f"dots{number_of_head}"
        drawing = figures.draw_dots(groups, constant=constant, name=name, alt=alt)
        drawings.append({"head": head, "drawing": drawing})
    return drawings


def _span(values: Any) -> str:
    if not len(values):
        return "none"
    return f"from {number(values.min(), 3)} to {number(values.max(), 3)}"
