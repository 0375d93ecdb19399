"""Stored values come back bit for bit from every encoding, or not at all."""

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID

from lungfish.dicom.headers import Header, list_files, read_header
from lungfish.dicom.pixels import read_hu
from lungfish.dicom.series import place_mm
from lungfish.errors import Refusal
from tests import dicom_maker


def rle(values):
    return RLELosslessEncoder.encode(
        values, rows=14, columns=12, samples_per_pixel=1, bits_allocated=16, bits_stored=16,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", number_of_frames=1,
        encoding_plugin="pydicom",
    )  # fmt: skip


ENCODERS = {
    "RLE": ("1.2.840.10008.1.2.5", rle),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", lambda v: imagecodecs.ljpeg_encode(v)),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG 2000": (
        "1.2.840.10008.1.2.4.90",
        lambda v: imagecodecs.jpeg2k_encode(v, reversible=True, codecformat="j2k"),
    ),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", lambda v: imagecodecs.htj2k_encode(v, reversible=True)),
}


@pytest.fixture
def one(series, tmp_path):
    """A slice, and what writes it encoded."""

    def write(name, *, signed=False, spoil=lambda frame: frame):
        syntax, encode = ENCODERS[name]
        series.signed = signed
        dataset = series.dataset(4)
        values = np.frombuffer(dataset.PixelData, "<u2").reshape(14, 12)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([spoil(bytes(encode(np.ascontiguousarray(values))))])
        dataset["PixelData"].VR = "OB"
        path = tmp_path / "slice"
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_lossless_encodings_give_equal_hu(one, series, name, signed):
    hu, saturated, uid = read_hu(one(name, signed=signed), 1)
    assert np.array_equal(hu, np.rint(series.hu(4)).astype(np.int16))
    assert (saturated, uid) == (0, "1.2.3.5")


@pytest.mark.parametrize("cut", [1 / 2, 0.9])
@pytest.mark.parametrize("name", ENCODERS)
def test_no_cut_stream_passes_as_pixels(one, name, cut):
    path = one(name, spoil=lambda frame: frame[: int(len(frame) * cut)])
    with pytest.raises(Refusal, match="undecodable: the pixels of file 7"):
        read_hu(path, 7)


def test_header_without_preamble_or_with_a_cut_is_no_slice(series, tmp_path):
    path = series.write() / "0001.dcm"
    assert isinstance(read_header(path, 1), Header)
    whole = path.read_bytes()
    path.write_bytes(whole[132:])
    assert read_header(path, 1) == "not DICOM"
    path.write_bytes(whole[:400])
    found = read_header(path, 1)
    assert found in ("truncated", "undecodable") or found.problem


def test_place_is_along_the_normal_whatever_the_orientation(tmp_path):
    for orientation in ((1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)):
        series = dicom_maker.Series(tmp_path / str(orientation), orientation=orientation, slices=3)
        folder = series.write()
        places = [place_mm(read_header(path, 1)) for path in list_files(folder)]
        assert np.diff(places) == pytest.approx(2.5)


def test_comma_in_a_decimal_string_is_no_number(series):
    import warnings

    path = series.write() / "0001.dcm"
    spoiled = path.read_bytes().replace(b"-1024.0", b"-1024,0")
    path.write_bytes(spoiled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_header(path, 1).problem == "no usable RescaleIntercept"
