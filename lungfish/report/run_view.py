"""What the cohort page says about the run: training, reconstructions, times, methods, versions."""

from typing import Any

import numpy as np

from lungfish.report import figures
from lungfish.report.cohort_view import View, summarize_cohort, view_conclusion
from lungfish.report.inputs import Autoencoder, CohortInputs, Examples, Row, measured
from lungfish.report.methods import flatten, installed_versions, write_methods
from lungfish.report.wording import number

SHOWN_EXAMPLES = 6

PLAIN_COHORT_SCOPE = (
    "The autoencoder (scope cohort) has seen the scans of the held-out patients, without their "
    "labels. No label leaks this way, but the features of a held-out patient fit a little better "
    "than a stranger's would; with one autoencoder per fold (scope fold) this cannot be."
)
METHODS_COHORT_SCOPE = (
    "It was trained on patches of all accepted patients, those later held out included, without "
    "their labels."
)
PLAIN_FOLD_SCOPE = (
    "One autoencoder was trained for each fold, only on the training patients of that fold: no "
    "held-out scan was seen before it was predicted."
)


def say_scope(inputs: CohortInputs) -> str:
    """Say whether the autoencoder has seen the held-out scans; empty without an autoencoder."""
    scopes = {each.scope for each in inputs.autoencoders if each.epochs}
    if any(scope.startswith("fold-") for scope in scopes):
        return PLAIN_FOLD_SCOPE  # the one of scope cohort beside them is the model's alone
    return PLAIN_COHORT_SCOPE if scopes else ""


def view_training(inputs: CohortInputs) -> View | None:
    """Draw loss and error over the epochs of each autoencoder; None if there is none."""
    trained = [each for each in inputs.autoencoders if each.epochs]
    if not trained:
        return None
    nats: dict[str, Any] = {}
    error: dict[str, Any] = {}
    for each in trained:
        epochs = _column(each, "epoch")
        nats[f"{each.scope}, training"] = (epochs, _training_nats(each))
        nats[f"{each.scope}, validation"] = (epochs, _column(each, "val_nats_per_voxel"))
        error[f"{each.scope}, validation"] = (epochs, _column(each, "val_rmse_hu"))
    rows = [_best(each) for each in trained]
    alt = "; ".join(
        f"{row['scope']}: {row['epochs']} epochs, best validation {row['nats']} nats per voxel "
        f"and {row['rmse']} HU at epoch {row['best']}"
        for row in rows
    )
    return {
        "scope": say_scope(inputs),
        "rows": rows,
        "drawings": [
            figures.draw_curves(
                nats,
                ylabel="loss (nats per voxel)",
                name="loss",
                alt=f"Loss over epochs, in nats per voxel, lower is better. {alt}.",
            ),
            figures.draw_curves(
                error,
                ylabel="validation RMSE (HU)",
                name="rmse",
                alt=f"Validation error over epochs, in HU, lower is better. {alt}.",
            ),
        ],
    }


def _column(each: Autoencoder, name: str) -> list[float]:
    """Return a column of the epochs; a gap is drawn where a value is missing."""
    found = (measured(row.get(name)) for row in each.epochs)
    return [np.nan if value is None else value for value in found]


def _training_nats(each: Autoencoder) -> list[float]:
    """Return the training loss in nats per voxel.

    Where the loss is one of whole patches, the validation columns, which hold both scales, say
    by how much to divide.
    """
    loss, whole = _column(each, "loss"), _column(each, "val_loss")
    per_voxel = _column(each, "val_nats_per_voxel")
    at = int(np.nanargmax(np.abs(whole))) if np.isfinite(whole).any() else 0
    scale = abs(per_voxel[at] / whole[at]) if whole[at] else 1.0
    factor = 1.0 if not scale > 0 or scale > 0.5 else scale
    return [value * factor for value in loss]


def _best(each: Autoencoder) -> View:
    def merit(row: Row) -> float:
        found = measured(row.get("val_loss"))
        return np.inf if found is None else found

    best = min(each.epochs, key=merit)
    return {
        "scope": each.scope,
        "epochs": len(each.epochs),
        "best": best["epoch"],
        "nats": number(best.get("val_nats_per_voxel"), 3),
        "rmse": number(best.get("val_rmse_hu"), 1),
    }


def view_reconstruction(inputs: CohortInputs) -> View | None:
    """Show patches beside their reconstructions, of the first autoencoder that stored any."""
    for each in inputs.autoencoders:
        if each.examples is not None:
            return {"scope": each.scope, **_show_examples(each.examples)}
    return None


def _show_examples(examples: Examples) -> View:
    """Return the middle axial plane of evenly chosen patches, their error and component.

    Errors are over whole patches, not over the plane shown, and over HU as stored.
    """
    before, after = examples.before.astype(np.float64), examples.after.astype(np.float64)
    error = np.sqrt(((before - after) ** 2).mean(axis=(1, 2, 3)))
    total = len(before)
    chosen = np.unique(np.linspace(0, total - 1, min(SHOWN_EXAMPLES, total)).round().astype(int))
    middle = before.shape[1] // 2
    columns = [
        {
            "number": order,
            "before": figures.grey_png(before[at, middle]),
            "after": figures.grey_png(after[at, middle]),
            "difference": figures.difference_png((before - after)[at, middle]),
            "rmse": number(error[at], 0),
            "component": int(examples.component[at]) + 1,
        }
        for order, at in enumerate(chosen, start=1)
    ]
    used, counts = np.unique(examples.component, return_counts=True)
    return {
        "columns": columns,
        "total": total,
        "rmse": number(np.sqrt((error**2).mean()), 1),
        "components": [
            {"number": int(one) + 1, "patches": int(count)}
            for one, count in zip(used, counts, strict=True)
        ],
        "window": figures.WINDOW_HU,
        "difference_hu": figures.DIFFERENCE_HU,
    }


def view_times(inputs: CohortInputs) -> View | None:
    """Show where the time went, by stage; None if no benchmark file was found."""
    if not inputs.times:
        return None
    wall = {each.stage: each.wall_seconds for each in inputs.times}
    total = sum(wall.values())
    longest = max(wall, key=wall.__getitem__)
    return {
        "rows": [
            {
                "stage": each.stage,
                "jobs": each.jobs,
                "wall": number(each.wall_seconds, 1),
                "share": number(each.wall_seconds / total if total else 0, 0, scale=100),
                "cpu": number(each.cpu_seconds, 1),
                "memory": number(each.memory_mib, 0),
            }
            for each in inputs.times
        ],
        "total": {
            "jobs": sum(each.jobs for each in inputs.times),
            "wall": number(total, 1),
            "cpu": number(sum(each.cpu_seconds for each in inputs.times), 1),
            "memory": number(max(each.memory_mib for each in inputs.times), 0),
        },
        "drawing": figures.draw_bars(
            wall,
            xlabel="wall time, summed over jobs (s)",
            name="times",
            alt=f"Wall seconds by stage; {longest} took longest. The table gives the numbers.",
        ),
    }


def view_methods(inputs: CohortInputs) -> View:
    """Write the methods paragraph from the settings and counts of this run."""
    counts = summarize_cohort(inputs.cohort)
    values = flatten(inputs.config)
    values |= {f"version.{name}": found for name, found in installed_versions().items()}
    values |= {"count.patients": str(counts["patients"]), "count.refused": str(counts["refused"])}
    if inputs.metrics and view_conclusion(inputs)["kind"] != "none":
        values |= {
            "count.scored": str(inputs.metrics["n"]),
            "count.events": str(inputs.metrics["events"]),
            "count.design": _design(int(inputs.metrics["folds"])),
        }
    if scope := say_scope(inputs):
        whole = scope == PLAIN_COHORT_SCOPE
        values["scope.sentence"] = METHODS_COHORT_SCOPE if whole else scope
    conclusion = view_conclusion(inputs)
    return {"paragraph": f"{write_methods(values)} {conclusion['heading']}. {conclusion['text']}"}


def _design(folds: int) -> str:
    """Return how patients were held out, in words."""
    if folds == 1:
        return "one fixed division into training and test patients"
    return f"{folds}-fold cross-validation by patient"


def view_provenance(inputs: CohortInputs) -> View:
    """List versions and settings."""
    return {"versions": installed_versions(), "settings": flatten(inputs.config)}
