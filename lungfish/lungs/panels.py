"""One slice of the mosaic: what is shown, how large, and how the lungs are marked on it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.body import body_mask
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.volume import Volume, spacing_of

Colour = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

COLOURS: dict[int, Colour] = {RIGHT: (230, 159, 0), LEFT: (86, 180, 233)}
"""Orange and sky blue of Okabe and Ito: told apart by every kind of colour vision."""
TINTS: dict[int, tuple[float, float, float]] = {RIGHT: (1.0, 0.92, 0.7), LEFT: (0.78, 0.92, 1.0)}
"""Share of red, green and blue that is left inside a lung: unseen on dark lung, pale colour on
what is bright, so that a mass or a vessel that counts as lung differs from one that does not."""
INK: Colour = (235, 235, 235)
WINDOW_HU = (-1350, 150)
"""Lung window: centre -600, width 1500."""
WHITEST = 225
"""Grey of the window's upper end: a line of either colour can be seen on it."""
LEAST_PX = 64

AXIAL, CORONAL, SAGITTAL = 0, 1, 2
NAMES = "zyx"
LETTERS = {AXIAL: ("R", "L"), CORONAL: ("R", "L"), SAGITTAL: ("A", "P")}

MARGIN_MM = (12.0, 18.0, 18.0)
"""Shown around lungs and air, along (z, y, x)."""
MISSED_MM = 40.0
"""As far above and below the mask, air that it may have missed is looked for."""
OVER_MM = 12.0
"""The first and the last axial slice lie as far beyond the mask."""
AIR_HU = -500
AIR_LITRE = 0.1
"""Less air than this inside the body is not worth a wider picture."""
COARSE_MM = 6.0


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What every panel needs, on the patient's axes.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
    labels : ndarray of uint8, shape (z, y, x)
    affine : ndarray, shape (4, 4)
        LPS mm, index order x, y, z.
    box : tuple of 3 slices
        What is shown.
    spread : tuple of 3 slices
        Where slices are taken.
    mm_per_px : float
        The same in all panels.
    """

    hu: NDArray[Any]
    labels: Labels
    affine: NDArray[np.float64]
    box: morphology.Box
    spread: morphology.Box
    mm_per_px: float


def make_view(volume: Volume, labels: Labels, cell_px: int) -> View:
    """Turn volume and labels to the patient's axes and choose what is shown and how large.

    Shown are the mask, air in the body beside it and as much of either side of the body, so that
    a lung which the mask lost is seen; without a mask, the whole volume.
    """
    turn = turn_of(volume.affine)
    hu, turned = turn.forward(volume.hu), turn.forward(labels)
    shape = (volume.hu.shape[0], volume.hu.shape[1], volume.hu.shape[2])
    affine = turn.affine(volume.affine, shape)
    spacing = spacing_of(affine)
    box = spread = (slice(0, hu.shape[0]), slice(0, hu.shape[1]), slice(0, hu.shape[2]))
    if turned.any():
        tight = morphology.bounds(turned > 0)
        wide, across = with_missed_air(hu, tight, spacing)
        box = grown((*wide[:2], across), MARGIN_MM, spacing, hu.shape)
        spread = (grown(tight, (OVER_MM, 0, 0), spacing, hu.shape)[0], *wide[1:])
    widest_mm = max((box[axis].stop - box[axis].start) * spacing[axis] for axis in (1, 2))
    return View(hu, turned, affine, box, spread, widest_mm / cell_px)


def grown(
    box: morphology.Box, margin_mm: Sequence[float], spacing: Sequence[float], shape: Sequence[int]
) -> morphology.Box:
    """Return a box with a margin in mm along (z, y, x), within a shape."""
    margin = [int(np.ceil(mm / step)) for mm, step in zip(margin_mm, spacing, strict=True)]
    return morphology.grow_box(box, margin, shape)


def with_missed_air(
    hu: NDArray[Any], tight: morphology.Box, spacing: tuple[float, float, float]
) -> tuple[morphology.Box, slice]:
    """Return the box of a mask widened over what it may have missed, and its x made symmetric.

    Missed may be the larger pieces of air in the body near it. A lung full of fluid holds no air:
    as much of the body is taken on both sides of its middle.
    """
    part = (grown(tight, (MISSED_MM, 0, 0), spacing, hu.shape)[0], slice(None), slice(None))
    factors = morphology.block_factors(spacing, COARSE_MM)
    step = (spacing[0] * factors[0], spacing[1] * factors[1], spacing[2] * factors[2])
    coarse = morphology.block_mean(hu[part], factors)
    body = body_mask(coarse, step)
    pieces, count = ndimage.label((coarse < AIR_HU) & body)
    litres = np.bincount(pieces.ravel(), minlength=count + 1) * np.prod(step) / 1e6
    boxes = [tight]
    for where, litre in zip(ndimage.find_objects(pieces), litres[1:], strict=True):
        if litre >= AIR_LITRE:
            boxes.append(on_the_grid(where, factors, part[0].start))
    z, y, x = (
        slice(
            min(box[axis].start for box in boxes),
            min(max(box[axis].stop for box in boxes), hu.shape[axis]),
        )
        for axis in range(3)
    )
    return (z, y, x), both_sides(x, body, factors[2], hu.shape[2])


def on_the_grid(
    where: morphology.Box, factors: tuple[int, int, int], first: int
) -> tuple[slice, slice, slice]:
    """Return a box of blocks as a box of voxels; `first` is the slice where the blocks begin."""
    z, y, x = (
        slice(part.start * factor, part.stop * factor)
        for part, factor in zip(where, factors, strict=True)
    )
    return slice(z.start + first, z.stop + first), y, x


def both_sides(part: slice, body: morphology.Mask, factor: int, size: int) -> slice:
    """Return a range of x made as long on both sides of the middle of a body, within a size."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if not len(columns):
        return part
    middle = round(float(columns[0] + columns[-1] + 1) / 2 * factor)
    reach = max(middle - part.start, part.stop - middle)
    return slice(max(0, middle - reach), min(size, middle + reach))


def slices_through(view: View, axis: int, count: int) -> list[int]:
    """Return evenly spaced slices, the uppermost, foremost or rightmost first, none of them twice.

    Axial ones begin and end beyond the lungs; the others lie in the middles of equal parts.
    """
    part = view.spread[axis]
    if axis == AXIAL and count > 1:
        places = np.linspace(part.start, part.stop - 1, count).round()
    else:
        places = part.start + (np.arange(count) + 0.5) / count * (part.stop - part.start)
    chosen = sorted({int(place) for place in places})
    return chosen[::-1] if axis == AXIAL else chosen


def draw_panel(view: View, axis: int, index: int) -> Image.Image:
    """Draw one slice: HU in lung window, tints, outlines, letters and its position in mm."""
    where: list[Any] = list(view.box)
    where[axis] = index
    hu, labels = view.hu[tuple(where)], view.labels[tuple(where)]
    if axis != AXIAL:
        hu, labels = hu[::-1], labels[::-1]  # the head is up
    size = panel_size(view, axis)
    low, high = WINDOW_HU
    share = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
    grey = Image.fromarray((share * WHITEST).round().astype(np.uint8))
    smooth = np.asarray(grey.resize(size, Image.Resampling.BILINEAR))
    pixels = np.stack([smooth] * 3, axis=-1)
    for side, colour in COLOURS.items():
        if (labels == side).any():
            mark(pixels, enlarged(labels == side, size), TINTS[side], colour)
    # A scan of few slices still leaves room for its letters.
    panel = Image.new("RGB", (size[0], max(size[1], LEAST_PX)))
    panel.paste(Image.fromarray(pixels), (0, (panel.height - size[1]) // 2))
    write_on(panel, axis, f"{NAMES[axis]} = {position_mm(view, axis, index):.0f} mm")
    return panel


def panel_size(view: View, axis: int) -> tuple[int, int]:
    """Return width and height in pixels of the slices across an axis: the same mm in both."""
    rows, columns = (other for other in range(3) if other != axis)
    spacing = spacing_of(view.affine)
    width, height = (
        max(1, round((view.box[k].stop - view.box[k].start) * spacing[k] / view.mm_per_px))
        for k in (columns, rows)
    )
    return width, height


def enlarged(mask: morphology.Mask, size: tuple[int, int]) -> morphology.Mask:
    """Return a mask, shape (rows, columns), at a size (width, height) in pixels."""
    soft = Image.fromarray((mask * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(soft) > 127


def mark(
    pixels: NDArray[np.uint8], mask: morphology.Mask, tint: Sequence[float], colour: Colour
) -> None:
    """Tint what a mask holds and draw its inner edge one pixel wide, in place."""
    wide = np.pad(mask, 1)
    inner = mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    pixels[inner] = (pixels[inner] * np.array(tint, np.float32)).round().astype(np.uint8)
    pixels[mask & ~inner] = colour


def position_mm(view: View, axis: int, index: int) -> float:
    """Return the LPS mm of a slice: superior of an axial, posterior, left of the others."""
    middle = np.array([(part.start + part.stop - 1) / 2 for part in view.box])
    middle[axis] = index
    lps = view.affine[:3, :3] @ middle[::-1] + view.affine[:3, 3]
    return float(lps[2 - axis])


def write_on(panel: Image.Image, axis: int, text: str) -> None:
    """Print the letters of the sides, head and feet where they are seen, and a text at the foot."""
    pen = ImageDraw.Draw(panel)
    foot, middle = panel.height - 4, panel.width // 2
    first, second = LETTERS[axis]
    places = [(5, 2, first, 22, "la"), (panel.width - 5, 2, second, 22, "ra")]
    places.append((5, foot, text, 14, "ld"))
    if axis != AXIAL and panel.height > LEAST_PX:
        places += [(middle, 3, "H", 15, "ma"), (max(middle, 90), foot, "F", 15, "md")]
    for x, y, words, size, anchor in places:
        pen.text(
            (x, y), words, INK, font(size), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0)
        )


def font(size_px: int) -> Font:
    """Return Pillow's own font at a size, the same on every machine."""
    return ImageFont.load_default(size_px)
