"""The methods `unet` and `unet-fallback`: a proposal to a mask that is measured and judged."""

import dataclasses

import numpy as np

from lungfish.errors import InputError, Refusal
from lungfish.lungs.measures import measure
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.segmentation import LungMask, segment
from lungfish.lungs.settings import Settings
from lungfish.lungs.unet.fitting import fit
from lungfish.lungs.unet.proposal import Proposal
from lungfish.lungs.verdict import judge
from lungfish.volume import Volume

RANK = ("ok", "review", "reject")
"""Verdicts, the best first."""


def segment_by(volume: Volume, proposal: Proposal | None, *, settings: Settings) -> LungMask:
    """Find both lungs by the method that the settings ask for.

    Parameters
    ----------
    volume : Volume
        Any spacing, any order of axes.
    proposal : Proposal or None
        Of this volume; None for the classical method only.
    settings : Settings
        Of the lungs stage.

    Returns
    -------
    LungMask

    Raises
    ------
    InputError
        If the method needs a proposal and there is none.
    Refusal
        ``no-lungs``.
    """
    if settings.method == "classical":
        return segment(volume, settings=settings)
    if proposal is None:
        raise InputError(
            f"lungs.method: {settings.method} needs what the U-Net proposes: run lungs_unet for "
            "this patient's shard and give its store with --proposed"
        )
    if settings.method == "unet":
        return segment_learned(volume, proposal, settings=settings)
    return segment_or_learned(volume, proposal, settings=settings)


def segment_learned(volume: Volume, proposal: Proposal, *, settings: Settings) -> LungMask:
    """Take the U-Net's proposal for both lungs of a scan: method ``unet``.

    Parameters
    ----------
    volume : Volume
        Any spacing, any order of axes.
    proposal : Proposal
        Of this volume.
    settings : Settings
        Of the lungs stage.

    Returns
    -------
    LungMask
        Measured and judged as the classical method's; ``path`` is ``unet``.

    Raises
    ------
    Refusal
        ``no-lungs`` if nothing is proposed.
    """
    found = fit(volume, proposal, settings=settings)
    if not found.labels.any():
        raise Refusal(
            "no-lungs", "the U-Net proposes no lung: check that the series shows the chest"
        )
    labels = np.ascontiguousarray(turn_of(volume.affine).back(found.labels))
    measures = measure(volume, labels, leak_voxels=found.leak_voxels)
    record = judge(measures, trachea=found.trachea, settings=settings)
    return LungMask(labels, record | measures | {"method": settings.method, "path": "unet"})


def segment_or_learned(volume: Volume, proposal: Proposal, *, settings: Settings) -> LungMask:
    """Find the lungs by thresholds, and take the U-Net's where its verdict is better.

    Method ``unet-fallback``: the proposal is looked at only where the thresholds' mask is not
    judged ok; of equal verdicts the thresholds' mask stays.

    Raises
    ------
    Refusal
        Of the classical method, where neither finds a lung.
    """
    try:
        first: LungMask | Refusal = segment(volume, settings=settings)
    except Refusal as refusal:
        first = refusal
    if isinstance(first, LungMask) and first.record["verdict"] == "ok":
        return first
    try:
        second = segment_learned(volume, proposal, settings=settings)
    except Refusal:
        if isinstance(first, Refusal):
            raise first from None
        return first
    return better_of(first, second)


def better_of(first: LungMask | Refusal, second: LungMask) -> LungMask:
    """Return the thresholds' mask unless the U-Net's has a better verdict.

    Parameters
    ----------
    first : LungMask or Refusal
        What the thresholds gave.
    second : LungMask
        What the U-Net gave.

    Returns
    -------
    LungMask
        Its record says in ``path`` how it was found: ``unet``, or as the classical method says.
        Where the U-Net's is taken, the reasons begin with what was wrong with the other.
    """
    verdict = "reject" if isinstance(first, Refusal) else str(first.record["verdict"])
    if isinstance(first, LungMask) and RANK.index(second.record["verdict"]) >= RANK.index(verdict):
        return first
    why = first.reason if isinstance(first, Refusal) else "; ".join(first.record["reasons"])
    said = f"the U-Net's mask was taken, since the thresholds' was judged {verdict}: {why}"
    reasons = [said, *second.record["reasons"]]
    return dataclasses.replace(second, record=second.record | {"reasons": reasons})
