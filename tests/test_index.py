"""Every file has a fate, and a series is right or refused with its cause."""

import shutil

import numpy as np
import pytest

from lungfish.errors import InputError
from lungfish.index import Settings, hash_uid, index_folder
from scripts import index as index_script
from tests import dicom_maker

SETTINGS = Settings()


def index(folder, **options):
    return index_folder(folder, settings=SETTINGS, **options)


def test_plain_series_is_ordered_along_its_normal(series):
    record = index(series.write())
    assert record["status"] == "ok"
    assert record["geometry"]["spacing_mm"] == [2.5, 1.25, 1.0]
    assert record["geometry"]["size"] == (10, 14, 12)
    assert [entry["file"] for entry in record["slices"]] == list(range(1, 11))
    assert {entry["fate"] for entry in record["files"]} == {"used"}


def test_names_and_instance_numbers_do_not_decide_the_order(series, rng):
    numbers = rng.permutation(100)
    series.edit = lambda dataset, k: setattr(dataset, "InstanceNumber", int(numbers[k])) or dataset
    folder = series.write()
    places = [entry["place_mm"] for entry in index(folder)["slices"]]
    for k, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{numbers[k]:03d}")
    record = index(folder)
    assert [entry["place_mm"] for entry in record["slices"]] == places == sorted(places)
    assert not record["series"]["instance_numbers_agree"]


def test_thickness_is_never_taken_for_the_distance(series):
    assert index(series.write())["acquisition"]["thickness_mm"] == 99
    assert index(series.folder)["geometry"]["spacing_mm"][0] == 2.5


def test_what_is_no_slice_is_named_and_left_out(series):
    folder = series.write()
    (folder / "notes.txt").write_text("no DICOM at all")
    (folder / "empty").touch()
    (folder / "nested").mkdir()
    shutil.copy(folder / "0003.dcm", folder / "nested" / "copy-without-suffix")
    localizer = series.dataset(0)
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.save_as(folder / "0000.dcm", enforce_file_format=True)
    record = index(folder)
    fates = [entry["fate"] for entry in record["files"]]
    assert record["status"] == "ok"
    assert sorted(set(fates)) == ["duplicate of 4", "localizer", "not DICOM", "used"]
    assert fates.count("used") == 10


def drop(*missing):
    return lambda dataset, k: None if k in missing else dataset


def change(slices, **elements):
    def edit(dataset, k):
        for keyword, value in elements.items() if k in slices else ():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return dataset

    return edit


EVERY = range(10)
REFUSED = {
    "one missing": (drop(4), "missing-slices", r"5.00 mm between files 4 and 5"),
    "too few": (drop(*range(2, 10)), "too-few-slices", "2 slices"),
    "no position": (change([3], ImagePositionPatient=None), "incomplete-header", "file 4"),
    "not a number": (change([3], ImagePositionPatient=[0, 0, "nan"]), "incomplete-header", "Imag"),
    "no intercept": (change([3], RescaleIntercept=None), "incomplete-header", "RescaleIntercept"),
    "not HU": (change(EVERY, RescaleType="US"), "not-hu", "US instead of HU"),
    "other matrix": (
        change([8, 9], Rows=7, PixelData=bytes(7 * 12 * 2)), "mixed-matrix", "2 slices",
    ),
    "matrix without its pixels": (
        change([8, 9], Rows=7), "incomplete-header", "336 bytes of pixels where 168",
    ),
    "other pixel spacing": (change([8, 9], PixelSpacing=[1, 1]), "mixed-pixel-spacing", "2 slices"),
    "other frame": (
        change([8, 9], FrameOfReferenceUID="9.9"), "mixed-frame-of-reference", "2 slices",
    ),
    "other orientation": (
        change([8, 9], ImageOrientationPatient=[1, 0, 0, 0, 0.9848, 0.1736]),
        "mixed-orientation", "2 slices",
    ),
    "bad orientation": (
        change(EVERY, ImageOrientationPatient=[1, 0, 0, 0, 0.5, 0]), "bad-orientation", "0.500",
    ),
    "not CT": (change(EVERY, Modality="MR"), "no-ct", "10 other modality"),
    "frames without groups": (
        change(EVERY, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1"), "damaged-files", "10 file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("situation", REFUSED)
def test_what_cannot_be_right_is_refused_with_its_cause(series, situation):
    series.edit, code, words = REFUSED[situation]
    record = index(series.write())
    assert (record["status"], record["code"]) == ("refused", code)
    assert words.replace("\\", "") in record["reason"]
    assert len(record["files"]) > 0


def shift(series, move):
    """Move each slice of a series by `move(k)`, LPS mm, and its HU with it."""

    def edit(dataset, k):
        place = np.array(dataset.ImagePositionPatient, float) + move(k)
        dataset.ImagePositionPatient = [float(value) for value in place]
        change_hu = dicom_maker.truth_hu(np.array(move(k), float))
        stored = np.frombuffer(dataset.PixelData, "<i2") + round(change_hu)
        dataset.PixelData = stored.astype("<i2").tobytes()
        return dataset

    series.edit = edit
    return series.write()


def test_irregular_spacing_keeps_the_true_places(series):
    uneven = [0, 0, 0, 0.8, 0, 0, 0, 0, 0, 0]
    record = index(shift(series, lambda k: (0, 0, uneven[k])))
    assert record["status"] == "ok"
    assert not record["geometry"]["regular"]
    assert record["geometry"]["places"][2:5] == pytest.approx([2, 3.32, 4])
    assert record["geometry"]["gap_files"] == (3, 4)
    assert record["geometry"]["largest_gap_mm"] == pytest.approx(3.3)


def test_an_intruder_and_a_slice_beside_the_line_are_refused(series):
    close = index(shift(series, lambda k: (0, 0, 1.6 if k == 3 else 0)))
    assert (close["code"], "0.90 mm apart" in close["reason"]) == ("irregular-spacing", True)
    aside = index(shift(series, lambda k: (0.5 if k == 3 else 0, 0, 0)))
    assert (aside["code"], "0.50 mm beside" in aside["reason"]) == ("irregular-spacing", True)


def test_gantry_tilt_is_measured_from_the_positions(series):
    slope = 2.5 * np.tan(np.radians(10))
    record = index(shift(series, lambda k: (0, k * slope, 0)))
    assert record["geometry"]["tilt_degrees"] == pytest.approx(10, abs=1e-3)
    series.edit = change(EVERY, GantryDetectorTilt=10)
    assert "the positions say 0.0" in index(series.write())["findings"][0]


def test_gaps_are_filled_only_where_asked_and_only_small_ones(series):
    series.edit = drop(4)
    folder = series.write()
    marked = index_folder(folder, settings=Settings(gaps="mark"))
    assert (marked["status"], marked["geometry"]["missing"]) == ("ok", 1)
    assert marked["geometry"]["filled"] == ((3.0, 5.0),)
    (folder / "0006.dcm").unlink()
    found = index_folder(folder, settings=Settings(gaps="mark"))
    assert found["code"] == "missing-slices"
    assert "about 2 missing" in found["reason"]
    wider = index_folder(folder, settings=Settings(gaps="mark", max_gap_slices=2))
    assert wider["geometry"]["missing"] == 2


def test_a_zip_is_read_like_the_folder_that_it_holds(series, tmp_path):
    folder = series.write()
    expected = index(folder)
    shutil.make_archive(str(tmp_path / "scan"), "zip", folder)
    assert index(tmp_path / "scan.zip") == expected
    (tmp_path / "holding").mkdir()
    (tmp_path / "scan.zip").rename(tmp_path / "holding" / "anything")
    assert index(tmp_path / "holding") == expected
    damaged = (tmp_path / "holding" / "anything").read_bytes()
    (tmp_path / "holding" / "anything").write_bytes(damaged[: len(damaged) // 2])
    assert "1 unopened zip" in index(tmp_path / "holding")["reason"]


def test_an_unhurt_series_goes_on_beside_a_broken_one(series):
    folder = series.write()
    other = dicom_maker.Series(folder / "other", slices=6, uid="1.2.4")
    other.edit = change([2], ImagePositionPatient=None)
    other.write()
    record = index(folder)
    assert record["status"] == "ok"
    assert {"no usable ImagePositionPatient", "other series"} <= {
        entry["fate"] for entry in record["files"]
    }


def test_a_plane_across_the_others_is_left_out(series):
    folder = series.write()
    across = series.dataset(4)
    across.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    across.SOPInstanceUID = across.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    across.save_as(folder / "0099.dcm", enforce_file_format=True)
    record = index(folder)
    assert record["status"] == "ok"
    assert record["files"][-1]["fate"] == "other orientation"
    assert record["others"][0]["slices"] == 1


def test_contradicting_duplicate_is_refused_and_true_copy_dropped(series):
    folder = series.write()
    other = series.dataset(5)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    other.save_as(folder / "copy.dcm", enforce_file_format=True)
    assert index(folder)["status"] == "ok"
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(folder / "copy.dcm", enforce_file_format=True)
    assert index(folder)["code"] == "duplicate-positions"


def test_of_two_series_one_is_chosen_by_a_stated_rule_or_the_one_asked_for(series):
    folder = series.write()
    far = dicom_maker.Series(folder / "far", slices=12, uid="1.2.4", spacing_mm=(8, 1, 1))
    far.write()
    record = index(folder)
    assert record["geometry"]["spacing_mm"][0] == 2.5
    assert record["series"]["rule"] == "thin: True against False"
    assert record["others"][0]["extent_mm"] == pytest.approx(88)
    short = dicom_maker.Series(folder / "short", slices=12, uid="1.2.5", spacing_mm=(1, 1, 1))
    short.write()
    assert index(folder)["series"]["rule"] == "chest_mm: 20 against 10"
    record = index(folder, series="1.2.4")
    assert record["geometry"]["spacing_mm"][0] == 8.0
    assert sum(entry["fate"] == "other series" for entry in record["files"]) == 22
    assert index(folder, series="9.9.9")["code"] == "series-not-found"


def test_of_two_kernels_the_soft_one_is_chosen(series):
    series.edit = change(EVERY, ConvolutionKernel="B70f")
    folder = series.write()
    for uid, kernel in (("1.2.4", "LUNG"), ("1.2.6", "B30f"), ("1.2.5", "")):
        twin = dicom_maker.Series(folder / uid, uid=uid)
        twin.edit = change(EVERY, ConvolutionKernel=kernel)
        twin.write()
    record = index(folder)
    assert record["acquisition"]["kernel"] == "B30f"
    assert record["series"]["rule"] == "soft: 1 against 0"


def test_overlapping_acquisitions_keep_the_larger(series):
    folder = series.write()

    def second(dataset, k):
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{k}"
        return dataset

    series.folder, series.slices, series.edit = folder / "again", 8, second
    series.origin_mm = (-7.0, -5.0, -12.0 + 10.0)
    series.write()
    record = index(folder)
    assert record["status"] == "ok"
    assert record["series"]["slices"] == 10
    assert sum(entry["fate"] == "other acquisition" for entry in record["files"]) == 8
    assert not record["findings"]
    series.origin_mm = (-7.0, -5.0, -12.0 + 15.0)
    series.write()
    assert "(8 slices) reaches 10 mm farther" not in str(index(folder)["findings"])
    series.origin_mm = (-7.0, -5.0, -12.0 + 20.0)
    series.write()
    assert "(8 slices) reaches 15 mm farther" in index(folder)["findings"][0]


def test_no_identifier_and_no_bare_uid_is_in_the_record(series):
    text = str(index(series.write()))
    for secret in ("Doe", "SECRET", "1.2.3", str(series.folder)):
        assert secret not in text
    assert hash_uid("1.2.3", "") in text
    assert hash_uid("1.2.3", "pepper") != hash_uid("1.2.3", "")


def test_links_out_of_the_folder_are_not_followed(series, tmp_path):
    folder = series.write()
    outside = dicom_maker.Series(tmp_path / "outside", slices=30, uid="1.2.8").write()
    (folder / "door").symlink_to(outside, target_is_directory=True)
    (folder / "0011.dcm").symlink_to(outside / "0001.dcm")
    assert len(index(folder)["files"]) == 10


def test_missing_folder_is_wrong_input(tmp_path):
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        index(tmp_path / "nowhere")


# Names as in the README of the data; what each must end as.
ODD = {
    "broken-files": "refused", "duplicate-slices": "duplicate-positions",
    "enhanced-multiframe": "ok", "gantry-tilt-phantom": "too-few-slices",
    "matrix-change": "mixed-matrix", "missing-slices": "missing-slices",
    "no-image-position": "incomplete-header", "single-slice": "too-few-slices",
    "two-slices": "too-few-slices", "nested-no-extension": "ok", "rotated-180": "ok",
    "sagittal-reformat": "ok", "seg-and-sr-in-folder": "ok", "slope-half-unsigned": "ok",
    "two-kernels-one-folder": "ok", "wrong-instance-numbers": "ok", "lung-bases-only": "ok",
    "overlapping-thin": "ok", "abdomen-no-lung": "ok",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_real_folders_end_right_or_refused(odd_ct, name):
    record = index(odd_ct / name)
    assert ODD[name] in (record["code"] or record["status"], record["status"])


def test_a_person_is_told_what_is_here_and_what_is_wrong_with_the_rest(series, capsys):
    folder = series.write()
    (folder / "notes\x1b[31m.txt").write_text("no DICOM")
    assert index_script.main(["--dicom", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usable.\nUsed: 10 slices of 14 x 12 pixels, 2.500 mm apart")
    assert "1 not DICOM: notes?[31m.txt" in said
    (folder / "0005.dcm").unlink()
    assert index_script.main(["--dicom", str(folder)]) == 3
    said = capsys.readouterr().out
    assert said.startswith("Refused (missing-slices): 5.00 mm between files 4 and 5")
    assert "file 5 is 0006.dcm" in said
