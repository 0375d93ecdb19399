"""The geometry of one diseased body, drawn from a design."""

import dataclasses
from itertools import pairwise

import numpy as np

from lungfish.phantom import anatomy, organs, parenchyma, plants
from lungfish.phantom.anatomy import LEFT, RIGHT, Build
from lungfish.phantom.canvas import Floats, Lattice
from lungfish.phantom.designs import Design
from lungfish.phantom.nodules import Nodule, draw_nodules
from lungfish.phantom.settings import Settings
from lungfish.phantom.tree import Branch, Trees, draw_trees
from lungfish.randomness import generator

Sides = dict[int, Floats]


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """The geometry of one body on its lattice; distances in mm of the reference body.

    Attributes
    ----------
    lattice : Lattice
    build : Build
    spaces : dict of side to ndarray
        Distances to the pleural spaces, which hold lung and fluid.
    lungs : dict of side to ndarray
        Distances to the lungs; the rest of the spaces is fluid.
    hu : ndarray of float32
        Of the parenchyma, on the lattice.
    wave_mm : ndarray of float32
        How the fissures wave, on the lattice.
    effusion_side : int or None
    lesion : Consolidation or None
    mass : Mass or None
    bullae : list of Bulla
    trees : Trees
    nodules : list of Nodule
    """

    lattice: Lattice
    build: Build
    spaces: Sides
    lungs: Sides
    hu: Floats
    wave_mm: Floats
    effusion_side: int | None
    lesion: plants.Consolidation | None
    mass: plants.Mass | None
    bullae: list[parenchyma.Bulla]
    trees: Trees
    nodules: list[Nodule]


def make_body(plan: Design, patient: str, settings: Settings, *, malignant: bool) -> Body:
    """Draw the body of a design; `settings` say how many nodules of what size it may have."""
    chance = generator(plan.seed, "phantom", patient, "plants")
    side = int(chance.choice([RIGHT, LEFT])) if plan.effusion_litre is not None else None
    lattice, build = Lattice.of_body(), _draw_build(plan, patient, side)
    spaces = {s: _space(lattice, build, s) for s in (RIGHT, LEFT)}
    texture = generator(plan.seed, "phantom", patient, "parenchyma")
    hu, rough = parenchyma.healthy(lattice, build, texture)
    if plan.emphysema is not None:
        inside = np.minimum(*spaces.values()) < 0
        hu = parenchyma.destroy(hu, inside, lattice, texture, share=plan.emphysema)
    lungs, hu = _drown(lattice, build, spaces, hu, plan.effusion_litre, side)
    lesion = _consolidate(lattice, build, lungs, plan.consolidation_litre, chance, rough)
    if lesion is not None:
        hu = parenchyma.fill(hu, lesion, organs.texture(lattice, texture, width=1.0))
    mass = _draw_mass(lattice, build, lungs, plan, chance)
    bullae = []
    if plan.emphysema is not None:
        bullae = parenchyma.draw_bullae(lattice, lungs, chance, share=plan.emphysema)
    trees = draw_trees(lattice, lungs, seed=plan.seed, patient=patient)
    nodules = draw_nodules(
        lattice, list(lungs.values()), build, settings, seed=plan.seed, patient=patient,
        malignant=malignant,
    )  # fmt: skip
    trees = trees if plan.junction_mm is None else _bow(trees)
    return Body(
        lattice, build, spaces, lungs, hu, 3 * rough, side, lesion, mass, bullae, trees, nodules
    )


def _draw_build(plan: Design, patient: str, effusion_side: int | None) -> Build:
    """Draw the build: emphysema flattens the domes and deepens the chest, fluid pushes down."""
    build = anatomy.draw_build(plan.seed, patient)
    right, left, depth = build.right_dome_mm, build.left_dome_mm, build.depth
    if plan.emphysema is not None:
        down = 10 + 24 * plan.emphysema
        right, left, depth = right - down, left - down, depth * (1 + 0.06 * plan.emphysema)
    pressed = 14 * (plan.effusion_litre or 0.0)
    return dataclasses.replace(
        build,
        junction_mm=plan.junction_mm,
        depth=depth,
        right_dome_mm=right - pressed * (effusion_side == RIGHT),
        left_dome_mm=left - pressed * (effusion_side == LEFT),
    )


def _space(lattice: Lattice, build: Build, side: int) -> Floats:
    """Return the distance to one pleural space on the lattice."""
    return np.asarray(anatomy.lung(*lattice.axes, build, side), np.float32)


def _drown(
    lattice: Lattice, build: Build, spaces: Sides, hu: Floats, litre: float | None,
    side: int | None,
) -> tuple[Sides, Floats]:  # fmt: skip
    """Return the lungs and their HU with an effusion on one side."""
    if litre is None or side is None:
        return dict(spaces), hu
    lung, surface = plants.float_lung(lattice, spaces[side], build, side, litre=litre)
    whole = plants.litres(lattice, spaces[side], build)
    left_share = plants.litres(lattice, lung, build) / whole
    pressed = parenchyma.compress(hu, left_share=left_share, surface=surface)
    return spaces | {side: lung}, np.where(spaces[side] < 8, pressed, hu)


def _consolidate(
    lattice: Lattice, build: Build, lungs: Sides, litre: float | None,
    chance: np.random.Generator, rough: Floats,
) -> plants.Consolidation | None:  # fmt: skip
    if litre is None:
        return None
    return plants.consolidate(lattice, lungs, build, chance, rough, litre=litre)


def _draw_mass(
    lattice: Lattice, build: Build, lungs: Sides, plan: Design, chance: np.random.Generator
) -> plants.Mass | None:
    if plan.mass_mm is None:
        return None
    return plants.draw_mass(
        lattice, lungs, build, chance, diameter_mm=plan.mass_mm, kind=plan.mass_kind
    )


def _bow(trees: Trees) -> Trees:
    """Return the trees with the trachea bowed forwards, where the lungs meet behind it."""
    below = [branch for branch in trees.bronchi if branch.depth > 0]
    radii = next(branch.radii for branch in trees.bronchi if branch.depth == 0)
    course = anatomy.BOWED_TRACHEA
    bowed = [Branch(a, b, radii, 0) for a, b in pairwise(course)]
    return Trees(trees.vessels, tuple(bowed + below))
