"""Settings of the evaluation stage."""

import dataclasses

SCHEMA = "evaluation/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What it takes to conclude something.

    Attributes
    ----------
    head : str
        Head that the conclusion is about, named before its results are seen.
    minimum_per_class : int
        Patients of each class below which nothing is concluded, 1 or more.
    bootstraps : int
        Resamplings of the patients for the intervals of log loss and Brier score, 1000 or more
        for steady limits.
    """

    head: str = "spp"
    minimum_per_class: int = 30
    bootstraps: int = 2000
