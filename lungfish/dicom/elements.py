"""The elements of a DICOM data set that geometry and HU need, walked without reading the rest.

A walk over the first 16 KB of a file takes a twentieth of a millisecond, where a general parser
takes a third of one; tests hold its values equal to pydicom's on every situation they know.
"""

import dataclasses
import re
import struct

from lungfish.dicom.sources import InflatedStream, Stream

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF

PIXEL_DATA = 0x7FE00010
NUMBER_OF_FRAMES = 0x00280008
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230

# No identifying element is asked for, so none can reach an output by accident.
WANTED = {
    "SOPClassUID": 0x00080016, "SOPInstanceUID": 0x00080018, "SeriesInstanceUID": 0x0020000E,
    "FrameOfReferenceUID": 0x00200052, "Modality": 0x00080060, "ImageType": 0x00080008,
    "AcquisitionNumber": 0x00200012, "InstanceNumber": 0x00200013,
    "TemporalPositionIdentifier": 0x00200100, "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037, "PixelSpacing": 0x00280030, "Rows": 0x00280010,
    "Columns": 0x00280011, "SliceThickness": 0x00180050, "SpacingBetweenSlices": 0x00180088,
    "GantryDetectorTilt": 0x00181120, "RescaleSlope": 0x00281053, "RescaleIntercept": 0x00281052,
    "RescaleType": 0x00281054, "ModalityLUTSequence": 0x00283000,
    "PhotometricInterpretation": 0x00280004, "SamplesPerPixel": 0x00280002,
    "BitsAllocated": 0x00280100, "BitsStored": 0x00280101, "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103, "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121, "LossyImageCompression": 0x00282110,
    "Manufacturer": 0x00080070, "ManufacturerModelName": 0x00081090,
    "ConvolutionKernel": 0x00181210, "KVP": 0x00180060, "Exposure": 0x00181152,
    "XRayTubeCurrent": 0x00181151, "NumberOfFrames": NUMBER_OF_FRAMES,
    "FrameType": 0x00089007, "FrameAcquisitionNumber": 0x00209156,
    "TemporalPositionIndex": 0x00209128, "ExposureInmAs": 0x00189332,
    "FloatPixelData": 0x7FE00008, "DoubleFloatPixelData": 0x7FE00009,
}  # fmt: skip
KEYWORD = {tag: keyword for keyword, tag in WANTED.items()}

SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # PS3.5 table 7.1-2
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # PS3.5 table 7.1-1
UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 chapter 9
HEAD = 1 << 14
LONGEST_HEAD = 1 << 26
"""No header is longer, not even that of thousands of frames; a length that says so is damage."""
DEEPEST = 32
"""Sequences nested deeper than any CT has them are taken for damage."""


class NotDicom(Exception):
    """The bytes are no DICOM file."""


class Truncated(Exception):
    """The file ends before what its own lengths promise."""


class Malformed(Exception):
    """The elements contradict the standard so that nobody can say what they mean."""


@dataclasses.dataclass(frozen=True, eq=False)
class Elements:
    """The wanted elements of one file as raw bytes, and where its pixels lie.

    Attributes
    ----------
    syntax : str
        Transfer syntax UID.
    values : dict of str to bytes
        By keyword; an element that is absent is not in it.
    stream : Stream
        In which `begin` and `pixels_at` count: the file, or its inflated data set.
    begin : int
        Offset of the data set's first element.
    explicit, big_endian : bool
        How the elements are written.
    pixels_at : int
        Offset of the value of PixelData, 0 where there is none.
    pixels_length : int
        Its length in bytes, `UNDEFINED` where it is encapsulated.
    """

    syntax: str
    values: dict[str, bytes]
    stream: Stream
    begin: int
    explicit: bool
    big_endian: bool
    pixels_at: int
    pixels_length: int


def read_elements(stream: Stream) -> Elements:
    """Read the wanted elements of a file.

    Raises
    ------
    NotDicom, Truncated, Malformed
        With nothing else to say: the file's fate is the message.
    """
    head = stream.read(0, HEAD)
    begin, syntax = _file_meta(stream, head)
    if syntax == DEFLATED:
        stream, begin = InflatedStream(stream, begin), 0
        head = stream.read(0, HEAD)
    big_endian = syntax == EXPLICIT_BIG
    explicit = _looks_explicit(head, begin, syntax)
    while True:
        walk = _Walk(head, explicit=explicit, big_endian=big_endian)
        try:
            values, at, length = walk.data_set(begin)
            break
        except Truncated:
            # The header is longer than what was read so far, or the file really ends here.
            longer = stream.read(0, 16 * len(head)) if len(head) < LONGEST_HEAD else head
            if len(longer) == len(head):
                raise
            head = longer
    return Elements(syntax, values, stream, begin, explicit, big_endian, at, length)


def _file_meta(stream: Stream, head: bytes) -> tuple[int, str]:
    """Return where the data set begins, and its transfer syntax (PS3.10 7.1).

    A file without preamble is taken for DICOM where it begins with the groups 0002 or 0008 and its
    first element makes sense, since old archives leave the file meta out.
    """
    bare = head[128:132] != b"DICM"
    start = 0 if bare else 132
    if bare and head[:2] not in (b"\x02\x00", b"\x08\x00"):
        raise NotDicom
    if head[start : start + 2] != b"\x02\x00":
        if bare and not _plausible_start(head):
            raise NotDicom
        return start, EXPLICIT_LITTLE if head[start + 4 : start + 6] in SHORT_VRS else (
            IMPLICIT_LITTLE
        )
    walk = _Walk(head, explicit=True, big_endian=False)
    begin, syntax = walk.file_meta(start)
    return begin, syntax


def _plausible_start(head: bytes) -> bool:
    """Tell a bare data set from any file that happens to begin with 08 00."""
    if len(head) < 64:
        return False
    element, length = struct.unpack_from("<HI", head, 2)
    return element <= 0x0018 and (head[4:6] in SHORT_VRS or length <= 64)


def _looks_explicit(head: bytes, begin: int, syntax: str) -> bool:
    """Believe the first element more than the declared syntax: writers mix the two up."""
    written = head[begin + 4 : begin + 6]
    if len(written) < 2:
        raise Truncated
    return written in SHORT_VRS or (syntax != IMPLICIT_LITTLE and written in LONG_VRS)


class _Walk:
    """A walk over the elements of one data set held in memory."""

    def __init__(self, data: bytes, *, explicit: bool, big_endian: bool) -> None:
        order = ">" if big_endian else "<"
        self.data = data
        self.explicit = explicit
        self.big_endian = big_endian
        self.tag = struct.Struct(order + "HH").unpack_from
        self.short = struct.Struct(order + "H").unpack_from
        self.long = struct.Struct(order + "I").unpack_from

    def element(self, at: int) -> tuple[int, bytes, int, int]:
        """Return the tag, VR, length and value's offset of the element at an offset."""
        try:
            group, number = self.tag(self.data, at)
            tag = group << 16 | number
            if group == 0xFFFE or not self.explicit:  # PS3.5 7.1.3, 7.5
                return tag, b"UN", self.long(self.data, at + 4)[0], at + 8
            vr = self.data[at + 4 : at + 6]
            if vr in SHORT_VRS:
                return tag, vr, self.short(self.data, at + 6)[0], at + 8
            if vr in LONG_VRS:
                return tag, vr, self.long(self.data, at + 8)[0], at + 12
        except struct.error:
            raise Truncated from None
        if len(vr) < 2:
            raise Truncated
        raise Malformed

    def file_meta(self, at: int) -> tuple[int, str]:
        """Return where group 0002 ends and the transfer syntax that it names."""
        syntax = ""
        while self.data[at : at + 2] == b"\x02\x00":
            tag, _, length, value = self.element(at)
            at = value + length
            if tag == 0x00020010:
                syntax = self.data[value:at].rstrip(b"\0 ").decode("ascii", "replace")
        if at >= len(self.data):
            raise Truncated
        if not UID.fullmatch(syntax or EXPLICIT_LITTLE):
            raise Malformed
        return at, syntax or EXPLICIT_LITTLE

    def data_set(self, at: int) -> tuple[dict[str, bytes], int, int]:
        """Return the wanted values, and the offset and length of PixelData (0, 0 without)."""
        values: dict[str, bytes] = {}
        end = len(self.data)
        while at < end:
            tag, vr, length, value = self.element(at)
            if tag == PIXEL_DATA:
                return values, value, length
            keyword = KEYWORD.get(tag)
            if length == UNDEFINED:
                at = self.inside(vr).skip_items(value, 0)
            else:
                at = value + length
                if at > end:
                    raise Truncated
            if keyword is not None:
                values[keyword] = self.data[value:at]
        return values, 0, 0

    def inside(self, vr: bytes) -> "_Walk":
        """Return the walk for a sequence's items: those of VR UN are implicit (PS3.5 6.2.2)."""
        if not self.explicit or vr != b"UN":
            return self
        return _Walk(self.data, explicit=False, big_endian=self.big_endian)

    def skip_items(self, at: int, depth: int) -> int:
        """Return where a sequence of undefined length ends (PS3.5 7.5.2)."""
        if depth > DEEPEST:
            raise Malformed
        while True:
            tag, _, length, value = self.element(at)
            if tag == 0xFFFEE0DD:
                return value
            if tag != 0xFFFEE000:
                raise Malformed
            at = self.skip_item(value, depth) if length == UNDEFINED else value + length
            if at > len(self.data):
                raise Truncated

    def skip_item(self, at: int, depth: int) -> int:
        """Return where an item of undefined length ends."""
        while True:
            tag, vr, length, value = self.element(at)
            if tag == 0xFFFEE00D:
                return value
            nested = length == UNDEFINED
            at = self.inside(vr).skip_items(value, depth + 1) if nested else value + length
            if at > len(self.data):
                raise Truncated
