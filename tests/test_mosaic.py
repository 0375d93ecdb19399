"""The mosaic shows the patient's right at the picture's left, whatever the order of axes."""

import io

import numpy as np
import pytest
from PIL import Image

from lungfish.lungs import mosaic
from lungfish.volume import Volume, axis_aligned_affine

RIGHT, LEFT = (np.array(mosaic.COLOURS[side]) for side in (1, 2))


def two_blobs(spacing_mm=(2.0, 2.0, 2.0), shape=(40, 50, 60)):
    """A dark volume with a blob at the patient's right (label 1) and one at the left (2)."""
    z, y, x = np.ogrid[tuple(slice(0, size) for size in shape)]
    middle = [size / 2 for size in shape]
    labels = np.zeros(shape, np.uint8)
    for label, place in ((1, 0.25), (2, 0.75)):
        distance = (
            ((z - middle[0]) * spacing_mm[0]) ** 2
            + ((y - middle[1]) * spacing_mm[1]) ** 2
            + ((x - place * shape[2]) * spacing_mm[2]) ** 2
        )
        labels[distance < 24**2] = label
    hu = np.where(labels > 0, -850, 40).astype(np.int16)
    return Volume(hu, axis_aligned_affine(spacing_mm, (-60, -50, -40))), labels


def columns_of(picture, colour):
    return np.nonzero((picture == colour).all(axis=-1))[1]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("axial", "coronal"), [(1, 0), (0, 1)])
def test_right_lung_is_drawn_at_the_left(flip, axial, coronal):
    volume, labels = two_blobs()
    if flip:
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, 0] * (volume.hu.shape[2] - 1)
        affine[:3, 0] *= -1
        volume, labels = Volume(volume.hu[:, :, ::-1].copy(), affine), labels[:, :, ::-1]
    picture = mosaic.draw(
        volume, labels, axial=axial, coronal=coronal, sagittal=0, columns=1, width_px=400
    )[mosaic.HEAD_PX :]
    right, left = columns_of(picture, RIGHT), columns_of(picture, LEFT)
    assert right.size > 50
    assert left.size > 50
    assert right.max() < 200 < left.min()


def test_head_is_up_and_front_is_left():
    volume, _ = two_blobs()
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[30:34, 10:14, 10:14] = 1  # near the head, to the front, at the right
    labels[6:10, 36:40, 10:14] = 2  # near the feet, to the back, at the right
    picture = mosaic.draw(volume, labels, axial=0, coronal=0, sagittal=1, columns=1, width_px=400)[
        mosaic.HEAD_PX :
    ]
    high = np.nonzero((picture == RIGHT).all(axis=-1))
    low = np.nonzero((picture == LEFT).all(axis=-1))
    assert high[0].max() < low[0].min()
    assert high[1].max() < low[1].min()


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (6.0, 1.5, 1.5)])
def test_a_ball_is_drawn_round(spacing):
    shape = tuple(int(120 / step) for step in spacing)
    volume, labels = two_blobs(spacing, shape)
    picture = mosaic.draw(volume, labels, axial=0, coronal=1, sagittal=0, columns=1, width_px=600)
    rows, columns = np.nonzero((picture[mosaic.HEAD_PX :] == RIGHT).all(axis=-1))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1, abs=0.12)


def test_full_picture_is_small_on_disk_and_keeps_its_colours():
    shape = (80, 90, 110)
    volume, labels = two_blobs((3.0, 3.0, 3.0), shape)
    noise = np.random.default_rng(0).normal(-600, 150, shape).astype(np.int16)
    picture = mosaic.draw(Volume(noise, volume.affine), labels, caption="verdict: ok; " * 40)
    data = mosaic.encode(picture)
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert picture.shape[1] == 1400
    assert len(data) < 600_000
    assert (stored == RIGHT).all(axis=-1).any()
    assert (stored == LEFT).all(axis=-1).any()


def test_slices_run_from_top_to_bottom_with_their_positions():
    volume, labels = two_blobs()
    view = mosaic.make_view(volume, labels, 200)
    chosen = mosaic.slices_through(view, mosaic.AXIAL, 4)
    assert chosen == sorted(chosen, reverse=True)
    assert mosaic.position_mm(view, mosaic.AXIAL, chosen[0]) == -40 + 2 * chosen[0]
    assert mosaic.position_mm(view, mosaic.SAGITTAL, 7) == -60 + 14


def test_no_lungs_and_refusals_can_be_drawn():
    volume, labels = two_blobs()
    assert mosaic.draw(volume, 0 * labels, width_px=700).shape[1] == 700
    assert mosaic.draw_refused("missing-slices", "one is missing after 48 " * 9).shape[1] == 700
