"""The network's weights on disk: plain arrays in an .npz, and where they come from beside them."""

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfish import records
from lungfish.errors import InputError
from lungfish.records import Record

SCHEMA = "lungs-unet/1"
FILE = Path(__file__).parents[3] / "resources" / "lungs-unet.npz"
"""The weights that come with lungfish."""
AGAIN = "make them again with `make lungs-unet`"

Arrays = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """Weights as they were read.

    Attributes
    ----------
    arrays : dict of str to ndarray of float32
    digest : str
        SHA-256 of the file, in hexadecimal.
    """

    arrays: Arrays
    digest: str


def write_weights(path: Path, arrays: Arrays, provenance: Record) -> None:
    """Store weights, and their provenance with the file's digest beside them.

    Parameters
    ----------
    path : Path
        Of the .npz; equal arrays give equal bytes.
    arrays : dict of str to ndarray
    provenance : dict
        What the weights were made from.
    """
    memory = io.BytesIO()
    # The names stand for layers (in_0_a/kernel); an archive takes them as they are.
    np.savez_compressed(memory, **arrays)  # type: ignore[arg-type]
    content = memory.getvalue()
    with records.atomic(path) as temporary:
        temporary.write_bytes(content)
    facts = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": sum(array.size for array in arrays.values()),
    }
    records.write_json(path.with_suffix(".json"), SCHEMA, provenance | facts)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of weights as their provenance states it; `read_weights` checks it."""
    return str(records.read_json(path.with_suffix(".json"), SCHEMA)["sha256"])


def read_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Read weights, and hold them against their provenance and the network's shapes.

    Raises
    ------
    InputError
        If a file is missing, the digest is not that of the provenance, or names or shapes differ.
    """
    if not path.is_file():
        raise InputError(f"{path}, the weights of the lungs' U-Net, is missing: {AGAIN}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    expected = digest_of(path)
    if digest != expected:
        raise InputError(
            f"{path}: expected SHA-256 {expected[:12]}... as its .json says, found "
            f"{digest[:12]}...: the file is damaged or of another training; {AGAIN}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name].astype(np.float32) for name in stored.files}
    found = {name: array.shape for name, array in arrays.items()}
    wrong = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} weights do not fit the network, first {wrong[0]}: expected "
            f"{shapes.get(wrong[0])}, found {found.get(wrong[0])}; {AGAIN}"
        )
    return Weights(arrays, digest)
