"""The picture on which a person sees at a glance whether the lungs are right."""

import dataclasses
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lungfish.lungs import morphology
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.volume import Volume, spacing_of

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

COLOURS: dict[int, Colour] = {RIGHT: (230, 159, 0), LEFT: (86, 180, 233)}
"""Orange and sky blue of Okabe and Ito: told apart by every kind of colour vision."""
INK: Colour = (235, 235, 235)
QUIET: Colour = (170, 170, 170)
WINDOW_HU = (-1350, 150)
"""Lung window: centre -600, width 1500."""
MARGIN_MM = 12.0
GAP_PX = 4
HEAD_PX = 54
LEAST_PX = 64
BAR_MM = 50
GREYS = 56
"""Grey levels that a PNG keeps: fewer than the eye tells apart beside noise, and half the bytes."""

AXIAL, CORONAL, SAGITTAL = 0, 1, 2
NAMES = "zyx"
LETTERS = {AXIAL: ("R", "L"), CORONAL: ("R", "L"), SAGITTAL: ("A", "P")}


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
    mm_per_px : float
        The same in all panels.
    """

    hu: NDArray[Any]
    labels: Labels
    affine: NDArray[np.float64]
    box: morphology.Box
    mm_per_px: float


def draw(
    volume: Volume,
    labels: Labels,
    *,
    axial: int = 12,
    coronal: int = 6,
    sagittal: int = 6,
    columns: int = 6,
    width_px: int = 1400,
    caption: str = "",
) -> Picture:
    """Draw axial, coronal and sagittal slices in lung window with both lungs outlined.

    The patient's right is at the picture's left in axial and coronal slices, the front at the left
    in sagittal ones, whatever the order of the volume's axes.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (z, y, x)
        On the volume's grid: 1 right, 2 left; all 0 shows the whole volume.
    axial, coronal, sagittal : int
        Number of slices, evenly spaced through the lungs: top to bottom, front to back, right to
        left.
    columns : int
        Panels in a row.
    width_px : int
        Of the picture.
    caption : str
        One line for the head of the picture, such as the verdict.

    Returns
    -------
    ndarray of uint8, shape (rows, width_px, 3)
        RGB.
    """
    cell_px = (width_px - GAP_PX * (columns + 1)) // columns
    view = make_view(volume, labels, cell_px)
    rows: list[list[Image.Image]] = []
    for axis, count in ((AXIAL, axial), (CORONAL, coronal), (SAGITTAL, sagittal)):
        panels = [draw_panel(view, axis, index) for index in slices_through(view, axis, count)]
        rows += [panels[start : start + columns] for start in range(0, count, columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    height_px = HEAD_PX + sum(heights) + GAP_PX * (len(rows) + 1)
    page = Image.new("RGB", (width_px, height_px))
    draw_head(page, view.mm_per_px, caption)
    top = HEAD_PX + GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            left = GAP_PX + column * (cell_px + GAP_PX) + (cell_px - panel.width) // 2
            page.paste(panel, (left, top + (height - panel.height) // 2))
        top += height + GAP_PX
    return np.asarray(page)


def draw_refused(code: str, reason: str, *, width_px: int = 700) -> Picture:
    """Draw the small picture that stands for a refused patient.

    Parameters
    ----------
    code, reason : str
        Of the refusal.
    width_px : int

    Returns
    -------
    ndarray of uint8, shape (rows, width_px, 3)
    """
    lines = textwrap.wrap(reason, width=78)
    page = Image.new("RGB", (width_px, 60 + 22 * len(lines)))
    pen = ImageDraw.Draw(page)
    pen.text((12, 10), f"no lungs: refused ({code})", fill=COLOURS[RIGHT], font=font(22))
    for number, line in enumerate(lines):
        pen.text((12, 46 + 22 * number), line, fill=INK, font=font(16))
    return np.asarray(page)


def encode(picture: Picture) -> bytes:
    """Return a picture as PNG with a small palette: a few hundred kB for a mosaic."""
    levels = np.linspace(0, 255, GREYS).round().astype(int)
    fixed = [*COLOURS.values(), INK, QUIET]
    palette = [value for level in levels for value in (level, level, level)]
    palette += [value for colour in fixed for value in colour]
    board = Image.new("P", (1, 1))
    board.putpalette(palette)
    small = Image.fromarray(picture).quantize(palette=board, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def make_view(volume: Volume, labels: Labels, cell_px: int) -> View:
    """Turn volume and labels to the patient's axes and choose what is shown and how large."""
    turn = turn_of(volume.affine)
    hu, turned = turn.forward(volume.hu), turn.forward(labels)
    shape = (volume.hu.shape[0], volume.hu.shape[1], volume.hu.shape[2])
    affine = turn.affine(volume.affine, shape)
    spacing = spacing_of(affine)
    whole = tuple(slice(0, size) for size in hu.shape)
    lungs = turned > 0
    tight = morphology.bounds(lungs) if lungs.any() else whole
    margin = [int(MARGIN_MM / step) + 1 for step in spacing]
    box = morphology.grow_box(tight, margin, hu.shape)  # type: ignore[arg-type]
    widest_mm = max((box[axis].stop - box[axis].start) * spacing[axis] for axis in (1, 2))
    return View(hu, turned, affine, box, widest_mm / cell_px)


def slices_through(view: View, axis: int, count: int) -> list[int]:
    """Return evenly spaced slices through the lungs, the uppermost, foremost or rightmost first."""
    lungs = view.labels > 0
    part = (morphology.bounds(lungs) if lungs.any() else view.box)[axis]
    steps = (np.arange(count) + 0.5) / count
    chosen = [part.start + int(step * (part.stop - part.start)) for step in steps]
    return chosen[::-1] if axis == AXIAL else chosen


def draw_panel(view: View, axis: int, index: int) -> Image.Image:
    """Draw one slice: HU in lung window, outlines, letters and its position in mm."""
    where: list[Any] = list(view.box)
    where[axis] = index
    hu, labels = view.hu[tuple(where)], view.labels[tuple(where)]
    if axis != AXIAL:
        hu, labels = hu[::-1], labels[::-1]  # the head is up
    spacing = [step for other, step in enumerate(spacing_of(view.affine)) if other != axis]
    size = (
        max(1, round(hu.shape[1] * spacing[1] / view.mm_per_px)),
        max(1, round(hu.shape[0] * spacing[0] / view.mm_per_px)),
    )
    low, high = WINDOW_HU
    grey = (np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    smooth = Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR)
    pixels = np.stack([np.asarray(smooth)] * 3, axis=-1)
    for side, colour in COLOURS.items():
        pixels[outline(labels == side, size)] = colour
    # A scan of few slices still leaves room for its letters.
    panel = Image.new("RGB", (size[0], max(size[1], LEAST_PX)))
    panel.paste(Image.fromarray(pixels), (0, (panel.height - size[1]) // 2))
    write_on(panel, LETTERS[axis], f"{NAMES[axis]} {position_mm(view, axis, index):.0f} mm")
    return panel


def outline(mask: morphology.Mask, size: tuple[int, int]) -> morphology.Mask:
    """Return the inner edge of a mask, shape (rows, columns), drawn at a size (width, height)."""
    soft = Image.fromarray((mask * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    large = np.pad(np.asarray(soft) > 127, 1)
    core = large[1:-1, 1:-1]
    inner = core & large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
    return np.asarray(core & ~inner)


def position_mm(view: View, axis: int, index: int) -> float:
    """Return the LPS mm of a slice: superior of an axial, posterior, left of the others."""
    middle = np.array([(part.start + part.stop - 1) / 2 for part in view.box])
    middle[axis] = index
    lps = view.affine[:3, :3] @ middle[::-1] + view.affine[:3, 3]
    return float(lps[2 - axis])


def write_on(panel: Image.Image, letters: Sequence[str], text: str) -> None:
    """Print the letters of the sides at the upper corners and a text at the foot."""
    pen = ImageDraw.Draw(panel)
    foot = panel.height - 4
    places = (
        (5, 2, letters[0], 22, "la"),
        (panel.width - 5, 2, letters[1], 22, "ra"),
        (5, foot, text, 13, "ld"),
    )
    for x, y, words, size, anchor in places:
        pen.text(
            (x, y), words, INK, font(size), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0)
        )


def draw_head(page: Image.Image, mm_per_px: float, caption: str) -> None:
    """Print the legend, the caption and a bar of 50 mm at the head of the page."""
    pen = ImageDraw.Draw(page)
    pen.text((10, 5), "patient's right lung", fill=COLOURS[RIGHT], font=font(19))
    pen.text((205, 5), "patient's left lung", fill=COLOURS[LEFT], font=font(19))
    low, high = WINDOW_HU
    note = f"seen from the feet and from the front; window {low} to {high} HU; positions LPS"
    pen.text((395, 8), note, fill=QUIET, font=font(14))
    line = caption
    while line and pen.textlength(line, font=font(15)) > page.width - 20:
        line = line[:-8].rstrip() + "..."
    pen.text((10, 31), line, fill=INK, font=font(15))
    length = round(BAR_MM / mm_per_px)
    right = page.width - 10
    pen.rectangle((right - length, 22, right, 25), fill=INK)
    pen.text((right - length - 8, 24), f"{BAR_MM} mm", fill=INK, font=font(14), anchor="rm")


def font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font at a size, the same on every machine."""
    return ImageFont.load_default(size_px)
