"""HU of slices by another way: pydicom's parser, other decoders and a few lines of arithmetic."""

import dataclasses
import io
import warnings
import zipfile
import zlib

import imagecodecs
import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.encaps import generate_frames
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian
from scipy.interpolate import CubicSpline

AIR_HU = -1024
# Where two decoders are at hand, not the one that lungfish uses.
DECODERS = {
    "1.2.840.10008.1.2.4.57": imagecodecs.jpegsof3_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.jpegsof3_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.jpeg2k_decode,
}
PIXEL_DATA, UNDEFINED = 0x7FE00010, 0xFFFFFFFF
MOST_INFLATED = 1 << 25
NAMED_DECODERS = {
    **DECODERS,
    "1.2.840.10008.1.2.4.57": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_decode,
}
"""JPEG lossless has no checksum: of a damaged stream each decoder makes something else."""
POSITION_TOLERANCE_MM = 0.11
"""A tenth of a millimetre is what index.tolerance_mm allows."""


@dataclasses.dataclass(frozen=True)
class PlainSlice:
    """One slice: HU (rows, columns), the LPS centres in mm (rows, columns, 3), its normal."""

    hu: np.ndarray
    centres_mm: np.ndarray
    normal: np.ndarray


def contents(files):
    """Return the bytes of each file by number: counted from 1 in the order of the names."""
    if "scan.zip" not in files:
        return {k: files[name] for k, name in enumerate(sorted(files), start=1)}
    with zipfile.ZipFile(io.BytesIO(files["scan.zip"])) as archive:
        names = sorted({entry.filename for entry in archive.infolist() if not entry.is_dir()})
        found = {}
        for k, name in enumerate(names, start=1):
            with archive.open(name) as member:
                found[k] = member.read(1 << 24)
        return found


def read_slice(content, frame, decoders=DECODERS):
    """Return one frame of a file.

    Raises
    ------
    Exception
        Of many kinds, where pydicom or a decoder refuses it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = parse(content)
        words = stored_words(dataset, frame, decoders)
        get = _getter(dataset, frame)
        slope, intercept = (float(get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
        hu = np.rint(words * slope + intercept)
        hu = np.clip(hu, AIR_HU, 32767).astype(np.int16)
        hu[padded(dataset, words)] = AIR_HU
        return PlainSlice(hu, *_place(get, words.shape))


def parse(content):
    """Return the data set of a file, every element with the VR that the dictionary gives it."""
    dataset = pydicom.dcmread(io.BytesIO(without_tail(content)), force=True)
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and dictionary_has_tag(tag):
            vr = dictionary_VR(tag)
            vr = "US" if vr == "US or SS" else vr
            if vr in ("US", "DS", "IS", "CS", "UI", "SQ") and raw.VR not in (vr, None):
                dataset[tag] = raw._replace(VR=vr)
    if "SamplesPerPixel" not in dataset:  # that there is one, the length of the pixels says
        dataset.SamplesPerPixel = 1
    return dataset


def without_tail(content):
    """Return a deflated file without the gigabytes of zeros that may stand behind its pixels."""
    stream = io.BytesIO(content)
    if not read_preamble(stream, force=True):
        return content
    meta = _read_file_meta_info(stream)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    at = stream.tell()
    inflater = zlib.decompressobj(-15)
    data = inflater.decompress(content[at:], MOST_INFLATED)
    if not inflater.eof and len(data) < MOST_INFLATED:
        raise ValueError("the deflated stream has no end")
    if inflater.unused_data.strip(b"\0"):
        raise ValueError("behind the deflated stream stands what is no part of it")
    packer = zlib.compressobj(wbits=-15)
    data = data.rstrip(b"\0") + bytes(1 << 12)
    return content[:at] + packer.compress(data) + packer.flush()


def _getter(dataset, frame):
    """Return what finds an element of a frame: in its groups, the shared ones, the top level."""
    groups = []
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    if each:
        groups = [each[frame], *(dataset.get("SharedFunctionalGroupsSequence") or [])]

    def get(keyword):
        for group in groups:
            for macro in group:
                if macro.VR == "SQ" and macro.value and keyword in macro.value[0]:
                    return macro.value[0][keyword].value
        return dataset[keyword].value

    return get


def _place(get, shape):
    row_cosines, column_cosines = np.array(get("ImageOrientationPatient"), float).reshape(2, 3)
    between_rows, between_columns = np.array(get("PixelSpacing"), float)
    rows, columns = (np.arange(count)[:, None] for count in shape)
    down = rows * between_rows * column_cosines
    across = columns * between_columns * row_cosines
    origin = np.array(get("ImagePositionPatient"), float)
    return origin + down[:, None] + across[None], np.cross(row_cosines, column_cosines)


def stored_words(dataset, frame, decoders):
    """Return the stored values of a frame as int32, bits above BitsStored cut off."""
    syntax = dataset.file_meta.get("TransferSyntaxUID") if "file_meta" in dir(dataset) else None
    frames = int(dataset.get("NumberOfFrames") or 1)
    if syntax not in decoders:
        if not syntax:
            dataset.file_meta.TransferSyntaxUID = (
                pydicom.uid.ImplicitVRLittleEndian
                if dataset.original_encoding[0]
                else pydicom.uid.ExplicitVRLittleEndian
            )
        check_tail(dataset)
        values = dataset.pixel_array
        return (values[frame] if frames > 1 else values).astype(np.int32)
    streams = list(generate_frames(dataset.PixelData, number_of_frames=frames))
    decoded = np.asarray(decoders[syntax](streams[frame]))
    if decoded.shape != (dataset.Rows, dataset.Columns):
        raise ValueError("another matrix")
    words = decoded.astype(np.int64) & ((1 << dataset.BitsStored) - 1)
    if dataset.PixelRepresentation:
        words = np.where(
            words >> (dataset.BitsStored - 1), words - (1 << dataset.BitsStored), words
        )
    return words.astype(np.int32)


def check_tail(dataset):
    """Refuse native pixels behind which stands something else: bytes were put into them.

    Elements with higher tags and a few zeros may follow (PS3.5 7.1, 8.1.1).
    """
    raw, source = dataset.get_item(PIXEL_DATA), dataset.buffer
    if raw.length == UNDEFINED or source is None:
        return
    source.seek(raw.value_tell + raw.length)
    tail = source.read()
    if tail.strip(b"\0") and tail[:2] not in (b"\xfa\xff", b"\xfc\xff", b"\xff\xfa", b"\xff\xfc"):
        raise ValueError("behind the pixels stands what is no element")


def padded(dataset, words):
    """Tell which stored values are padding, its limits taken in the pixels' sign."""
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(words.shape, bool)
    ends = [int(dataset.PixelPaddingValue)]
    ends.append(int(dataset.get("PixelPaddingRangeLimit", ends[0])))
    low, high = sorted(
        (end + 0x8000) % 0x10000 - 0x8000 if dataset.PixelRepresentation else end % 0x10000
        for end in ends
    )
    return (words >= low) & (words <= high)


def compare(volume, slices):
    """Compare a native volume with slices, voxel by voxel by position.

    Returns
    -------
    str
        ``right``, ``right by spline`` (irregular slices), ``resampled`` (tilted or oblique: not
        judged), or what is wrong.
    """
    index = [_to_index(volume, one.centres_mm) for one in slices]
    step = np.array(volume.spacing_mm)
    away = max(float((np.abs(at - np.rint(at)) * step).max()) for at in index)
    if away > POSITION_TOLERANCE_MM:
        return _compare_by_spline(volume, slices, index)
    covered = np.zeros(volume.hu.shape, int)
    for one, at in zip(slices, index, strict=True):
        z, y, x = np.moveaxis(np.rint(at).astype(int), -1, 0)
        if (
            min(z.min(), y.min(), x.min()) < 0
            or (np.array([z.max(), y.max(), x.max()]) >= volume.hu.shape).any()
        ):
            return "a slice lies outside the volume"
        covered[z, y, x] += 1
        unlike = np.count_nonzero(volume.hu[z, y, x] != one.hu)
        if unlike:
            worst = np.abs(volume.hu[z, y, x].astype(int) - one.hu).max()
            return f"{unlike} of {one.hu.size} voxels of a slice differ, by up to {worst} HU"
    return "right" if (covered == 1).all() else "some voxels belong to no slice, or to several"


def _to_index(volume, position_mm):
    inverse = np.linalg.inv(volume.affine[:3, :3])
    return ((position_mm - volume.affine[:3, 3]) @ inverse.T)[..., ::-1]


def _compare_by_spline(volume, slices, index):
    """Compare where only the distances of slices are irregular: along one axis of the volume."""
    axis = int(np.abs(slices[0].normal[::-1]).argmax())
    others = [k for k in range(3) if k != axis]
    step = np.array(volume.spacing_mm)
    for at in index:
        aside = np.abs(at - np.rint(at))[..., others] * step[others]
        if aside.max() > POSITION_TOLERANCE_MM or np.ptp(at[..., axis]) * step[axis] > 1e-3:
            return "resampled"
    places = np.array([at[0, 0, axis] for at in index])
    order = np.argsort(places)
    stack = np.empty((len(slices), *(volume.hu.shape[k] for k in others)))
    for k, (one, at) in enumerate(zip(slices, index, strict=True)):
        first, second = (np.rint(at[..., other]).astype(int) for other in others)
        stack[k, first, second] = one.hu
    spline = CubicSpline(places[order], stack[order], bc_type="natural")
    expected = np.clip(spline(np.arange(volume.hu.shape[axis])), stack.min(), stack.max())
    inside = np.arange(volume.hu.shape[axis]) <= places.max() + 1e-6
    found = np.moveaxis(volume.hu, axis, 0)
    worst = float(np.abs(found[inside] - expected[inside]).max())
    return "right by spline" if worst <= 2 else f"off a spline by up to {worst:.0f} HU"
