"""What digital patients are made of: a table of factors, and designs that cover every pair.

The table and the seeds that score were fixed before any lung mask was tuned on them. A block of
60 designs (seeds 0 to 59, 60 to 119, ...) is balanced: every level of a factor occurs as often as
its weight says; it holds every pair of levels of two factors at least once; and the severities
of each level are spread evenly over its range (a Latin hypercube; M. D. McKay et al.,
Technometrics 21, 1979), so that a factor's severity, where it is present, is uniform over the
range of the table.
"""

import dataclasses
import functools
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.errors import InputError
from lungfish.randomness import generator

BLOCK = 60
"""Designs that together cover every pair of levels."""
TUNING_SEEDS = range(600)
"""For looking, tuning and fast tests; they score nothing."""
SCORING_SEEDS = range(600, 660)
"""One block, never looked at while a mask is tuned."""
TRAINING_SEEDS = range(1200, 7200)
"""For networks that learn from digital patients."""

Levels = NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One thing in which digital patients differ.

    Attributes
    ----------
    name : str
        The field of `Design` that holds its severity.
    unit : str
    low, high : float
        Severity, where the factor is present, is uniform from `low` to `high`.
    present : int
        Of 60 designs, how many have it; 60 for what every scan has.
    bins : int
        Parts of equal width into which the range is cut for the covering of pairs.
    kinds : tuple of str
        Kinds in place of bins, each with the whole range of severity.
    what : str
        What it is.
    """

    name: str
    unit: str
    low: float
    high: float
    present: int
    bins: int
    kinds: tuple[str, ...]
    what: str

    @property
    def levels(self) -> tuple[str, ...]:
        """Return the names of the levels, ``absent`` first where a design may lack the factor."""
        edges = np.linspace(self.low, self.high, self.bins + 1)
        binned = tuple(f"{a:.3g} to {b:.3g} {self.unit}".strip() for a, b in pairwise(edges))
        absent = ("absent",) if self.present < BLOCK else ()
        return absent + (self.kinds or binned)

    def ends(self, level: str) -> tuple[float, float]:
        """Return the range of severity of a level that is not ``absent``."""
        if self.kinds:
            return self.low, self.high
        k = self.levels.index(level) - (self.present < BLOCK)
        step = (self.high - self.low) / self.bins
        return self.low + k * step, self.low + (k + 1) * step


FACTORS = (
    Factor("noise_hu", "HU", 6, 45, 60, 3, (), "noise in the middle of the body at 2.5 mm"),
    Factor("sharpness", "", 0, 1, 60, 3, (), "kernel: 0 soft tissue, 0.5 lung, 1 bone"),
    Factor("slice_mm", "mm", 0.6, 8, 60, 4, (), "thickness and distance of the slices"),
    Factor("junction_mm", "mm", 0.3, 1.2, 24, 1, (), "tissue where the lungs touch"),
    Factor(
        "mass_mm", "mm", 10, 60, 30, 1, ("chest wall", "mediastinum", "apex"),
        "diameter of a mass at the pleura",
    ),
    Factor("effusion_litre", "litres", 0.05, 2, 30, 2, (), "fluid in one pleural space"),
    Factor("consolidation_litre", "litres", 0.05, 0.4, 30, 2, (), "lobe-like, -50 to 60 HU"),
    Factor("table_mm", "mm", 0, 15, 40, 1, ("curved", "flat"), "gap between back and table"),
    Factor("gas_litre", "litres", 0.05, 0.6, 40, 2, (), "gas in stomach and bowel"),
    Factor("arms_mm", "mm", 0, 20, 24, 1, (), "arms down: gap between arm and trunk"),
    Factor("emphysema", "", 0.05, 0.5, 24, 2, (), "share of the lung below -950 HU; bullae"),
    Factor("contrast_hu", "HU", 120, 400, 24, 1, (), "blood with contrast medium"),
    Factor(
        "cut", "", 0.1, 0.34, 20, 1, ("lowest", "highest"),
        "share of the height of the lungs that the scan leaves out",
    ),
)  # fmt: skip
"""The table of factors."""


@dataclasses.dataclass(frozen=True)
class Design:
    """What one digital patient is made of; None stands for absent.

    Attributes
    ----------
    seed : int
        All that the table does not name (build, places, sides, textures) is drawn from it.
    noise_hu : float
        Standard deviation in the middle of the body at 2.5 mm thickness, in HU.
    sharpness : float
        Of the kernel, 0 to 1.
    slice_mm : float
        Thickness and distance of the slices, in mm.
    junction_mm : float or None
        Thickness of the junction lines where the lungs touch, in mm.
    mass_mm : float or None
        Diameter of a mass at the pleura, in mm.
    mass_kind : str
        Where: ``chest wall``, ``mediastinum`` or ``apex``.
    effusion_litre, consolidation_litre, gas_litre : float or None
        Volumes, in litres.
    table_mm : float or None
        Gap between back and table, in mm.
    table_kind : str
        ``curved`` or ``flat``.
    arms_mm : float or None
        Gap between arms and trunk, in mm, where the arms are down.
    emphysema : float or None
        Share of the lung below -950 HU.
    contrast_hu : float or None
        Blood with contrast medium, in HU.
    cut : float or None
        Share of the lungs' height left out.
    cut_kind : str
        Which end: ``lowest`` or ``highest``.
    """

    seed: int = 0
    noise_hu: float = 12.0
    sharpness: float = 0.2
    slice_mm: float = 2.5
    junction_mm: float | None = None
    mass_mm: float | None = None
    mass_kind: str = "chest wall"
    effusion_litre: float | None = None
    consolidation_litre: float | None = None
    table_mm: float | None = None
    table_kind: str = "curved"
    gas_litre: float | None = None
    arms_mm: float | None = None
    emphysema: float | None = None
    contrast_hu: float | None = None
    cut: float | None = None
    cut_kind: str = "lowest"

    def __post_init__(self) -> None:
        for factor in FACTORS:
            value = getattr(self, factor.name)
            if value is None and factor.present < BLOCK:
                continue
            if value is None or not factor.low - 1e-9 <= value <= factor.high + 1e-9:
                wanted = f"{factor.low:g} to {factor.high:g} {factor.unit}".strip()
                raise InputError(f"design: {factor.name}: expected {wanted}, found {value}")
            kind = getattr(self, kind_field(factor), None)
            if factor.kinds and kind not in factor.kinds:
                wanted = ", ".join(factor.kinds)
                raise InputError(f"design: {kind_field(factor)}: expected {wanted}, found {kind}")

    def level(self, factor: Factor) -> str:
        """Return the level of a factor in this design."""
        value = getattr(self, factor.name)
        if value is None:
            return "absent"
        if factor.kinds:
            return str(getattr(self, kind_field(factor)))
        part = (value - factor.low) / (factor.high - factor.low) * factor.bins
        return factor.levels[-factor.bins :][min(int(part), factor.bins - 1)]


def kind_field(factor: Factor) -> str:
    """Return the name of the field of `Design` that holds a factor's kind."""
    return f"{factor.name.split('_')[0]}_kind"


def design(seed: int) -> Design:
    """Return the design of a seed; 60 seeds from a multiple of 60 on cover every pair of levels.

    Parameters
    ----------
    seed : int
        0 or more; `TUNING_SEEDS`, `SCORING_SEEDS` and `TRAINING_SEEDS` say what for.
    """
    if seed < 0:
        raise InputError(f"design: expected a seed of 0 or more, found {seed}")
    return _block(seed // BLOCK)[seed % BLOCK]


def parse(text: str) -> Design:
    """Return the design that a text such as ``mass_mm=40 mass_kind=apex`` describes.

    Words of a kind are joined by ``-``: ``mass_kind=chest-wall``. Seed and slices are not of the
    text but of the scan.
    """
    known = {factor.name for factor in FACTORS} - {"slice_mm"}
    kinds = {kind_field(factor) for factor in FACTORS if factor.kinds}
    fields: dict[str, Any] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        try:
            if name not in known | kinds:
                raise ValueError(name)
            fields[name] = value.replace("-", " ") if name in kinds else float(value)
        except ValueError:
            wanted = ", ".join(sorted(known | kinds))
            raise InputError(
                f"phantom: factors: expected name=value with a name of {wanted}, found {word}"
            ) from None
    return Design(**fields)


@functools.lru_cache(maxsize=8)
def _block(number: int) -> tuple[Design, ...]:
    """Return the 60 designs of one block."""
    levels = _covering(number)
    columns: dict[str, list[Any]] = {}
    for k, factor in enumerate(FACTORS):
        severity = _severities(factor, levels[:, k], number)
        columns[factor.name] = severity
        if factor.kinds:
            names = [factor.levels[level] for level in levels[:, k]]
            chosen = [factor.kinds[0] if name == "absent" else name for name in names]
            columns[kind_field(factor)] = list(chosen)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return tuple(Design(seed=number * BLOCK + k, **row) for k, row in enumerate(rows))


def _severities(factor: Factor, levels: Levels, number: int) -> list[Any]:
    """Draw the severities of one factor in a block: spread evenly within each level."""
    random = generator(number, "phantom", "severity", factor.name)
    found: list[Any] = [None] * BLOCK
    for k, level in enumerate(factor.levels):
        rows = random.permutation(np.flatnonzero(levels == k))
        if level == "absent":
            continue
        low, high = factor.ends(level)
        for rank, row in enumerate(rows):
            share = (rank + random.uniform()) / len(rows)
            found[row] = round(float(low + (high - low) * share), 3)
    return found


def _counts(factor: Factor) -> list[int]:
    """Return how often each level occurs in a block."""
    absent = [BLOCK - factor.present] if factor.present < BLOCK else []
    parts = len(factor.kinds) or factor.bins
    return absent + [factor.present // parts] * parts


def _covering(number: int) -> Levels:
    """Return a balanced array (60, factors) of levels in which every pair of levels occurs.

    Starting from columns in chance order, entries of a column change places as long as no pair
    is lost by it, until none is missing.
    """
    random = generator(number, "phantom", "covering")
    sizes = [len(factor.levels) for factor in FACTORS]
    first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    wanted = owner[:, None] < owner[None, :]
    columns = [np.repeat(np.arange(len(_counts(f))), _counts(f)) for f in FACTORS]
    levels = np.stack([random.permutation(column) for column in columns], 1)
    missing = _missing(levels + first, wanted)
    while missing:
        column = int(random.integers(len(sizes)))
        one, two = random.choice(BLOCK, 2, replace=False)
        levels[[one, two], column] = levels[[two, one], column]
        now = _missing(levels + first, wanted)
        if now > missing:
            levels[[one, two], column] = levels[[two, one], column]
        else:
            missing = now
    return levels


def _missing(codes: Levels, wanted: NDArray[np.bool_]) -> int:
    """Return how many pairs of levels no row holds."""
    flags = np.zeros((BLOCK, len(wanted)), np.float32)
    flags[np.arange(BLOCK)[:, None], codes] = 1
    return int(np.count_nonzero(wanted & (flags.T @ flags == 0)))
