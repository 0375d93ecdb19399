"""Numbers as text, and the plain meaning of each measure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lungfish.report.inputs import measured

ABSENT = "n/a"


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number of a record: where it stands, how to print it and what it means.

    Attributes
    ----------
    key : str
        Field of the record.
    name, unit, meaning : str
        What a reader sees.
    digits : int
        Decimals.
    scale : float
        Factor from the stored value to the printed one: 100 for a share printed in percent.
    """

    key: str
    name: str
    unit: str
    digits: int
    meaning: str
    scale: float = 1.0

    def text(self, record: Mapping[str, Any]) -> str:
        """Return the value without its unit, or ``n/a``."""
        return number(record.get(self.key), self.digits, scale=self.scale)


LUNG_MEASURES = (
    Measure(
        "right_litre", "Right lung", "litre", 2,
        "Air, tissue and vessels inside the mask. Grown-ups: about 1.5 to 4 at full breath.",
    ),
    Measure(
        "left_litre", "Left lung", "litre", 2,
        "The heart takes room on this side: mostly a little less than the right.",
    ),
    Measure("volume_litre", "Both lungs", "litre", 2, "The sum of the two."),
    Measure(
        "ratio", "Right over left", "(no unit)", 2,
        "Mostly 1.0 to 1.3. Far from it: a collapsed or removed lung, or a mask that lost a part.",
    ),
    Measure(
        "mean_hu", "Mean density", "HU", 0,
        "-1000 is air, 0 is water. Lungs at full breath lie near -850 to -780; higher means less "
        "air: breathing out, contrast, disease, or chest wall inside the mask.",
    ),
    Measure("p05_hu", "5th percentile", "HU", 0, "5 % of the lung is less dense than this."),
    Measure(
        "p95_hu", "95th percentile", "HU", 0,
        "5 % of the lung is denser than this: vessels, and whatever is solid.",
    ),
    Measure(
        "emphysema_index", "Emphysema index", "% of the lung", 1,
        "Share below -950 HU. Rises with emphysema, but also with noise and sharp kernels: "
        "compare only scans of one kernel and thickness.",
        100.0,
    ),
    Measure(
        "slices_with_lung", "Slices with lung", "% of slices", 0,
        "Low: the scan covers much more than the chest, or the mask lost a part.",
        100.0,
    ),
    Measure(
        "height_mm", "Height", "mm", 0, "Of all slices with lung together: whole lungs have 200 "
        "to 350.",
    ),
    Measure(
        "border_contact", "Contact with the border of the scan", "% of the lungs' surface", 1,
        "More than a little: the lungs are cut off by the scanned range or the field of view.",
        100.0,
    ),
    Measure("components", "Pieces of the mask", "count", 0, "2 for two whole lungs."),
    Measure(
        "airway_leak_litre", "Airways inside the lungs", "litre", 3,
        "Taken out of the mask. Large: the airways' segmentation ran into the lung.",
    ),
)  # fmt: skip

ACQUISITION = (
    ("manufacturer", "Manufacturer", ""),
    ("model", "Model", ""),
    ("kernel", "Reconstruction kernel", ""),
    ("thickness_mm", "Slice thickness", "mm"),
    ("kvp", "Tube voltage", "kV"),
    ("mas", "Exposure", "mAs"),
    ("slices", "Slices", "count"),
)

BASELINES = {
    "constant": ("A constant", "the same probability for everybody"),
    "lung_volume": ("Lung volume alone", "one number per patient, in litre"),
    "acquisition": (
        "Acquisition alone",
        "maker, kernel, slice thickness and tube voltage; no image",
    ),
}

METRICS = (
    ("auc", "AUC", "share of pairs, 0 to 1", "higher is better"),
    ("log_loss", "Log loss", "nats per patient", "lower is better"),
    ("brier", "Brier score", "squared probability, 0 to 1", "lower is better"),
)


def number(value: Any, digits: int, *, scale: float = 1.0) -> str:
    """Return a number with so many decimals and a true minus sign; ``n/a`` if there is none."""
    found = measured(value)
    if found is None:
        return ABSENT
    text = f"{found * scale:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def counted(count: int, noun: str) -> str:
    """Return ``1 patient`` or ``2 patients``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def sentence(text: str) -> str:
    """Return the text with a capital first letter and a full stop."""
    text = " ".join(str(text).split())
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def triple(values: Any, digits: int, unit: str) -> str:
    """Return three values along z, y, x as text, or ``n/a``; one value stands for all three."""
    if not isinstance(values, list | tuple):
        values = (values,) * 3
    texts = [number(value, digits) for value in values]
    if ABSENT in texts:
        return ABSENT
    return f"{' x '.join(texts)} {unit}"
