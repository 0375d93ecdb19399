"""Digital patients on disk: a DICOM series, and the truth beside it."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from lungfish import nifti
from lungfish.phantom.patient import DigitalPatient
from lungfish.phantom.scanner import outside_circle
from lungfish.randomness import stable_hash
from lungfish.records import write_json

DAY, CLOCK = "20000101", "120000"
"""Date and time of every digital examination."""


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Lend an empty folder and rename it to `folder` if nothing went wrong, replacing an old one.

    A killed process leaves the old folder, the new one or none, and perhaps a hidden left-over
    beside it, which the next run removes. Two processes must not write one folder at a time.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".partial.{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _uid(digital: DigitalPatient, *what: str) -> str:
    """Return a UID derived from a hash (PS3.5 B.2: root 2.25 and an integer of 128 bits)."""
    fields = dataclasses.asdict(digital.settings)
    # Patients without factors keep the UIDs that they had before there were factors.
    settings = str(sorted(item for item in fields.items() if item != ("factors", "")))
    names = ("phantom", str(digital.seed), digital.patient, settings, *what)
    return f"2.25.{stable_hash('high', *names) << 64 | stable_hash('low', *names)}"


def _header(digital: DigitalPatient) -> Dataset:
    """Return what all slices share (PS3.3 A.3, CT Image IOD)."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(header, keyword, DAY)
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(header, keyword, CLOCK)
    header.AccessionNumber = ""
    header.ReferringPhysicianName = ""
    header.PatientName = digital.patient
    header.PatientID = digital.patient
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    header.BodyPartExamined = "CHEST"
    header.StudyID = "1"
    header.SeriesNumber = 1
    header.AcquisitionNumber = 1
    header.PatientPosition = "HFS"
    header.StudyDescription = "Digital chest"
    header.SeriesDescription = "Digital chest, made by lungfish, no person"
    header.StudyInstanceUID = _uid(digital, "study")
    header.SeriesInstanceUID = _uid(digital, "series")
    header.FrameOfReferenceUID = _uid(digital, "frame")
    header.PositionReferenceIndicator = ""
    _add_acquisition(header, digital)
    _add_pixels(header, digital)
    return header


def _add_acquisition(header: Dataset, digital: DigitalPatient) -> None:
    """Add how the scan was made (PS3.3 C.7.5.1 and C.8.2.1)."""
    scanner, settings = digital.scanner, digital.settings
    header.Modality = "CT"
    header.Manufacturer = scanner.manufacturer
    header.ManufacturerModelName = scanner.model
    header.ConvolutionKernel = scanner.kernel
    header.KVP = 120
    header.XRayTubeCurrent = 200
    header.ExposureTime = 500
    header.Exposure = 100
    header.SliceThickness = settings.thickness_mm
    header.SpacingBetweenSlices = settings.slice_mm
    header.ReconstructionDiameter = round(settings.field_of_view_mm * scanner.zoom, 3)


def _add_pixels(header: Dataset, digital: DigitalPatient) -> None:
    """Add how pixels are stored (PS3.3 C.7.6.3) and what they mean (C.11.1)."""
    scanner = digital.scanner
    _, rows, columns = digital.volume.hu.shape
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    _, row_mm, column_mm = digital.volume.spacing_mm
    header.PixelSpacing = [round(row_mm, 6), round(column_mm, 6)]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows = rows
    header.Columns = columns
    header.BitsAllocated = 16
    header.BitsStored = 16 if scanner.signed else 12
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(scanner.signed)
    if scanner.padding is not None:
        header.add_new("PixelPaddingValue", "SS" if scanner.signed else "US", scanner.padding)
    header.RescaleIntercept = scanner.intercept
    header.RescaleSlope = 1
    header.RescaleType = "HU"
    header.WindowCenter = -600
    header.WindowWidth = 1500


def _stored(digital: DigitalPatient) -> np.ndarray:
    """Return the values as stored, 16-bit little endian."""
    scanner = digital.scanner
    values = digital.volume.hu.astype(np.int32) - scanner.intercept
    if scanner.circular and scanner.padding is not None:
        values[:, outside_circle(digital.settings)] = scanner.padding
    return values.astype("<i2" if scanner.signed else "<u2")


def write_dicom(folder: Path, digital: DigitalPatient) -> None:
    """Write a patient's scan as a folder of DICOM files, 0001.dcm and on, whole or not at all.

    CT Image Storage, explicit VR little endian. One scanner numbers its slices from the head
    down, the other from the feet up.

    Parameters
    ----------
    folder : Path
        Replaced if it exists.
    digital : DigitalPatient
    """
    header = _header(digital)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    stored = _stored(digital)
    order = range(len(stored))
    if digital.scanner.head_first:
        order = order[::-1]
    with atomic_folder(folder) as temporary:
        for number, index in enumerate(order, 1):
            _place(header, digital, number, index)
            header.PixelData = stored[index].tobytes()
            dcmwrite(temporary / f"{number:04d}.dcm", header, enforce_file_format=True)


def _place(header: Dataset, digital: DigitalPatient, number: int, index: int) -> None:
    """Set what is one slice's own (PS3.3 C.7.6.2)."""
    x, y, z = (digital.volume.affine @ [0, 0, index, 1])[:3]
    header.SOPInstanceUID = _uid(digital, "slice", str(index))
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.InstanceNumber = number
    header.ImagePositionPatient = [round(float(value), 6) for value in (x, y, z)]
    header.SliceLocation = round(float(z), 6)


def write_truth(folder: Path, digital: DigitalPatient) -> None:
    """Write what is true of a patient: lungs.nii.gz, nodules.nii.gz, truth.json ("phantom/1").

    Where factors were asked for, plants.nii.gz too: 1 mass, 2 effusion, 3 consolidation.

    Parameters
    ----------
    folder : Path
        Replaced if it exists, whole or not at all.
    digital : DigitalPatient
    """
    affine = digital.volume.affine
    with atomic_folder(folder) as temporary:
        nifti.write_mask(temporary / "lungs.nii.gz", digital.lungs, affine)
        nifti.write_mask(temporary / "nodules.nii.gz", digital.nodules, affine)
        if digital.plants is not None:
            nifti.write_mask(temporary / "plants.nii.gz", digital.plants, affine)
        write_json(temporary / "truth.json", "phantom/1", digital.truth)
