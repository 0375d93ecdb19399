"""CT series of known truth: HU is a linear function of the position in the patient.

So the right value at any place is one line of arithmetic, whatever was done to the slices, and a
swapped or mirrored axis cannot hide: the three gradients and the three sizes all differ.
"""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
GRADIENT_HU_PER_MM = np.array([5.0, -7.0, 9.0])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def truth_hu(position_mm: np.ndarray) -> np.ndarray:
    """Return the HU at positions in LPS mm, shape (..., 3)."""
    return position_mm @ GRADIENT_HU_PER_MM


@dataclasses.dataclass
class Series:
    """A series to write; change a field, or edit each data set, before `write`."""

    folder: Path
    slices: int = 10
    rows: int = 14
    columns: int = 12
    spacing_mm: tuple[float, float, float] = (2.5, 1.25, 1.0)
    origin_mm: tuple[float, float, float] = (-7.0, -5.0, -12.0)
    orientation: tuple[float, ...] = AXIAL
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = True
    uid: str = "1.2.3"
    edit: Callable[[Dataset, int], Dataset | None] = lambda dataset, _: dataset

    def position_mm(self, index: int) -> np.ndarray:
        """Return where slice `index` begins."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        return np.array(self.origin_mm) + index * self.spacing_mm[0] * np.cross(row, column)

    def hu(self, index: int) -> np.ndarray:
        """Return the true HU of one slice, shape (rows, columns)."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        steps = (
            np.arange(self.rows)[:, None, None] * self.spacing_mm[1] * column
            + np.arange(self.columns)[None, :, None] * self.spacing_mm[2] * row
        )
        return truth_hu(self.position_mm(index) + steps)

    def dataset(self, index: int) -> Dataset:
        """Return the data set of one slice."""
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = CT_IMAGE_STORAGE
        dataset.file_meta.MediaStorageSOPInstanceUID = f"{self.uid}.{index + 1}"
        dataset.SOPClassUID = CT_IMAGE_STORAGE
        dataset.SOPInstanceUID = f"{self.uid}.{index + 1}"
        dataset.SeriesInstanceUID = self.uid
        dataset.FrameOfReferenceUID = "1.2.9"
        dataset.Modality = "CT"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientName = "Doe^Jane"
        dataset.PatientID = "SECRET-4711"
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [float(value) for value in self.position_mm(index)]
        dataset.ImageOrientationPatient = list(self.orientation)
        dataset.PixelSpacing = [self.spacing_mm[1], self.spacing_mm[2]]
        dataset.SliceThickness = 99  # never to be asked
        dataset.Rows, dataset.Columns = self.rows, self.columns
        dataset.RescaleSlope, dataset.RescaleIntercept = self.slope, self.intercept
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.SamplesPerPixel = 1
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = int(self.signed)
        stored = np.rint((self.hu(index) - self.intercept) / self.slope)
        dataset.PixelData = stored.astype("<i2" if self.signed else "<u2").tobytes()
        return dataset

    def write(self) -> Path:
        """Write what `edit` leaves of each slice, and return the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some tests mean to write what the standard forbids
            for index in range(self.slices):
                dataset = self.edit(self.dataset(index), index)
                if dataset is not None:
                    path = self.folder / f"{index + 1:04d}.dcm"
                    dataset.save_as(path, enforce_file_format=True)
        return self.folder
