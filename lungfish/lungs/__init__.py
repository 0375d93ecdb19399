"""Lungs from HU: body, airways, right and left, closing, measures and verdict."""

from lungfish.lungs import mosaic
from lungfish.lungs.conventions import Affine
from lungfish.lungs.given import adopt
from lungfish.lungs.segmentation import LungMask, segment
from lungfish.lungs.settings import Settings
from lungfish.lungs.sides import Labels
from lungfish.lungs.verdict import refused_record

SCHEMA = "lungs/1"

__all__ = [
    "SCHEMA", "Affine", "Labels", "LungMask", "Settings", "adopt", "mosaic",
    "refused_record", "segment",
]  # fmt: skip
