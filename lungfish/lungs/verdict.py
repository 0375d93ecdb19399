"""Whether a pair of lungs can be believed, and why not."""

from collections.abc import Mapping
from typing import Any

from lungfish.errors import Refusal
from lungfish.lungs.settings import Settings
from lungfish.records import Record, accepted, refused


def judge(measures: Mapping[str, Any], *, trachea: bool, settings: Settings) -> Record:
    """Judge the measures of a mask.

    Parameters
    ----------
    measures : Mapping
        From `measures.measure`.
    trachea : bool
        Whether airways were found and taken out.
    settings : Settings
        The thresholds.

    Returns
    -------
    dict
        ``status``, ``code``, ``reason``, ``verdict`` (ok, review or reject) and ``reasons``. A
        rejected mask is refused with code ``lungs-rejected``.
    """
    grave = reject_reasons(measures, settings)
    if grave:
        refusal = Refusal("lungs-rejected", "; ".join(grave))
        return refused_record(refusal) | {"reasons": grave}
    doubts = review_reasons(measures, settings)
    if not trachea:
        doubts.append("no trachea was found, so airways may be counted as lung")
    return accepted() | {"verdict": "review" if doubts else "ok", "reasons": doubts}


def refused_record(refusal: Refusal) -> Record:
    """Return the record of a scan without lungs, or of one that an earlier stage refused."""
    return refused(refusal) | {"verdict": "reject", "reasons": [refusal.reason]}


def reject_reasons(measures: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return in words why a mask cannot be lungs; empty if it can."""
    reasons = []
    litre, mean_hu = measures["volume_litre"], measures["mean_hu"]
    if litre < settings.reject_below_litre:
        reasons.append(
            f"both lungs together have {litre:.2f} litres, at least "
            f"{settings.reject_below_litre:.2f} are expected"
        )
    low, high = settings.reject_mean_below_hu, settings.reject_mean_above_hu
    if not low <= mean_hu <= high:
        reasons.append(f"the mean inside is {mean_hu:.0f} HU, lungs lie between {low} and {high}")
    return reasons


def review_reasons(measures: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return in words, with the numbers, why a person should look at a mask; empty if none."""
    reasons = lung_reasons(measures, settings)
    outside = beyond(measures["volume_litre"], settings.review_litre)
    if outside:
        reasons.append(f"both lungs together have {measures['volume_litre']:.2f} litres, {outside}")
    outside = beyond(measures["mean_hu"], settings.review_mean_hu)
    if outside:
        reasons.append(f"the mean inside is {measures['mean_hu']:.0f} HU, {outside}")
    if measures["height_mm"] < settings.review_height_mm:
        reasons.append(
            f"lung stands on {measures['height_mm']:.0f} mm of height, at least "
            f"{settings.review_height_mm:.0f} are expected of whole lungs"
        )
    return reasons + excess_reasons(measures, settings) + sign_reasons(measures, settings)


def excess_reasons(measures: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return what there is too much of: cut lung, leaks, missed lung, lung without air."""
    airless = "% of the {} lung hold no air: effusion, consolidation or tumour"
    limits = (
        ("border_contact", settings.review_border_contact, 100, "% of the lungs' surface lies on "
         "the border of the scan, which may not hold them whole"),
        ("airway_leak_litre", settings.review_airway_leak_litre, 1, " litres inside the lungs were "
         "taken out as airways"),
        ("components", settings.review_components, 1, " pieces make up the mask"),
        ("missed_litre", settings.review_missed_litre, 1, " litres of air as dense as lung lie in "
         "the body but not in the mask: part of a lung may be missing"),
        ("outside_litre", settings.review_outside_litre, 1, " litres of the mask lie outside the "
         "body: it may have leaked"),
        ("gas_litre", settings.review_gas_litre, 1, " litres of the mask are as dark as gas "
         "throughout: stomach or bowel may be in it, or a large bulla or pneumothorax"),
        ("right_airless", settings.review_airless, 100, airless.format("right")),
        ("left_airless", settings.review_airless, 100, airless.format("left")),
    )  # fmt: skip
    found = [(measures.get(name), most, scale, words) for name, most, scale, words in limits]
    return [
        f"{value * scale:.3g}{words} (at most {most * scale:.3g})"
        for value, most, scale, words in found
        if value is not None and value > most
    ]


def sign_reasons(measures: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return what speaks against labels and scan being the right way round.

    A sign that could not be measured says nothing.
    """
    limits = (
        ("left_of_right_mm", settings.review_left_of_right_mm, "the middle of the left lung "
         "lies {:+.0f} mm to the patient's left of the right one's (at least {:+.0f}; negative: to "
         "its right): the labels may be swapped"),
        ("head_up_mm", settings.review_head_up_mm, "apex and diaphragm bulge upwards by {:+.0f} mm "
         "(at least {:+.0f}; negative: downwards): the scan may be upside down"),
        ("back_behind", settings.review_signs, "spine and deepest lung seem to lie in front "
         "({:.2f} of -1 to 1, at least {:.2f}): the scan may be back to front"),
        ("heart_left", settings.review_signs, "heart, aorta and liver seem to lie on the other "
         "side ({:.2f} of -1 to 1, at least {:.2f}): the scan may be mirrored, or the organs are "
         "(situs inversus)"),
    )  # fmt: skip
    # Where the scan cuts the lungs, their box does not tell where the heart should be.
    cut = measures["border_contact"] > settings.review_border_contact
    found = [
        (measures.get(name), least, words)
        for name, least, words in limits
        if not (cut and name == "heart_left")
    ]
    return [
        words.format(value, least)
        for value, least, words in found
        if value is not None and value < least
    ]


def lung_reasons(measures: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return what is doubtful about one lung beside the other."""
    right, left = measures["right_litre"], measures["left_litre"]
    smaller, name = min((right, "right"), (left, "left"))
    if not smaller or smaller < settings.one_lung_share * (right + left):
        return [
            f"only one lung was found: the {name} has {smaller:.2f} of {right + left:.2f} litres"
        ]
    outside = beyond(right / left, settings.review_ratio)
    return [f"right over left is {right / left:.2f}, {outside}"] if outside else []


def beyond(value: float, limits: tuple[float, ...]) -> str:
    """Return in words how a value leaves a range; empty if it does not."""
    low, high = limits
    return "" if low <= value <= high else f"expected {low:g} to {high:g}"
