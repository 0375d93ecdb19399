"""Valid series of every encoding, and where the elements of their files lie."""

import dataclasses
import functools
import struct
import zlib

from lungfish.randomness import generator
from tests.presentations import NATIVE, Body, Cut, Writer, Writing

UNDEFINED = 0xFFFFFFFF
LONG_VRS = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
BASES = {
    "explicit": Writing(),
    "implicit": Writing(syntax="implicit", signed=True),
    "big endian": Writing(syntax="big endian", rescale="1, 0", bits="fewest"),
    "deflated": Writing(syntax="deflated", padding="declared low", signed=True),
    "RLE": Writing(syntax="RLE", shuffled=True),
    "JPEG lossless": Writing(syntax="JPEG lossless", bits="fewest"),
    "JPEG-LS": Writing(syntax="JPEG-LS", padding="range"),
    "JPEG 2000": Writing(syntax="JPEG 2000", signed=True),
    "HTJ2K": Writing(syntax="HTJ2K"),
    "bare": Writing(syntax="implicit", start="bare", instances="absent"),
    "half slope": Writing(rescale="0.5, -1024", padding="other sign", signed=True),
    "rescaled by slice": Writing(rescale="per slice", instances="random"),
    "coronal": Writing(cut=Cut((1, 0, 2), (1, -1, 1)), bits="fewest", rescale="1, 0"),
    "frames": Writing(frames="shared"),
    "deflated frames": Writing(frames="shared", syntax="deflated"),
    "RLE frames": Writing(frames="per frame", syntax="RLE", shuffled=True),
    "JPEG-LS frames": Writing(frames="per frame", syntax="JPEG-LS", rescale="per slice"),
    "implicit frames": Writing(frames="per frame", syntax="implicit"),
}


NEEDED = {
    0x00080016, 0x00080018, 0x00080060, 0x00080008, 0x0020000E, 0x00200052, 0x00200013, 0x00200032,
    0x00200037, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100,
    0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054,
    0x52009229, 0x52009230,
}  # fmt: skip


@functools.cache
def base_files(base):
    """Return the valid files of a base by name."""
    rng = generator(9, "mutations", base)
    body = Body.of(rng, (2.5, 0.703125, 0.9765625), shape=(8, 13, 11))
    writer = Writer(body, BASES[base], rng)
    return {f"{k + 1:04d}": writer.file(one) for k, one in enumerate(writer.datasets())}


@dataclasses.dataclass
class Element:
    """Where an element lies in the bytes of a file."""

    tag: int
    at: int
    length_at: int
    width: int
    value_at: int
    length: int

    @property
    def end(self):
        return self.value_at + (0 if self.length == UNDEFINED else self.length)


class Walk:
    """The top-level elements of a valid file, its data set inflated if it was deflated."""

    def __init__(self, content):
        meta = content[128:132] == b"DICM"
        self.begin = 144 + int.from_bytes(content[140:144], "little") if meta else 0
        head = content[: self.begin]
        self.deflated = NATIVE["deflated"].encode() in head
        self.order = ">" if NATIVE["big endian"].encode() + b"\0" in head else "<"
        rest = content[self.begin :]
        if self.deflated:
            rest = zlib.decompressobj(-15).decompress(rest)
        self.content = head + rest
        self.explicit = self.content[self.begin + 4 : self.begin + 6].isalpha()
        self.elements = list(self._elements())
        self.pixels = next(e for e in self.elements if e.tag == 0x7FE00010)

    def _elements(self):
        at = self.begin
        while at < len(self.content):
            group, number = struct.unpack_from(self.order + "HH", self.content, at)
            short = self.explicit and self.content[at + 4 : at + 6] not in LONG_VRS
            width = 2 if short else 4
            length_at = at + 6 if short else at + 8 if self.explicit else at + 4
            kind = self.order + ("H" if short else "I")
            (length,) = struct.unpack_from(kind, self.content, length_at)
            value_at = length_at + width
            yield Element(group << 16 | number, at, length_at, width, value_at, length)
            if length == UNDEFINED:
                return
            at = value_at + length

    def number(self, value, width):
        """Return an unsigned number as bytes, cut to its width."""
        order = "big" if self.order == ">" else "little"
        return (int(value) % (1 << 8 * width)).to_bytes(width, order)

    def header(self, tag, vr, length):
        """Return the bytes of an element before its value."""
        start = self.number(tag >> 16, 2) + self.number(tag & 0xFFFF, 2)
        if not self.explicit:
            return start + self.number(length, 4)
        if vr in LONG_VRS:
            return start + vr + b"\0\0" + self.number(length, 4)
        return start + vr + self.number(length, 2)

    def closed(self, content):
        """Return a file of changed content, deflated again if it was."""
        if not self.deflated:
            return content
        packer = zlib.compressobj(wbits=-15)
        return content[: self.begin] + packer.compress(content[self.begin :]) + packer.flush()

    def replaced(self, start, end, new):
        """Return a file in which some bytes are others."""
        return self.closed(self.content[:start] + new + self.content[end:])

    def with_value(self, element, value):
        """Return a file in which an element has another value."""
        value = value[: 0xFFFE if element.width == 2 else None]
        new = self.number(len(value), element.width) + value
        return self.replaced(element.length_at, element.end, new)

    def some(self, rng):
        """Return an element before the pixels, mostly one that geometry or HU need."""
        wanted = [e for e in self.elements if e.tag in NEEDED]
        others = [e for e in self.elements if e.tag != self.pixels.tag]
        chosen = wanted if rng.random() < 0.8 else others
        return chosen[int(rng.integers(len(chosen)))]

    def tagged(self, tag):
        return next((e for e in self.elements if e.tag == tag), None)
