"""A whole scan's HU as acquired, every slice decoded straight into its place."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfish.dicom.headers import Header, headers_of
from lungfish.dicom.pixels import Plane, Tally, read_hu
from lungfish.dicom.sources import UNREADABLE_ZIP, Source, list_sources
from lungfish.errors import InputError, Refusal
from lungfish.records import Record


@dataclasses.dataclass(frozen=True, eq=False)
class Acquired:
    """A scan as it was acquired, its axes permuted and flipped to run nearest to the patient's.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Towards the head, the back and the left, as nearly as the acquired grid does.
    affine : ndarray of float64, shape (4, 4)
        LPS mm, index order x, y, z; sheared by a tilted gantry, rotated where oblique.
    slice_axis : int
        Of the array, along which the slices follow one another.
    places : tuple of floats, or None
        Where they lie in steps of the affine, from 0; None where 0, 1, 2, ...
    saturated : int
        Voxels above 32767 HU.
    spilled : int
        Slices in which bits above BitsStored were set, and cut off.
    """

    hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    slice_axis: int
    places: tuple[float, ...] | None
    saturated: int
    spilled: int


def read_acquired(
    folder: Path, index: Record, *, max_gb: float, salt: str = "", threads: int = 1
) -> Acquired:
    """Decode the indexed slices into one array.

    Every slice is written to its place at once; there is never a second copy of the scan.

    Parameters
    ----------
    folder : Path
        The folder or zip that was indexed.
    index : dict
        Record of the index stage.
    max_gb : float
        HU of more than this, as the headers declare them, are refused before anything is decoded.
    salt : str
        The index stage's, to know each file again by the hash of its SOPInstanceUID.
    threads : int
        That decode slices.

    Raises
    ------
    Refusal
        ``too-large``, ``changed-since-index`` or ``undecodable``.
    InputError
        If files are gone: that is no property of the scan, and they may come back.
    """
    geometry = index["geometry"]
    size = tuple(int(count) for count in geometry["size"])
    declared_gb = 2e-9 * float(np.prod(size, dtype=np.float64))
    if declared_gb > max_gb:
        raise Refusal(
            "too-large",
            f"the header declares {declared_gb:.1f} GB of HU, {max_gb:.1f} GB is allowed: "
            "raise volumes.max_gb if this is right",
        )
    way = _Way.of(np.array(geometry["affine"], np.float64))
    hu = np.empty([size[axis] for axis in way.axes], np.int16)
    sources = {source.number: source for source in list_sources(folder)}
    _require_all(len(sources), len(index["files"]))
    tallies = _read_planes(sources, index["slices"], way.as_acquired(hu), salt, threads)
    slice_axis = way.axes.index(0)
    places = None if geometry["regular"] else _along(geometry["places"], way.flipped[slice_axis])
    return Acquired(
        hu=hu,
        affine=way.carry(np.array(geometry["affine"], np.float64), size, geometry["places"]),
        slice_axis=slice_axis,
        places=places,
        saturated=sum(tally.saturated for tally in tallies),
        spilled=sum(tally.spilled for tally in tallies),
    )


def _along(places: Sequence[float], flipped: bool) -> tuple[float, ...]:
    """Return the places from 0 on, counted from the other end where the axis is flipped."""
    return tuple(places[-1] - place for place in reversed(places)) if flipped else tuple(places)


@dataclasses.dataclass(frozen=True)
class _Way:
    """How an acquired array (slice, row, column) turns into one of the patient's (z, y, x).

    `axes` names the acquired axis that becomes z, y and x; `flipped` says which are reversed.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> "_Way":
        """Choose the assignment of axes that turns the grid least."""
        cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        toward = cosines[::-1, ::-1]  # patient z, y, x against acquired slice, row, column
        best = max(
            itertools.permutations(range(3)),
            key=lambda axes: sum(abs(toward[patient, axes[patient]]) for patient in range(3)),
        )
        flipped = [bool(toward[patient, best[patient]] < 0) for patient in range(3)]
        return cls((best[0], best[1], best[2]), (flipped[0], flipped[1], flipped[2]))

    def as_acquired(self, array: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return a view, in the acquired order, of an array in the patient's."""
        reverse = [slice(None, None, -1 if flipped else 1) for flipped in self.flipped]
        return array[tuple(reverse)].transpose([self.axes.index(axis) for axis in range(3)])

    def carry(
        self, affine: NDArray[np.float64], size: Sequence[int], places: Sequence[float]
    ) -> NDArray[np.float64]:
        """Return the affine of the turned array."""
        lasts = (places[-1], size[1] - 1, size[2] - 1)
        turned = affine.copy()
        for patient in range(3):
            step = affine[:3, 2 - self.axes[patient]]
            sign = -1.0 if self.flipped[patient] else 1.0
            turned[:3, 2 - patient] = sign * step
            if self.flipped[patient]:
                turned[:3, 3] += lasts[self.axes[patient]] * step
        return turned


def _read_planes(
    sources: Mapping[int, Source],
    slices: Sequence[Record],
    planes: NDArray[np.int16],
    salt: str,
    threads: int,
) -> list[Tally]:
    """Fill the planes of an acquired array, file by file."""
    by_file: dict[int, list[tuple[Record, Plane]]] = {}
    for entry, plane in zip(slices, planes, strict=True):
        by_file.setdefault(entry["file"], []).append((entry, plane))
    missing = [number for number in by_file if number not in sources]
    if missing:
        raise _changed(missing[0])
    work = [(sources[number], wanted) for number, wanted in by_file.items()]
    if threads == 1:
        done = [_read_file(source, wanted, salt) for source, wanted in work]
    else:  # decoders release the lock, so that threads help where pixels are compressed
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(lambda one: _read_file(one[0], one[1], salt), work))
    return [tally for tallies in done for tally in tallies]


def _read_file(source: Source, wanted: Sequence[tuple[Record, Plane]], salt: str) -> list[Tally]:
    """Read the wanted frames of one file, if it still is the one that was indexed."""
    try:
        with source.open() as stream:
            found = headers_of(source, stream)
            if isinstance(found, str):
                raise _changed(source.number)
            tallies = []
            for entry, plane in wanted:
                header = found[entry["frame"]] if entry["frame"] < len(found) else None
                if header is None or not _is_same(header, entry, plane.shape, salt):
                    raise _changed(source.number)
                tallies.append(read_hu(stream, header, plane))
            return tallies
    except UNREADABLE_ZIP:
        raise _changed(source.number) from None


def _is_same(header: Header, entry: Record, shape: tuple[int, ...], salt: str) -> bool:
    """Tell whether a file holds the slice that was indexed, at the same place."""
    return (
        not header.code
        and (header.rows, header.columns) == shape
        and [round(value, 4) for value in header.position_mm] == list(entry["position_mm"])
        and header.uid_hash(salt) == entry["uid_hash"]
    )


def _require_all(found: int, indexed: int) -> None:
    """Complain about fewer files than were indexed, such as behind a disk that fell away."""
    if found < indexed:
        raise InputError(
            f"{indexed - found} of the {indexed} files that were indexed are gone: bring them back "
            "and type the same command again, or go on without them by --forcerun index"
        )


def _changed(number: int) -> Refusal:
    return Refusal(
        "changed-since-index",
        f"file {number} is not the one that was indexed: rerun the index stage for this patient",
    )
