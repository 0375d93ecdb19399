"""The mosaic shows the patient's right at the picture's left, whatever the order of axes."""

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lungfish.lungs import mosaic, panels
from lungfish.volume import Volume, axis_aligned_affine
from tests.lung_pictures import FAILURES

ROOT = Path(__file__).parent.parent
RIGHT, LEFT = (np.array(mosaic.COLOURS[side]) for side in (1, 2))
ONE = {"columns": 1, "width_px": 400}
RECORD = {
    "status": "ok", "verdict": "review", "right_litre": 2.5, "left_litre": 2.25, "mean_hu": -812.3,
    "method": "classical", "reasons": ["right over left is 2.30, expected 0.6 to 2"],
}  # fmt: skip
# Machado, Oliveira and Fernandes 2009, table 1: how linear RGB is seen without one kind of cone.
CONES_MISSING = {
    "none": np.eye(3),
    "long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
             [-0.003882, -0.048116, 1.051998]],
    "middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
              [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


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


def chest(shape=(70, 60, 90), step_mm=4.0):
    """A body in air with two lungs, the patient's right one nearer to the head."""
    z, y, x = (np.arange(size) * step_mm for size in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    hu = np.full(shape, -1000, np.int16)
    hu[np.broadcast_to(((x - 180) / 160) ** 2 + ((y - 120) / 100) ** 2 < 1, shape)] = 40
    labels = np.zeros(shape, np.uint8)
    for label, across, up in ((1, 110, 150), (2, 250, 130)):
        lung = ((x - across) / 50) ** 2 + ((y - 120) / 60) ** 2 + ((z - up) / 80) ** 2 < 1
        labels[lung] = label
    hu[labels > 0] = -850
    return Volume(hu, axis_aligned_affine((step_mm,) * 3, (-180, -120, 1000))), labels


def presented(volume, labels, order, flips):
    """The same patient with the array's axes in another order and some of them turned round."""
    affine = volume.affine.copy()
    for axis in np.flatnonzero(flips):
        column = 2 - axis
        affine[:3, 3] += affine[:3, column] * (volume.hu.shape[axis] - 1)
        affine[:3, column] *= -1
    affine[:3, :3] = affine[:3, [2 - order[2], 2 - order[1], 2 - order[0]]]
    turned = [np.flip(array, np.flatnonzero(flips)).transpose(order) for array in
              (volume.hu, labels)]  # fmt: skip
    return Volume(np.ascontiguousarray(turned[0]), affine), np.ascontiguousarray(turned[1])


def slices_of(picture):
    return picture[mosaic.HEAD_PX :]


def where(picture, colour):
    return np.nonzero((np.asarray(picture) == colour).all(axis=-1))


def lab(colour, cones):
    """CIELAB (D65) of an sRGB colour seen with a kind of cone missing."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(cones) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = xyz @ seen / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("axial", "coronal"), [(1, 0), (0, 1)])
def test_right_lung_is_drawn_at_the_left(flip, axial, coronal):
    volume, labels = presented(*two_blobs(), (0, 1, 2), (False, False, flip))
    picture = slices_of(
        mosaic.draw(volume, labels, axial=axial, coronal=coronal, sagittal=0, **ONE)
    )
    right, left = where(picture, RIGHT)[1], where(picture, LEFT)[1]
    assert min(right.size, left.size) > 50
    assert right.max() < 200 < left.min()


def test_a_marker_is_drawn_where_radiology_puts_it():
    """A bright marker at the patient's right, front and head; the mask says nothing of it."""
    volume, labels = chest()
    hu = np.where(labels > 0, -850, -200).astype(np.int16)
    world = np.array([-110, -60, 1240])  # LPS mm: right, in front, near the head
    x, y, z = ((world - volume.affine[:3, 3]) / 4).astype(int)
    hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 3000
    view = panels.make_view(Volume(hu, volume.affine), labels, 300)
    for axis, index in ((mosaic.AXIAL, z), (mosaic.CORONAL, y), (mosaic.SAGITTAL, x)):
        panel = np.asarray(panels.draw_panel(view, axis, index))
        rows, columns = np.nonzero((panel == panels.WHITEST).all(axis=-1))
        assert rows.size > 9
        # The median: a pixel or two of the smoothed letters have this grey too.
        assert np.median(columns) < panel.shape[1] / 2  # right, or in front
        assert np.median(rows) < panel.shape[0] / 2  # in front, or near the head


def test_head_is_up_and_front_is_left():
    volume, _ = two_blobs()
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[30:34, 10:14, 28:33] = 1  # near the head, to the front
    labels[6:10, 36:40, 28:33] = 2  # near the feet, to the back
    picture = slices_of(mosaic.draw(volume, labels, axial=0, coronal=0, sagittal=1, **ONE))
    high, low = where(picture, RIGHT), where(picture, LEFT)
    assert high[0].max() < low[0].min()
    assert high[1].max() < low[1].min()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_and_direction_of_axes_gives_the_same_picture(order):
    volume, labels = chest()
    few = {"axial": 2, "coronal": 1, "sagittal": 1, "columns": 2, "width_px": 240}
    plain = mosaic.draw(volume, labels, **few)
    for flips in itertools.product((False, True), repeat=3):
        assert np.array_equal(plain, mosaic.draw(*presented(volume, labels, order, flips), **few))


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (8.0, 1.5, 1.5), (0.6, 2.0, 2.5)])
@pytest.mark.parametrize("axis", [mosaic.AXIAL, mosaic.CORONAL, mosaic.SAGITTAL])
def test_a_ball_is_drawn_round(spacing, axis):
    volume, labels = two_blobs(spacing, tuple(int(120 / step) for step in spacing))
    view = panels.make_view(volume, labels, 500)
    middle = round(np.argwhere(labels == 1)[:, axis].mean())
    rows, columns = where(panels.draw_panel(view, axis, middle), RIGHT)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1, abs=0.14)


@pytest.mark.parametrize("cones", list(CONES_MISSING))
def test_the_two_lungs_are_told_apart_by_every_kind_of_colour_vision(cones):
    """Colours that differ by 20 in CIELAB are told apart at a glance; by 2 only side by side."""
    right, left = (lab(colour, CONES_MISSING[cones]) for colour in (RIGHT, LEFT))
    assert np.linalg.norm(right - left) > 40


def test_an_outline_is_one_pixel_wide_and_lies_inside_the_lung():
    volume, labels = two_blobs()
    panel = np.asarray(panels.draw_panel(panels.make_view(volume, labels, 300), 0, 20))
    row = panel[panel.shape[0] // 2 + 1]
    for colour in (RIGHT, LEFT):
        places = np.flatnonzero((row == colour).all(axis=-1))
        assert len(places) == 2
        assert row[places[0] - 2].min() > 180 > row[places[0] + 2].max()


def test_what_counts_as_lung_is_tinted_where_it_is_bright():
    volume, labels = two_blobs()
    hu = np.where(labels > 0, 60, volume.hu).astype(np.int16)  # a lung full of tumour
    view = panels.make_view(Volume(hu, volume.affine), labels, 300)
    panel = np.asarray(panels.draw_panel(view, 0, 20)).astype(int)
    middle = panel.shape[0] // 2 - 6
    places = [np.flatnonzero((panel[middle] == colour).all(axis=-1)) for colour in (RIGHT, LEFT)]
    inside = [panel[middle, int(at.mean())] for at in places]
    outside = panel[middle, (places[0].max() + places[1].min()) // 2]
    assert np.ptp(outside) == 0
    assert inside[0][0] - inside[0][2] > 40  # yellowish
    assert inside[1][2] - inside[1][0] > 40  # bluish


def test_a_lung_that_the_mask_lost_is_in_the_picture():
    volume, labels = chest()
    view = panels.make_view(volume, np.where(labels == 1, labels, 0), 300)
    for axis in range(3):
        lost = np.nonzero(labels == 2)[axis]
        assert view.box[axis].start < lost.min()
        assert lost.max() < view.box[axis].stop
    chosen = panels.slices_through(view, panels.SAGITTAL, 8)
    assert sum((labels[:, :, index] == 2).any() for index in chosen) >= 2


def test_a_lung_that_holds_no_air_is_in_the_picture_too():
    volume, labels = chest()
    drowned = np.where(labels == 1, 20, volume.hu).astype(np.int16)
    left_only = np.where(labels == 2, labels, 0)
    view = panels.make_view(Volume(drowned, volume.affine), left_only, 300)
    assert view.box[2].start < np.nonzero(labels == 1)[2].min()


def test_the_slices_begin_above_and_end_below_the_lungs():
    volume, labels = chest()
    view = mosaic.make_view(volume, labels, 200)
    chosen = mosaic.slices_through(view, mosaic.AXIAL, 12)
    lungs = np.flatnonzero(labels.any((1, 2)))
    assert chosen == sorted(chosen, reverse=True)
    assert 4 * (chosen[0] - lungs.max()) == pytest.approx(12, abs=4)
    assert 4 * (lungs.min() - chosen[-1]) == pytest.approx(12, abs=4)
    assert mosaic.position_mm(view, mosaic.AXIAL, chosen[0]) == 1000 + 4 * chosen[0]
    assert mosaic.position_mm(view, mosaic.SAGITTAL, 7) == -180 + 4 * 7
    assert mosaic.position_mm(view, mosaic.CORONAL, 7) == -120 + 4 * 7


def test_a_scan_of_few_slices_shows_each_of_them_once():
    volume, labels = two_blobs((12.0, 2.0, 2.0), (5, 50, 60))
    view = mosaic.make_view(volume, labels, 200)
    assert mosaic.slices_through(view, mosaic.AXIAL, 12) == [4, 3, 2, 1, 0]
    assert mosaic.draw(volume, labels).shape[1] == 1500


def test_the_bar_is_50_mm_long():
    volume, labels = chest()
    head = np.asarray(mosaic.draw_head(1500, 1.25, {}, ""))
    middle = head[mosaic.HEAD_PX // 2]
    bar = np.flatnonzero((middle == panels.INK).all(axis=-1))
    longest = max(np.split(bar, np.flatnonzero(np.diff(bar) > 1) + 1), key=len)
    assert len(longest) - 1 == 50 / 1.25
    view = panels.make_view(volume, labels, 240)
    width, height = panels.panel_size(view, panels.CORONAL)
    part = view.box
    assert width * view.mm_per_px == pytest.approx(4 * (part[2].stop - part[2].start), abs=1)
    assert height * view.mm_per_px == pytest.approx(4 * (part[0].stop - part[0].start), abs=1)


@given(words=st.lists(st.text("abcdefgh-0123456789.,", min_size=1, max_size=60), max_size=40))
@settings(max_examples=30, deadline=None)
def test_no_word_of_a_reason_is_cut_off(words):
    lines = mosaic.wrapped(" ".join(words), 17, 400)
    assert "".join(lines).replace(" ", "") == "".join(words)
    assert all(panels.font(17).getlength(line) <= 400 for line in lines)


def test_verdict_and_every_reason_stand_on_top():
    volume, labels = two_blobs()
    plain = mosaic.draw(volume, labels, record=RECORD | {"reasons": []})
    reasons = ["the left lung is flat where a dome should be, " * 8, "one", "two"]
    full = mosaic.draw(volume, labels, record=RECORD | {"reasons": reasons})
    lines = sum(len(mosaic.wrapped(f"- {reason}", 17, 1476)) for reason in reasons)
    grown_px = full.shape[0] - plain.shape[0]
    assert lines >= 4
    assert grown_px == lines * mosaic.LINE_PX
    assert np.array_equal(full[-600:], plain[-600:])  # the slices are the same
    assert not full[: grown_px + 40, -8:].any()  # nothing runs over the edge
    for verdict, (ground, _) in mosaic.VERDICTS.items():
        record = RECORD | {"verdict": verdict}
        assert where(mosaic.draw_head(900, 1.0, record, ""), ground)[0].size > 1000


def test_full_picture_is_small_on_disk_and_keeps_its_colours():
    shape = (80, 90, 110)
    volume, labels = two_blobs((3.0, 3.0, 3.0), shape)
    noise = np.random.default_rng(0).normal(-600, 150, shape).astype(np.int16)
    picture = mosaic.draw(Volume(noise, volume.affine), labels, record=RECORD)
    data = mosaic.encode(picture)
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert picture.shape[1] == 1500
    assert len(data) < 700_000
    for colour in (RIGHT, LEFT):
        outline = where(picture, colour)
        assert outline[0].size > 1000
        assert (stored[outline] == colour).all()
    assert np.abs(stored - picture).mean() < 3
    again = mosaic.encode(mosaic.draw(Volume(noise, volume.affine), labels, record=RECORD))
    assert data == again


def test_no_lungs_and_refusals_can_be_drawn():
    volume, labels = chest()
    refused = {"status": "refused", "verdict": "reject", "reasons": ["no lungs"]}
    whole = mosaic.draw(volume, 0 * labels, record=refused, width_px=700)
    assert whole.shape[1] == 700
    rejected = mosaic.draw_record(refused, volume, labels)
    assert where(rejected, RIGHT)[0].size > 1000
    assert mosaic.draw_record(refused, volume).shape[0] > 600
    assert mosaic.draw_record(refused | {"code": "gap", "reason": "x"}).shape[0] < 100
    assert panels.make_view(volume, 0 * labels, 99).box == tuple(slice(0, n) for n in (70, 60, 90))
    short = mosaic.draw_refused("missing-slices", "one is missing after 48")
    long = mosaic.draw_refused("missing-slices", "one is missing after 48 " * 9)
    assert short.shape[1] == long.shape[1] == 900
    assert long.shape[0] > short.shape[0]


def test_the_page_that_teaches_the_mosaic_shows_every_failure():
    page = ROOT / "docs/how-to/read-lung-pictures.md"
    shown = re.findall(r"!\[[^]]{20,}\]\((lung-pictures/[a-z]+\.png)\)", page.read_text())
    assert sorted(shown) == sorted(f"lung-pictures/{name}.png" for name in ["good", *FAILURES])
    for name in shown:
        path = page.parent / name
        assert path.stat().st_size < 150_000
        with Image.open(path) as picture:
            assert picture.width <= 900
