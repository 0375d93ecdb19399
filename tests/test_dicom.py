"""Stored values come back bit for bit from every encoding, or not at all."""

import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from lungfish.dicom.elements import WANTED, Malformed, NotDicom, Truncated, read_elements
from lungfish.dicom.headers import read_header
from lungfish.dicom.pixels import read_hu
from lungfish.dicom.series import places_mm
from lungfish.dicom.sources import FileStream, InflatedStream, Source, list_sources
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
        values = np.frombuffer(dataset.PixelData, "<u2").reshape(14, -1)[:, :12]
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate([spoil(bytes(encode(np.ascontiguousarray(values))))])
        dataset["PixelData"].VR = "OB"
        path = tmp_path / "slice"
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


def read_one(path, number=1):
    """Return a slice's HU and what its conversion had to do."""
    source = Source(number, path, "", path.name)
    header = header_of(path, number)
    plane = np.empty((header.rows, header.columns), np.int16)
    with source.open() as stream:
        return plane, read_hu(stream, header, plane)


def header_of(path, number=1):
    """Return the only header of a file, or its fate."""
    found = read_header(Source(number, path, "", path.name))
    return found if isinstance(found, str) else found[0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_lossless_encodings_give_equal_hu(one, series, name, signed):
    path = one(name, signed=signed)
    hu, tally = read_one(path)
    assert np.array_equal(hu, np.rint(series.hu(4)).astype(np.int16))
    assert (tally.saturated, tally.spilled) == (0, False)
    assert header_of(path).instance_uid == "1.2.3.5"


@pytest.mark.parametrize("cut", [1 / 2, 0.9])
@pytest.mark.parametrize("name", ENCODERS)
def test_no_cut_stream_passes_as_pixels(one, name, cut):
    path = one(name, spoil=lambda frame: frame[: int(len(frame) * cut)])
    with pytest.raises(Refusal, match="undecodable: the pixels of file 7"):
        read_one(path, 7)


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG-LS", "JPEG 2000", "HTJ2K"])
def test_a_stream_that_declares_another_matrix_never_reaches_the_decoder(one, series, name):
    series.columns = 24  # encoded as 14 x 12: half of what the header then declares
    path = one(name)
    with pytest.raises(Refusal, match="declares 14 x 12 pixels of 1 samples"):
        read_one(path)


def test_a_file_without_preamble_is_known_by_its_elements(series, tmp_path):
    path = series.write() / "0001.dcm"
    whole, expected = path.read_bytes(), header_of(path)
    path.write_bytes(whole[132:])  # file meta without preamble
    assert header_of(path).position_mm == expected.position_mm
    length = int.from_bytes(whole[140:144], "little")
    path.write_bytes(whole[144 + length :])  # the bare data set
    assert header_of(path).position_mm == expected.position_mm
    path.write_bytes(whole[:403])
    assert header_of(path) == "truncated"
    path.write_bytes(b"\x08\x00 may begin a letter, too; this one is longer than sixty-four bytes")
    assert header_of(path) == "not DICOM"


def test_place_is_along_the_normal_whatever_the_orientation(tmp_path):
    for orientation in ((1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)):
        series = dicom_maker.Series(tmp_path / str(orientation), orientation=orientation, slices=3)
        folder = series.write()
        places = places_mm([read_header(source)[0] for source in list_sources(folder)])
        assert np.diff(places) == pytest.approx(2.5)


def test_comma_in_a_decimal_string_is_no_number(series):
    path = series.write() / "0001.dcm"
    spoiled = path.read_bytes().replace(b"-1024.0", b"-1024,0")
    path.write_bytes(spoiled)
    assert header_of(path).problem == "no usable RescaleIntercept"


SYNTAXES = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)  # fmt: skip


def pydicom_values(path):
    """Return what pydicom makes of the elements that the walk wants, as raw bytes."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    raw = {keyword: dataset.get_item(tag) for keyword, tag in WANTED.items() if tag in dataset}
    return {keyword: element.value or b"" for keyword, element in raw.items()}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_the_walk_agrees_with_pydicom(series, tmp_path, syntax, undefined):
    dataset = series.dataset(3)
    inner = Dataset()
    inner.Modality, inner.Rows = "MR", 99  # inside a sequence: never to be taken for the slice's
    nested = Dataset()
    nested.ReferencedImageSequence = [inner, inner]
    dataset.RequestAttributesSequence = [nested]
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    nested["ReferencedImageSequence"].is_undefined_length = undefined
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    path = tmp_path / "slice"
    dataset.save_as(path, enforce_file_format=True)
    with Source(1, path, "", "slice").open() as stream:
        found = read_elements(stream).values
    assert found == pydicom_values(path)
    assert np.array_equal(read_one(path)[0], np.rint(series.hu(3)).astype(np.int16))


def test_the_walk_agrees_with_pydicom_on_real_headers(odd_ct):
    compared = 0
    for source in list_sources(odd_ct):
        with source.open() as stream:
            try:
                elements = read_elements(stream)
            except (NotDicom, Truncated, Malformed):
                continue
        if elements.syntax != DeflatedExplicitVRLittleEndian:
            compared += 1
            expected = pydicom_values(source.path)
            assert {key: elements.values[key] for key in expected} == expected, source.name
    assert compared > 300


def test_deflate_is_inflated_no_further_than_it_is_asked_for(tmp_path):
    packer = zlib.compressobj(wbits=-15)
    bomb = packer.compress(bytes(1 << 26)) + packer.flush()
    (tmp_path / "bomb").write_bytes(bomb)
    with FileStream(tmp_path / "bomb") as stream:
        tracemalloc.start()
        assert InflatedStream(stream, 0).read(1 << 24, 1000) == bytes(1000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 20
