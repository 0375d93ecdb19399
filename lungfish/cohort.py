"""Who is in, why not, and which patients are held out together."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lungfish.errors import InputError
from lungfish.randomness import generator, stable_hash
from lungfish.records import Record

SCHEMA = "cohort/1"
COLUMNS = (
    "patient", "status", "code", "reason", "label", "fold", "split", "verdict", "volume_litre",
    "manufacturer", "kernel", "thickness_mm", "kvp", "content_hash",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """How patients are held out.

    Attributes
    ----------
    folds : int
        Folds wanted, 2 or more; fewer are made where the smaller class has fewer patients.
    """

    folds: int = 5


@dataclasses.dataclass(frozen=True)
class Member:
    """One patient as the stages before left it.

    Attributes
    ----------
    label : int or None
        1 cancer, 0 none, None unknown.
    split : str
        ``train``, ``validation``, ``test``, a fold number, or empty.
    index, volumes, lungs : dict
        Records of the three stages.
    truth : dict or None
        Of a digital patient, what its maker knows.
    """

    patient: str
    label: int | None
    split: str
    index: Record
    volumes: Record
    lungs: Record
    truth: Record | None = None


def number_of_folds(
    labels: Sequence[int | None], wanted: int, *, splits: Sequence[str] = ()
) -> int:
    """Return how many folds there will be.

    Parameters
    ----------
    labels : sequence of int or None
        0, 1 or None a patient.
    wanted : int
        Stratified folds wanted; bent to the smaller class, since every fold needs a patient of
        each class to be tested on.
    splits : sequence of str
        The ``split`` column beside the labels. Fold numbers fix the folds; ``test`` makes one fold
        of the patients so named. Whoever has neither only trains, once anybody has one.

    Returns
    -------
    int
        0 where a class has fewer than two patients, or where the split column holds no labelled
        patient out: no classifier then.
    """
    smaller = min(list(labels).count(0), list(labels).count(1))
    if smaller < 2:
        return 0
    if not any(splits):
        return min(wanted, smaller)
    held_out = [
        split for label, split in zip(labels, splits, strict=True) if label is not None and split
    ]
    numbers = [int(split) for split in held_out if split.isdecimal()]
    return max(numbers) + 1 if numbers else int("test" in held_out)


def why_no_classifier(labels: Sequence[int | None]) -> str:
    """Return the sentence that says why these labels allow no classifier, or nothing."""
    zeros, ones = list(labels).count(0), list(labels).count(1)
    if min(zeros, ones) >= 2:
        return ""
    return (
        f"no classifier was trained: {ones} patients have label 1 and {zeros} have label 0, "
        "and at least 2 of each are needed to train on some and test on others"
    )


def assign_folds(labels: Mapping[str, int], folds: int, *, seed: int) -> dict[str, int]:
    """Deal labelled patients out to folds, each class evenly.

    Parameters
    ----------
    labels : mapping of str to int
        Patient to 0 or 1.
    folds : int
        How many; 0 gives nobody a fold.
    seed : int
        Of the run; decides the order in which patients are dealt.

    Returns
    -------
    dict
        Patient to fold, 0 to folds - 1. The second class is dealt where the first one stopped, so
        that fold sizes differ by one at most.
    """
    dealt: dict[str, int] = {}
    if not folds:
        return dealt
    start = int(generator(seed, "folds").integers(folds))
    for label in (1, 0):
        group = [patient for patient, found in labels.items() if found == label]
        for patient in sorted(group, key=lambda name: stable_hash(str(seed), "fold", name)):
            dealt[patient] = (start + len(dealt)) % folds
    return dealt


def build_cohort(members: Sequence[Member], *, folds: int, seed: int) -> list[Record]:
    """Decide for every patient whether it is in, and in which fold.

    Parameters
    ----------
    members : sequence of Member
        In any order.
    folds : int
        As `number_of_folds` gives them for the sheet's labels.
    seed : int
        Of the run.

    Returns
    -------
    list of dict
        A row a patient with the keys `COLUMNS`, sorted by patient.

    Raises
    ------
    InputError
        If a label contradicts the truth of a digital patient, or a fold of the ``split`` column
        does not exist.
    """
    rows = [_row(member) for member in sorted(members, key=lambda member: member.patient)]
    _refuse_twins(rows)
    usable = [row for row in rows if row["status"] == "ok" and row["label"] is not None]
    if any(member.split for member in members):
        fold_of = {row["patient"]: _fixed_fold(row, folds) for row in usable}
    else:
        labels = {row["patient"]: row["label"] for row in usable}
        # Refusals may leave fewer than the sheet promised: the smaller class is the limit again.
        kept = min(folds, number_of_folds(list(labels.values()), folds))
        fold_of = dict(assign_folds(labels, kept, seed=seed))
    for row in rows:
        row["fold"] = fold_of.get(row["patient"])
    return rows


def _refuse_twins(rows: Sequence[Record]) -> None:
    """Refuse a scan that stands in the sheet twice: it would be trained on and tested on.

    Raises
    ------
    InputError
        If its two names have different labels: nobody here can know which is right.
    """
    first: dict[str, Record] = {}
    for row in rows:
        if row["status"] != "ok" or not row["content_hash"]:
            continue
        twin = first.setdefault(row["content_hash"], row)
        if twin is row:
            continue
        if {twin["label"], row["label"]} == {0, 1}:
            raise InputError(
                f"patients {twin['patient']} and {row['patient']} are the same scan with labels "
                f"{twin['label']} and {row['label']}: correct the sheet"
            )
        reason = f"the same scan as patient {twin['patient']}: remove one of the two rows"
        row.update(status="refused", code="duplicate-scan", reason=reason)


def _fixed_fold(row: Record, folds: int) -> int | None:
    """Return the fold that the split column gives a patient: None for one that only trains."""
    if row["split"] == "test" and folds:
        return 0
    if not row["split"].isdecimal() or not folds:
        return None
    if int(row["split"]) >= folds:
        raise InputError(
            f"patient {row['patient']}: fold {row['split']} in the split column, but there are "
            f"{folds} folds, counted from 0"
        )
    return int(row["split"])


def _row(member: Member) -> Record:
    """Return the row of one patient without its fold."""
    _confirm_label(member)
    first_refusal = next(
        (
            record
            for record in (member.index, member.volumes, member.lungs)
            if record["status"] == "refused"
        ),
        None,
    )
    acquisition = member.index.get("acquisition") or {}
    source = first_refusal or member.lungs
    return {
        "patient": member.patient,
        "status": source["status"],
        "code": source["code"],
        "reason": source["reason"],
        "label": member.label,
        "split": member.split,
        "verdict": _verdict(member),
        "volume_litre": member.lungs.get("volume_litre"),
        "content_hash": member.volumes.get("content_hash", ""),
        **{key: acquisition.get(key) for key in ("manufacturer", "kernel", "thickness_mm", "kvp")},
    }


def _verdict(member: Member) -> str:
    """Return the mask's verdict, or review where it is content but the HU scale looks odd."""
    verdict = str(member.lungs.get("verdict", ""))
    odd = member.volumes.get("verdict") == "review"
    return "review" if odd and verdict == "ok" else verdict


def _confirm_label(member: Member) -> None:
    """Refuse a sheet whose label a digital patient's own truth contradicts."""
    if member.truth is None or member.label is None:
        return
    true_label = int(bool(member.truth["malignant"]))
    if member.label != true_label:
        raise InputError(
            f"patient {member.patient}: label {member.label} in the sheet, but its truth says "
            f"{true_label}: correct the sheet"
        )


def summarise(rows: Sequence[Record]) -> Record:
    """Return counts of a cohort: patients, in, refused by code, labels, folds."""
    kept = [row for row in rows if row["status"] == "ok"]
    codes = [row["code"] for row in rows if row["status"] != "ok"]
    labels = [row["label"] for row in kept]
    return {
        "patients": len(rows),
        "accepted": len(kept),
        "refused": {code: codes.count(code) for code in sorted(set(codes))},
        "labels": {
            name: labels.count(value) for name, value in (("0", 0), ("1", 1), ("unknown", None))
        },
        "folds": len(np.unique([row["fold"] for row in kept if row["fold"] is not None])),
        "no_classifier": why_no_classifier(labels),
    }
