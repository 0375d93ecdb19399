"""The frames of an enhanced multi-frame CT: shared and per-frame functional groups."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lungfish.dicom import values as read
from lungfish.dicom.elements import KEYWORD, Elements, Malformed

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MULTI_FRAME_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
MOST_FRAMES = 10_000

# What pydicom 3 raises on functional groups that are damaged.
UNREADABLE_GROUPS = (
    EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    NotImplementedError, RecursionError,
)  # fmt: skip


def frames_of(elements: Elements) -> list[Mapping[str, bytes]]:
    """Return the values of each frame: one, or as many as the functional groups describe."""
    values = elements.values
    if read.uid(values, "SOPClassUID") not in MULTI_FRAME_CT:
        return [values]
    count = read.whole(values, "NumberOfFrames") or 0
    if not 0 < count <= MOST_FRAMES:
        raise Malformed
    try:
        dataset = _functional_groups(elements)
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        each = dataset.get("PerFrameFunctionalGroupsSequence") or []
        if len(each) != count:
            raise Malformed
        common = dict(values)
        for group in shared[:1]:
            common |= _flat(group)
        return [{**common, **_flat(group)} for group in each]
    except UNREADABLE_GROUPS:
        raise Malformed from None


def _functional_groups(elements: Elements) -> "Dataset":
    """Parse the whole header with pydicom: functional groups are sequences in sequences."""
    # Here and not above: it takes a tenth of a second, and most scans are single frames.
    from pydicom.filereader import read_dataset

    end = elements.pixels_at or elements.stream.size
    header = elements.stream.read(elements.begin, end - elements.begin)
    return read_dataset(
        io.BytesIO(header),
        is_implicit_VR=not elements.explicit,
        is_little_endian=not elements.big_endian,
        stop_when=lambda tag, vr, length: tag >= 0x7FE00008,
    )


def _flat(group: "Dataset") -> dict[str, bytes]:
    """Return the wanted elements of a group's macros as raw bytes (PS3.3 C.7.6.16)."""
    found: dict[str, bytes] = {}
    for tag in list(group.keys()):
        for macro in (group[tag].value or [])[:1] if group[tag].VR == "SQ" else ():
            for inner in list(macro.keys()):
                element = macro.get_item(inner)
                keyword = KEYWORD.get(int(inner))
                if keyword and isinstance(element.value, bytes):
                    found[keyword] = element.value
    if "FrameType" in found:
        found["ImageType"] = found["FrameType"]
    return found
