"""Draw the pictures of docs/how-to/read-lung-pictures.md: digital patients, and usual failures.

    python -m tests.lung_pictures --output docs/how-to/lung-pictures

Every verdict and reason on them is what lungfish says of that mask.
"""

import argparse
from pathlib import Path

import numpy as np

from lungfish import lungs, records
from lungfish.errors import Refusal
from lungfish.lungs import mosaic
from lungfish.phantom import Design, make_case
from lungfish.randomness import generator
from tests import planted
from tests.planted import Planted

PATIENT = Design(seed=41, noise_hu=14.0, sharpness=0.25, slice_mm=2.5, mass_mm=35.0,
                 mass_kind="chest wall", gas_litre=0.45, table_mm=8.0)  # fmt: skip
WHOLE = {"axial": 4, "coronal": 4, "sagittal": 5, "columns": 4, "width_px": 860}
PART = {"axial": 4, "coronal": 4, "sagittal": 0, "columns": 4, "width_px": 860}


def shift(volume, labels, random) -> Planted:
    """The mask 24 mm too far to the back and to the left, as with a wrong affine."""
    steps = [round(24 / step) for step in volume.spacing_mm]
    return Planted("shifted", volume, np.roll(labels, (0, steps[1], steps[2]), (0, 1, 2)))


def leak_into_gut(volume, labels, random) -> Planted:
    """The mask grown into the gas of stomach and bowel, not out of the body."""
    while True:
        found = planted.leak(volume, labels, random)
        if found.what.endswith("gut"):
            return found


def mirror(volume, labels, random) -> Planted:
    return planted.flip_axis(volume, labels, random, axis=2)


def cut_mask(volume, labels, random) -> Planted:
    """The lowest third of the mask missing; the scan is whole."""
    while True:
        found = planted.cut_lowest_third(volume, labels, random)
        if found.labels is not None:
            return found


def erase(volume, labels, random) -> Planted:
    return Planted("erased", volume, np.where(labels == 2, 0, labels).astype(np.uint8))


FAILURES = {
    "erased": erase,
    "leak": leak_into_gut,
    "mirrored": mirror,
    "cut": cut_mask,
    "drowned": planted.drown_lung,
    "shifted": shift,
}


def picture_of(failure: Planted, layout) -> bytes:
    """Draw a failure with what the stage says of it."""
    labels = failure.labels
    if labels is None:
        try:
            labels = lungs.segment(failure.volume, settings=lungs.Settings()).labels
        except Refusal:
            labels = np.zeros(failure.volume.hu.shape, np.uint8)
    record = planted.verdict_of(failure)
    return mosaic.encode(mosaic.draw(failure.volume, labels, record=record, **layout))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    output = parser.parse_args().output
    case = make_case(PATIENT, matrix=192)
    volume, truth = case.volume, case.lungs
    pictures = {"good": picture_of(Planted("good", volume), WHOLE)}
    for name, plant in FAILURES.items():
        failure = plant(volume, truth, generator(10, "pictures", name))
        pictures[name] = picture_of(failure, PART)
    for name, picture in pictures.items():
        with records.atomic(output / f"{name}.png") as temporary:
            temporary.write_bytes(picture)


if __name__ == "__main__":
    main()
