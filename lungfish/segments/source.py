"""What a segmentation takes over from its source: patient, study, slices and their names."""

import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lungfish.dicom.elements import read_elements
from lungfish.dicom.frames import UNREADABLE_GROUPS
from lungfish.dicom.headers import Header, read_header
from lungfish.dicom.sources import Source as File
from lungfish.dicom.sources import list_sources
from lungfish.errors import Refusal
from lungfish.records import Record

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BEYOND_HEADER = 0x52000000
"""Functional groups and pixels begin here; a header's own elements lie below."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """One acquired slice as others refer to it.

    Attributes
    ----------
    instance_uid : str
        SOPInstanceUID of its file.
    frame : int or None
        Its number in a multi-frame file, from 1; None where the file is one slice.
    position_mm : tuple of 3 floats
        LPS mm, exactly as its header states it.
    """

    instance_uid: str
    frame: int | None
    position_mm: tuple[float, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The series that a mask was made from. It identifies the patient: never to be stored as such.

    Attributes
    ----------
    header : pydicom Dataset
        The elements of the first slice's file, but for private ones, functional groups and pixels.
    slices : tuple of Slice
        In the order of the index.
    orientation : tuple of 6 floats
        Direction cosines of row and column, of the first slice.
    pixel_mm : tuple of 2 floats
        Distance of rows, of columns.
    thickness_mm : float or None
        SliceThickness, where stated.
    rows, columns : int
    """

    header: "Dataset"
    slices: tuple[Slice, ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, ...]
    thickness_mm: float | None
    rows: int
    columns: int


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings and messages of pydicom and highdicom back: they may quote a patient's name."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def read_source(folder: Path, index: Record, *, salt: str = "") -> Source:
    """Read the headers of the indexed slices.

    Parameters
    ----------
    folder : Path
        The folder or zip that was indexed.
    index : dict
        Record of the index stage.
    salt : str
        The index stage's, to know each file again by the hash of its SOPInstanceUID.

    Raises
    ------
    Refusal
        ``changed-since-index``, or ``uids-missing`` where the scan lacks a name that a SEG must
        state or two slices share one.
    """
    files = {file.number: file for file in list_sources(folder)}
    known: dict[int, list[Header]] = {}
    headers = []
    for entry in index["slices"]:
        number, frame = entry["file"], entry["frame"]
        if number not in known:
            known[number] = _read_headers(files.get(number), number)
        found = known[number]
        if frame >= len(found) or found[frame].uid_hash(salt) != entry["uid_hash"]:
            raise _changed(number)
        headers.append(found[frame])
    with quiet():
        header = _read_whole(headers[0])
    source = Source(
        header=header,
        slices=tuple(_slice(header) for header in headers),
        orientation=headers[0].orientation,
        pixel_mm=headers[0].pixel_spacing_mm,
        thickness_mm=headers[0].thickness_mm,
        rows=headers[0].rows,
        columns=headers[0].columns,
    )
    _check_uids(source)
    return source


def _read_headers(file: File | None, number: int) -> list[Header]:
    if file is None:
        raise _changed(number)
    found = read_header(file)
    if isinstance(found, str):
        raise _changed(number)
    return found


def _changed(number: int) -> Refusal:
    return Refusal(
        "changed-since-index",
        f"file {number} is not the one that was indexed: `snakemake recheck` names what changed",
    )


def _slice(header: Header) -> Slice:
    """Name a slice; the header of a frame adds its number to its file's UID."""
    frame = header.stored.frame + 1 if header.stored.frames > 1 else None
    return Slice(header.instance_uid.split("#")[0], frame, header.position_mm)


def _read_whole(header: Header) -> "Dataset":
    """Return all of one file's own elements that can be understood, with pydicom."""
    from pydicom.dataset import Dataset
    from pydicom.filereader import read_dataset

    with header.source.open() as stream:
        elements = read_elements(stream)
        end = elements.pixels_at or elements.stream.size
        raw = io.BytesIO(elements.stream.read(elements.begin, end - elements.begin))
    found = read_dataset(
        raw,
        is_implicit_VR=not elements.explicit,
        is_little_endian=not elements.big_endian,
        stop_when=lambda tag, vr, length: tag >= BEYOND_HEADER,
    )
    kept = Dataset()
    # Not `in found`: that converts the values, and one that cannot be would stop all.
    for tag in found.keys():  # noqa: SIM118
        if tag.is_private:
            continue
        try:
            kept.add(found[tag])
        except UNREADABLE_GROUPS:
            continue  # it stands in no module that matters, or is checked below
    return kept


def _check_uids(source: Source) -> None:
    """Refuse a scan without the names by which a segmentation refers to it (all type 1)."""
    wanted = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
    absent = [keyword for keyword in wanted if not str(source.header.get(keyword) or "")]
    if absent:
        raise Refusal(
            "uids-missing",
            f"the scan states no {' and no '.join(absent)}, which a DICOM SEG must repeat: export "
            "the series again with complete headers",
        )
    names = {(one.instance_uid, one.frame) for one in source.slices}
    if len(names) < len(source.slices):
        raise Refusal(
            "uids-not-unique",
            f"{len(source.slices)} slices have only {len(names)} different SOPInstanceUIDs, so "
            "that nothing can refer to one of them: export the series again",
        )
