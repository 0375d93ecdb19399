"""One digital patient, from the name to the scan and the truth."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom import anatomy, scanner
from lungfish.phantom.anatomy import LEFT, RIGHT, Build
from lungfish.phantom.canvas import Canvas, Floats, Lattice
from lungfish.phantom.nodules import Nodule, draw_nodules, paint_nodule
from lungfish.phantom.organs import paint_organs
from lungfish.phantom.scanner import Scanner
from lungfish.phantom.settings import Settings
from lungfish.phantom.skeleton import paint_skeleton
from lungfish.phantom.tree import Trees, central_airways, draw_trees, paint_trees
from lungfish.randomness import generator, stable_hash
from lungfish.records import Record
from lungfish.volume import Volume

Labels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class DigitalPatient:
    """A scan and what is true of it.

    Attributes
    ----------
    patient : str
        Name.
    seed : int
    volume : Volume
        HU as scanned, int16 (z, y, x); outside a circular field of view -1024.
    lungs : ndarray of uint8, shape (z, y, x)
        1 the patient's right lung, 2 the left; vessels and nodules in, trachea and main bronchi
        out.
    nodules : ndarray of uint8, shape (z, y, x)
        1 to n, as numbered in `truth`.
    truth : dict
        What ``truth.json`` holds.
    scanner : Scanner
    settings : Settings
    plants : ndarray of uint8, shape (z, y, x), or None
        Where factors were asked for: 1 mass, 2 effusion, 3 consolidation.
    """

    patient: str
    seed: int
    volume: Volume
    lungs: Labels
    nodules: Labels
    truth: Record
    scanner: Scanner
    settings: Settings
    plants: Labels | None = None


def is_malignant(patient: str) -> bool:
    """Return a digital patient's fate, a function of the name alone, the same for every seed.

    Parameters
    ----------
    patient : str
        Name, as in the samples sheet.
    """
    return bool(stable_hash("malignant", patient) & 1)


def make_patient(patient: str, *, seed: int, settings: Settings) -> DigitalPatient:
    """Make one digital patient; equal arguments give equal bytes.

    Parameters
    ----------
    patient : str
        Name; it decides the fate and the scanner. All else is drawn from (seed, name).
    seed : int
        0 or more.
    settings : Settings

    Returns
    -------
    DigitalPatient
    """
    if settings.factors:
        # Imported here because a case is a digital patient too.
        from lungfish.phantom.case import make_wanted

        return make_wanted(patient, seed=seed, settings=settings, malignant=is_malignant(patient))
    machine = scanner.scanner_of(patient)
    build = anatomy.draw_build(seed, patient)
    canvas = scanner.canvas_for(settings, machine, scale=build.scale)
    lattice = Lattice.of_body()
    lungs = {side: _lung_field(lattice, build, side) for side in (RIGHT, LEFT)}
    trees = draw_trees(lattice, lungs, seed=seed, patient=patient)
    fields = list(lungs.values())
    nodules = draw_nodules(
        lattice, fields, build, settings, seed=seed, patient=patient,
        malignant=is_malignant(patient),
    )  # fmt: skip
    paint_organs(canvas, lattice, build, fields, seed=seed, patient=patient)
    paint_trees(canvas, trees)
    paint_skeleton(canvas, build)
    nodule_labels = paint_nodules(canvas, nodules, settings, seed=seed, patient=patient)
    lung_labels = label_lungs(canvas, lattice, lungs, trees, settings)
    random = generator(seed, "phantom", patient, "noise")
    hu = scanner.acquire(canvas, settings, machine, random)
    volume = Volume(hu, scanner.scan_affine(settings, machine))
    truth = truth_of(patient, machine, build, lung_labels, nodules, volume)
    truth["seed"] = seed
    return DigitalPatient(
        patient, seed, volume, lung_labels, nodule_labels, truth, machine, settings
    )


def _lung_field(lattice: Lattice, build: Build, side: int) -> Floats:
    """Return the distance to one lung on the lattice."""
    return np.asarray(anatomy.lung(*lattice.axes, build, side), np.float32)


def paint_nodules(
    canvas: Canvas, nodules: list[Nodule], settings: Settings, *, seed: int, patient: str
) -> Labels:
    """Paint the nodules and label the voxels of the scan that they cover by half or more."""
    shape = (settings.slices, settings.matrix, settings.matrix)
    labels = np.zeros(shape, np.uint8)
    random = generator(seed, "phantom", patient, "nodule texture")
    for number, nodule in enumerate(nodules, 1):
        (z, y, x), coverage = paint_nodule(canvas, nodule, random)
        whole = np.zeros((len(canvas.z_mm), *coverage.shape[1:]), np.float32)
        whole[z] = coverage
        covered = scanner.average(whole, settings)
        _mark(labels[:, y, x], covered, number)
    return labels


def _mark(view: Labels, covered: Floats, number: int) -> None:
    """Label the voxels covered by half; where a nodule covers none by half, the fullest one."""
    fullest = float(covered.max(initial=0.0))
    if fullest > 0:
        view[covered >= min(0.5, fullest)] = number


def label_lungs(
    canvas: Canvas, lattice: Lattice, lungs: dict[int, Floats], trees: Trees, settings: Settings
) -> Labels:
    """Label the voxels of the scan of which a lung covers half or more, central airways out."""
    labels = np.zeros((settings.slices, settings.matrix, settings.matrix), np.uint8)
    for number, side in ((1, RIGHT), (2, LEFT)):
        box = lattice.box(canvas, lungs[side])
        if box is None:
            continue
        _, y, x = box
        width = x.stop - x.start
        whole = np.zeros((len(canvas.z_mm), y.stop - y.start, width), np.float32)
        for (z, _, _), (distance,) in lattice.slabs(canvas, box, lungs[side]):
            whole[z] = canvas.coverage(distance)
        labels[:, y, x][scanner.average(whole, settings) > 0.5] = number
    box = canvas.box((-50, -10, -50), (60, 40, 200))
    _, y, x = box
    whole = np.zeros((len(canvas.z_mm), y.stop - y.start, x.stop - x.start), np.float32)
    whole[box[0]] = canvas.coverage(central_airways(*canvas.axes(box), trees))
    labels[:, y, x][scanner.average(whole, settings) > 0.5] = 0
    return labels


def truth_of(
    patient: str, machine: Scanner, build: Build, lungs: Labels, nodules: list[Nodule],
    volume: Volume,
) -> Record:  # fmt: skip
    """Return what truth.json holds, the seed apart."""
    return {
        "patient": patient,
        "malignant": is_malignant(patient),
        "scanner": machine.manufacturer,
        "kernel": machine.kernel,
        "right_litre": round(float(np.count_nonzero(lungs == 1)) * volume.voxel_litre, 6),
        "left_litre": round(float(np.count_nonzero(lungs == 2)) * volume.voxel_litre, 6),
        "nodules": [_describe(k, nodule, build) for k, nodule in enumerate(nodules, 1)],
    }


def _describe(label: int, nodule: Nodule, build: Build) -> Record:
    """Return the record of one nodule, in mm of the scan."""
    return {
        "label": label,
        "malignant": nodule.malignant,
        "centre_mm": [round(value * build.scale, 3) for value in nodule.centre],
        "diameter_mm": round(2 * nodule.radius * build.scale, 3),
        "margin": nodule.margin,
        "density": nodule.density,
        "shape": nodule.shape,
        "solid_hu": round(nodule.solid_hu, 1),
    }
