"""The files of a folder or of a zip, numbered, and bounded reading from them."""

import dataclasses
import errno
import functools
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from lungfish.errors import InputError

SNAKEMAKE_STAMP = ".snakemake_timestamp"
"""What Snakemake leaves in a folder that a rule made; counting it would shift the numbers."""
ZIP_START = b"PK\x03\x04"
MOST_MEMBERS = 100_000
"""A zip that lists more files than any scan has is not unpacked."""

# What the zip reader raises on an archive that is damaged, encrypted or made to hurt.
UNREADABLE_ZIP = (
    zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError,
    ValueError,
)  # fmt: skip

GONE = {
    errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ETIMEDOUT, errno.EHOSTDOWN,
}  # fmt: skip
"""What the system says of files that were listed and are there no more, or not for now."""


class Stream(Protocol):
    """Bytes that can be read from any place; nothing is ever read beyond what is asked for."""

    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset`; fewer where the end comes first."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One file of a patient, on disk or inside a zip.

    Attributes
    ----------
    number : int
        Counted from 1 in the order of the relative path; the only name that outputs may hold.
    path : Path
        The file, or the zip that holds it.
    member : str
        Name inside the zip, empty for a file on disk.
    name : str
        Relative to the folder that was given; for a person's terminal only.
    """

    number: int
    path: Path
    member: str
    name: str

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Open for reading.

        Raises
        ------
        OSError, zipfile.BadZipFile
            As `UNREADABLE_ZIP` lists them.
        InputError
            If the file has gone since it was listed: no property of the scan, so no refusal.
        """
        try:
            with self._open() as stream:
                yield stream
        except OSError as error:
            if error.errno not in GONE:
                raise
            raise InputError(
                f"file {self.number} was there a moment ago and is gone ({error.strerror}): bring "
                "it back and type the same command again"
            ) from None

    @contextmanager
    def _open(self) -> Iterator[Stream]:
        if not self.member:
            with FileStream(self.path) as stream:
                yield stream
        else:
            archive = _archive(self.path, self.path.stat().st_mtime_ns)
            with archive.open(self.member) as member:
                yield MemberStream(member, archive.getinfo(self.member).file_size)


class FileStream:
    """A file on disk, read at any offset without a buffer in between."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> "FileStream":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset`."""
        return os.pread(self._descriptor, count, offset) if count > 0 else b""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from `offset`; return how many bytes there were."""
        return os.preadv(self._descriptor, [buffer], offset)


class MemberStream:
    """A member of a zip; the declared size bounds what is ever unpacked."""

    def __init__(self, member: IO[bytes], size: int) -> None:
        self._member = member
        self.size = size

    def read(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset`."""
        if count <= 0 or offset >= self.size:
            return b""
        self._member.seek(offset)
        return self._member.read(count)


class InflatedStream:
    """The data set of a deflated file (PS3.5 A.5), inflated only as far as it is asked for."""

    BLOCK = 1 << 16
    LONGEST_TAIL = 1 << 20

    def __init__(self, stream: Stream, start: int) -> None:
        self._stream, self.start = stream, start
        # No header says how long it will be; deflate reaches 1032:1 at most.
        self.size = 1032 * max(stream.size - start, 0)

    def read(self, offset: int, count: int) -> bytes:
        """Return at most `count` bytes from `offset` of the inflated data set."""
        return self._inflate(offset, count)[0]

    def tail(self, offset: int) -> bytes | None:
        """Return what follows from `offset`, or None where the stream does not end well.

        It ends well where deflate's own end comes within a megabyte, with nothing but one pad byte
        behind it: a damaged stream mostly has no such end.
        """
        kept, ended, behind = self._inflate(offset, self.LONGEST_TAIL)
        return kept if ended and not behind.strip(b"\0") and len(behind) < 2 else None

    def _inflate(self, offset: int, count: int) -> tuple[bytes, bool, bytes]:
        """Return bytes from `offset`, whether the stream ended, and what of it was not used."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        kept, at, place = bytearray(), self.start, 0
        pending = b""
        while len(kept) < count and not inflater.eof:
            if not pending:
                pending = self._stream.read(at, self.BLOCK)
                at += len(pending)
                if not pending:
                    break
            block = inflater.decompress(pending, self.BLOCK)
            pending = inflater.unconsumed_tail
            kept += block[max(offset - place, 0) :]
            place += len(block)
        behind = inflater.unused_data + self._stream.read(at, 2) if inflater.eof else b""
        return bytes(kept[:count]), inflater.eof, behind


def list_sources(place: Path) -> list[Source]:
    """Return every file below a folder, and every member of the zips in it, in order of name.

    Symbolic links that lead out of the folder are left out: a scan's folder must not be a door to
    the rest of the disk. A zip inside a zip stays one file.

    Parameters
    ----------
    place : Path
        A folder, or a zip.
    """
    root = place if place.is_dir() else place.parent
    paths = _walk(place) if place.is_dir() else [place]
    names = [
        (path.relative_to(root).as_posix(), path, member)
        for path in paths
        for member in _members(path)
    ]
    names.sort(key=lambda entry: (entry[0], entry[2]))
    return [
        Source(number, path, member, f"{name}/{member}" if member else name)
        for number, (name, path, member) in enumerate(names, start=1)
    ]


def _walk(folder: Path) -> list[Path]:
    root = folder.resolve()
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, followlinks=False)
        for name in names
        if name != SNAKEMAKE_STAMP
    ]
    return [
        path
        for path in found
        if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root))
    ]


@functools.lru_cache(maxsize=2)
def _archive(path: Path, _modified: int) -> zipfile.ZipFile:
    """Open a zip once: reading its directory anew for every member takes the square of the time."""
    return zipfile.ZipFile(path)


def _members(path: Path) -> list[str]:
    """Return the files inside a zip, or one empty name for anything else."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) != ZIP_START:
                return [""]
        found = {entry.filename for entry in _archive(path, path.stat().st_mtime_ns).infolist()}
        names = sorted(name for name in found if name and not name.endswith("/"))
    except UNREADABLE_ZIP:
        return [""]
    return names if 0 < len(names) <= MOST_MEMBERS else [""]
