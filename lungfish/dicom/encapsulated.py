"""Compressed pixels: their fragments (PS3.5 A.4), and what a stream says of itself.

A compressed stream is looked at before any decoder sees it: some decoders fill what a cut stream
lacks without a word, and a stream that declares a huge matrix would make them ask for it.
"""

import struct
from collections.abc import Iterator

from lungfish.dicom.sources import Stream

ITEM, DELIMITER = 0xFFFEE000, 0xFFFEE0DD
CODESTREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000 and HTJ2K begin: SOC and SIZ."""
END_OF_IMAGE = b"\xff\xd9"
MOST_FRAGMENTS = 1_000_000


def fragments(stream: Stream, at: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and length of each item of encapsulated pixels; the first is the table.

    Raises
    ------
    ValueError
        If an item is no item, ends outside the file, or the sequence has no delimiter.
    """
    for _ in range(MOST_FRAGMENTS):
        header = stream.read(at, 8)
        if len(header) < 8:
            raise ValueError("the compressed pixels have no end")
        group, element, length = struct.unpack("<HHI", header)
        tag = group << 16 | element
        if tag == DELIMITER:
            return
        if tag != ITEM:
            raise ValueError("the compressed pixels do not lie in items")
        if length and len(stream.read(at + 7 + length, 1)) < 1:
            raise ValueError("the compressed pixels are cut off")
        yield at + 8, length
        at += 8 + length
    raise ValueError("the compressed pixels lie in too many fragments")


def find_end(stream: Stream, at: int) -> int | None:
    """Return where the last fragment ends, or None where the file ends before."""
    end = at
    try:
        for offset, length in fragments(stream, at):
            end = offset + length
    except ValueError:
        return None
    return end


def frame_spans(stream: Stream, at: int, frames: int) -> list[list[tuple[int, int]]]:
    """Return for each frame the offsets and lengths of its fragments.

    By the offset table where it is filled; else all fragments belong to the only frame, or each
    fragment to a frame of its own.

    Raises
    ------
    ValueError
        If the fragments cannot be shared out.
    """
    items = list(fragments(stream, at))
    if not items:
        raise ValueError("the compressed pixels are empty")
    table, spans = items[0], items[1:]
    if frames == 1:
        return [spans]
    if len(spans) == frames:
        return [[span] for span in spans]
    raw = stream.read(table[0], min(table[1], 4 * frames + 4))
    if table[1] != 4 * frames or len(raw) != 4 * frames:
        raise ValueError("the fragments cannot be told apart by frame")
    starts = struct.unpack(f"<{frames}I", raw)
    base = spans[0][0] - 8
    shared: list[list[tuple[int, int]]] = [[] for _ in range(frames)]
    frame = -1
    for offset, length in spans:
        if frame + 1 < frames and offset - 8 - base == starts[frame + 1]:
            frame += 1
        if frame < 0:
            raise ValueError("the offset table does not point at the fragments")
        shared[frame].append((offset, length))
    if not all(shared):
        raise ValueError("the offset table does not point at the fragments")
    return shared


def read_frame(stream: Stream, spans: list[tuple[int, int]], *, most: int) -> bytes:
    """Return a frame's compressed bytes, its fragments joined.

    Raises
    ------
    ValueError
        If they are more than `most`, which no lossless code needs.
    """
    if sum(length for _, length in spans) > most:
        raise ValueError("the compressed pixels are longer than the pixels themselves")
    return b"".join(stream.read(offset, length) for offset, length in spans)


def check_jpeg(frame: bytes, shape: tuple[int, int]) -> None:
    """Refuse a JPEG, JPEG-LS or JPEG 2000 stream that has no end or declares other pixels.

    Raises
    ------
    ValueError
        With what it declares.
    """
    # Every JPEG family ends in the marker FFD9, then at most a few pad bytes.
    if not frame[-16:].rstrip(b"\0").endswith(END_OF_IMAGE):
        raise ValueError("the compressed stream has no end")
    start = frame.find(CODESTREAM, 0, 4096)
    if start >= 0:
        _check_tile_parts(frame, start)
    rows, columns, components, bits = stream_shape(frame)
    if (rows, columns) != shape or components != 1 or not 1 <= bits <= 16:
        raise ValueError(
            f"the stream declares {rows} x {columns} pixels of {components} samples of {bits} bits"
        )


def _check_tile_parts(frame: bytes, start: int) -> None:
    """Refuse a JPEG 2000 stream whose tile parts are not as long as they say (SOT, A.4.2).

    So that a stream that was cut and given an end again does not pass.
    """
    at = start + 2
    try:
        while frame[at : at + 2] != b"\xff\x90":  # the marker segments of the main header
            at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
        while frame[at : at + 2] == b"\xff\x90":
            length = struct.unpack_from(">I", frame, at + 6)[0]
            if length == 0:  # the last one may leave it open
                return
            at += length
    except struct.error:
        at = len(frame)
    if frame[at : at + 2] != END_OF_IMAGE:
        raise ValueError("the compressed stream is shorter or longer than it says")


def stream_shape(frame: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, components and bits that a stream declares.

    ISO/IEC 10918-1 B.2.2 (SOF), 14495-1 C.2.2 (SOF55), 15444-1 A.5.1 (SIZ).

    Raises
    ------
    ValueError
        If it declares none.
    """
    try:
        start = frame.find(CODESTREAM, 0, 4096)
        if start >= 0:
            x, y, x0, y0 = struct.unpack_from(">IIII", frame, start + 8)
            components, bits = struct.unpack_from(">HB", frame, start + 40)
            return y - y0, x - x0, components, (bits & 0x7F) + 1
        at = 2
        while frame[at] == 0xFF:
            marker = frame[at + 1]
            length = struct.unpack_from(">H", frame, at + 2)[0]
            if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
                bits, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
                return rows, columns, components, bits
            at += 2 + length
    except (struct.error, IndexError):
        pass
    raise ValueError("the compressed stream declares no size")
