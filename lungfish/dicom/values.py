"""Raw bytes of elements to numbers and words, strictly: what is not surely a number is none."""

import functools
import math
import re
import struct
from collections.abc import Mapping

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # PS3.5 table 6.2-1, DS
LONGEST_TEXT = 64

Values = Mapping[str, bytes]


def texts(values: Values, keyword: str) -> tuple[str, ...]:
    """Return an element's words; unprintable letters are dropped, so none can reach a terminal."""
    return _texts(values.get(keyword, b""))


# Most elements are the same in all slices of a series.
@functools.lru_cache(1024)
def _texts(raw: bytes) -> tuple[str, ...]:
    parts = raw.decode("latin-1").split("\\")
    kept = ("".join(letter for letter in part if letter.isprintable()) for part in parts)
    return tuple(part.strip()[:LONGEST_TEXT] for part in kept)


def text(values: Values, keyword: str) -> str:
    """Return an element's words as one, parts joined by a slash."""
    return "/".join(texts(values, keyword))


def uid(values: Values, keyword: str) -> str:
    """Return a UID without its padding."""
    return values.get(keyword, b"").decode("latin-1").strip("\0 ")


def numbers(values: Values, keyword: str, count: int) -> tuple[float, ...]:
    """Return `count` finite decimal numbers, or nothing where the element does not hold them.

    A comma for the point, ``nan`` or a missing part is nothing: nobody can know what was meant.
    """
    found = _numbers(values.get(keyword, b""))
    return found if len(found) == count else ()


@functools.lru_cache(1024)
def _numbers(raw: bytes) -> tuple[float, ...]:
    """Return all numbers of an element, or nothing where one of its parts is none."""
    parts = [part.strip(" \0") for part in raw.decode("latin-1").split("\\")]
    if not all(DECIMAL.fullmatch(part) for part in parts):
        return ()
    found = tuple(float(part) for part in parts)
    return found if all(math.isfinite(number) for number in found) else ()


def number(values: Values, keyword: str) -> float | None:
    """Return one decimal number, or None."""
    found = numbers(values, keyword, 1)
    return found[0] if found else None


def whole(values: Values, keyword: str) -> int | None:
    """Return one whole number written as text, or None."""
    found = number(values, keyword)
    return None if found is None else int(found)


def short(values: Values, keyword: str, *, big_endian: bool) -> int | None:
    """Return one unsigned 16-bit number, or None where there are not exactly two bytes."""
    raw = values.get(keyword, b"")
    return int.from_bytes(raw, "big" if big_endian else "little") if len(raw) == 2 else None


def unsigned(values: Values, keyword: str, *, big_endian: bool) -> int | None:
    """Return one unsigned 16- or 32-bit number, or None."""
    raw = values.get(keyword, b"")
    return int.from_bytes(raw, "big" if big_endian else "little") if len(raw) in (2, 4) else None


def double(values: Values, keyword: str, *, big_endian: bool) -> float | None:
    """Return one 64-bit float, or None."""
    raw = values.get(keyword, b"")
    if len(raw) != 8:
        return None
    found = float(struct.unpack(">d" if big_endian else "<d", raw)[0])
    return found if math.isfinite(found) else None
