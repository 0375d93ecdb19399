"""What the cohort page says about the autoencoder: how it learned, what it sees, what it draws."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.records import Record
from lungfish.report import figures
from lungfish.report.autoencoders import Autoencoder, Drawn, Examples, Row
from lungfish.report.cohort_view import LONG_TABLE, View
from lungfish.report.inputs import CohortInputs, measured
from lungfish.report.wording import ABSENT, number

SHOWN_EXAMPLES = 6
SHOWN_COMPONENTS = 4
REACH_NATS = 1.0
"""Rivals further than this beyond the curves stand in the table alone: a line far away would press
the curves flat."""

MARGINAL, GIVEN_A_CODE = "marginal", "given a code"
"""Kinds of loss, as gmcae.json calls them."""

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
        nats[f"{each.scope}, training"] = (epochs, _column(each, "loss"))
        nats[f"{each.scope}, validation"] = (epochs, _column(each, "val_nats_per_voxel"))
        error[f"{each.scope}, validation"] = (epochs, _column(each, "val_rmse_hu"))
    rows = [_best(each) for each in trained]
    rivals = [
        rival for each, row in zip(trained, rows, strict=True) for rival in _rivals(each, row)
    ]
    alt = "; ".join(
        f"{row['scope']}: {row['epochs']} epochs, best validation {row['nats']} nats per voxel "
        f"and {row['rmse']} HU at epoch {row['best']}"
        for row in rows
    )
    return {
        "scope": say_scope(inputs),
        "rows": rows,
        "rivals": rivals,
        "drawings": [
            figures.draw_curves(
                nats,
                levels=_levels(nats, trained, "nats_per_voxel", REACH_NATS, kinds=(GIVEN_A_CODE,)),
                ylabel="loss (nats per voxel)",
                name="loss",
                alt=f"Loss over epochs, in nats per voxel, lower is better. {alt}.",
            ),
            figures.draw_curves(
                error,
                levels=_levels(error, trained, "rmse_hu", math.inf, kinds=(GIVEN_A_CODE, MARGINAL)),
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


def _best(each: Autoencoder) -> View:
    def merit(row: Row) -> float:
        found = measured(row.get("val_loss"))
        return np.inf if found is None else found

    best = min(each.epochs, key=merit)
    return {
        "scope": each.scope,
        "epochs": len(each.epochs),
        "best": best["epoch"],
        "order": measured(best.get("val_nats_per_voxel")),
        "nats": number(best.get("val_nats_per_voxel"), 3),
        "bits": _bits(best.get("val_nats_per_voxel"), each.record),
        "rmse": number(best.get("val_rmse_hu"), 1),
        "components": _components(each.record),
    }


def _bits(nats: Any, record: Record) -> str:
    """Return nats per voxel of the network's scale as bits per voxel at a resolution of 1 HU."""
    found, scale = measured(nats), record.get("hu_map") or {}
    if found is None or not scale:
        return ABSENT
    hu_per_unit = (scale["high_hu"] - scale["low_hu"]) / 2
    return number((found + math.log(hu_per_unit)) / math.log(2), 2)


def _components(record: Record) -> str:
    """Say how many components were ever used, and how much each explains."""
    found = record.get("validation") or {}
    shares = found.get("component_shares")
    if not shares:
        return ABSENT
    listed = ", ".join(f"{number(share, 1, scale=100)} %" for share in shares)
    used = found.get("components_used")
    of = f"{used} of {len(shares)} used; " if used is not None else ""
    return f"{of}{listed}"


def _rivals(each: Autoencoder, best: View) -> list[View]:
    """List what else was judged on the same patches, the best first; empty if nothing was."""
    rivals = each.record.get("rivals")
    if not rivals:
        return []
    own = {"name": "this autoencoder", "kind": GIVEN_A_CODE, "order": best["order"]}
    rows = [best | own] + [
        {
            "scope": each.scope,
            "name": name,
            "kind": found.get("kind", ABSENT),
            "order": measured(found.get("nats_per_voxel")),
            "nats": number(found.get("nats_per_voxel"), 3),
            "bits": _bits(found.get("nats_per_voxel"), each.record),
            "rmse": number(found.get("rmse_hu"), 1),
        }
        for name, found in rivals.items()
    ]
    return sorted(rows, key=lambda row: (row["order"] is None, row["order"] or 0.0, row["name"]))


def _levels(
    lines: dict[str, Any],
    trained: Sequence[Autoencoder],
    field: str,
    reach: float,
    *,
    kinds: Sequence[str],
) -> dict[str, float]:
    """Return the values near the curves of rivals of these kinds, beside the first autoencoder."""
    stated = (each.record.get("rivals") for each in trained)
    rivals: Record = next(filter(None, stated), {})
    drawn = np.concatenate([values for _, values in lines.values()])
    if not rivals or not np.isfinite(drawn).any():
        return {}
    low, high = np.nanmin(drawn) - reach, np.nanmax(drawn) + reach
    values = {
        name: measured(found.get(field))
        for name, found in rivals.items()
        if found.get("kind") in kinds
    }
    return {
        name: value for name, value in values.items() if value is not None and low <= value <= high
    }


def view_counts(inputs: CohortInputs) -> View | None:
    """List how many patches each patient gave, and from where; None without a table."""
    if not inputs.patches:
        return None
    rows = [_count(row) for row in inputs.patches]
    total = sum(int(measured(row.get("patches")) or 0) for row in inputs.patches)
    return {"rows": rows, "total": total, "long": len(rows) > LONG_TABLE}


def _count(row: Row) -> View:
    whole = {name: row.get(name) or ABSENT for name in ("patches", "inner", "border", "background")}
    shares = {
        name: number(row.get(name), 1, scale=100) for name in ("lung_fraction", "padded", "clipped")
    }
    return {"patient": row["patient"], "code": row.get("code") or "", **whole, **shares}


def view_reconstruction(inputs: CohortInputs) -> View | None:
    """Show patches beside their reconstructions, of the first autoencoder that stored any."""
    for each in inputs.autoencoders:
        if each.examples is not None:
            return {"scope": each.scope, **_show_examples(each.examples)}
    return None


def _chosen(total: int) -> NDArray[np.intp]:
    """Return the examples that are shown, evenly chosen."""
    return np.unique(np.linspace(0, total - 1, min(SHOWN_EXAMPLES, total)).round().astype(int))


def _show_examples(examples: Examples) -> View:
    """Return the middle axial plane of evenly chosen patches, their error and components.

    Errors are over whole patches, not over the plane shown, and over HU as stored.
    """
    before, after = examples.before.astype(np.float64), examples.after.astype(np.float64)
    error = np.sqrt(((before - after) ** 2).mean(axis=(1, 2, 3)))
    middle = before.shape[1] // 2
    columns = [
        {
            "number": order,
            "before": figures.grey_png(before[at, middle]),
            "after": figures.grey_png(after[at, middle]),
            "difference": figures.difference_png((before - after)[at, middle]),
            "rmse": number(error[at], 0),
            "component": int(examples.component[at]) + 1,
            "shares": _share_pictures(examples, int(at)),
        }
        for order, at in enumerate(_chosen(len(before)), start=1)
    ]
    used, counts = np.unique(examples.component, return_counts=True)
    return {
        "columns": columns,
        "total": len(before),
        "rmse": number(np.sqrt((error**2).mean()), 1),
        "components": [
            {"number": int(one) + 1, "patches": int(count)}
            for one, count in zip(used, counts, strict=True)
        ],
        "window": figures.WINDOW_HU,
        "difference_hu": figures.DIFFERENCE_HU,
    }


def _share_pictures(examples: Examples, at: int) -> list[str]:
    """Return a picture of each component's responsibility; none for a single component."""
    if examples.samples is None or examples.samples.responsibility.shape[-1] == 1:
        return []
    shares = examples.samples.responsibility[at]
    return [
        figures.share_png(shares[..., k] / 255)
        for k in range(min(shares.shape[-1], SHOWN_COMPONENTS))
    ]


def view_samples(inputs: CohortInputs) -> View | None:
    """Show what the model draws beside real patches; None where nothing was drawn."""
    for each in inputs.autoencoders:
        if each.examples is not None and each.examples.samples is not None:
            return {"scope": each.scope, **_show_samples(each.examples, each.examples.samples)}
    return None


def _show_samples(examples: Examples, samples: Drawn) -> View:
    """Return the middle axial planes of real and of drawn patches, a row a kind."""
    shown, middle = _chosen(len(examples.before)), examples.before.shape[1] // 2
    rows = (
        ("Real", examples.before),
        ("Drawn, given the real one's code", samples.drawn),
        ("Image of a drawn code", samples.free_mean),
        ("Drawn, given that code: no input", samples.free),
    )
    return {
        "fitted": samples.fitted,
        "numbers": range(1, len(shown) + 1),
        "rows": [
            {"name": name, "pictures": [figures.grey_png(one) for one in patches[shown, middle]]}
            for name, patches in rows
        ],
    }
