"""The list of situations: what each is called, what must become of it, and how it is made."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.situations.truth import Field

SITUATIONS = {}


@dataclasses.dataclass(frozen=True)
class Built:
    """A situation on disk.

    Attributes
    ----------
    place : Path
        The folder or the file to give to a reader.
    fields : tuple of Field
        Any one of them, whole, is a right answer; empty where none can be.
    """

    place: Path
    fields: tuple[Field, ...]


@dataclasses.dataclass(frozen=True)
class Situation:
    """One way in which a scan can lie on disk.

    Attributes
    ----------
    name : str
        Those that begin with a number are the ones of the field notes.
    must : "right", "either" or "refuse"
        What any reader owes its user. Either: a refusal is as good as the volume.
    codes : tuple of str
        With which lungfish may refuse; empty where it promises to be right.
    words : str
        Pattern of what the sentence of a refusal must name.
    make : callable
        Writes the folder, returns a field, several of them, none, or a `Built`.
    """

    name: str
    must: str
    codes: tuple[str, ...]
    words: str
    make: Callable

    def build(self, folder: Path) -> Built:
        """Write the situation below a folder that is not there yet."""
        folder.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # much of it is what the standard forbids
            made = self.make(folder)
        if isinstance(made, Built):
            return made
        return Built(folder, (made,) if isinstance(made, Field) else tuple(made))


def situation(name, must="right", *, codes="", words=""):
    """Register what makes a situation; `codes` are parted by blanks."""

    def register(make):
        if name in SITUATIONS or bool(codes) != bool(words) or (must == "right" and codes):
            raise ValueError(f"{name} is registered twice or says too little of its refusal")
        SITUATIONS[name] = Situation(name, must, tuple(codes.split()), words, make)
        return make

    return register
