"""The survey states what headers and positions hold, leaves nothing out and names nobody."""

import importlib.util
import re

import numpy as np
import pytest

from lungfish import survey
from lungfish.dicom.headers import read_headers
from lungfish.errors import InputError
from lungfish.index import hash_uid
from lungfish.records import read_table
from tests import dicom_maker


def look(folder, **options):
    return survey.survey_patient("p", read_headers(folder), **options)


def test_spacings_and_extents_are_those_of_the_positions(series):
    found = look(series.write())
    (row,) = found.series
    assert row["slices"] == row["files"] == 10
    assert (row["step_mm"], row["row_spacing_mm"], row["column_spacing_mm"]) == (2.5, 1.25, 1.0)
    assert row["thickness_mm"] == 99  # what the header says is told, and not believed
    # 12 columns of 1 mm, 14 rows of 1.25 mm, 10 slices of 2.5 mm, between the outer centres
    extent = [row[f"extent_{axis}_mm"] for axis in "xyz"]
    assert extent == pytest.approx([11.0, 16.25, 22.5])
    assert row["plane"] == "axial"
    assert row["tilt_degrees"] == pytest.approx(0, abs=1e-6)
    assert not row["gaps"]
    assert not row["mixed"]


def test_slices_stand_in_the_order_of_their_places_whatever_their_names(series, rng):
    folder = series.write()
    for number, path in zip(rng.permutation(10), sorted(folder.iterdir()), strict=True):
        path.rename(folder / f"x{number}")
    rows = look(folder).slices
    assert [row["place_mm"] for row in rows] == pytest.approx(list(np.arange(10) * 2.5))
    assert [row["step_mm"] for row in rows[1:]] == pytest.approx([2.5] * 9)
    assert rows[0]["step_mm"] is None
    assert [row["z_mm"] for row in rows] == pytest.approx(list(-12 + np.arange(10) * 2.5))
    assert sorted(row["file"] for row in rows) == list(range(1, 11))


@pytest.mark.parametrize(
    ("orientation", "plane", "extent"),
    [
        ((0, 1, 0, 0, 0, -1), "sagittal", (22.5, 11.0, 16.25)),
        ((1, 0, 0, 0, 0, -1), "coronal", (11.0, 22.5, 16.25)),
        ((1, 0, 0, 0, 0.70711, 0.70711), "oblique", None),
    ],
)
def test_extents_run_along_the_patient_and_not_along_the_picture(
    series, orientation, plane, extent
):
    series.orientation = orientation
    (row,) = look(series.write()).series
    assert row["plane"] == plane
    if extent:
        assert [row[f"extent_{axis}_mm"] for axis in "xyz"] == pytest.approx(extent)


def test_tilt_is_measured_and_the_stated_one_stands_beside_it(series):
    def edit(dataset, k):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + k * 2.5 * np.tan(np.radians(10)), z]
        dataset.GantryDetectorTilt = -3
        return dataset

    series.edit = edit
    (row,) = look(series.write()).series
    assert row["tilt_degrees"] == pytest.approx(10, abs=0.01)
    assert row["stated_tilt_degrees"] == -3


def test_gaps_twins_mixtures_and_missing_elements_are_counted(series):
    def edit(dataset, k):
        dataset.KVP, dataset.Manufacturer, dataset.ConvolutionKernel = 120, "Maker", "B30f"
        if k == 4:
            return None
        if k == 7:
            dataset.ImagePositionPatient = [float(value) for value in series.position_mm(6)]
            del dataset.KVP
        if k == 8:
            dataset.ConvolutionKernel = "B70f"
        if k == 9:
            del dataset.ImagePositionPatient
        return dataset

    series.edit = edit
    found = look(series.write())
    (row,) = found.series
    assert row["slices"] == 9
    assert row["gaps"] == 2  # of the slice left out, and of the one moved onto its neighbour
    assert row["same_place"] == 1
    assert row["mixed"].split(", ") == ["kernel", "kvp", "orientation or position"]
    assert row["kernel"] == "B30f"
    assert row["problem"] == "no usable ImagePositionPatient (1)"
    assert "KVP (1)" in row["lacks"]
    assert "Exposure (9)" in row["lacks"]
    assert found.slices[-1].get("place_mm") is None


def test_every_file_is_in_one_of_the_tables(series):
    folder = series.write()
    second = dicom_maker.Series(folder / "more", slices=3, uid="1.2.4").write()
    (folder / "notes.txt").write_text("no DICOM")
    localizer = series.dataset(0)
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.save_as(second / "scout", enforce_file_format=True)
    found = look(folder)
    assert [row["slices"] for row in found.series] == [10, 3]
    assert {row["fate"]: row["files"] for row in found.others} == {"not DICOM": 1, "localizer": 1}
    assert len(found.slices) == 13
    assert [row["series"] for row in found.slices] == [1] * 10 + [2] * 3


def test_no_name_and_no_bare_uid_is_in_the_rows(series):
    found = look(series.write(), salt="pepper")
    text = str(found)
    for secret in ("Doe", "SECRET", "1.2.3", str(series.folder)):
        assert secret not in text
    assert found.series[0]["uid_hash"] == hash_uid("1.2.3", "pepper") != hash_uid("1.2.3", "")


def test_columns_name_their_unit_and_hold_all_that_is_found(series):
    found = look(series.write())
    assert set(found.series[0]) <= set(survey.SERIES_COLUMNS)
    assert set(found.slices[0]) <= set(survey.SLICE_COLUMNS)
    for column in (*survey.SERIES_COLUMNS, *survey.SLICE_COLUMNS):
        if re.search("step|spacing|extent|thickness|place", column) and column != "same_place":
            assert column.endswith("_mm"), column


def script(clone):
    spec = importlib.util.spec_from_file_location("survey_script", clone / "scripts/survey.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_three_tables_and_a_page_that_asks_for_nothing(clone, series, tmp_path):
    def edit(dataset, k):
        dataset.ConvolutionKernel = "<b>& $x$"
        return dataset

    series.edit = edit
    folder, empty = series.write(), tmp_path / "empty"
    empty.mkdir()
    output = tmp_path / "out"
    arguments = ["--dicom", str(folder), str(empty), "--output", str(output)]
    assert script(clone).main(arguments) == 0
    assert [path.name for path in sorted(output.iterdir())] == [
        "index.html", "other_files.tsv", "series.tsv", "slices.tsv",
    ]  # fmt: skip
    assert len(read_table(output / "slices.tsv")) == 10
    assert read_table(output / "series.tsv")[0]["kernel"] == "<b>& $x$"
    page = (output / "index.html").read_text()
    assert page.count("<svg") == 13
    assert "<b>" not in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert re.search(r"<strong>1</strong> <span>without a CT slice", page)
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    script(clone).main(arguments)
    assert first == {path.name: path.read_bytes() for path in output.iterdir()}


def test_a_cohort_without_a_slice_still_has_its_page(clone, tmp_path):
    (tmp_path / "empty").mkdir()
    output = tmp_path / "out"
    assert script(clone).main(["--dicom", str(tmp_path / "empty"), "--output", str(output)]) == 0
    assert "None." in (output / "index.html").read_text()


def test_a_folder_that_is_not_there_is_wrong_input(clone, tmp_path):
    arguments = ["--dicom", str(tmp_path), str(tmp_path / "gone"), "--output", str(tmp_path / "o")]
    with pytest.raises(InputError, match=r"1 of 2 patients is not there \(first: patient 2\)"):
        script(clone).main(arguments)


def test_the_survey_of_real_and_odd_ct_sees_what_is_odd(real_ct, odd_ct):
    def row(folder):
        return look(folder).series[0]

    assert row(odd_ct / "gantry-tilt-phantom")["tilt_degrees"] == pytest.approx(18.5, abs=0.1)
    assert row(odd_ct / "missing-slices")["gaps"] == 2
    assert row(odd_ct / "duplicate-slices")["same_place"] == 3
    assert "rows" in row(odd_ct / "matrix-change")["mixed"]
    assert row(odd_ct / "sagittal-reformat")["plane"] == "sagittal"
    assert len(look(odd_ct / "two-kernels-one-folder").series) == 2
    assert row(real_ct / "lidc-0306")["slices"] > 50
