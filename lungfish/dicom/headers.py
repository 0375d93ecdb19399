"""The header of one file, as far as geometry and HU need it; the fate of what is no slice."""

import dataclasses
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTI_FRAME_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")

# No identifying element is asked for, so none can reach an output by accident.
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "ImageType", "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
    "PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "Manufacturer",
    "ManufacturerModelName", "ConvolutionKernel", "KVP", "Exposure", "NumberOfFrames",
]  # fmt: skip

SNAKEMAKE_STAMP = ".snakemake_timestamp"
"""What Snakemake leaves in a folder that a rule made; counting it would shift the numbers."""

# What pydicom 3 raises on bytes that only look like DICOM.
UNREADABLE = (
    InvalidDicomError, EOFError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
    NotImplementedError, OSError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Header:
    """What one CT slice says of itself; lengths in mm, positions in LPS mm.

    Attributes
    ----------
    number : int
        Of the file in its folder, counted from 1 in the order of `list_files`.
    problem : str
        Empty, or what makes the slice unusable, such as ``no ImagePositionPatient``.
    """

    number: int
    path: Path
    instance_uid: str
    series_uid: str
    frame_uid: str
    image_type: tuple[str, ...]
    acquisition: int | None
    instance: int | None
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    rows: int
    columns: int
    thickness_mm: float | None
    manufacturer: str
    model: str
    kernel: str
    kvp: float | None
    mas: float | None
    problem: str


def list_files(folder: Path) -> list[Path]:
    """Return every file below a folder in the order of its relative path.

    Symbolic links that lead out of the folder are left out: a scan's folder must not be a door to
    the rest of the disk.
    """
    root = folder.resolve()
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=False)
        for name in names
    ]
    inside = [
        path
        for path in found
        if path.resolve().is_relative_to(root) and path.is_file() and path.name != SNAKEMAKE_STAMP
    ]
    return sorted(inside, key=lambda path: path.relative_to(folder).as_posix())


def read_headers(folder: Path) -> Iterator[tuple[int, Header | str]]:
    """Yield for each file of a folder its number and its header, or the fate of what is none."""
    for number, path in enumerate(list_files(folder), start=1):
        yield number, read_header(path, number)


def read_header(path: Path, number: int) -> Header | str:
    """Read one file's header.

    Parameters
    ----------
    path : Path
        Any file; it is known by its content and not by its name.
    number : int
        What to call it in outputs.

    Returns
    -------
    Header or str
        The header of a CT slice, or a fate: ``not DICOM``, ``truncated``, ``undecodable``,
        ``not an image``, ``localizer``, ``multi-frame``.
    """
    with path.open("rb") as stream:
        preamble = stream.read(132)
    if len(preamble) < 132 or preamble[128:] != b"DICM":  # PS3.10 7.1
        return "not DICOM"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of an odd value is judged below
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            return _judge(dataset, path, number)
    except EOFError:
        return "truncated"
    except UNREADABLE:
        return "undecodable"


def _judge(dataset: Dataset, path: Path, number: int) -> Header | str:
    """Tell a CT slice from what else lies in folders."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    if not sop_class and "Rows" not in dataset:
        return "truncated"
    if sop_class in MULTI_FRAME_CT or int(dataset.get("NumberOfFrames") or 1) > 1:
        return "multi-frame" if sop_class in MULTI_FRAME_CT else "not an image"
    if sop_class != CT_IMAGE_STORAGE or str(dataset.get("Modality", "CT")) != "CT":
        return "not an image"
    image_type = tuple(str(part) for part in dataset.get("ImageType") or ())
    if "LOCALIZER" in image_type:  # PS3.3 C.8.2.1.1.1
        return "localizer"
    return _header(dataset, path, number, image_type)


def _header(dataset: Dataset, path: Path, number: int, image_type: tuple[str, ...]) -> Header:
    return Header(
        number=number,
        path=path,
        instance_uid=str(dataset.get("SOPInstanceUID", "")),
        series_uid=str(dataset.get("SeriesInstanceUID", "")),
        frame_uid=str(dataset.get("FrameOfReferenceUID", "")),
        image_type=image_type,
        acquisition=_whole(dataset, "AcquisitionNumber"),
        instance=_whole(dataset, "InstanceNumber"),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        pixel_spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        thickness_mm=_number(dataset, "SliceThickness"),
        manufacturer=_text(dataset, "Manufacturer"),
        model=_text(dataset, "ManufacturerModelName"),
        kernel=_text(dataset, "ConvolutionKernel"),
        kvp=_number(dataset, "KVP"),
        mas=_number(dataset, "Exposure"),
        problem=_problem(dataset),
    )


def _problem(dataset: Dataset) -> str:
    """Return why a slice cannot be turned into HU at a place, or nothing."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    for keyword, count in needed.items():
        if not _numbers(dataset, keyword, count):
            return f"no usable {keyword}"
    if min(_numbers(dataset, "PixelSpacing", 2)) <= 0:
        return "no usable PixelSpacing"
    for keyword in ("RescaleSlope", "RescaleIntercept"):  # type 1, PS3.3 C.8.2.1
        if _number(dataset, keyword) is None:
            return f"no usable {keyword}"
    if _text(dataset, "RescaleType") not in ("", "HU"):  # PS3.3 C.11.1.1.2
        return f"RescaleType {_text(dataset, 'RescaleType')} instead of HU"
    if "ModalityLUTSequence" in dataset:
        return "a Modality LUT instead of a rescale slope"
    if int(dataset.get("BitsAllocated") or 0) != 16 or int(dataset.get("SamplesPerPixel") or 1) > 1:
        return "pixels other than one 16-bit sample"
    return ""


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Return `count` finite numbers, or nothing where the element does not hold them."""
    value = dataset.get(keyword)
    parts = list(value) if isinstance(value, pydicom.multival.MultiValue | list) else [value]
    # pydicom hands back the text of a decimal string such as '1,0' that is none.
    if len(parts) != count or not all(isinstance(part, float | int) for part in parts):
        return ()
    numbers = tuple(float(part) for part in parts)
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def _number(dataset: Dataset, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return None if number is None else int(number)


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    text = "/".join(str(part) for part in parts if part is not None)
    return "".join(letter for letter in text if letter.isprintable()).strip()[:64]
