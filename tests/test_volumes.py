"""Every voxel has the HU that belongs to its place in the patient."""

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from lungfish.dicom.headers import read_headers
from lungfish.dicom.pixels import read_hu
from lungfish.dicom.plausibility import review, sample_counts
from lungfish.errors import InputError, Refusal
from lungfish.index import Settings as IndexSettings
from lungfish.index import index_folder
from lungfish.volume import to_mm
from lungfish.volumes import Settings, build_volume, filled_mask, fingerprint
from tests import dicom_maker

NATIVE = Settings(spacing_mm="native")


def build(folder, settings=NATIVE):
    return build_volume(folder, index_folder(folder, settings=IndexSettings()), settings=settings)


def error_hu(volume):
    """Return the largest difference to the truth at the volume's own positions."""
    index = np.stack(np.indices(volume.hu.shape), axis=-1)
    truth = np.maximum(dicom_maker.truth_hu(to_mm(volume.affine, index)), -1024)
    return np.abs(volume.hu - truth).max()


ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0), "prone": (-1, 0, 0, 0, -1, 0), "feet first": (-1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1), "coronal": (1, 0, 0, 0, 0, -1),
    "transposed": (0, 1, 0, 1, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_any_orientation_ends_along_the_patient(series, name):
    series.orientation = tuple(float(value) for value in ORIENTATIONS[name])
    volume, _ = build(series.write())
    assert error_hu(volume) <= 0.5
    assert (np.diag(volume.affine)[:3] > 0).all()
    assert np.count_nonzero(volume.affine[:3, :3]) == 3


@pytest.mark.parametrize("descending", [False, True])
def test_slice_order_does_not_matter(series, descending):
    folder = series.write()
    if descending:
        names = sorted(path.name for path in folder.iterdir())
        for name in names:
            (folder / name).rename(folder / f"t{name}")
        for old, new in zip(names, reversed(names), strict=True):
            (folder / f"t{old}").rename(folder / new)
    assert error_hu(build(folder)[0]) <= 0.5


@pytest.mark.parametrize(
    ("slope", "intercept", "signed"), [(1, -1024, False), (0.5, 0, True), (2, -1000, False)]
)
def test_rescale_slope_intercept_and_sign(series, slope, intercept, signed):
    series.slope, series.intercept, series.signed = slope, intercept, signed
    assert error_hu(build(series.write())[0]) <= max(0.5, slope / 2 + 0.5)


def test_rescale_is_each_slice_its_own(series):
    def edit(dataset, k):
        dataset.RescaleIntercept = -1024 + 100 * k
        stored = np.rint(series.hu(k) + 1024 - 100 * k)
        dataset.PixelData = stored.astype("<i2").tobytes()
        return dataset

    series.edit = edit
    assert error_hu(build(series.write())[0]) <= 0.5


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_transfer_syntaxes(series, syntax):
    def edit(dataset, _):
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        return dataset

    series.edit = edit
    assert error_hu(build(series.write())[0]) <= 0.5


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("stated", [63536, -2000])
def test_padding_becomes_air_whichever_sign_it_is_stated_in(series, signed, stated):
    if not signed and stated < 0:
        stated = 63536
    series.signed = signed

    def edit(dataset, _):
        stored = np.frombuffer(dataset.PixelData, "<u2").reshape(14, 12).copy()
        stored[:2, :2] = 63536
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", "SS" if stated < 0 else "US", stated)
        return dataset

    series.edit = edit
    volume, _ = build(series.write())
    assert (volume.hu[:, :2, :2] == -1024).all()
    assert volume.hu[:, 2:, 2:].min() > -1024


def test_bits_above_the_stored_ones_do_not_count(series):
    series.signed = False

    def edit(dataset, _):
        dataset.BitsStored, dataset.HighBit = 12, 11
        stored = np.frombuffer(dataset.PixelData, "<u2") | 0xA000
        dataset.PixelData = stored.astype("<u2").tobytes()
        return dataset

    series.edit = edit
    assert error_hu(build(series.write())[0]) <= 0.5


def test_too_dense_is_saturated_and_counted(series):
    def edit(dataset, _):
        dataset.RescaleSlope = 100
        return dataset

    series.edit = edit
    volume, record = build(series.write())
    assert record["saturated"] > 0
    assert volume.hu.max() == 32767


def test_isotropic_grid_keeps_the_first_centre_and_the_truth(series):
    volume, record = build(series.write(), Settings(spacing_mm=0.8))
    assert volume.spacing_mm == pytest.approx((0.8, 0.8, 0.8), abs=1e-12)
    assert record["size"] == (29, 21, 15)  # round((n - 1) d / 0.8 + 1)
    assert volume.affine[:3, 3] == pytest.approx(series.origin_mm)
    inner = slice(4, -6)
    index = np.stack(np.indices(volume.hu.shape), axis=-1)
    truth = dicom_maker.truth_hu(to_mm(volume.affine, index))
    difference = np.abs(volume.hu - truth)[inner, inner, inner]
    assert difference.mean() <= 1
    assert difference.max() <= 5


def test_same_body_same_content_hash(series, tmp_path):
    _, one = build(series.write())
    other = dicom_maker.Series(tmp_path / "other", slope=0.5, intercept=-1000, uid="7.7")
    other.orientation = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    last = series.position_mm(0) + np.array([11 * 1.0, 13 * 1.25, 0])
    other.origin_mm = tuple(float(value) for value in last)
    _, turned = build(other.write())
    assert one["content_hash"] == turned["content_hash"]
    series.edit = lambda dataset, k: (
        setattr(dataset, "RescaleIntercept", -1023) or dataset if k == 3 else dataset
    )
    assert build(series.write())[1]["content_hash"] != one["content_hash"]


def test_fingerprint_is_a_distribution(series):
    volume, record = build(series.write())
    assert sum(record["fingerprint"]) == pytest.approx(1, abs=1e-5)
    assert fingerprint(sample_counts(volume.hu)) == record["fingerprint"]
    below = np.mean((volume.hu >= -950) & (volume.hu < -900))
    assert record["fingerprint"][1] == pytest.approx(below, abs=1e-6)


def test_size_is_checked_before_decoding(series):
    with pytest.raises(Refusal, match=r"too-large: .* raise volumes.max_gb"):
        build(series.write(), Settings(max_gb=1e-9))


def test_size_is_checked_before_resampling(series):
    series.spacing_mm = (60.0, 1.25, 1.0)
    folder = series.write()
    whole = 541 * 17 * 12 * 2e-9  # at 1 mm
    with pytest.raises(Refusal, match=r"too-large: the volume would have"):
        build(folder, Settings(max_gb=0.9 * whole))
    assert build(folder, Settings(max_gb=1.1 * whole))[1]["size"] == (541, 17, 12)
    assert build(folder, Settings(spacing_mm="native", max_gb=0.9 * whole))[1]["status"] == "ok"


def test_a_file_that_changed_since_is_noticed(series):
    folder = series.write()
    record = index_folder(folder, settings=IndexSettings())
    series.dataset(3).save_as(folder / "0007.dcm", enforce_file_format=True)
    with pytest.raises(Refusal, match=r"changed-since-index: file 7"):
        build_volume(folder, record, settings=NATIVE)


@pytest.mark.parametrize("keep", [slice(-40), slice(0)])
def test_pixels_cut_since_the_index_are_refused(series, keep):
    folder = series.write()
    record = index_folder(folder, settings=IndexSettings())
    path = folder / "0004.dcm"
    path.write_bytes(path.read_bytes()[keep])
    with pytest.raises(Refusal, match=r"changed-since-index: file 4"):
        build_volume(folder, record, settings=NATIVE)


def test_a_vanished_file_is_an_error_and_no_verdict_on_the_scan(series):
    folder = series.write()
    record = index_folder(folder, settings=IndexSettings())
    (folder / "0010.dcm").unlink()
    with pytest.raises(InputError, match=r"1 of the 10 files .* are gone: bring them back"):
        build_volume(folder, record, settings=NATIVE)
    series.write()
    assert build_volume(folder, record, settings=NATIVE)[1]["status"] == "ok"


def test_threads_give_the_same(series):
    record = index_folder(series.write(), settings=IndexSettings())
    one = build_volume(series.folder, record, settings=NATIVE)
    two = build_volume(series.folder, record, settings=NATIVE, threads=2)
    assert one[1] == two[1] | {"affine": one[1]["affine"]}


def test_a_filled_gap_is_marked_where_no_slice_was_measured(series):
    series.edit = lambda dataset, k: None if k == 4 else dataset
    settings = IndexSettings(gaps="mark")
    record = index_folder(series.write(), settings=settings)
    for spacing in ("native", 0.5):
        volume, about = build_volume(series.folder, record, settings=Settings(spacing_mm=spacing))
        mask = filled_mask(volume, record)
        z = to_mm(volume.affine, np.stack(np.indices(mask.shape), axis=-1))[..., 2]
        start = series.origin_mm[2]
        expected = (z > start + 3 * 2.5 + 1e-4) & (z < start + 5 * 2.5 - 1e-4)
        assert about["filled"] == 1
        assert np.array_equal(mask, expected)
        assert error_hu(volume) <= 2  # the last plane may lie a quarter voxel outside
    series.edit = lambda dataset, k: None if k in (4, 5) else dataset
    series.folder = series.folder.parent / "two"
    two = index_folder(series.write(), settings=settings)
    assert two["code"] == "missing-slices"


def thorax(shift=0):
    """A tenth air, four tenths lung, half soft tissue, with noise of 20 HU."""
    rng = np.random.default_rng(1)
    hu = np.repeat([-1000, -860, 40], [400, 1600, 2000]) + rng.normal(0, 20, 4000)
    return np.clip(hu + shift, -1024, 3071).astype(np.int16).reshape(10, 20, 20)


def test_a_plausible_scale_is_ok_and_a_shifted_one_is_put_to_review_with_its_number():
    found = review(sample_counts(thorax()))
    assert found["verdict"] == "ok"
    assert found["tissue_hu"] == pytest.approx(40, abs=15)
    assert found["air_hu"] < -950
    unscaled = review(sample_counts(thorax(1024)))  # as if the intercept were 0
    assert unscaled["verdict"] == "review"
    assert "air at" in unscaled["reasons"][0]
    assert review(sample_counts(thorax(-1000)))["verdict"] == "review"
    assert review(sample_counts(np.full((4, 4, 4), -1024, np.int16)))["reasons"][0].startswith("no")


SCANS = ("cip-ct64", "dx-a0002-b70f", "lidc-0306")


@pytest.mark.parametrize("scan", SCANS)
def test_real_series_equal_simpleitk(real_ct, scan):
    folder = real_ct / scan / "dicom"
    volume, _ = build(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert np.array_equal(volume.hu, np.maximum(sitk.GetArrayFromImage(image), -1024))
    assert volume.affine[:3, 3] == pytest.approx(image.GetOrigin(), abs=1e-3)
    assert volume.spacing_mm[::-1] == pytest.approx(image.GetSpacing(), abs=1e-5)


def test_lossless_encodings_of_one_slice_give_equal_hu(odd_ct):
    slices = []
    for folder in sorted((odd_ct / "encodings").iterdir()):
        [header] = [found for _, found in read_headers(folder) if not isinstance(found, str)]
        slices.append(np.empty((header.rows, header.columns), np.int16))
        with header.source.open() as stream:
            read_hu(stream, header, slices[-1])
    assert len(slices) == 9
    assert all(np.array_equal(slices[0], other) for other in slices[1:])
