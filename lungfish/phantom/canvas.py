"""A fine grid of HU to paint shapes on, and a coarse lattice for the large, smooth ones.

Partial volume: a voxel whose centre lies at signed distance d from a surface is covered by
clip(0.5 - d / w), w being the pixel's width. The grid's slices are thinner than those of the
scan, and the scanner averages them, which gives the partial volume along z.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom.shapes import Array, Point, cone

Box = tuple[slice, slice, slice]
Floats = NDArray[np.float32]
Distance = Callable[[Array, Array, Array], Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """HU on a fine grid in the reference body's own mm.

    Attributes
    ----------
    hu : ndarray of float32, shape (z, y, x)
    x_mm, y_mm, z_mm : ndarray of float32, 1-D
        Voxel centres along left, posterior, superior.
    """

    hu: Floats
    x_mm: Floats
    y_mm: Floats
    z_mm: Floats

    @property
    def pixel_mm(self) -> float:
        """Distance of neighbouring pixel centres within a slice, in mm."""
        return float(self.x_mm[1] - self.x_mm[0])

    def box(self, low_mm: Sequence[float], high_mm: Sequence[float]) -> Box:
        """Return the slices (z, y, x) that hold a box given by two corners (x, y, z) in mm."""
        pad = self.pixel_mm
        found = []
        for axis, low, high in zip((self.x_mm, self.y_mm, self.z_mm), low_mm, high_mm, strict=True):
            start, stop = np.searchsorted(axis, (low - pad, high + pad))
            found.append(slice(int(start), int(stop)))
        return found[2], found[1], found[0]

    def axes(self, box: Box) -> tuple[Floats, Floats, Floats]:
        """Return x, y and z in mm of a box, shaped to broadcast as (z, y, x)."""
        z, y, x = box
        return self.x_mm[None, None, x], self.y_mm[None, y, None], self.z_mm[z, None, None]

    def coverage(self, distance_mm: Array) -> Floats:
        """Return the share, 0 to 1, of each voxel that lies inside, from signed distances."""
        share = distance_mm * np.float32(-1 / self.pixel_mm)
        share += np.float32(0.5)
        return np.asarray(np.clip(share, 0, 1, out=share), np.float32)

    def blend(self, box: Box, coverage: Array, hu: Array | float) -> None:
        """Replace what stands in a box by `hu`, in the share that is covered."""
        view = self.hu[box]
        view += coverage * (hu - view)

    def paint(
        self, low_mm: Sequence[float], high_mm: Sequence[float], shape: Distance, hu: float
    ) -> None:
        """Paint a shape that lies within two corners (x, y, z) in mm."""
        box = self.box(low_mm, high_mm)
        if all(part.stop > part.start for part in box):
            self.blend(box, self.coverage(shape(*self.axes(box))), hu)

    def tube(
        self,
        start: Point,
        end: Point,
        radii: tuple[float, float],
        layers: Sequence[tuple[float, float]],
    ) -> None:
        """Paint a tube, thin or thick.

        A tube thinner than a pixel is painted a pixel wide and as much fainter, so that what it
        adds to the picture stays in proportion to its cross-section.

        Parameters
        ----------
        start, end : tuple of 3 floats
            (x, y, z) in mm.
        radii : tuple of 2 floats
            At start and end, in mm.
        layers : sequence of (inset_mm, hu)
            From the outside in.
        """
        widest = max(radii)
        low = [min(a, b) - widest for a, b in zip(start, end, strict=True)]
        high = [max(a, b) + widest for a, b in zip(start, end, strict=True)]
        box = self.box(low, high)
        if any(part.stop <= part.start for part in box):
            return
        half = self.pixel_mm / 2
        middle = sum(radii) / 2
        faint = 1.0
        if middle < half:
            faint = middle**2 / (half**2 + self.pixel_mm**2 / 12)
            radii = (half, half)
        distance = cone(*self.axes(box), start, end, radii)
        for inset, hu in layers:
            self.blend(box, np.float32(faint) * self.coverage(distance + np.float32(inset)), hu)


def _between(axis: Floats, coarse: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return, for positions on an axis, the coarse sample before each and the share of the next."""
    position = (axis - coarse[0]) / (coarse[1] - coarse[0])
    before = np.clip(position.astype(np.intp), 0, len(coarse) - 2)
    return before, (position - before).astype(np.float32)


def _refine(values: Floats, before: NDArray[np.intp], share: Floats, axis: int) -> Floats:
    """Interpolate linearly along one axis."""
    first = np.take(values, before, axis)
    step = np.take(values, before + 1, axis)
    step -= first
    step *= share.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    first += step
    return first


@dataclasses.dataclass(frozen=True, eq=False)
class Lattice:
    """A coarse grid over a canvas on which large smooth shapes are computed once.

    Their distances are interpolated linearly onto the canvas. With 4 mm the surface of a ball of
    50 mm moves by 0.04 mm, and the work falls fifty-fold.

    Attributes
    ----------
    x_mm, y_mm, z_mm : ndarray of float32, 1-D
        Sample positions.
    """

    x_mm: Floats
    y_mm: Floats
    z_mm: Floats

    @classmethod
    def of_body(cls) -> "Lattice":
        """Return the lattice of the reference body, the same for every scan of it.

        Since chance is drawn on it, one patient has the same body on every grid.
        """
        x, y, z = ((-200, 201), (-152, 153), (-212, 125))
        return cls(*(np.arange(*ends, 4, dtype=np.float32) for ends in (x, y, z)))

    @property
    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Return x, y and z in mm, shaped to broadcast as (z, y, x)."""
        return self.x_mm[None, None, :], self.y_mm[None, :, None], self.z_mm[:, None, None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples along (z, y, x)."""
        return len(self.z_mm), len(self.y_mm), len(self.x_mm)

    def box(self, canvas: Canvas, distance_mm: Floats) -> Box | None:
        """Return the part of the canvas that a shape can reach, or None."""
        near = distance_mm < (self.x_mm[1] - self.x_mm[0]) + canvas.pixel_mm
        low, high = [], []
        for axis, coarse in enumerate((self.z_mm, self.y_mm, self.x_mm)):
            hit = np.flatnonzero(near.any(tuple(k for k in range(3) if k != axis)))
            if not len(hit):
                return None
            low.append(coarse[hit[0]])
            high.append(coarse[hit[-1]])
        return canvas.box(low[::-1], high[::-1])

    def slabs(
        self, canvas: Canvas, box: Box, *values: Floats, thick: int = 12
    ) -> Iterator[tuple[Box, list[Floats]]]:
        """Yield box after box of a few slices with the values interpolated onto them."""
        z, y, x = box
        planes = [
            _refine(
                _refine(field, *_between(canvas.x_mm[x], self.x_mm), 2),
                *_between(canvas.y_mm[y], self.y_mm),
                1,
            )
            for field in values
        ]
        for start in range(z.start, z.stop, thick):
            part = slice(start, min(start + thick, z.stop))
            here = _between(canvas.z_mm[part], self.z_mm)
            yield (part, y, x), [_refine(plane, *here, 0) for plane in planes]

    def paint(
        self, canvas: Canvas, distance_mm: Array, layers: Sequence[tuple[float, Array | float]]
    ) -> None:
        """Paint a shape given by its distances on the lattice.

        Parameters
        ----------
        canvas : Canvas
            Changed in place.
        distance_mm : ndarray of float32, shape `shape`
        layers : sequence of (inset_mm, hu)
            From the outside in; `hu` is a number or values on the lattice.
        """
        box = self.box(canvas, np.asarray(distance_mm, np.float32))
        if box is None:
            return
        fields = [hu.astype(np.float32) for _, hu in layers if isinstance(hu, np.ndarray)]
        for part, (distance, *textures) in self.slabs(canvas, box, distance_mm, *fields):
            rest = iter(textures)
            for inset, hu in layers:
                value = next(rest) if isinstance(hu, np.ndarray) else hu
                canvas.blend(part, canvas.coverage(distance + np.float32(inset)), value)
