"""One digital patient of a design: diseased anatomy, its scan, and what is true of each part."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom import habitus, organs, parenchyma, scanner, shares
from lungfish.phantom.anatomy import LEFT, RIGHT, Build
from lungfish.phantom.body import Body, make_body
from lungfish.phantom.canvas import Canvas
from lungfish.phantom.designs import TRAINING_SEEDS, Design, design, parse
from lungfish.phantom.patient import DigitalPatient, paint_nodules, truth_of
from lungfish.phantom.scanner import Scanner
from lungfish.phantom.settings import Settings
from lungfish.phantom.shares import CONSOLIDATION, EFFUSION, MASS
from lungfish.phantom.skeleton import paint_skeleton
from lungfish.phantom.tree import paint_trees
from lungfish.randomness import generator, stable_hash
from lungfish.records import Record
from lungfish.volume import Volume

LENGTH_MM = 328.0
"""Length of a scan of the whole chest."""
NAME = "case"

Labels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class Case(DigitalPatient):
    """A digital patient made after a design.

    Attributes
    ----------
    design : Design
        Further, `plants` holds `MASS`, `EFFUSION` and `CONSOLIDATION`: voxels of which more than
        half belong to it. Mass and consolidation are lung in `lungs`, effusion is not.
    """

    design: Design = dataclasses.field(default_factory=Design)


def make_case(
    wanted: Design | int, *, matrix: int = 256, slice_mm: float | None = None,
    patient: str = NAME, settings: Settings | None = None, malignant: bool = False,
) -> Case:  # fmt: skip
    """Make the digital patient of a design; equal arguments give equal bytes.

    Parameters
    ----------
    wanted : Design or int
        A design, or the seed of one.
    matrix : int
        Rows and columns.
    slice_mm : float or None
        Thickness and distance of the slices in place of the design's, in mm.
    patient : str
        Name; chance depends on it and on the design's seed.
    settings : Settings or None
        Grid, nodules and noise in place of `matrix`, `slice_mm` and of the design's own.
    malignant : bool
        Whether one of the nodules is malignant.

    Returns
    -------
    Case
    """
    plan = design(wanted) if isinstance(wanted, int) else wanted
    if slice_mm is not None:
        plan = dataclasses.replace(plan, slice_mm=slice_mm)
    machine = _machine(plan, patient)
    grid = settings or _grid(plan, matrix, patient)
    body = make_body(plan, patient, grid, malignant=malignant)
    canvas, affine = _canvas(plan, grid, machine, body.build, patient)
    _paint(canvas, body, plan, patient)
    nodules = paint_nodules(canvas, body.nodules, grid, seed=plan.seed, patient=patient)
    _paint_mass(canvas, body, generator(plan.seed, "phantom", patient, "mass"))
    found = shares.label(canvas, body, grid)
    random = generator(plan.seed, "phantom", patient, "noise")
    streaks = 0.0 if plan.arms_mm is None else 0.7
    hu = scanner.acquire(canvas, grid, machine, random, streaks=streaks)
    kept = _kept(plan, found.lungs)
    affine[:3, 3] += affine[:3, 2] * kept.start
    volume = Volume(np.ascontiguousarray(hu[kept]), affine)
    lungs, marked, nodules = (
        np.ascontiguousarray(part[kept]) for part in (found.lungs, found.plants, nodules)
    )
    truth = truth_of(patient, machine, body.build, lungs, body.nodules, volume)
    truth |= {"seed": plan.seed, "factors": _facts(plan, body, marked, volume)}
    return Case(
        patient, plan.seed, volume, lungs, nodules, truth, machine, grid, design=plan,
        plants=marked,
    )  # fmt: skip


def make_wanted(patient: str, *, seed: int, settings: Settings, malignant: bool) -> Case:
    """Make a digital patient with the factors that the settings ask for, on their grid.

    Raises
    ------
    InputError
        If `settings.factors` is no list of fields of a design, or the slices are thinner or
        thicker than designs may have.
    """
    if settings.factors == "drawn":
        plan = design(TRAINING_SEEDS.start + stable_hash("design", patient) % len(TRAINING_SEEDS))
    else:
        plan = parse(settings.factors)
    plan = dataclasses.replace(plan, seed=seed, slice_mm=settings.slice_mm)
    settings = dataclasses.replace(
        settings, noise_soft_hu=plan.noise_hu, noise_sharp_hu=plan.noise_hu
    )
    return make_case(plan, patient=patient, settings=settings, malignant=malignant)


def _machine(plan: Design, patient: str) -> Scanner:
    """Return the scanner: sharp kernels have finer noise, and from 0.4 on overshoot at edges."""
    random = generator(plan.seed, "phantom", patient, "machine")
    circular = bool(random.integers(2))
    sharp = plan.sharpness
    kernel = ("SOFT", "LUNG", "BONE")[min(int(3 * sharp), 2)]
    return Scanner(
        "Digital Scanner C", "Many 3", kernel, 1.0 - 0.55 * sharp, 0.14 + 0.3 * sharp, 1.0,
        circular, circular, 0 if circular else -1024, -2000 if circular else None,
        bool(random.integers(2)), 0.9 * max(0.0, sharp - 0.4),
    )  # fmt: skip


def _grid(plan: Design, matrix: int, patient: str) -> Settings:
    """Return the grid of a scan: its field of view holds the arms where they are down."""
    random = generator(plan.seed, "phantom", patient, "grid")
    wide = random.uniform(340, 400) if plan.arms_mm is None else random.uniform(440, 500)
    return Settings(
        matrix=matrix, slices=math.ceil(LENGTH_MM / plan.slice_mm), slice_mm=plan.slice_mm,
        thickness_mm=plan.slice_mm, field_of_view_mm=round(float(wide), 1), nodules=2,
        noise_soft_hu=plan.noise_hu, noise_sharp_hu=plan.noise_hu, largest_mm=20.0,
    )  # fmt: skip


def _canvas(
    plan: Design, grid: Settings, machine: Scanner, build: Build, patient: str
) -> tuple[Canvas, NDArray[np.float64]]:
    """Return the canvas and the scan's affine; no patient lies quite in the middle."""
    random = generator(plan.seed, "phantom", patient, "position")
    across, up = (round(float(value), 1) for value in random.uniform(-12, 12, 2))
    canvas = scanner.canvas_for(grid, machine, scale=build.scale)
    affine = np.array(scanner.scan_affine(grid, machine))
    affine[:2, 3] += across, up
    shift = np.float32(across / build.scale), np.float32(up / build.scale)
    return Canvas(canvas.hu, canvas.x_mm + shift[0], canvas.y_mm + shift[1], canvas.z_mm), affine


def _paint(canvas: Canvas, body: Body, plan: Design, patient: str) -> None:
    """Paint the body, back to front; only nodules and mass are left."""
    lattice, build = body.lattice, body.build
    random = generator(plan.seed, "phantom", patient, "habitus")
    if plan.table_mm is not None and plan.table_kind == "curved":
        organs.paint_table(canvas, build, gap_mm=plan.table_mm)
    elif plan.table_mm is not None:
        habitus.paint_mattress(canvas, build, gap_mm=plan.table_mm)
    if plan.arms_mm is not None:
        habitus.paint_arms(canvas, build, random, gap_mm=plan.arms_mm)
    organs.paint_trunk(canvas, lattice, build, generator(plan.seed, "phantom", patient, "trunk"))
    organs.paint_abdomen(canvas, lattice, build, gas=False)
    if plan.gas_litre is not None:
        gas = habitus.gut(lattice, build, random, litre=plan.gas_litre)
        habitus.paint_gut(canvas, lattice, gas)
    organs.paint_heart(canvas, lattice, build, contrast_hu=plan.contrast_hu)
    organs.paint_neck(canvas)
    if body.effusion_side is not None:
        wave = organs.texture(lattice, random, width=2.0)
        lattice.paint(canvas, body.spaces[body.effusion_side], [(0, (9 + 2 * wave))])
    parenchyma.paint_lungs(canvas, lattice, body.lungs, body.hu)
    for field in body.lungs.values():
        organs.paint_fissure(canvas, lattice, field, body.wave_mm)
    blood = 40.0 if plan.contrast_hu is None else 0.85 * plan.contrast_hu
    paint_trees(canvas, body.trees, blood_hu=blood)
    lung = np.minimum(*body.lungs.values())
    parenchyma.paint_bullae(canvas, lattice, lung, body.bullae)
    if body.lesion is not None:
        parenchyma.paint_bronchograms(canvas, lattice, body.trees, body.lesion, random)
    paint_skeleton(canvas, build)


def _paint_mass(canvas: Canvas, body: Body, random: np.random.Generator) -> None:
    """Paint the mass as far as it lies in its pleural space."""
    found = shares.mass_share(canvas, body)
    if found is not None and body.mass is not None:
        box, share = found
        hu = body.mass.form.solid_hu + 6 * random.standard_normal(share.shape, np.float32)
        canvas.blend(box, share, hu)


def _kept(plan: Design, lungs: Labels) -> slice:
    """Return the slices that the scan keeps."""
    filled = np.flatnonzero(lungs.any((1, 2)))
    if plan.cut is None or not len(filled):
        return slice(0, len(lungs))
    gone = round(plan.cut * (filled[-1] + 1 - filled[0]))
    if plan.cut_kind == "lowest":
        return slice(int(filled[0]) + gone, len(lungs))
    return slice(0, int(filled[-1]) + 1 - gone)


def _facts(plan: Design, body: Body, marked: Labels, volume: Volume) -> Record:
    """Return what the design asked for, and what of it lies in the scan."""
    asked: dict[str, Any] = dataclasses.asdict(plan)
    counts = np.bincount(marked.ravel(), minlength=4) * volume.voxel_litre
    sides = {RIGHT: "right", LEFT: "left", None: None}
    return asked | {
        "mass_in_scan_litre": round(float(counts[MASS]), 6),
        "effusion_in_scan_litre": round(float(counts[EFFUSION]), 6),
        "consolidation_in_scan_litre": round(float(counts[CONSOLIDATION]), 6),
        "mass_side": sides[body.mass.side if body.mass else None],
        "effusion_side": sides[body.effusion_side],
        "consolidation_side": sides[body.lesion.side if body.lesion else None],
        "consolidation_lobe": body.lesion.lobe if body.lesion else None,
        "consolidation_hu": round(body.lesion.hu, 1) if body.lesion else None,
    }
