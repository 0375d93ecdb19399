"""Situations of enhanced multi-frame CT (PS3.3 A.38): shared and per-frame functional groups."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from tests.situations.encoders import SYNTAX, big_endian, deflate, frame
from tests.situations.registry import situation
from tests.situations.scan import Scan, common, decimal, encode, identify, stored

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_CT = "1.2.840.10008.5.1.4.1.1.2.2"


def macro(**elements):
    """Return a functional group's macro: a sequence of one item."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


def enhanced(scan, *, order=None, sop_class=ENHANCED_CT, rescale_per_frame=False, all_shared=True):
    """Return a multi-frame data set of a scan.

    Parameters
    ----------
    order : sequence of int, optional
        Slice that each frame holds.
    rescale_per_frame : bool
        Another slope and intercept for every frame.
    all_shared : bool
        Orientation and pixel spacing shared and not per frame.
    """
    order = range(scan.slices) if order is None else order
    field, hu = scan.field(), scan.hu()
    dataset = identify(Dataset(), f"{scan.uid}.1", sop_class)
    dataset.update(common(scan))
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = scan.slices
    dataset.DimensionOrganizationType = "3D"
    shared, frames, pixels = Dataset(), [], []
    for k, index in enumerate(order):
        slope, intercept = (1 + 0.04 * k, -1024.0 + 11 * k) if rescale_per_frame else (1.0, -1024.0)
        group = Dataset()
        group.FrameContentSequence = macro(
            FrameAcquisitionNumber=1, InStackPositionNumber=index + 1, StackID="1",
            DimensionIndexValues=[1, index + 1], FrameReferenceDateTime="20200101120000",
            FrameAcquisitionDateTime="20200101120000", FrameAcquisitionDuration=1.0,
        )  # fmt: skip
        group.PlanePositionSequence = macro(
            ImagePositionPatient=[decimal(value) for value in field.origins_mm[index]]
        )
        fill(shared if all_shared else group, scan)
        rescale(group if rescale_per_frame or not all_shared else shared, slope, intercept)
        frames.append(group)
        pixels.append(np.rint((hu[index] - intercept) / slope).astype("<i2"))
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    index_dimensions(dataset)
    del dataset.RescaleType
    dataset.PixelData = np.stack(pixels).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def index_dimensions(dataset):
    """Say what the frames' dimension indices stand for (PS3.3 C.7.6.17); highdicom asks for it."""
    organization = Dataset()
    organization.DimensionOrganizationUID = "1.2.88"
    dataset.DimensionOrganizationSequence = Sequence([organization])
    pointers = []
    for keyword in (0x00209056, 0x00209057):  # StackID, InStackPositionNumber
        pointer = Dataset()
        pointer.DimensionOrganizationUID = "1.2.88"
        pointer.DimensionIndexPointer = keyword
        pointer.FunctionalGroupPointer = 0x00209111
        pointers.append(pointer)
    dataset.DimensionIndexSequence = Sequence(pointers)


def fill(group, scan):
    """Put the macros of plane and spacing into a functional group."""
    group.PixelMeasuresSequence = macro(
        PixelSpacing=[decimal(value) for value in scan.spacing_mm[1:]],
        SliceThickness=decimal(scan.spacing_mm[0]),
    )
    group.PlaneOrientationSequence = macro(
        ImageOrientationPatient=[decimal(value) for value in scan.orientation]
    )
    group.CTImageFrameTypeSequence = macro(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE",
    )  # fmt: skip
    group.CTReconstructionSequence = macro(ConvolutionKernel="B30f")


def rescale(group, slope, intercept):
    group.PixelValueTransformationSequence = macro(
        RescaleSlope=decimal(slope), RescaleIntercept=decimal(intercept), RescaleType="HU"
    )


def compressed(dataset, name):
    """Encode each frame."""
    values = np.frombuffer(dataset.PixelData, "<i2").reshape(-1, dataset.Rows, dataset.Columns)
    dataset.file_meta.TransferSyntaxUID = UID(SYNTAX[name][0])
    dataset.PixelData = encapsulate([frame(one, name) for one in values])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def write(folder, dataset, name="frames.dcm"):
    (folder / name).write_bytes(encode(dataset))


def one_file(name, must="right", *, after=lambda dataset: dataset, **how):
    """Register a situation of one multi-frame file."""
    scan = Scan(**how.pop("scan", {}))

    @situation(name, must)
    def make(folder):
        write(folder, after(enhanced(scan, **how)))
        return scan.field()

    return make


SHUFFLED = tuple(int(k) for k in np.random.default_rng(21).permutation(24))
one_file("20a-enhanced-shared")
one_file("20b-enhanced-per-frame", rescale_per_frame=True, all_shared=False)
one_file("21-enhanced-shuffled", order=SHUFFLED)
one_file("enhanced-jpeg-ls", after=lambda dataset: compressed(dataset, "JPEG-LS"))
one_file("enhanced-rle-shuffled", after=lambda d: compressed(d, "RLE"), order=SHUFFLED)
one_file("enhanced-legacy-converted", sop_class=LEGACY_CONVERTED_CT, all_shared=False)
one_file("enhanced-deflated", after=deflate)
one_file("enhanced-tilt", scan={"tilt_degrees": 11.0})


@situation("enhanced-big-endian")
def enhanced_big_endian(folder):
    scan = Scan()
    dataset = enhanced(scan)
    dataset.Rows *= scan.slices  # for the moment of turning the bytes round
    values = stored(dataset)
    dataset = big_endian(dataset)
    dataset.Rows = scan.rows
    if len(values) != scan.rows * scan.slices:
        raise ValueError("frames were lost")
    write(folder, dataset)
    return scan.field()


@situation("enhanced-in-two-files")
def enhanced_in_two_files(folder):
    """One series whose frames an archive parted over two files."""
    scan = Scan()
    for part, places in enumerate((range(10), range(10, 24))):
        half = Scan(slices=len(places))
        whole = enhanced(scan)
        kept = whole.PerFrameFunctionalGroupsSequence[places.start : places.stop]
        whole.PerFrameFunctionalGroupsSequence = Sequence(list(kept))
        size = 2 * scan.rows * scan.columns
        whole.PixelData = whole.PixelData[size * places.start : size * places.stop]
        whole.NumberOfFrames = half.slices
        identify(whole, f"1.2.3.{part + 1}")
        write(folder, identify(whole, f"1.2.3.{part + 1}", ENHANCED_CT), f"part{part}")
    return scan.field()
