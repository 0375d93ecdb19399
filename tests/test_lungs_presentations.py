"""One patient, presented in 24 orientations and 2 slice orders, has the same two lungs."""

import numpy as np
import pytest

from lungfish import lungs
from lungfish.index import Settings as IndexSettings
from lungfish.index import index_folder
from lungfish.phantom import Design, make_case
from lungfish.randomness import generator
from lungfish.volume import Volume
from lungfish.volumes import Settings as VolumeSettings
from lungfish.volumes import build_volume
from tests.presentations import CUTS, Body, Cut, Writer, Writing

RIGHT, LEFT = 1, 2
LUNGS = lungs.Settings()
# Rows, columns and slices of three different sizes and spacings: none can be taken for another.
COARSE = {"matrix": 64, "slice_mm": 6.0}
FINE = {"matrix": 128, "slice_mm": 3.0}
STRAIGHT = [Cut((2, 0, 1), (-1, 1, -1)), Cut((1, 2, 0), (1, -1, -1))]


class Patient:
    """A digital patient, what is true of the lungs, and what was found in the plainest array."""

    def __init__(self, **grid):
        case = make_case(Design(seed=5, slice_mm=grid["slice_mm"], sharpness=0.2), **grid)
        hu, truth = (array[:, 4:-1] for array in (case.volume.hu, case.lungs))
        affine = case.volume.affine.copy()
        affine[:3, 3] += 4 * affine[:3, 1]
        self.truth = truth
        self.volume = Volume(np.ascontiguousarray(hu), affine)
        self.body = Body(self.volume.hu, self.volume.spacing_mm, tuple(affine[:3, 3]))
        self.found = {}
        self.labels = self.segment(self.volume)

    def segment(self, volume):
        """Segment, once for volumes that are equal to the last bit."""
        key = (volume.hu.tobytes(), volume.affine.tobytes())
        if key not in self.found:
            self.found[key] = lungs.segment(volume, settings=LUNGS).labels
        return self.found[key]

    def read(self, cut, folder):
        """Write the patient as DICOM in a presentation and read it by the stages."""
        chance = generator(10, "presentations", str(cut))
        place = Writer(self.body, Writing(cut=cut, shuffled=True), chance).write(folder / "scan")
        index = index_folder(place, settings=IndexSettings())
        assert index["status"] == "ok", index["reason"]
        settings = VolumeSettings(spacing_mm="native")
        return build_volume(place, index, settings=settings)[0]

    def turned(self, cut):
        """Return the scan with its axes as in a presentation, and an affine that says so."""
        affine = np.eye(4)
        for axis in range(3):
            step = cut.spacing_mm(self.body, axis)
            affine[:3, 2 - axis] = cut.direction(axis) * step
        affine[:3, 3] = cut.position_mm(self.body, 0)
        return Volume(np.ascontiguousarray(cut.planes(self.volume.hu)), affine)


def dice(found, true):
    return 2 * np.count_nonzero(found & true) / (np.count_nonzero(found) + np.count_nonzero(true))


@pytest.fixture(scope="module")
def patient():
    return Patient(**COARSE)


@pytest.fixture(scope="module")
def fine_patient():
    return Patient(**FINE)


def test_right_is_right_and_the_head_is_up(patient):
    """By the phantom's truth, in which the liver lies under the right lung."""
    for side in (RIGHT, LEFT):
        assert dice(patient.labels == side, patient.truth == side) > 0.97
    middle = {side: np.argwhere(patient.labels == side).mean(axis=0) for side in (RIGHT, LEFT)}
    assert middle[RIGHT][2] + 15 < middle[LEFT][2]  # x rises to the patient's left
    widths = (patient.labels > 0).any((1,)).sum(axis=1)
    filled = np.flatnonzero(widths)
    assert widths[filled[:8]].mean() > 1.5 * widths[filled[-3:]].mean()  # bases below, apices above


def test_the_48_presentations_are_48():
    directions = {tuple(np.concatenate([cut.direction(axis) for axis in (1, 2)])) for cut in CUTS}
    orders = {(tuple(cut.direction(0)), tuple(cut.direction(1)), tuple(cut.direction(2)))
              for cut in CUTS}  # fmt: skip
    assert len(directions) == 24
    assert len(orders) == 48


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.axes} {cut.flips}")
def test_any_presentation_of_the_files_gives_the_same_lungs(patient, tmp_path, cut):
    volume = patient.read(cut, tmp_path)
    assert volume.affine == pytest.approx(patient.volume.affine, abs=1e-9)
    assert np.array_equal(patient.segment(volume), patient.labels)


@pytest.mark.parametrize("cut", STRAIGHT, ids=lambda cut: f"{cut.axes} {cut.flips}")
def test_an_array_that_no_reader_has_turned_gives_the_same_lungs(patient, cut):
    found = lungs.segment(patient.turned(cut), settings=LUNGS).labels
    assert np.array_equal(found, cut.planes(patient.labels))


def test_a_patient_mirrored_by_its_writer_has_its_lungs_mirrored(patient):
    """The geometry decides, not the anatomy: the mask says what the affine says."""
    cut = Cut((0, 1, 2), (1, 1, -1))
    honest = patient.turned(cut)
    lying = Volume(honest.hu, patient.volume.affine)
    found = lungs.segment(lying, settings=LUNGS).labels
    swapped = np.array([0, LEFT, RIGHT], np.uint8)[cut.planes(patient.labels)]
    assert dice(found == RIGHT, swapped == RIGHT) > 0.9
    assert dice(found == LEFT, swapped == LEFT) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.axes} {cut.flips}")
def test_every_presentation_segmented_anew_gives_the_same_lungs(fine_patient, tmp_path, cut):
    volume = fine_patient.read(cut, tmp_path)
    read = lungs.segment(volume, settings=LUNGS).labels
    assert np.array_equal(read, fine_patient.labels)
    straight = lungs.segment(fine_patient.turned(cut), settings=LUNGS).labels
    assert np.array_equal(straight, cut.planes(fine_patient.labels))
