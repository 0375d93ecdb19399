"""What each file is: CT slices with all that geometry and HU need, or a fate."""

import dataclasses
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from lungfish.dicom import values as read
from lungfish.dicom.checks import geometry_problem, pixel_problem
from lungfish.dicom.elements import Elements, Malformed, NotDicom, Truncated, read_elements
from lungfish.dicom.frames import MULTI_FRAME_CT, frames_of
from lungfish.dicom.sources import (
    UNREADABLE_ZIP,
    ZIP_START,
    InflatedStream,
    Source,
    Stream,
    list_sources,
)

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
LOSSY_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2.4.{last}" for last in ("50", "51", "81", "91", "203")
)


@dataclasses.dataclass(frozen=True)
class Stored:
    """How one slice's pixels are stored, and what turns them into HU.

    Attributes
    ----------
    syntax : str
        Transfer syntax UID.
    big_endian, signed : bool
        Of the stored 16-bit values.
    rows, columns, bits_stored : int
        The values' low `bits_stored` bits count (PS3.5 8.1.1).
    slope, intercept : float
        HU = stored x slope + intercept (PS3.3 C.11.1.1.2).
    padding : tuple of 2 int, or None
        First and last stored value that stand for no measurement, in the pixels' own sign.
    at, length : int
        Where PixelData lies in the file's stream, in bytes; `length` may be `UNDEFINED`.
    frame, frames : int
        Which of how many, from 0.
    deflated_at : int or None
        Where the deflated data set begins in the file; `at` then counts in the inflated one.
    """

    syntax: str
    big_endian: bool
    signed: bool
    rows: int
    columns: int
    bits_stored: int
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    at: int
    length: int
    frame: int
    frames: int
    deflated_at: int | None


@dataclasses.dataclass(frozen=True)
class Header:
    """What one CT slice says of itself; lengths in mm, positions in LPS mm.

    Attributes
    ----------
    number : int
        Of the file, counted from 1 in the order of `sources.list_sources`.
    stored : Stored
        How to get at its HU.
    problem : str
        Empty, or what makes the slice unusable, such as ``no usable ImagePositionPatient``.
    code : str
        The stable name of that problem, or empty.
    """

    number: int
    source: Source
    instance_uid: str
    series_uid: str
    frame_uid: str
    image_type: tuple[str, ...]
    acquisition: int | None
    temporal: int | None
    instance: int | None
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    thickness_mm: float | None
    stated_spacing_mm: float | None
    stated_tilt_degrees: float | None
    manufacturer: str
    model: str
    kernel: str
    kvp: float | None
    mas: float | None
    inverted: bool
    lossy: bool
    stored: Stored
    problem: str
    code: str

    def uid_hash(self, salt: str) -> str:
        """Return the salted hash by which outputs call this slice."""
        return hash_uid(self.instance_uid, salt)

    @property
    def rows(self) -> int:
        """Of the image matrix."""
        return self.stored.rows

    @property
    def columns(self) -> int:
        """Of the image matrix."""
        return self.stored.columns


def hash_uid(uid: str, salt: str) -> str:
    """Return a salted SHA-256 of a UID, the first 32 hexadecimal digits."""
    return hashlib.sha256(f"{salt}\0{uid}".encode()).hexdigest()[:32]


def read_headers(place: Path) -> Iterator[tuple[int, Header | str]]:
    """Yield for each file of a folder or zip its number and its header, or the fate of no slice.

    A multi-frame file yields a header a frame, all under its number.
    """
    for source in list_sources(place):
        found = read_header(source)
        if isinstance(found, str):
            yield source.number, found
        else:
            for header in found:
                yield source.number, header


def read_header(source: Source) -> list[Header] | str:
    """Read one file's header.

    Parameters
    ----------
    source : Source
        Any file; it is known by its content and not by its name.

    Returns
    -------
    list of Header, or str
        The header of a CT slice, those of all frames, or a fate: ``not DICOM``, ``truncated``,
        ``unopened zip``, ``undecodable``, ``not an image``, ``other modality``, ``localizer``.
    """
    try:
        with source.open() as stream:
            return headers_of(source, stream)
    except UNREADABLE_ZIP:
        return "undecodable"


def headers_of(source: Source, stream: Stream) -> list[Header] | str:
    """Do the work of `read_header` on a file that is open already."""
    try:
        elements = read_elements(stream)
        fate = _fate(elements)
        if fate:
            return fate
        frames = frames_of(elements)
        problem = pixel_problem(elements, frames)
    except NotDicom:
        # A whole zip was replaced by its members; this one is damaged or lies in another.
        return "unopened zip" if stream.read(0, 4) == ZIP_START else "not DICOM"
    except Truncated:
        return "truncated"
    except (Malformed, zlib.error):
        return "undecodable"
    made = [
        _header(values, elements, source, (k, len(frames)), problem)
        for k, values in enumerate(frames)
    ]
    return "localizer" if "LOCALIZER" in made[0].image_type else made  # PS3.3 C.8.2.1.1.1


def _fate(elements: Elements) -> str:
    """Tell a CT image from what else lies in folders; nothing if it is one."""
    values = elements.values
    sop_class, modality = read.uid(values, "SOPClassUID"), read.text(values, "Modality")
    if not sop_class and "Rows" not in values:
        return "not DICOM" if not modality else "not an image"
    if sop_class == CT_IMAGE_STORAGE or sop_class in MULTI_FRAME_CT:
        return "" if modality in ("CT", "") else "other modality"
    # PS3.4 B.5: image storage classes but those of CT; what has no matrix is no image at all.
    known = modality in ("MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF")
    return "other modality" if "Rows" in values and known else "not an image"


def _header(
    values: Mapping[str, bytes],
    elements: Elements,
    source: Source,
    position: tuple[int, int],
    problem: tuple[str, str],
) -> Header:
    """Return the header of frame `position[0]` of `position[1]`."""
    big = elements.big_endian
    frame, frames = position
    code, words = problem if problem[0] else geometry_problem(values)
    instance_uid = read.uid(values, "SOPInstanceUID")
    acquisition = read.unsigned(values, "FrameAcquisitionNumber", big_endian=big)
    if acquisition is None:
        acquisition = read.whole(values, "AcquisitionNumber")
    temporal = read.unsigned(values, "TemporalPositionIndex", big_endian=big)
    mas = read.number(values, "Exposure")
    return Header(
        number=source.number,
        source=source,
        instance_uid=f"{instance_uid}#{frame + 1}" if frames > 1 else instance_uid,
        series_uid=read.uid(values, "SeriesInstanceUID"),
        frame_uid=read.uid(values, "FrameOfReferenceUID"),
        image_type=read.texts(values, "ImageType"),
        acquisition=acquisition,
        temporal=read.whole(values, "TemporalPositionIdentifier") if temporal is None else temporal,
        instance=frame + 1 if frames > 1 else read.whole(values, "InstanceNumber"),
        position_mm=read.numbers(values, "ImagePositionPatient", 3),
        orientation=read.numbers(values, "ImageOrientationPatient", 6),
        pixel_spacing_mm=read.numbers(values, "PixelSpacing", 2),
        thickness_mm=read.number(values, "SliceThickness"),
        stated_spacing_mm=read.number(values, "SpacingBetweenSlices"),
        stated_tilt_degrees=read.number(values, "GantryDetectorTilt"),
        manufacturer=read.text(values, "Manufacturer"),
        model=read.text(values, "ManufacturerModelName"),
        kernel=read.text(values, "ConvolutionKernel"),
        kvp=read.number(values, "KVP"),
        mas=read.double(values, "ExposureInmAs", big_endian=big) if mas is None else mas,
        inverted=read.text(values, "PhotometricInterpretation") == "MONOCHROME1",
        lossy=read.text(values, "LossyImageCompression") == "01"
        or elements.syntax in LOSSY_SYNTAXES,
        stored=_stored(values, elements, frame, frames),
        problem=words,
        code=code,
    )


def _stored(values: Mapping[str, bytes], elements: Elements, frame: int, frames: int) -> Stored:
    big, stream = elements.big_endian, elements.stream
    signed = read.short(values, "PixelRepresentation", big_endian=big) == 1
    return Stored(
        syntax=elements.syntax,
        big_endian=big,
        signed=signed,
        rows=read.short(values, "Rows", big_endian=big) or 0,
        columns=read.short(values, "Columns", big_endian=big) or 0,
        bits_stored=read.short(values, "BitsStored", big_endian=big) or 16,
        slope=read.number(values, "RescaleSlope") or 0.0,
        intercept=read.number(values, "RescaleIntercept") or 0.0,
        padding=_padding(values, signed=signed, big_endian=big),
        at=elements.pixels_at,
        length=elements.pixels_length,
        frame=frame,
        frames=frames,
        deflated_at=stream.start if isinstance(stream, InflatedStream) else None,
    )


def _padding(
    values: Mapping[str, bytes], *, signed: bool, big_endian: bool
) -> tuple[int, int] | None:
    """Return the range of padding in the pixels' own sign (PS3.3 C.7.5.1.1.2).

    Writers often state the value in the other sign: 63536 stands for -2000.
    """
    value = read.short(values, "PixelPaddingValue", big_endian=big_endian)
    if value is None:
        return None
    limit = read.short(values, "PixelPaddingRangeLimit", big_endian=big_endian)
    ends = (value, value if limit is None else limit)
    first, last = sorted(end - 0x10000 if signed and end > 0x7FFF else end for end in ends)
    return first, last
