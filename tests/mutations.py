"""Valid series, each spoiled in one seeded way: what damage and ill will do to files."""

import dataclasses
import functools
import struct
import zlib

from lungfish.randomness import generator
from tests.mutated_bases import BASES, UNDEFINED, Walk, base_files
from tests.mutated_zips import spoil_zip, zip_files
from tests.presentations import NATIVE
from tests.situations.encoders import SYNTAX


@dataclasses.dataclass(frozen=True)
class Case:
    """A spoiled series.

    Attributes
    ----------
    base, kind : str
        What was spoiled, and how.
    files : dict of str to bytes
        By name; one named ``scan.zip`` is to be given itself.
    """

    base: str
    kind: str
    files: dict


def make_case(seed):
    """Return the case of a seed; kinds follow one another, so that any hundred hold all."""
    rng = generator(seed, "mutations")
    kinds = [*FILE_KINDS, *FOLDER_KINDS]
    kind = kinds[seed % len(kinds)]
    while True:
        base = str(rng.choice(FITTING.get(kind, list(BASES))))
        spoil = _spoil_folder if kind in FOLDER_KINDS else _spoil_files
        files = spoil(rng, kind, dict(base_files(base)))
        if files != base_files(base):  # a draw may put a value in its own place
            return Case(base, kind, files)


def _spoil_folder(rng, kind, files):
    return FOLDER_KINDS[kind](rng, files)


def _spoil_files(rng, kind, files):
    """Spoil one file, or all of them alike."""
    names = list(files) if rng.random() < 0.4 else [str(rng.choice(list(files)))]
    draw = int(rng.integers(1 << 32))
    for name in names:
        files[name] = FILE_KINDS[kind](generator(draw, "mutations", "alike"), files[name])
    return files


TEXTS = (
    b"0", b"-1", b"65535", b"nan", b"inf", b"1e308", b"-1e308", b"1e-308", b"9" * 16, b"", b"\\",
    b"\\\\\\\\\\", b"\xe9\xff", b"1,5", b"--1", b"1_0", b"1 0", b"0x10", b"2", b"-0.0", b"1e5",
    b"99999", b"1.00001", b"9" * 4000, b"\x1b[31m", b"../../x", b"US", b"0\\0\\1", b"CT\\MR",
)  # fmt: skip
WORDS = (0, 1, 2, 7, 8, 11, 12, 13, 15, 17, 32, 255, 32767, 32768, 40000, 65535)


def flip(rng, content, start, end, most):
    """Change 1 to `most` bytes of a range."""
    spoiled = bytearray(content)
    for at in rng.integers(start, end, int(rng.integers(1, most + 1))):
        spoiled[at] ^= int(rng.integers(1, 256))
    return bytes(spoiled)


def flip_anywhere(rng, content):
    return flip(rng, content, 0, len(content), 8)


def flip_header(rng, content):
    walk = Walk(content)
    return walk.closed(flip(rng, walk.content, walk.begin, walk.pixels.value_at, 4))


def flip_needed(rng, content):
    walk = Walk(content)
    element = walk.some(rng)
    return walk.closed(flip(rng, walk.content, element.at, max(element.end, element.at + 1), 2))


def flip_pixels(rng, content):
    walk = Walk(content)
    return walk.closed(flip(rng, walk.content, walk.pixels.value_at, len(walk.content), 3))


def shift(rng, content):
    """Insert or lose a few bytes."""
    at, count = int(rng.integers(len(content))), int(rng.integers(1, 9))
    if rng.random() < 0.5:
        return content[:at] + content[at + count :]
    return content[:at] + rng.bytes(count) + content[at:]


def cut(rng, content):
    walk = Walk(content)
    last = min(len(content) - 1, 40)
    kinds = (rng.integers(len(content)), len(content) - rng.integers(1, last), walk.begin)
    return content[: int(rng.choice(kinds))]


def append(rng, content):
    tails = (bytes(9), b"\n", rng.bytes(300), content, bytes(70000))
    return content + tails[int(rng.integers(len(tails)))]


def remove_tag(rng, content):
    walk = Walk(content)
    element = walk.some(rng) if rng.random() < 0.95 else walk.pixels
    end = len(walk.content) if element is walk.pixels else element.end
    return walk.replaced(element.at, end, b"")


def repeat_tag(rng, content):
    """Have an element twice, the second one somewhere else or with another's value."""
    walk = Walk(content)
    element, other = walk.some(rng), walk.some(rng)
    copy = walk.content[element.at : element.end]
    if element.length == other.length and rng.random() < 0.5:
        copy = copy[: element.value_at - element.at] + walk.content[other.value_at : other.end]
    return walk.replaced(other.at, other.at, copy)


def change_length(rng, content):
    walk = Walk(content)
    element = walk.some(rng) if rng.random() < 0.7 else walk.pixels
    near = element.length + int(rng.integers(-4, 5))
    values = (0, 1, near, 2 * element.length, UNDEFINED, 0x7FFFFFFF, len(walk.content))
    new = walk.number(int(rng.choice(values)), element.width)
    return walk.replaced(element.length_at, element.value_at, new)


def replace_value(rng, content):
    walk = Walk(content)
    element = walk.some(rng)
    return walk.with_value(element, new_value(rng, walk, element))


def new_value(rng, walk, element):
    """Return an extreme value, or one that is near the old."""
    old = walk.content[element.value_at : element.end]
    if element.length == 2 and element.tag >> 16 == 0x0028 and rng.random() < 0.8:
        return walk.number(int(rng.choice(WORDS)), 2)
    text = TEXTS[int(rng.integers(len(TEXTS)))]
    if b"\\" in old and rng.random() < 0.7:
        parts = old.rstrip(b" \0").split(b"\\")
        k = int(rng.integers(len(parts)))
        if rng.random() < 0.4:
            text = near(rng, parts[k])
        parts[k] = text
        text = b"\\".join(parts)
    return text + b" " * (len(text) % 2)


def near(rng, text):
    """Return a number that differs a little, as a slip of a pen would make it."""
    try:
        return f"{float(text) + rng.choice([1e-5, 1e-3, 0.05, 0.3, 1.0]):.8f}"[:16].encode()
    except ValueError:
        return b"1"


def change_vr(rng, content):
    walk = Walk(content)
    element = walk.some(rng)
    vrs = (b"DS", b"US", b"SS", b"IS", b"FD", b"FL", b"LO", b"CS", b"UI", b"UN", b"OW", b"SQ",
           b"AT", b"UL", b"ZZ", b"\0\0", b"??")  # fmt: skip
    return walk.replaced(element.at + 4, element.at + 6, vrs[int(rng.integers(len(vrs)))])


def change_fragments(rng, content):
    """Change the lengths of items of encapsulated pixels, or the item's tags."""
    walk = Walk(content)
    items = [k for k in range(walk.pixels.value_at, len(walk.content) - 7)
             if walk.content[k : k + 4] in (b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")]  # fmt: skip
    at = items[int(rng.integers(len(items)))]
    (length,) = struct.unpack_from("<I", walk.content, at + 4)
    values = (0, 1, length + int(rng.integers(-9, 10)), length // 2, UNDEFINED, 0x7FFFFFFF, 1 << 20)
    if rng.random() < 0.15:
        return walk.replaced(at, at + 4, rng.bytes(4))
    return walk.replaced(at + 4, at + 8, walk.number(int(rng.choice(values)), 4))


def change_codestream(rng, content):
    """Change the head of a compressed stream, where sizes and tables stand."""
    walk = Walk(content)
    start = walk.content.index(b"\xfe\xff\x00\xe0", walk.pixels.value_at + 8) + 8
    return flip(rng, walk.content, start, min(start + 90, len(walk.content)), 2)


def change_frames(rng, content):
    walk = Walk(content)
    values = (b"0", b"1", b"2", b"7", b"8", b"9", b"16", b"-1", b"99999", b"7.9", b"1e3", b"",
              b"4294967297", b"8\\8")  # fmt: skip
    value = values[int(rng.integers(len(values)))]
    value += b" " * (len(value) % 2)
    element = walk.tagged(0x00280008)
    if element:
        return walk.with_value(element, value)
    rows = walk.tagged(0x00280010)
    return walk.replaced(rows.at, rows.at, walk.header(0x00280008, b"IS", len(value)) + value)


def huge_matrix(rng, content):
    walk = Walk(content)
    for tag in (0x00280010, 0x00280011) if rng.random() < 0.5 else (0x00280011,):
        element = walk.tagged(tag)
        value = walk.number(int(rng.choice([0, 1, 12, 512, 32768, 65535, 65535])), 2)
        walk.content = walk.content[: element.value_at] + value + walk.content[element.end :]
    return walk.closed(walk.content)


def swap_syntax(rng, content):
    """Declare another transfer syntax than the one that is written."""
    known = [*NATIVE.values(), *(uid for uid, _ in SYNTAX.values()), "1.2.840.10008.1.2.4.50",
             "1.2.840.10008.1.2.4.100", "1.2.3", "", "x", "1.2.840.10008.1.2.4.90\\1"]  # fmt: skip
    new = known[int(rng.integers(len(known)))].encode()
    new += b"\0" * (len(new) % 2)
    at = content.find(b"\x02\x00\x10\x00UI")
    if at < 0:  # a bare file has none: it gets one, and no preamble
        return b"\x02\x00\x10\x00UI" + struct.pack("<H", len(new)) + new + content
    (length,) = struct.unpack_from("<H", content, at + 6)
    spoiled = content[: at + 6] + struct.pack("<H", len(new)) + new + content[at + 8 + length :]
    if rng.random() < 0.7:  # with a group length that is right again
        (group,) = struct.unpack_from("<I", content, 140)
        spoiled = spoiled[:140] + struct.pack("<I", group + len(new) - length) + spoiled[144:]
    return spoiled


def nest(rng, content):
    """Put sequences in sequences into a header, some without an end."""
    walk = Walk(content)
    depth = int(rng.choice([3, 30, 34, 200, 990, 5000]))
    at = walk.elements[int(rng.integers(1, len(walk.elements)))].at
    tag = int(rng.choice([0x00081140, 0x00091010, 0x00409096]))
    item, end_item, end = (walk.number(0xFFFE, 2) + walk.number(n, 2) for n in (
        0xE000, 0xE00D, 0xE0DD))  # fmt: skip
    if rng.random() < 0.6:
        opening = walk.header(tag, b"SQ", UNDEFINED) + item + walk.number(UNDEFINED, 4)
        nested = opening * depth
        if rng.random() < 0.8:
            nested += (end_item + bytes(4) + end + bytes(4)) * depth
    else:
        nested = b""
        for _ in range(min(depth, 1000)):
            nested = item + walk.number(len(nested), 4) + nested
            nested = walk.header(tag, b"SQ", len(nested)) + nested
    return walk.replaced(at, at, nested)


@functools.cache
def zeros(mebibytes):
    """Return deflated zeros: blocks that can be repeated without being deflated again."""
    packer = zlib.compressobj(9, wbits=-15)
    return (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * mebibytes


def deflate_bomb(rng, content):
    """Have a data set that inflates to gigabytes, before its pixels or behind them."""
    walk = Walk(content)
    mebibytes = int(rng.choice([8, 100, 3000]))
    place = int(rng.choice([walk.begin, walk.pixels.at, len(walk.content)]))
    head = walk.content[walk.begin : place]
    if place != len(walk.content):
        head += walk.header(0x00091010, b"OB", mebibytes << 20)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(mebibytes)
    packer = zlib.compressobj(wbits=-15)
    packed += packer.compress(walk.content[place:]) + packer.flush()
    return walk.content[: walk.begin] + packed


GEOMETRY = {
    0x00280030: (
        b"99999\\99999", b"1000\\1000", b"1e-5\\1e-5", b"1e-308\\1e-308", b"1e308\\1e308",
        b"1e150\\1e150", b"0.7\\99999", b"500\\0.001", b"0.5\\0.5", b"3\\3",
    ),
    0x00281053: (b"1e308", b"1e-308", b"-1", b"1e30", b"0.37", b"100"),
    0x00281052: (b"1e308", b"-1e308", b"1e30", b"40000", b"-0.5", b"-70000"),
}  # fmt: skip


def rewrite_geometry(rng, files):
    """Have all files say the same wrong spacing or rescale, or positions far apart or away."""
    tag = int(rng.choice([*GEOMETRY, 0x00200032]))
    way, scale = int(rng.integers(99)), float(rng.choice([1e-3, 0.3, 7, 1e5, 1e9, 1e300]))
    for k, name in enumerate(sorted(files)):
        walk = Walk(files[name])
        if tag == 0x00200032:
            value = f"0\\0\\{k * scale:.6g}".encode()
        else:
            value = GEOMETRY[tag][way % len(GEOMETRY[tag])]
        files[name] = walk.with_value(walk.tagged(tag), value + b" " * (len(value) % 2))
    return files


def mix_folder(rng, files):
    """Lose, repeat, exchange or replace whole files."""
    names = sorted(files)
    one, other = (names[int(k)] for k in rng.integers(len(names), size=2))
    foreign = base_files(str(rng.choice(list(BASES))))
    ways = int(rng.integers(6))
    if ways == 0:
        del files[one]
    elif ways == 1:
        files[f"{one} copy"] = files[one]
    elif ways == 2:
        files[one] = files[other]
    elif ways == 3:
        files[one] = rng.bytes(900)
    elif ways == 4:
        files[one] = foreign[sorted(foreign)[0]]
    else:
        files |= {f"foreign {name}": content for name, content in foreign.items()}
    return files


def cross(rng, files):
    """Join the first part of one file to the rest of another, of any base."""
    names = sorted(files)
    foreign = base_files(str(rng.choice(list(BASES))))
    name = str(rng.choice(names))
    start, rest = files[name], foreign[str(rng.choice(sorted(foreign)))]
    at = int(rng.integers(len(start)))
    files[name] = start[:at] + rest[min(at, len(rest)) :]
    return files


def spoiled_zip(rng, files):
    """Pack the files into a zip that is damaged, lies or is made to hurt."""
    return {"scan.zip": spoil_zip(rng, files, zeros)}


def flipped_zip(rng, files):
    packed = zip_files(files)
    last = len(packed)
    start = 0 if rng.random() < 0.5 else last - min(last, 60 * len(files))
    return {"scan.zip": flip(rng, packed, start, last, 4)}


FILE_KINDS = {
    "flip anywhere": flip_anywhere, "flip header": flip_header, "flip needed": flip_needed,
    "flip pixels": flip_pixels, "shift": shift, "cut": cut, "append": append,
    "remove tag": remove_tag, "repeat tag": repeat_tag, "change length": change_length,
    "replace value": replace_value, "replace value too": replace_value, "change VR": change_vr,
    "change fragments": change_fragments, "change codestream": change_codestream,
    "change frames": change_frames, "huge matrix": huge_matrix, "swap syntax": swap_syntax,
    "nest": nest, "deflate bomb": deflate_bomb,
}  # fmt: skip
FOLDER_KINDS = {
    "rewrite geometry": rewrite_geometry, "mix folder": mix_folder, "cross": cross,
    "spoiled zip": spoiled_zip, "flipped zip": flipped_zip,
}  # fmt: skip
ENCAPSULATED = [name for name, how in BASES.items() if how.syntax not in NATIVE]
SINGLE = [name for name, how in BASES.items() if how.frames == "single"]
FITTING = {
    "change fragments": ENCAPSULATED,
    "change codestream": ENCAPSULATED,
    "change VR": [name for name, how in BASES.items() if how.syntax != "implicit"],
    "deflate bomb": ["deflated", "deflated frames"],
    "mix folder": SINGLE,
    "rewrite geometry": [name for name in SINGLE if name != "coronal"],
    "spoiled zip": ["explicit", "JPEG-LS", "frames", "RLE", "implicit"],
    "flipped zip": ["explicit", "JPEG-LS", "frames"],
}
