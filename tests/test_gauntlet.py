"""Right, or refused with its cause, and never silently wrong: every way a scan can lie on disk.

`tests/situations` writes the folders and knows the truth of each; `make gauntlet` runs other
readers on the same folders.
"""

import re

import numpy as np
import pytest
from pydicom.dataset import Dataset

from lungfish import index, volumes
from lungfish.dicom.elements import WANTED
from lungfish.errors import Refusal
from tests.situations import SITUATIONS, judge
from tests.situations.placing import plain, set_all
from tests.situations.scan import Scan, put, save, stored

NATIVE = volumes.Settings(spacing_mm="native")
ONE_MM = volumes.Settings(spacing_mm=1.0)


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """What writes a situation, once."""
    place, built = tmp_path_factory.mktemp("situations"), {}

    def build(name):
        if name not in built:
            built[name] = SITUATIONS[name].build(place / name)
        return built[name]

    return build


def read(place, settings, **options):
    """Return the volume of a folder, or the refusal."""
    record = index.index_folder(place, settings=index.Settings(**options))
    if record["status"] != "ok":
        return Refusal(record["code"], record["reason"])
    try:
        return volumes.build_volume(place, record, settings=settings)[0]
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize("settings", [NATIVE, ONE_MM], ids=["native", "1 mm"])
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=list(SITUATIONS))
def test_right_or_refused_with_its_cause(build, situation, settings):
    built = build(situation.name)
    found = read(built.place, settings)
    if isinstance(found, Refusal):
        assert situation.must != "right", found
        assert found.code in situation.codes
        assert re.search(situation.words, found.reason), found.reason
    else:
        verdict = judge(found.hu, found.affine, built.fields, resampled=settings is ONE_MM)
        assert not verdict.wrong
        assert situation.must != "refuse"


def test_there_are_more_situations_than_the_notes_list():
    numbered = [name for name in SITUATIONS if name[0].isdigit()]
    assert len(numbered) == 81
    assert len(SITUATIONS) >= 120
    assert sum(SITUATIONS[name].must == "right" for name in numbered) == 45


def wrong(volume, fields, hu=None, affine=None):
    """Return what the judge says of a volume, with other HU or another grid."""
    hu = volume.hu if hu is None else hu
    return judge(hu, volume.affine if affine is None else affine, fields).wrong


@pytest.mark.parametrize("name", ["01-plain-axial", "09-gantry-tilt", "11-oblique"])
def test_the_judge_sees_what_readers_do_wrong(build, name):
    built = build(name)
    volume = read(built.place, NATIVE)
    assert not wrong(volume, built.fields)
    for axis in range(3):
        shifted = volume.affine.copy()
        shifted[:3, 3] += 0.5 * shifted[:3, axis]
        assert "off by" in wrong(volume, built.fields, affine=shifted)
        assert "off by" in wrong(volume, built.fields, hu=np.flip(volume.hu, axis))
        fewer = volume.affine.copy()
        fewer[:3, 2 - axis] *= 2
        every_second = np.delete(volume.hu, np.s_[1::2], axis)
        assert wrong(volume, built.fields, hu=every_second, affine=fewer)
    assert "off by" in wrong(volume, built.fields, hu=volume.hu + np.int16(3))
    assert "not there" in wrong(volume, built.fields, hu=volume.hu[:-1])


def test_the_judge_sees_two_series_in_one(build):
    built = build("18-two-series")
    one = read(built.place, NATIVE)
    mixed = one.hu.copy()
    mixed[7] += 30
    assert not wrong(one, built.fields)
    assert "off by 30" in wrong(one, built.fields, hu=mixed)


GAPS = {"06-one-missing": (9,), "07-many-missing": None}


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_is_refused_or_marked(build, name):
    """A linear body cannot tell what was measured from what was invented: the mask must."""
    built = build(name)
    assert read(built.place, NATIVE).code == "missing-slices"
    options = index.Settings(gaps="mark")
    record = index.index_folder(built.place, settings=options)
    if GAPS[name] is None:
        assert record["code"] == "missing-slices"
        assert "3 missing" in record["reason"]
        return
    volume, _ = volumes.build_volume(built.place, record, settings=NATIVE)
    assert not wrong(volume, built.fields)
    filled = volumes.filled_mask(volume, record)
    planes = np.flatnonzero(filled.any(axis=(1, 2)))
    assert tuple(planes) == GAPS[name]
    assert filled[planes].all()


def test_marked_filling_covers_all_that_lies_in_the_gap_at_1_mm(build):
    built = build("06-one-missing")
    record = index.index_folder(built.place, settings=index.Settings(gaps="mark"))
    volume, _ = volumes.build_volume(built.place, record, settings=ONE_MM)
    filled = volumes.filled_mask(volume, record)
    z_mm = volume.affine[2, 3] + np.arange(len(filled)) * volume.affine[2, 2]
    below, above = built.fields[0].origins_mm[8:10, 2]
    assert np.array_equal(filled.all(axis=(1, 2)), (z_mm > below) & (z_mm < above))
    assert np.array_equal(filled.any(axis=(1, 2)), filled.all(axis=(1, 2)))


def eight_bits(datasets):
    for dataset in datasets:
        dataset.PixelData = (stored(dataset) >> 3).astype(np.uint8).tobytes()
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7


def colour(datasets):
    for dataset in datasets:
        dataset.PixelData = np.repeat(stored(dataset), 3).tobytes()
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0


# Each warned of by the 2017 recipe or promised by its docstring; here they refuse.
CHECKS = {
    "Modality": (set_all(Modality="MR"), "no-ct", "24 other modality"),
    "BitsAllocated": (eight_bits, "incomplete-header", "other than one 16-bit sample"),
    "SamplesPerPixel": (colour, "incomplete-header", "other than one 16-bit sample"),
    "PhotometricInterpretation": (
        set_all(PhotometricInterpretation="PALETTE COLOR"), "incomplete-header", "grey values",
    ),
    "Rows and Columns": (set_all(Rows=0), "incomplete-header", "Rows and Columns"),
    "RescaleType": (set_all(RescaleType="OD"), "not-hu", "RescaleType OD instead of HU"),
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_header_check_refuses(tmp_path, check):
    edit, code, words = CHECKS[check]
    plain(tmp_path / "scan", edit, signed=False)
    record = index.index_folder(tmp_path / "scan", settings=index.Settings())
    assert record["code"] == code
    assert words in record["reason"]


def spill(datasets):
    """Set a bit above BitsStored, as a value beyond 4095 in 12 bits does."""
    for dataset in datasets:
        values = stored(dataset).astype(int)
        values[3, 4] |= 1 << 13
        put(dataset, values)


def test_header_check_finds_values_above_bits_stored(tmp_path):
    plain(tmp_path / "scan", spill, signed=False, bits=12)
    record = index.index_folder(tmp_path / "scan", settings=index.Settings())
    _, volume = volumes.build_volume(tmp_path / "scan", record, settings=NATIVE)
    assert volume["spilled"] == 24


def said(build, name, words):
    record = index.index_folder(build(name).place, settings=index.Settings())
    return any(words in sentence for sentence in record["findings"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("29-monochrome1", "MONOCHROME1"),
        ("04b-instance-shuffled", "InstanceNumber"),
        ("32-spacing-between-slices", "SpacingBetweenSlices says 5 mm, the positions say 1.25"),
        ("46-jpeg2000-lossy", "with loss"),
    ],
)
def test_harmless_oddity_is_told(build, name, words):
    assert said(build, name, words)
    assert not said(build, "01-plain-axial", words)


def test_header_checks_of_geometry_stand_in_the_record(build):
    """Matrix, orientation and the spread of spacings: usable whatever they are, so only told."""

    def geometry(name):
        return index.index_folder(build(name).place, settings=index.Settings())["geometry"]

    usual, uneven = geometry("01-plain-axial"), geometry("08-irregular-spacing")
    assert tuple(usual["size"]) == (24, 48, 56)
    assert (usual["tilt_degrees"], usual["oblique_degrees"], usual["regular"]) == (0, 0, True)
    assert geometry("11-oblique")["oblique_degrees"] > 20
    assert geometry("09-gantry-tilt")["tilt_degrees"] == pytest.approx(15, abs=0.01)
    assert not uneven["regular"]
    assert uneven["largest_gap_mm"] == pytest.approx(1.35 * 1.25, abs=1e-3)


@pytest.mark.parametrize("name", ["19-two-acquisitions", "51-four-phases"])
def test_header_check_tells_overlapping_acquisitions_apart(build, name):
    record = index.index_folder(build(name).place, settings=index.Settings())
    fates = [entry["fate"] for entry in record["files"]]
    assert fates.count("used") == 24
    assert set(fates) == {"used", "other acquisition"}


def test_no_stray_element_of_a_sequence_is_taken_for_the_images(tmp_path):
    """Every wanted element once more inside a sequence, with another value."""
    scan, other = Scan(), Scan(spacing_mm=(9, 9, 9), rows=3, slope=3.0, uid="1.2.4").datasets()[3]
    stray = Dataset()
    for keyword in WANTED:
        if keyword in other:
            setattr(stray, keyword, other[keyword].value)
    datasets = scan.datasets()
    for dataset in datasets:
        dataset.RequestAttributesSequence = [stray]
    save(tmp_path / "scan", datasets)
    found = read(tmp_path / "scan", NATIVE)
    assert not judge(found.hu, found.affine, (scan.field(),)).wrong
