"""Masks on the original slices: the same voxels for two readers, each frame at its slice's place.

The truth of references and positions is what pydicom reads from the source files themselves.
"""

import io
import logging
import shutil
import warnings
import zipfile

import highdicom
import numpy as np
import pydicom
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lungfish import index, lungs, nifti, segments, volumes
from lungfish.errors import Refusal
from lungfish.records import accepted, read_table, refused, write_json
from lungfish.resampling.masks import SliceGrid, from_slices, to_slices
from lungfish.volume import to_mm
from scripts import segments as script
from tests.situations import SITUATIONS
from tests.workflow_runner import copy_clone, snakemake

ONE_MM = volumes.Settings(spacing_mm=1.0)
VERDICT = {"verdict": "review", "reasons": ["only one lung was found"], "method": "classical"}
NAMES = {"StudyInstanceUID": "1.2.7", "StudyDate": "20010203", "StudyTime": "040506"}


def blocks(volume):
    """Label a box at the right of a volume 1 and one at its left 2, no plane at the ends."""
    labels = np.zeros(volume.hu.shape, np.uint8)
    z, y, x = (length // 4 for length in labels.shape)
    labels[z:-z, y:-y, x : 2 * x] = 1
    labels[z:-z, y : 2 * y, 2 * x : -x] = 2
    return labels


def prepare(folder, **options):
    """Return the records of all stages, and a mask, of a folder."""
    found = index.index_folder(folder, settings=index.Settings(**options))
    volume, record = volumes.build_volume(
        folder, found, settings=ONE_MM, salt=options.get("salt", "")
    )
    stages = {"index": found, "volumes": record, "lungs": accepted() | VERDICT}
    return stages, (blocks(volume), volume.affine)


def export(folder, output, prepared=None):
    stages, mask = prepared or prepare(folder)
    row = segments.export_patient(folder, stages, mask, output, settings=ONE_MM, version="1.2.3")
    return row, to_slices(*mask, SliceGrid.of(stages["index"]["geometry"]))


def source_files(place):
    """Yield every DICOM file of a folder or zip, as pydicom reads it."""
    for path in sorted(place.rglob("*") if place.is_dir() else [place]):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                files = [io.BytesIO(archive.read(name)) for name in archive.namelist()]
        else:
            files = [path] if path.is_file() else []
        for file in files:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    yield pydicom.dcmread(file, force=True, stop_before_pixels=True)
                except (pydicom.errors.InvalidDicomError, EOFError):
                    continue


def stated_positions(place):
    """Return where the source says that each instance (and frame) lies."""
    found = {}
    for dataset in source_files(place):
        uid = dataset.get("SOPInstanceUID")
        if "ImagePositionPatient" in dataset:
            found[uid, None] = list(dataset.ImagePositionPatient)
        for number, frame in enumerate(dataset.get("PerFrameFunctionalGroupsSequence", ()), 1):
            if "PlanePositionSequence" in frame:
                found[uid, number] = list(frame.PlanePositionSequence[0].ImagePositionPatient)
    return found


def frames_of(path):
    """Yield segment, position, reference (instance and frame) and pixels of each frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = pydicom.dcmread(path)
        pixels = made.pixel_array
    assert len(pixels) == int(made.NumberOfFrames)
    for item, plane in zip(made.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        frame = reference.get("ReferencedFrameNumber")
        yield (
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
            [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient],
            (reference.ReferencedSOPInstanceUID, None if frame is None else int(frame)),
            plane,
        )


def check(path, place, stages, labels):
    """Compare each frame with the source's own file and with the labels of its slice."""
    stated = stated_positions(place)
    by_position = {
        tuple(entry["position_mm"]): plane
        for entry, plane in zip(stages["index"]["slices"], labels, strict=True)
    }
    count = 0
    for label, position, reference, plane in frames_of(path):
        np.testing.assert_allclose(position, stated[reference], atol=1e-9)
        expected = by_position[tuple(round(value, 4) for value in position)] == label
        np.testing.assert_array_equal(plane, expected)
        count += 1
    assert count == 2 * len(labels)


READ_BACK = (
    "01-plain-axial", "03a-descending", "09-gantry-tilt", "10-sagittal", "11-oblique",
    "08-irregular-spacing", "48-rounding-noise", "39-zipped", "27a-jpeg2000",
    "20b-enhanced-per-frame", "21-enhanced-shuffled", "enhanced-in-two-files",
    "41-hostile-patient-id", "45-other-objects",
)  # fmt: skip


def built(name, tmp_path):
    """Write a situation; return its folder, records and mask, or skip where none could be."""
    place = SITUATIONS[name].build(tmp_path / "source").place
    try:
        return place, prepare(place)
    except Refusal as refusal:
        pytest.skip(f"{refusal.code}, so that there is no mask")


@pytest.mark.parametrize("name", READ_BACK)
def test_each_frame_lies_where_the_slice_it_names_does_and_holds_its_voxels(name, tmp_path):
    place, prepared = built(name, tmp_path)
    _, labels = export(place, tmp_path / "p.dcm", prepared)
    check(tmp_path / "p.dcm", place, prepared[0], labels)
    assert set(np.unique(labels)) == {0, 1, 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        highdicom.seg.segread(tmp_path / "p.dcm")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SITUATIONS if name not in READ_BACK])
def test_so_it_is_of_every_way_a_scan_can_lie_on_disk(name, tmp_path):
    place, prepared = built(name, tmp_path)
    _, labels = export(place, tmp_path / "p.dcm", prepared)
    check(tmp_path / "p.dcm", place, prepared[0], labels)


@pytest.fixture
def scan(series):
    """A small series with all that a SEG must repeat."""
    series.edit = named
    return series.write()


def named(dataset, _):
    for keyword, value in NAMES.items():
        setattr(dataset, keyword, value)
    return dataset


def test_highdicom_finds_the_same_voxels_by_slice_and_as_a_volume(scan, tmp_path):
    prepared = prepare(scan)
    _, labels = export(scan, tmp_path / "p.dcm", prepared)
    found = highdicom.seg.segread(tmp_path / "p.dcm")
    by_slice = found.get_pixels_by_source_instance(
        [f"1.2.3.{number + 1}" for number in range(len(labels))], combine_segments=True
    )
    np.testing.assert_array_equal(by_slice, labels)
    volume = found.get_volume(combine_segments=True)
    order = np.argsort(volume.affine[2, 3] + volume.affine[2, 0] * np.arange(len(labels)))
    np.testing.assert_array_equal(volume.array[order], labels)


def test_highdicom_finds_the_frames_of_a_multi_frame_source(tmp_path):
    place = SITUATIONS["21-enhanced-shuffled"].build(tmp_path / "source").place
    prepared = prepare(place)
    _, labels = export(place, tmp_path / "p.dcm", prepared)
    found = highdicom.seg.segread(tmp_path / "p.dcm")
    ((_, _, source),) = found.get_source_image_uids()
    frames = [entry["frame"] + 1 for entry in prepared[0]["index"]["slices"]]
    pixels = found.get_pixels_by_source_frame(source, frames, combine_segments=True)
    np.testing.assert_array_equal(pixels, labels)


def test_empty_frames_are_kept(scan, tmp_path):
    _, labels = export(scan, tmp_path / "p.dcm")
    assert not labels[0].any()
    assert not labels[-1].any()
    made = pydicom.dcmread(tmp_path / "p.dcm")
    assert int(made.NumberOfFrames) == 2 * len(labels)
    alone = export(scan, tmp_path / "one.dcm", only_the_right(scan))[1]
    assert set(np.unique(alone)) == {0, 1}
    assert int(pydicom.dcmread(tmp_path / "one.dcm").NumberOfFrames) == 2 * len(labels)


def only_the_right(folder):
    stages, (labels, affine) = prepare(folder)
    return stages, (np.where(labels == 1, labels, 0).astype(np.uint8), affine)


def test_patient_and_study_are_the_sources_and_the_series_is_new(scan, tmp_path):
    export(scan, tmp_path / "p.dcm")
    made, source = pydicom.dcmread(tmp_path / "p.dcm"), pydicom.dcmread(scan / "0001.dcm")
    for keyword in ("PatientName", "PatientID", "FrameOfReferenceUID", *NAMES):
        assert made[keyword].value == source[keyword].value, keyword
    assert made.SeriesInstanceUID not in (source.SeriesInstanceUID, source.StudyInstanceUID)
    assert (made.ContentDate, made.ContentTime) == ("20010203", "040506")
    assert made.SeriesDescription == "Lungs, lungfish 1.2.3, verdict review"
    for segment, name in zip(made.SegmentSequence, ("Right", "Left"), strict=True):
        assert segment.SegmentLabel == f"{name} lung"
        assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == (
            "AUTOMATIC", "lungfish",
        )  # fmt: skip
        assert "only one lung was found" in segment.SegmentDescription
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == name


def test_the_right_segment_lies_at_the_patients_right(scan, tmp_path):
    """LPS x rises to the left, so that the right lung's mean x is the smaller."""
    export(scan, tmp_path / "p.dcm")
    across = {1: [], 2: []}
    for label, position, _, plane in frames_of(tmp_path / "p.dcm"):
        across[label] += [position[0] + 1.0 * column for column in np.nonzero(plane)[1]]
    assert np.mean(across[1]) < np.mean(across[2])


def test_equal_masks_give_equal_bytes_and_another_mask_other_names(scan, tmp_path):
    prepared = prepare(scan)
    for name in ("a", "b"):
        export(scan, tmp_path / name, prepared)
    export(scan, tmp_path / "c", only_the_right(scan))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    one, other = pydicom.dcmread(tmp_path / "a"), pydicom.dcmread(tmp_path / "c")
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_a_mask_of_the_users_own_is_not_said_to_be_automatic(scan, tmp_path):
    stages, mask = prepare(scan)
    stages["lungs"]["method"] = "given"
    export(scan, tmp_path / "p.dcm", (stages, mask))
    (segment, _) = pydicom.dcmread(tmp_path / "p.dcm").SegmentSequence
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert "given by the user" in segment.SegmentDescription


ODD = {
    "PatientSex": "X", "PatientBirthDate": "unknown", "StudyDate": "2001-02", "StudyTime": "noon",
    "PatientName": "A^B^C^D^E^F=^=^=", "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "SeriesNumber": None, "PatientID": "x" * 80,
}  # fmt: skip


@pytest.mark.parametrize("keyword", ODD)
def test_odd_values_of_a_header_stop_nothing_and_are_not_quoted(series, tmp_path, caplog, keyword):
    def odd(dataset, _):
        setattr(named(dataset, _), keyword, ODD[keyword])
        return dataset

    series.edit = odd
    folder = series.write()
    prepared = prepare(folder)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    _, labels = export(folder, tmp_path / "p.dcm", prepared)  # a warning would be an error
    assert not caplog.records
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(tmp_path / "p.dcm", folder, prepared[0], labels)


def test_names_keep_their_bytes_in_any_character_set(series, tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"

    def japanese(dataset, _):
        named(dataset, _).SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        dataset.PatientName = name
        return dataset

    series.edit = japanese
    folder = series.write()
    export(folder, tmp_path / "p.dcm")
    assert str(pydicom.dcmread(tmp_path / "p.dcm").PatientName) == name


def drop(keyword):
    def edit(dataset, _):
        delattr(named(dataset, _), keyword)
        return dataset

    return edit


def same_uid(dataset, _):
    named(dataset, _).SOPInstanceUID = "1.2.3.1"
    return dataset


UNNAMED = {
    "study": (drop("StudyInstanceUID"), "uids-missing", "no StudyInstanceUID"),
    "frame": (drop("FrameOfReferenceUID"), "uids-missing", "no FrameOfReferenceUID"),
    "slices": (same_uid, "uids-not-unique", "10 slices have only 1 different"),
}


@pytest.mark.parametrize("what", UNNAMED)
def test_a_scan_without_the_names_that_a_seg_must_state_is_refused(series, tmp_path, what):
    series.edit, code, words = UNNAMED[what]
    folder = series.write()
    with pytest.raises(Refusal, match=words) as caught:
        export(folder, tmp_path / "p.dcm")
    assert caught.value.code == code
    assert not (tmp_path / "p.dcm").exists()


def rewrite_pixels(folder):
    dataset = pydicom.dcmread(folder / "0004.dcm")
    pixels = np.frombuffer(dataset.PixelData, np.int16) + 1
    dataset.PixelData = pixels.astype(np.int16).tobytes()
    dataset.save_as(folder / "0004.dcm")


CHANGED = {
    "the folder is gone": (shutil.rmtree, "source-missing", "not where it was"),
    "a file is gone": (
        lambda folder: (folder / "0010.dcm").unlink(), "source-missing", "1 of the 10 files",
    ),
    "pixels changed": (rewrite_pixels, "changed-since-volumes", "not those that the mask"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_a_source_that_changed_or_vanished_is_refused(scan, tmp_path, what):
    change, code, words = CHANGED[what]
    prepared = prepare(scan)
    change(scan)
    with pytest.raises(Refusal, match=words) as caught:
        export(scan, tmp_path / "p.dcm", prepared)
    assert caught.value.code == code


def test_each_file_is_known_by_the_salted_hash_of_its_uid(scan, tmp_path):
    stages, _ = prepare(scan, salt="pepper")
    source = segments.read_source(scan, stages["index"], salt="pepper")
    assert [one.instance_uid for one in source.slices] == [f"1.2.3.{k}" for k in range(1, 11)]
    with pytest.raises(Refusal, match="file 1 is not the one"):
        segments.read_source(scan, stages["index"], salt="salt")


TILT, OBLIQUE = np.radians(17), Rotation.from_euler("xyz", [12, -8, 20], degrees=True)


def turned(what, spacing_mm):
    """Return the steps (columns: column, row, slice) of an acquired grid, in mm."""
    steps = np.diag(spacing_mm[::-1]).astype(float)
    if what == "tilted":
        steps[:, 1] = [0, spacing_mm[1] * np.cos(TILT), -spacing_mm[1] * np.sin(TILT)]
    return OBLIQUE.as_matrix() @ steps if what == "oblique" else steps


def slices_around(shape, affine, what, spacing_mm, *, places=None):
    """Return a grid of acquired slices that holds a volume."""
    steps = turned(what, spacing_mm)
    corners = np.array(np.meshgrid(*[(0, length - 1) for length in shape])).reshape(3, -1).T
    index = to_mm(affine, corners) @ np.linalg.inv(steps).T
    origin = np.floor(index.min(axis=0))
    columns, rows, slices = (np.ceil(index.max(axis=0)) - origin + 1).astype(int)
    grid = np.eye(4)
    grid[:3, :3], grid[:3, 3] = steps, steps @ origin
    where = np.arange(slices, dtype=float) if places is None else places(slices)
    return SliceGrid(grid, (len(where), rows, columns), where)


def digital_lungs(spacing_mm):
    """Return two lungs on a volume's grid: ellipsoids less a diaphragm's dome and a heart."""
    shape = tuple(int(length / spacing_mm) for length in (250, 170, 280))
    z, y, x = (
        (np.arange(length) * spacing_mm - length * spacing_mm / 2).reshape(
            [-1 if axis == k else 1 for k in range(3)]
        )
        for axis, length in enumerate(shape)
    )
    labels = np.zeros(shape, np.uint8)
    for label, side in ((1, -1), (2, 1)):
        lung = ((x - 68 * side) / 60) ** 2 + (y / 78) ** 2 + (z / 118) ** 2 < 1
        lung &= (x - 68 * side) ** 2 + y**2 + (z + 150) ** 2 > 100**2
        labels[lung & ((x - 15) ** 2 + (y + 25) ** 2 + (z + 30) ** 2 > 55**2)] = label
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = (-140.2, -85.1, -300.7)
    return labels, affine


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def losses(labels, affine, grid):
    """Return Dice and the shift of the centroid in voxels, the worse lung's, there and back."""
    back = from_slices(to_slices(labels, affine, grid), grid, shape=labels.shape, affine=affine)
    shares, shifts = [], []
    for label in np.unique(labels[labels > 0]):
        one, other = labels == label, back == label
        shares.append(dice(one, other))
        middle = np.subtract(ndimage.center_of_mass(one), ndimage.center_of_mass(other))
        shifts.append(np.linalg.norm(middle))
    return min(shares), max(shifts)


def least_dice(slice_mm):
    return 0.99 if slice_mm <= 2.5 else 0.98


ROUND_TRIPS = [
    ("straight", (0.7, 0.9, 0.9), 1.5),
    ("straight", (1.25, 0.8, 0.8), 1.5),
    ("straight", (2.5, 0.75, 0.75), 1.5),
    ("straight", (2.5, 0.9, 0.9), 1.0),
    ("straight", (5.0, 0.9, 0.9), 1.5),
    ("straight", (8.0, 0.6, 0.6), 1.5),
    ("tilted", (5.0, 0.9, 0.9), 1.5),
    ("oblique", (8.0, 0.9, 0.9), 1.5),
]


@pytest.mark.parametrize(("what", "acquired_mm", "volume_mm"), ROUND_TRIPS)
def test_a_mask_taken_to_the_acquired_grid_and_back_is_kept(what, acquired_mm, volume_mm):
    labels, affine = digital_lungs(volume_mm)
    side = labels[:, :, : labels.shape[2] // 2]  # the right lung; the left one costs as much again
    share, shift = losses(side, affine, slices_around(side.shape, affine, what, acquired_mm))
    assert share >= least_dice(acquired_mm[0])
    assert shift < 0.5


@pytest.mark.parametrize("what", ["straight", "tilted", "oblique"])
@pytest.mark.parametrize("slice_mm", [0.7, 8.0])
def test_a_voxel_is_labelled_where_more_than_half_of_it_is(what, slice_mm):
    """Of a half-space that is so just where a voxel's centre lies inside."""
    shape, affine = (60, 50, 40), np.diag([1.5, 1.5, 1.5, 1.0])
    normal, limit_mm = np.array([0.3, -0.5, 0.8]), 28.0
    field = np.moveaxis(np.indices(shape), 0, -1)
    labels = (to_mm(affine, field) @ normal < limit_mm).astype(np.uint8)
    grid = slices_around(shape, affine, what, (slice_mm, 0.7, 0.9))
    found = to_slices(labels, affine, grid)
    centres = grid.positions_mm(np.moveaxis(np.indices(grid.size), 0, -1))
    beyond_mm = centres @ normal - limit_mm
    inside = ((centres > 6) & (centres < np.array(shape[::-1]) * 1.5 - 7.5)).all(axis=-1)
    clear = inside & (np.abs(beyond_mm) > 0.75)  # nearer than that the volume's steps decide
    assert clear.sum() > 1000
    np.testing.assert_array_equal(found[clear] > 0, beyond_mm[clear] < 0)


def test_on_the_same_grid_nothing_changes_and_irregular_places_are_heeded(rng):
    labels = ndimage.binary_dilation(rng.random((20, 18, 16)) > 0.98).astype(np.uint8)
    affine = np.diag([1.0, 1.25, 2.5, 1.0])
    same = SliceGrid(affine, labels.shape, np.arange(20.0))
    np.testing.assert_array_equal(to_slices(labels, affine, same), labels)
    kept = np.r_[0:7, 9:20]
    fewer = SliceGrid(affine, (18, 18, 16), kept.astype(float))
    np.testing.assert_array_equal(to_slices(labels, affine, fewer), labels[kept])


def test_touching_lungs_leave_no_seam():
    labels = np.ones((20, 20, 20), np.uint8)
    labels[:, :, 10:] = 2
    affine = np.eye(4)
    grid = slices_around(labels.shape, affine, "oblique", (2.5, 0.7, 0.7))
    index = np.moveaxis(np.indices(grid.size), 0, -1)
    inside = ((grid.positions_mm(index) > 2) & (grid.positions_mm(index) < 17)).all(axis=-1)
    assert (to_slices(labels, affine, grid)[inside] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("volume_mm", [1.0, 1.5])
@pytest.mark.parametrize(
    "name", ["cip-ct64", "dx-a0001-b", "dx-a0002-b70f", "lidc-0001", "lidc-0028", "lidc-0306"]
)
def test_masks_of_real_scans_are_kept(real_ct, name, volume_mm):
    found = index.index_folder(real_ct / name / "dicom", settings=index.Settings())
    volume, _ = volumes.build_volume(
        real_ct / name / "dicom", found, settings=volumes.Settings(spacing_mm=volume_mm)
    )
    labels = lungs.segment(volume, settings=lungs.Settings()).labels
    own = SliceGrid.of(found["geometry"])
    slice_mm = float(np.linalg.norm(own.affine[:3, 2]))
    share, shift = losses(labels, volume.affine, own)
    print(f"{name} {volume_mm} mm: own slices of {slice_mm:.2f} mm: {share:.4f}, {shift:.3f} voxel")
    assert share >= least_dice(slice_mm)
    assert shift < 0.5
    for thick_mm in (2.5, 8.0) if volume_mm == 1.5 else ():
        grid = slices_around(labels.shape, volume.affine, "straight", (thick_mm, 0.7, 0.7))
        share, shift = losses(labels, volume.affine, grid)
        print(f"{name} {volume_mm} mm: slices of {thick_mm} mm: {share:.4f}, {shift:.3f} voxel")
        assert share >= least_dice(thick_mm)
        assert shift < 0.5


@pytest.fixture
def cohort(tmp_path, scan):
    """Results of three patients: one accepted, one refused, one whose files changed since."""
    for name in ("changed", "refused"):
        shutil.copytree(scan, tmp_path / name)
    scan.rename(tmp_path / "good")
    results = tmp_path / "results"
    for name in ("good", "refused", "changed"):
        stages, (labels, affine) = prepare(tmp_path / name)
        if name == "refused":
            stages["lungs"] = refused(Refusal("lungs-rejected", "no lung was found"))
        for stage, record in stages.items():
            write_json(results / stage / f"{name}.json", f"{stage}/1", record)
        nifti.write_mask(results / "lungs" / f"{name}.nii.gz", labels, affine)
    rewrite_pixels(tmp_path / "changed")
    rows = "".join(f"{name}\t{name}\t\n" for name in ("good", "refused", "changed"))
    (tmp_path / "samples.tsv").write_text("patient\tdicom\tlabel\n" + rows)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_script_writes_the_accepted_and_says_why_not_the_others(cohort, capsys):
    before = contents(cohort / "results")
    output = cohort / "exports/segments"
    output.mkdir(parents=True)
    (output / "refused.dcm").write_bytes(b"of an earlier run")
    status = script.main([
        "--samples", str(cohort / "samples.tsv"), "--results", str(cohort / "results"),
        "--output", str(output), "--volumes-settings", '{"spacing_mm": 1.0}',
    ])  # fmt: skip
    assert status == 3  # a patient that was accepted could not be exported
    rows = {row["patient"]: row for row in read_table(output / "segments.tsv")}
    assert {name: row["code"] for name, row in rows.items()} == {
        "good": "", "refused": "lungs-rejected", "changed": "changed-since-volumes",
    }  # fmt: skip
    assert {path.name for path in output.iterdir()} == {"good.dcm", "segments.tsv"}
    assert rows["good"]["slices"] == "10"
    said = capsys.readouterr().out
    assert "1 of 3 patients written. They identify the patients." in said
    assert "refused: none (lungs-rejected): no lung was found" in said
    assert contents(cohort / "results") == before
    assert "SECRET-4711" in str(pydicom.dcmread(output / "good.dcm").PatientID)
    assert b"SECRET" not in (output / "segments.tsv").read_bytes() + said.encode()


@pytest.mark.slow
def test_the_workflow_exports_on_request_and_touches_no_result(tmp_path):
    clone = copy_clone(tmp_path / "clone")
    first = snakemake(clone, tmp_path / "run", "results/cohort/cohort.tsv")
    assert first.returncode == 0, first.stdout
    results = tmp_path / "run/results"
    before = contents(results)
    found = snakemake(clone, tmp_path / "run", "segments")
    assert found.returncode == 0, found.stdout
    assert "4 of 4 patients written" in found.stdout
    assert contents(results) == before
    exported = contents(tmp_path / "run/exports/segments")
    assert len(exported) == 5
    assert snakemake(clone, tmp_path / "run", "segments").returncode == 0
    assert contents(tmp_path / "run/exports/segments") == exported
    for path in exported:
        if path.suffix == ".dcm":
            place = results / "phantom" / path.stem / "dicom"
            stated = stated_positions(place)
            for _, position, reference, _ in frames_of(path):
                np.testing.assert_allclose(position, stated[reference], atol=1e-9)
