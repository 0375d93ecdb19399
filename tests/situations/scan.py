"""A scanner of known truth: slices anywhere in the patient, as data sets ready to be spoiled."""

import copy
import dataclasses
import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.situations.truth import CENTRE_MM, Field, truth_hu

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclasses.dataclass
class Scan:
    """A series; sizes all differ, so that a swapped axis cannot hide.

    Attributes
    ----------
    spacing_mm : tuple of 3 floats
        Between slices along the normal, rows, columns.
    orientation : tuple of 6 floats
        ImageOrientationPatient.
    tilt_degrees : float
        By which the line of slices leans from the normal towards the columns' direction.
    places : sequence of floats, or empty
        Where the slices lie in steps; 0, 1, 2, ... if empty. Given from the first to the last
        along the normal.
    shift_mm : tuple of 3 floats
        Of the whole series in the patient.
    """

    slices: int = 24
    rows: int = 48
    columns: int = 56
    spacing_mm: tuple = (1.25, 0.9, 0.9)
    orientation: tuple = AXIAL
    tilt_degrees: float = 0.0
    places: tuple = ()
    shift_mm: tuple = (0.0, 0.0, 0.0)
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = True
    bits: int = 16
    uid: str = "1.2.3"
    study_uid: str = "1.2"
    offset_hu: float = 0.0
    kernel: str = "B30f"

    def field(self, painted=()):
        """Return the acquired field."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        step = np.cross(row, column) + np.tan(np.radians(self.tilt_degrees)) * column
        places = np.array(self.places or range(self.slices), float)
        middle = self.spacing_mm[0] * step * (self.slices - 1) / 2
        across, down = row * self.spacing_mm[2], column * self.spacing_mm[1]
        corner = CENTRE_MM + self.shift_mm - middle
        corner = corner - across * (self.columns - 1) / 2 - down * (self.rows - 1) / 2
        origins = corner + places[:, None] * self.spacing_mm[0] * step
        return Field(origins, across, down, self.rows, self.columns, self.offset_hu, painted)

    def hu(self):
        """Return the true HU, shape (slices, rows, columns)."""
        return truth_hu(self.field().centres_mm()) + self.offset_hu

    def datasets(self):
        """Return the data sets, in order along the normal."""
        origins, hu, shared = self.field().origins_mm, self.hu(), common(self)
        return [self._dataset(k, origins[k], hu[k], shared) for k in range(len(origins))]

    def _dataset(self, k, origin, hu, shared):
        dataset = Dataset()
        identify(dataset, f"{self.uid}.{k + 1}")
        # Elements are copied one by one: setting one in a slice must not change the others.
        dataset.update({element.tag: copy.copy(element) for element in shared})
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = [decimal(value) for value in origin]
        dataset.ImageOrientationPatient = [decimal(value) for value in self.orientation]
        dataset.PixelSpacing = [decimal(value) for value in self.spacing_mm[1:]]
        dataset.SliceThickness = decimal(self.spacing_mm[0])
        store(dataset, hu, slope=self.slope, intercept=self.intercept)
        return dataset


def identify(dataset, uid, sop_class=CT_IMAGE_STORAGE, syntax=ExplicitVRLittleEndian):
    """Give a data set its UIDs."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    return dataset


def common(scan):
    """Return what all slices of a series share."""
    shared = Dataset()
    shared.StudyInstanceUID = scan.study_uid
    shared.SeriesInstanceUID = scan.uid
    shared.FrameOfReferenceUID = "1.2.9"
    shared.StudyDate = shared.SeriesDate = shared.ContentDate = "20200101"
    shared.StudyTime = shared.ContentTime = "120000"
    shared.AccessionNumber = shared.StudyID = "1"
    shared.SeriesNumber = int(scan.uid.split(".")[-1])
    shared.Modality = "CT"
    shared.Manufacturer = "none"
    shared.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    shared.PatientName, shared.PatientID = "Doe^Jane", "SECRET-4711"
    shared.PatientBirthDate, shared.PatientSex = "19500101", "F"
    shared.PatientPosition = "HFS"
    shared.ReferringPhysicianName = ""
    shared.PositionReferenceIndicator = ""
    shared.AcquisitionNumber = 1
    shared.KVP = 120
    shared.ConvolutionKernel = scan.kernel
    shared.Rows, shared.Columns = scan.rows, scan.columns
    shared.PhotometricInterpretation = "MONOCHROME2"
    shared.SamplesPerPixel = 1
    shared.BitsAllocated, shared.BitsStored, shared.HighBit = 16, scan.bits, scan.bits - 1
    shared.PixelRepresentation = int(scan.signed)
    shared.RescaleType = "HU"
    return shared


def decimal(value):
    """Return a number as a decimal string of at most 16 letters."""
    return f"{value:.9f}"[:16]


def stored(dataset):
    """Return the stored values of an uncompressed data set, shape (rows, columns)."""
    kind = "<i2" if dataset.PixelRepresentation else "<u2"
    return np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)


def store(dataset, hu, *, slope=1.0, intercept=-1024.0):
    """Store HU with a rescale in the data set's own sign."""
    dataset.RescaleSlope, dataset.RescaleIntercept = decimal(slope), decimal(intercept)
    values = np.rint((np.asarray(hu) - intercept) / slope)
    put(dataset, values.astype(np.int64))


def put(dataset, values):
    """Put stored values into a data set, little endian."""
    dataset.PixelData = (values.astype(np.int64) & 0xFFFF).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def save(folder: Path, datasets, names=None):
    """Write data sets as files; what the standard forbids is written too."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, dataset in enumerate(datasets):
        (folder / (names[k] if names else f"{k + 1:04d}.dcm")).write_bytes(encode(dataset))


def encode(dataset):
    """Return the bytes of a whole file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def encode_bare(dataset, *, implicit=False):
    """Return the bytes of a data set alone, without preamble and file meta."""
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole = encode(dataset)
    meta = io.BytesIO()
    write_file_meta_info(meta, dataset.file_meta)
    return whole[132 + len(meta.getvalue()) :]
