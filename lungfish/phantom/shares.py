"""Truth on the acquired grid: a voxel belongs to what fills more than half of it.

Shares are computed on the canvas, whose slices are at most 1.3 mm thick, from signed distances
(which gives the share of a pixel that a smooth surface leaves), and averaged over the slice.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lungfish.phantom import plants, scanner
from lungfish.phantom.anatomy import LEFT, RIGHT
from lungfish.phantom.body import Body
from lungfish.phantom.canvas import Box, Canvas, Floats, Lattice
from lungfish.phantom.settings import Settings
from lungfish.phantom.tree import central_airways

MASS, EFFUSION, CONSOLIDATION = 1, 2, 3
"""Labels of `Case.plants`."""

Labels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """Labels on the whole scan.

    Attributes
    ----------
    lungs : ndarray of uint8, shape (slices, y, x)
        1 the patient's right lung, 2 the left.
    plants : ndarray of uint8, shape (slices, y, x)
        0, `MASS`, `EFFUSION` or `CONSOLIDATION`.
    """

    lungs: Labels
    plants: Labels


def on_canvas(lattice: Lattice, canvas: Canvas, box: Box, field: Floats) -> Floats:
    """Return a field of the lattice interpolated onto a part of the canvas."""
    return np.concatenate([values[0] for _, values in lattice.slabs(canvas, box, field)])


def mass_share(canvas: Canvas, body: Body) -> tuple[Box, Floats] | None:
    """Return where the mass can be and its share of each voxel there, as its pleura cuts it."""
    if body.mass is None:
        return None
    box, share = plants.mass_coverage(canvas, body.mass)
    if any(part.stop <= part.start for part in box):
        return None
    space = on_canvas(body.lattice, canvas, box, body.spaces[body.mass.side])
    return box, np.asarray(share * canvas.coverage(space), np.float32)


def label(canvas: Canvas, body: Body, settings: Settings) -> Truth:
    """Label lungs and plants on the acquired grid.

    A voxel is lung where more than half of it is, both lungs together; it goes to the lung that
    has more of it. Vessels, nodules, mass, consolidation, bullae and bronchi from the second
    generation on count as lung; fluid, trachea and main bronchi with their walls do not.
    """
    shape = (settings.slices, settings.matrix, settings.matrix)
    lungs, marked = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    box = body.lattice.box(canvas, np.minimum(*body.spaces.values()))
    if box is None:
        return Truth(lungs, marked)
    _, y, x = box
    airways, mass = _airways(canvas, body, box), mass_share(canvas, body)
    shares = {side: _lung_share(canvas, body, box, airways, side, mass) for side in (RIGHT, LEFT)}
    right, left = (_average(canvas, box, shares[side], settings) for side in (RIGHT, LEFT))
    lungs[:, y, x] = np.where(right + left > 0.5, np.where(right >= left, 1, 2), 0)
    _mark(canvas, body, settings, box, airways, shares, marked)
    if mass is not None:
        (z, y, x), share = mass
        marked[:, y, x][_average(canvas, (z, y, x), share, settings) > 0.5] = MASS
    return Truth(lungs, marked)


def _mark(
    canvas: Canvas, body: Body, settings: Settings, box: Box, airways: Floats,
    shares: dict[int, Floats], marked: Labels,
) -> None:  # fmt: skip
    """Label fluid and consolidation in `marked`."""
    view = marked[:, box[1], box[2]]
    if body.effusion_side is not None:
        space = on_canvas(body.lattice, canvas, box, body.spaces[body.effusion_side])
        fluid = canvas.coverage(space) * (1 - airways) - shares[body.effusion_side]
        view[_average(canvas, box, np.maximum(fluid, 0), settings) > 0.5] = EFFUSION
    if body.lesion is not None:
        filled = on_canvas(body.lattice, canvas, box, body.lesion.share)
        filled = np.asarray(filled * shares[body.lesion.side], np.float32)
        view[_average(canvas, box, filled, settings) > 0.5] = CONSOLIDATION


def _airways(canvas: Canvas, body: Body, box: Box) -> Floats:
    """Return the share of trachea and main bronchi, walls included, in each voxel of a box."""
    part = canvas.box((-50, -25, -50), (60, 40, 200))
    found = np.zeros([axis.stop - axis.start for axis in box], np.float32)
    covered = canvas.coverage(central_airways(*canvas.axes(part), body.trees))
    here, there = _overlap(part, box)
    found[here] = covered[there]
    return found


def _lung_share(
    canvas: Canvas, body: Body, box: Box, airways: Floats, side: int,
    mass: tuple[Box, Floats] | None,
) -> Floats:  # fmt: skip
    """Return the share of one lung in each voxel of a box."""
    share = canvas.coverage(on_canvas(body.lattice, canvas, box, body.lungs[side]))
    if mass is not None and body.mass is not None and body.mass.side == side:
        part, covered = mass
        here, there = _overlap(part, box)
        share[here] = np.maximum(share[here], covered[there])
    share *= 1 - airways
    return share


def _overlap(part: Box, box: Box) -> tuple[Box, Box]:
    """Return where a part and a box meet, counted from the box and from the part."""
    first = [max(a.start, b.start) for a, b in zip(part, box, strict=True)]
    last = [max(min(a.stop, b.stop), k) for a, b, k in zip(part, box, first, strict=True)]
    z, y, x = (slice(k - b.start, m - b.start) for k, m, b in zip(first, last, box, strict=True))
    w, v, u = (slice(k - a.start, m - a.start) for k, m, a in zip(first, last, part, strict=True))
    return (z, y, x), (w, v, u)


def _average(canvas: Canvas, box: Box, share: Floats, settings: Settings) -> Floats:
    """Return the share over the thickness of each slice of the scan."""
    whole = np.zeros((len(canvas.z_mm), *share.shape[1:]), np.float32)
    whole[box[0]] = share
    return scanner.average(whole, settings)
