"""Ways in which one CT scan can lie on disk, each with its truth: what any reader must survive.

The first 81 are those of the field notes and keep their numbers; the others are this project's.
"""

from tests.situations import completeness, folders, frames, pixels, placing, syntaxes
from tests.situations.registry import SITUATIONS, Built, Situation
from tests.situations.truth import Field, Verdict, judge

__all__ = [
    "SITUATIONS", "Built", "Field", "Situation", "Verdict", "completeness", "folders", "frames",
    "judge", "pixels", "placing", "syntaxes",
]  # fmt: skip
