"""Same body, same answer: however one scan is written, its volume and its hash stay the same."""

import dataclasses

import numpy as np
import pytest

from lungfish.index import Settings as IndexSettings
from lungfish.index import index_folder
from lungfish.randomness import generator
from lungfish.volumes import Settings, build_volume
from tests.presentations import CHOICES, CUTS, Body, Cut, Writer, Writing
from tests.situations.scan import CT_IMAGE_STORAGE

WRITINGS = 30
# 360, 352 and 416 mm over 512 pixels, and slice distances.
SPACINGS = (0.703125, 0.6875, 0.8125, 1.25, 0.7, 2.5)


def drawn_writings():
    """Draw each feature on its own, every choice about equally often."""
    columns = {}
    for name, choices in CHOICES.items():
        rng = generator(9, "presentations", name)
        start = int(rng.integers(len(choices)))
        columns[name] = [
            choices[(start + int(k)) % len(choices)] for k in rng.permutation(WRITINGS)
        ]
    return [
        Writing(**dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


def answer(place):
    """Return the native volume, its record and the 1 mm volume."""
    index = index_folder(place, settings=IndexSettings())
    assert index["status"] == "ok", (index["code"], index["reason"], index["files"])
    native, record = build_volume(place, index, settings=Settings(spacing_mm="native"))
    return native, record, build_volume(place, index, settings=Settings())[0]


def check_equal(body, place, plain):
    native, record, millimetre = answer(place)
    assert np.array_equal(native.hu, body.hu)
    assert native.affine == pytest.approx(body.affine, abs=1e-5)
    assert (record["saturated"], record["spilled"], record["filled"]) == (0, 0, 0)
    _, plain_record, plain_millimetre = plain
    assert record["content_hash"] == plain_record["content_hash"]
    assert np.array_equal(millimetre.hu, plain_millimetre.hu)
    assert millimetre.affine == pytest.approx(plain_millimetre.affine, abs=1e-5)


@pytest.fixture(scope="module")
def body():
    return Body.of(generator(9, "presentations", "body"), (1.25, 0.703125, 0.6875))


@pytest.fixture(scope="module")
def plain(body, tmp_path_factory):
    """What the plainest writing gives."""
    folder = tmp_path_factory.mktemp("plain") / "scan"
    return answer(Writer(body, Writing(), generator(9, "presentations", "plain")).write(folder))


@pytest.mark.parametrize(
    "writing", drawn_writings(), ids=lambda writing: f"{writing.syntax}, {writing.rescale}"
)
def test_one_scan_written_in_random_ways_gives_one_answer(body, plain, tmp_path, writing):
    rng = generator(9, "presentations", str(writing))
    check_equal(body, Writer(body, writing, rng).write(tmp_path / "scan"), plain)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.axes} {cut.flips}")
def test_one_body_presented_in_48_ways_gives_one_answer(body, plain, tmp_path, cut):
    rng = generator(9, "presentations", str(cut))
    check_equal(body, Writer(body, Writing(cut=cut), rng).write(tmp_path / "scan"), plain)


@pytest.mark.parametrize("draw", range(20))
def test_the_answer_does_not_hang_on_the_last_digit_of_a_spacing(tmp_path, draw):
    """Origins in sixteenths of a millimetre lie on the edge between two thousandths."""
    rng = generator(9, "presentations", "spacings", draw)
    spacing_mm = (0.9765625, *rng.choice(SPACINGS, 2, replace=False).tolist())
    origin_mm = (rng.integers(-3000, 3000, 3) / 16).tolist()
    body = Body.of(rng, tuple(rng.permutation(spacing_mm).tolist()), tuple(origin_mm))
    hashes = set()
    for k in rng.choice(len(CUTS), 6, replace=False):
        place = Writer(body, Writing(cut=CUTS[k]), rng).write(tmp_path / str(k))
        index = index_folder(place, settings=IndexSettings())
        native, record = build_volume(place, index, settings=Settings(spacing_mm="native"))
        assert np.array_equal(native.hu, body.hu)
        assert native.affine == pytest.approx(body.affine, abs=1e-5)
        hashes.add(record["content_hash"])
    assert len(hashes) == 1


def test_another_body_has_another_hash(body, plain, tmp_path):
    rng = generator(9, "presentations", "other")
    hu = body.hu.copy()
    hu[5, 6, 7] += 1
    moved = (body.origin_mm[0] + 0.01, *body.origin_mm[1:])
    others = {
        "a voxel": dataclasses.replace(body, hu=hu),
        "a place": dataclasses.replace(body, origin_mm=moved),
        "a spacing": dataclasses.replace(body, spacing_mm=(1.25, 0.703125, 0.69)),
    }
    for name, other in others.items():
        _, record, _ = answer(Writer(other, Writing(), rng).write(tmp_path / name))
        assert record["content_hash"] != plain[1]["content_hash"], name


def test_the_draws_cover_every_choice():
    for name, choices in CHOICES.items():
        drawn = {getattr(writing, name) for writing in drawn_writings()}
        assert len(drawn) >= min(len(choices), 20), name
        assert name == "cut" or drawn == set(choices)


def test_the_writer_uses_what_a_reader_must_know():
    """The slices of a plain writing are those of the standard: one, by hand."""
    body = Body.of(generator(9, "presentations", "hand"), (2.5, 0.5, 0.75))
    cut = Cut((1, 0, 2), (1, -1, 1))  # coronal, from front to back, the head at the top
    writer = Writer(body, Writing(cut=cut), generator(9, "hand"))
    third = writer.singles()[2]
    assert third.SOPClassUID == CT_IMAGE_STORAGE
    assert (third.Rows, third.Columns) == (14, 17)
    assert [float(value) for value in third.PixelSpacing] == [2.5, 0.75]
    assert [float(value) for value in third.ImageOrientationPatient] == [1, 0, 0, 0, 0, -1]
    place = [float(value) for value in third.ImagePositionPatient]
    assert place == [-61.0625, 3.7 + 2 * 0.5, -9 + 13 * 2.5]
    values = np.frombuffer(third.PixelData, "<u2").reshape(14, 17)
    assert values[0, 4] - 1024 == body.hu[13, 2, 4]
