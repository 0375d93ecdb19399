"""Situations of files and folders: names, junk, zips, files without preamble, hostile text."""

import zipfile

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.situations.placing import plain, set_all
from tests.situations.registry import Built, situation
from tests.situations.scan import (
    Scan,
    encode,
    encode_bare,
    identify,
    save,
    stored,
)

INCOMPLETE = "incomplete-header"
ODD_NAMES = (
    "-rf", "a b", "it's", 'quo"te', "schön", "图像", "percent%20", "semi;colon", "star*",
    "tab\tname", "dollar$HOME", "back\\slash", "new\nline", ".hidden", "DICOMDIR.dcm",
    "x.json", "x.nii.gz",
)  # fmt: skip


@situation("34-nested-and-junk")
def nested_and_junk(folder):
    scan = Scan()
    parts = np.array_split(np.arange(24), 3)
    datasets = scan.datasets()
    for place, part in zip((folder / "a", folder / "b" / "c", folder / "d"), parts, strict=True):
        save(place, [datasets[k] for k in part], [f"IM{k}" for k in part])
    (folder / "notes.txt").write_text("no DICOM at all")
    (folder / "Thumbs.db").write_bytes(np.random.default_rng(34).bytes(5000))
    (folder / "empty.dcm").touch()
    return scan.field()


@situation("36-no-position", "refuse", codes=INCOMPLETE, words="ImagePositionPatient.*file 6")
def no_position(folder):
    def edit(datasets):
        del datasets[5].ImagePositionPatient

    return plain(folder, edit)


@situation("44b-nan-position", "refuse", codes=INCOMPLETE, words="ImagePositionPatient.*file 6")
def nan_position(folder):
    field = plain(folder, lambda d: set_all(ImagePositionPatient=["1.0", "2.0", "3.0"])(d[5:6]))
    path = folder / "0006.dcm"
    path.write_bytes(path.read_bytes().replace(b"1.0\\2.0\\3.0", b"1.0\\2.0\\nan"))
    return field


@situation("37a-no-meta-implicit", "either")
def no_meta_implicit(folder):
    return bare(folder, implicit=True)


@situation("37b-no-meta-explicit", "either")
def no_meta_explicit(folder):
    return bare(folder, implicit=False)


def bare(folder, *, implicit):
    scan = Scan()
    for k, dataset in enumerate(scan.datasets()):
        (folder / f"{k:04d}.dcm").write_bytes(encode_bare(dataset, implicit=implicit))
    return scan.field()


@situation("38-no-extension")
def no_extension(folder):
    scan = Scan()
    save(folder, scan.datasets(), [f"{k:08X}" for k in range(24)])
    return scan.field()


@situation("39-zipped", "either")
def zipped(folder):
    return zip_scan(folder / "export.zip")


def zip_scan(path, prefix="DICOM/"):
    scan = Scan()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, dataset in enumerate(scan.datasets()):
            archive.writestr(f"{prefix}IM{k:04d}", encode(dataset))
        archive.writestr("README", "an export")
    return scan.field()


@situation("zip-itself", "either")
def zip_itself(folder):
    field = zip_scan(folder / "patient.zip", prefix="")
    return Built(folder / "patient.zip", (field,))


@situation("zip-in-a-folder-of-a-folder", "either")
def zip_deep(folder):
    (folder / "a" / "b").mkdir(parents=True)
    return zip_scan(folder / "a" / "b" / "no-suffix")


@situation("41-hostile-patient-id")
def hostile_patient_id(folder):
    hostile = "../../../tmp/evil\r\n\x1b[31m;$(touch x)"
    return plain(
        folder, set_all(PatientID=hostile, PatientName="../" * 9, SeriesDescription="%n%s/../..")
    )


@situation("45-other-objects")
def other_objects(folder):
    """A structured report, a segmentation, structures, a dose and a secondary capture beside."""
    classes = {"SR": "88.11", "SEG": "66.4", "RTSTRUCT": "481.3", "RTDOSE": "481.2", "OT": "7"}
    scan = Scan()
    others = []
    for k, (modality, last) in enumerate(classes.items()):
        other = Scan(uid=f"1.2.{50 + k}").datasets()[0]
        identify(other, f"1.2.{50 + k}.1", f"1.2.840.10008.5.1.4.1.1.{last}")
        other.Modality = modality
        if modality in ("SR", "RTSTRUCT"):
            for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
                delattr(other, keyword)
        others.append(other)
    save(folder, scan.datasets() + others)
    return scan.field()


@situation("58-no-pixel-data", "refuse", codes=INCOMPLETE, words="no pixels.*file 12")
def no_pixel_data(folder):
    def edit(datasets):
        del datasets[11].PixelData

    return plain(folder, edit)


@situation("dicomdir-beside")
def dicomdir_beside(folder):
    """A directory file that names other files than those that are there."""
    scan = Scan()
    save(folder / "DICOM", scan.datasets(), [f"I{k}" for k in range(24)])
    directory = identify(Dataset(), "1.2.77", "1.2.840.10008.1.3.10")
    directory.FileSetID = "EXPORT"
    record = Dataset()
    record.DirectoryRecordType = "IMAGE"
    record.ReferencedFileID = ["..", "..", "OTHER", "I7"]
    directory.DirectoryRecordSequence = Sequence([record])
    (folder / "DICOMDIR").write_bytes(encode(directory))
    return scan.field()


@situation("odd-file-names")
def odd_file_names(folder):
    scan = Scan()
    save(
        folder, scan.datasets(), [ODD_NAMES[k] if k < len(ODD_NAMES) else f"{k}" for k in range(24)]
    )
    return scan.field()


@situation("group-lengths")
def group_lengths(folder):
    """Retired group length elements, as old writers put them before each group."""

    def edit(datasets):
        for dataset in datasets:
            for group in (0x0008, 0x0018, 0x0020, 0x0028, 0x7FE0):
                dataset.add_new((group, 0), "UL", 4711)

    return plain(folder, edit)


@situation("long-header")
def long_header(folder):
    """Private elements of 40 KB and nested sequences of undefined length before the pixels."""

    def edit(datasets):
        for dataset in datasets:
            private = dataset.private_block(0x0009, "A VENDOR", create=True)
            private.add_new(1, "OB", bytes(40_000))
            private.add_new(2, "LT", "ImagePositionPatient 1\\2\\3")
            dataset.RequestAttributesSequence = Sequence([nested(4)])

    return plain(folder, edit)


def nested(depth):
    """Return an item that holds what only counts at the top of a data set."""
    item = Dataset()
    item.ImagePositionPatient = [9, 9, 9]
    item.Rows = 7
    item.is_undefined_length_sequence_item = True
    if depth:
        item.ReferencedSeriesSequence = Sequence([nested(depth - 1)])
        item["ReferencedSeriesSequence"].is_undefined_length = True
    return item


@situation("thumbnail-inside")
def thumbnail_inside(folder):
    """An icon with its own Rows, Columns and PixelData in a sequence before the image's."""

    def edit(datasets):
        for dataset in datasets:
            icon = Dataset()
            icon.Rows = icon.Columns = 8
            icon.BitsAllocated = icon.BitsStored = 8
            icon.HighBit, icon.PixelRepresentation, icon.SamplesPerPixel = 7, 0, 1
            icon.PhotometricInterpretation = "MONOCHROME2"
            icon.PixelData = bytes(64)
            icon["PixelData"].VR = "OB"
            dataset.IconImageSequence = Sequence([icon])

    return plain(folder, edit)


@situation("trailing-padding-element")
def trailing_padding_element(folder):
    """DataSetTrailingPadding after the pixels (PS3.10 7.2)."""

    def edit(datasets):
        for dataset in datasets:
            dataset.add_new((0xFFFC, 0xFFFC), "OB", bytes(256))

    return plain(folder, edit)


@situation(
    "fewer-pixels-than-the-matrix",
    "refuse",
    codes="incomplete-header damaged-files",
    words="file 4",
)
def fewer_pixels(folder):
    """The file is whole by its lengths, but holds half of the matrix."""

    def edit(datasets):
        datasets[3].PixelData = stored(datasets[3])[:24].tobytes()

    return plain(folder, edit)
