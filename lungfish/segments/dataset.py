"""A DICOM segmentation of both lungs (PS3.3 A.51) that refers to every acquired slice."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import CT_IMAGE_STORAGE
from lungfish.errors import Refusal
from lungfish.records import atomic
from lungfish.segments.source import Source, quiet

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.dataset import Dataset

SEGMENTS = {1: ("Right lung", ("24028007", "Right")), 2: ("Left lung", ("7771000", "Left"))}
"""Label, name and laterality (SNOMED CT, PS3.16 CID 244) of the segments."""
CATEGORY = ("123037004", "SCT", "Anatomical Structure")
LUNG = ("39607008", "SCT", "Lung")
"""As dcmqi, 3D Slicer and the Imaging Data Commons code a lung, so that viewers know it: its type
from PS3.16 CID 7151, a modifier for the side. CID 7150 today lists 91723000 for the category; it
may be extended. SNOMED's codes of the right lung (3341006) and the left stand in no list."""
FAMILIES = {
    "classical": ("123104", "DCM", "Morphological Operations"),
    "unet": ("123110", "DCM", "Artificial Intelligence"),
}
"""Kinds of algorithms (PS3.16 CID 7162)."""
LONGEST_TEXT = 1024
"""Characters of an ST element (PS3.5 6.2)."""
COLOURS = {1: (255, 140, 60), 2: (60, 160, 255)}
"""Recommended for display, RGB."""
NO_DATE, NO_TIME = "19000101", "000000"
"""Stands where a scan states no date at all: ContentDate must not be empty, and is no clock's."""
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Must be there and may be empty (PS3.3 C.7.1.1 and C.7.2.1)."""
UNBUILDABLE = (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError)
"""What highdicom and pydicom raise on headers that they cannot take over."""


def build(
    labels: NDArray[np.uint8], source: Source, about: Mapping[str, Any], *, version: str
) -> "Segmentation":
    """Make a segmentation of the source's slices.

    Equal arguments give equal bytes: UIDs are hashes, dates and times are the scan's own.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
        1 right lung, 2 left, in the order of `source.slices`.
    source : Source
        Of which patient, study and frame of reference are repeated.
    about : Mapping
        Record of the lungs stage: its ``verdict`` and ``reasons`` are told.
    version : str
        Of lungfish.

    Returns
    -------
    highdicom Segmentation
        BINARY, which all viewers read (LABELMAP is of 2024); a frame a lung and slice, empty ones
        too: viewers that count frames misplace what follows a missing one.

    Raises
    ------
    Refusal
        ``source-unusable`` if the scan's headers hold what a SEG must not repeat.
    """
    with quiet():
        try:
            made = _make(labels, source, about, version)
            _refer(made, source)
            return made
        except UNBUILDABLE as error:
            # The error's own text may hold a value of the header.
            raise Refusal(
                "source-unusable",
                f"the scan's headers cannot be taken over into a DICOM SEG "
                f"({type(error).__name__}): export the series again",
            ) from None


def write(path: Path, segmentation: "Segmentation") -> None:
    """Write a segmentation as a DICOM file, whole or not at all."""
    with quiet(), atomic(path) as temporary:
        segmentation.save_as(temporary, enforce_file_format=True)


def _make(
    labels: NDArray[np.uint8], source: Source, about: Mapping[str, Any], version: str
) -> "Segmentation":
    from highdicom import PixelMeasuresSequence
    from highdicom import __version__ as maker
    from highdicom.seg import Segmentation

    header = _presentable(source)
    names = [f"{one.instance_uid} {one.frame}" for one in source.slices]
    told = f"{about['verdict']} {about['reasons']} {version} {maker}"
    identity = hashlib.sha256("\0".join([*names, told]).encode() + labels.tobytes()).digest()
    date, time = _date_and_time(header)
    made = Segmentation(
        _stand_ins(header, source),
        labels,
        "BINARY",
        [_describe(label, about, version) for label in SEGMENTS],
        series_instance_uid=derived_uid(identity, "series"),
        series_number=1000 + _series_number(header),
        sop_instance_uid=derived_uid(identity, "instance"),
        instance_number=1,
        manufacturer="lungfish",
        manufacturer_model_name="lungfish",
        software_versions=version,
        device_serial_number="0",
        content_label="LUNGS",
        content_description=f"Lungs, automatic, verdict {about['verdict']}",
        series_description=f"Lungs, lungfish {version}, verdict {about['verdict']}",
        content_qualification="RESEARCH",
        content_date=date,
        content_time=time,
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=source.pixel_mm, slice_thickness=source.thickness_mm or None
        ),
        omit_empty_frames=False,
        specific_character_set=None,
    )
    _replace_chance(made, identity)
    return made


def derived_uid(identity: bytes, what: str) -> str:
    """Return a UID made from a hash (PS3.5 B.2: root 2.25 and an integer of 128 bits)."""
    digest = hashlib.sha256(identity + what.encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _presentable(source: Source) -> "Dataset":
    """Return the source's header with every type 2 element, those with impossible values empty."""
    from highdicom.enum import PatientSexValues
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DA, TM

    header = Dataset(source.header)
    readers = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
    for keyword in TYPE_2:
        value = header.get(keyword) or ""
        try:
            if value and keyword == "PatientSex":
                PatientSexValues(value)
            readers.get(keyword, str)(value)
        except (ValueError, TypeError):
            value = ""
        setattr(header, keyword, value)
    return header


def _series_number(header: "Dataset") -> int:
    number = header.get("SeriesNumber")
    return int(number) if number and 0 < int(number) < 1_000_000 else 0


def _date_and_time(header: "Dataset") -> tuple[str, str]:
    """Return when the scan says that it was made: a clock's time would make no two files equal."""
    from pydicom.valuerep import DA, TM

    for what in ("Content", "Acquisition", "Series", "Study"):
        date, time = (str(header.get(what + part) or "") for part in ("Date", "Time"))
        try:
            if DA(date):
                return date, time if time and TM(time) else NO_TIME
        except ValueError:
            continue
    return NO_DATE, NO_TIME


def _stand_ins(header: "Dataset", source: Source) -> "list[Dataset]":
    """Return a single slice's header for each frame, called by its number instead of its UID.

    So frames of multi-frame files, and slices whose stated directions differ in the last digit,
    are taken as any other; `_refer` puts the names in.
    """
    from pydicom.dataset import Dataset

    made = []
    for number, one in enumerate(source.slices):
        stand_in = Dataset(header) if number == 0 else Dataset()
        stand_in.SOPClassUID, stand_in.SOPInstanceUID = CT_IMAGE_STORAGE, f"1.{number}"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(stand_in, keyword, header[keyword].value)
        stand_in.Modality = "CT"
        stand_in.Rows, stand_in.Columns = source.rows, source.columns
        stand_in.ImagePositionPatient = list(one.position_mm)
        stand_in.ImageOrientationPatient = list(source.orientation)
        stand_in.PixelSpacing = list(source.pixel_mm)
        stand_in.SliceThickness = source.thickness_mm or None
        made.append(stand_in)
    return made


def _describe(label: int, about: Mapping[str, Any], version: str) -> "SegmentDescription":
    """Describe one segment (PS3.3 C.8.20.4): what it is, what made it, what to think of it."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    name, laterality = SEGMENTS[label]
    given = about["method"] == "given"
    family = FAMILIES["unet" if "unet" in about["method"] else "classical"]
    algorithm = AlgorithmIdentificationSequence("lungfish", CodedConcept(*family), version)
    made = SegmentDescription(
        segment_number=label,
        segment_label=name,
        segmented_property_category=CodedConcept(*CATEGORY),
        segmented_property_type=CodedConcept(*LUNG),
        algorithm_type="MANUAL" if given else "AUTOMATIC",
        algorithm_identification=None if given else algorithm,
        display_color=CIELabColor.from_rgb(*COLOURS[label]),
    )
    kind = made.SegmentedPropertyTypeCodeSequence[0]
    side, meaning = laterality
    kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept(side, "SCT", meaning)]
    maker = "given by the user, checked by lungfish" if given else f"method {about['method']}"
    told = "; ".join([f"verdict {about['verdict']}", *about["reasons"], maker, "for research"])
    made.SegmentDescription = told[:LONGEST_TEXT]
    return made


def _replace_chance(made: "Segmentation", identity: bytes) -> None:
    """Replace what highdicom draws by lot or reads off the clock."""
    organisation = derived_uid(identity, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    del made.InstanceCreationDate, made.InstanceCreationTime
    for equipment in made.ContributingEquipmentSequence:
        if equipment.get("ManufacturerModelName") == "highdicom":
            equipment.pop("ContributionDateTime", None)
    made.ContentCreatorName = ""  # type 2, and nobody's


def _refer(made: "Segmentation", source: Source) -> None:
    """Name the slices in place of their stand-ins, in every frame and in the lists of sources."""
    from pydicom.dataset import Dataset

    sop_class = str(source.header.get("SOPClassUID") or CT_IMAGE_STORAGE)
    references = {  # of one slice in both segments highdicom makes one item: it is renamed once
        id(reference): reference
        for frame in made.PerFrameFunctionalGroupsSequence
        for reference in frame.DerivationImageSequence[0].SourceImageSequence
    }
    for reference in references.values():
        one = source.slices[int(reference.ReferencedSOPInstanceUID.split(".")[1])]
        reference.ReferencedSOPClassUID = sop_class
        reference.ReferencedSOPInstanceUID = one.instance_uid
        if one.frame is not None:
            reference.ReferencedFrameNumber = one.frame
    instances = []
    for uid in dict.fromkeys(one.instance_uid for one in source.slices):
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, uid
        instances.append(reference)
    made.SourceImageSequence = instances
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances
    if "SpecificCharacterSet" in source.header:
        # As the source states it, even where highdicom knows it not: names keep their bytes.
        made.SpecificCharacterSet = source.header.SpecificCharacterSet
