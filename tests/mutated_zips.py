"""Zips byte by byte, so that they can lie."""

import dataclasses
import struct
import zlib


@dataclasses.dataclass
class Member:
    """One file in a zip, with what its headers say of it.

    Attributes
    ----------
    name, packed : bytes
        Its name and its bytes as they stand in the zip.
    method : int
        0 stored, 8 deflated.
    crc, size : int
        Stated, of the unpacked bytes.
    flags : int
        Bit 0: encrypted.
    """

    name: bytes
    packed: bytes
    method: int
    crc: int
    size: int
    flags: int = 0

    @classmethod
    def of(cls, name, content, *, stored=False):
        packer = zlib.compressobj(wbits=-15)
        packed = content if stored else packer.compress(content) + packer.flush()
        return cls(name.encode(), packed, 0 if stored else 8, zlib.crc32(content), len(content))


def zip_files(files):
    """Return a valid zip of files."""
    return zip_members([Member.of(name, content) for name, content in sorted(files.items())])


def zip_members(members):
    """Return a zip of members, whatever they say of themselves (APPNOTE 4.3)."""
    body, directory, at = [], [], 0
    for one in members:
        sizes = struct.pack("<III", one.crc, len(one.packed), one.size)
        about = struct.pack("<HHHI", 20, one.flags, one.method, 0x21 << 16) + sizes
        about += struct.pack("<HH", len(one.name), 0)
        entry = b"PK\x01\x02" + struct.pack("<H", 20) + about
        directory.append(entry + struct.pack("<HHHII", 0, 0, 0, 0, at) + one.name)
        body.append(b"PK\x03\x04" + about + one.name + one.packed)
        at += len(body[-1])
    count = min(len(members), 0xFFFF)
    listing = b"".join(directory)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(listing), at, 0)
    return b"".join(body) + listing + b"PK\x05\x06" + end


NAMES = (
    "../../../escaped", "/tmp/escaped", "C:\\escaped", "a\\..\\..\\escaped", "x" * 250 + "/" * 9,
    "new\nline", "\x1b[2Jclear", "nul\0l", "", ".", "..", "é/ü",
)  # fmt: skip


def spoil_zip(rng, files, zeros):
    """Return a zip of the files with something wrong in it.

    Parameters
    ----------
    zeros : callable
        From a number of mebibytes to so many deflated zeros, without an end.
    """
    members = [Member.of(name, content) for name, content in sorted(files.items())]
    one = members[int(rng.integers(len(members)))]
    way = int(rng.integers(10))
    if way == 0:
        one.crc ^= 1 << int(rng.integers(32))
    elif way == 1:
        one.size = int(rng.choice([0, 1, one.size - 1, one.size + 1, 100, 0xFFFFFFFE]))
    elif way == 2:
        one.flags = int(rng.choice([1, 8, 0x800, 0x2041]))
    elif way == 3:
        one.method = int(rng.choice([0, 1, 9, 12, 14, 93, 99]))
    elif way == 4:
        one.name = NAMES[int(rng.integers(len(NAMES)))].encode()
    elif way == 5:
        one.packed = one.packed[: int(rng.integers(len(one.packed)))]
    elif way == 6:
        members.append(bomb(rng, zeros, files[one.name.decode()]))
    elif way == 7:
        members.append(Member.of("inner.zip", zip_files(files), stored=bool(rng.integers(2))))
    elif way == 8:
        members.append(dataclasses.replace(one))
    else:
        members += [Member(b"%d" % k, b"", 0, 0, 0) for k in range(int(rng.choice([10, 20000])))]
    return zip_members(members)


def bomb(rng, zeros, start):
    """Return a member that inflates to three gigabytes, beginning as a slice does."""
    mebibytes = int(rng.choice([50, 3000]))
    packer = zlib.compressobj(wbits=-15)
    head = start[: int(rng.choice([0, 200, len(start)]))]
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(mebibytes)
    packed += zlib.compressobj(wbits=-15).flush()
    honest = len(head) + (mebibytes << 20)
    return Member(b"bomb", packed, 8, 0, int(rng.choice([honest, len(start), 9])))
