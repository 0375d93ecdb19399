"""The picture on which a person sees at a glance whether the lungs are right."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lungfish.lungs.panels import (
    AXIAL,
    COLOURS,
    CORONAL,
    INK,
    SAGITTAL,
    TINTS,
    WHITEST,
    WINDOW_HU,
    Colour,
    View,
    draw_panel,
    font,
    make_view,
    panel_size,
    position_mm,
    slices_through,
)
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.volume import Volume

__all__ = [
    "AXIAL", "COLOURS", "CORONAL", "HEAD_PX", "SAGITTAL", "draw", "draw_record", "draw_refused",
    "encode", "make_view", "position_mm", "slices_through",
]  # fmt: skip

Picture = NDArray[np.uint8]

VERDICTS: dict[str, tuple[Colour, str]] = {
    "ok": ((0, 158, 115), "ok"),
    "review": ((240, 228, 66), "review: look at it before you use it"),
    "reject": ((213, 94, 0), "reject: left out"),
}
"""Ground and words of each verdict; the words say all, the ground is seen first."""
QUIET: Colour = (170, 170, 170)
GAP_PX = 4
HEAD_PX = 32
LINE_PX = 22
BADGE_PX = 30
BAR_MM = 50
GREYS = 48
"""Grey levels that a PNG keeps: fewer than the eye tells apart beside noise, and half the bytes."""
NOTE = (
    f"axial from the feet, coronal from the front, sagittal from the left; "
    f"window {WINDOW_HU[0]} to {WINDOW_HU[1]} HU; positions: LPS"
)


def draw(
    volume: Volume,
    labels: Labels,
    *,
    record: Mapping[str, Any] | None = None,
    caption: str = "",
    axial: int = 12,
    coronal: int = 6,
    sagittal: int = 8,
    columns: int = 6,
    width_px: int = 1500,
) -> Picture:
    """Draw axial, coronal and sagittal slices in lung window with both lungs outlined.

    The patient's right is at the picture's left in axial and coronal slices, the front at the left
    in sagittal ones, whatever the order of the volume's axes. What the mask holds is tinted where
    it is bright.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (z, y, x)
        On the volume's grid: 1 right, 2 left; all 0 shows the whole volume.
    record : Mapping or None
        Of ``lungs/{patient}.json``: its verdict, measures and reasons are written on top.
    caption : str
        Further words for the top.
    axial, coronal, sagittal : int
        Number of slices, evenly spaced: top to bottom, front to back, right to left. Axial ones
        begin and end 12 mm beyond the lungs. Fewer where there are no more; sagittal ones never
        fill more than a row.
    columns : int
        Axial and coronal panels in a row.
    width_px : int
        Of the picture.

    Returns
    -------
    ndarray of uint8, shape (rows, width_px, 3)
        RGB; equal arguments give equal bytes.
    """
    cell_px = (width_px - GAP_PX * (columns + 1)) // columns
    view = make_view(volume, labels, cell_px)
    fitting = max(1, (width_px - GAP_PX) // (panel_size(view, SAGITTAL)[0] + GAP_PX))
    rows = [
        *panel_rows(view, AXIAL, axial, columns),
        *panel_rows(view, CORONAL, coronal, columns),
        *panel_rows(view, SAGITTAL, min(sagittal, fitting), fitting),
    ]
    head = draw_head(width_px, view.mm_per_px, record or {}, caption)
    heights = [max(panel.height for panel in row) for row in rows]
    height_px = head.height + sum(heights) + GAP_PX * (len(rows) + 1)
    page = Image.new("RGB", (width_px, height_px))
    page.paste(head)
    top = head.height + GAP_PX
    for row, height in zip(rows, heights, strict=True):
        cell = (width_px - GAP_PX) / max(len(row), columns if len(rows) > 1 else 1)
        for column, panel in enumerate(row):
            left = GAP_PX + column * cell + (cell - GAP_PX - panel.width) / 2
            page.paste(panel, (round(left), top + (height - panel.height) // 2))
        top += height + GAP_PX
    return np.asarray(page)


def draw_record(
    record: Mapping[str, Any], volume: Volume | None = None, labels: Labels | None = None
) -> Picture:
    """Draw what there is of a patient: a rejected mask too, for a person must see why.

    Parameters
    ----------
    record : Mapping
        Of ``lungs/{patient}.json``.
    volume : Volume or None
        None if an earlier stage refused the scan: then only the reason is written.
    labels : ndarray of uint8, shape (z, y, x), or None
        None if no lungs were found: then the slices have no outlines.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
    """
    if volume is None:
        return draw_refused(record["code"], record["reason"])
    if labels is None:
        labels = np.zeros(volume.hu.shape, np.uint8)
    return draw(volume, labels, record=record)


def panel_rows(view: View, axis: int, count: int, columns: int) -> list[list[Image.Image]]:
    """Return the slices across an axis as rows of panels."""
    panels = [draw_panel(view, axis, index) for index in slices_through(view, axis, count)]
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def draw_refused(code: str, reason: str, *, width_px: int = 900) -> Picture:
    """Draw the small picture that stands for a patient of whom there is no volume to draw.

    Parameters
    ----------
    code, reason : str
        Of the refusal.
    width_px : int

    Returns
    -------
    ndarray of uint8, shape (rows, width_px, 3)
    """
    lines = wrapped(reason, 17, width_px - 24)
    page = Image.new("RGB", (width_px, BADGE_PX + 24 + LINE_PX * len(lines)))
    pen = ImageDraw.Draw(page)
    draw_badge(pen, 8, VERDICTS["reject"][0], f"no lungs, refused: {code}")
    for number, line in enumerate(lines):
        pen.text((12, BADGE_PX + 14 + LINE_PX * number), line, fill=INK, font=font(17))
    return np.asarray(page)


def encode(picture: Picture) -> bytes:
    """Return a picture as PNG with a small palette: a few hundred kB for a mosaic."""
    levels = np.linspace(0, WHITEST, GREYS)
    ramps = [np.outer(levels, tint) for tint in ((1.0, 1.0, 1.0), *TINTS.values())]
    grounds = [ground for ground, _ in VERDICTS.values()]
    fixed = [*COLOURS.values(), *grounds, INK, QUIET, (255, 255, 255)]
    colours = np.concatenate([*ramps, np.array(fixed)])
    board = Image.new("P", (1, 1))
    board.putpalette(colours.round().astype(np.uint8).tobytes())
    small = Image.fromarray(picture).quantize(palette=board, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, format="PNG", compress_level=6)  # 9 is 2 % smaller and 5 times slower
    return stream.getvalue()


def draw_head(
    width_px: int, mm_per_px: float, record: Mapping[str, Any], caption: str
) -> Image.Image:
    """Draw what stands above the slices: verdict, measures, reasons, legend and a bar of 50 mm."""
    lines = [
        line
        for words in (caption, *(f"- {reason}" for reason in record.get("reasons", ())))
        if words
        for line in wrapped(words, 17, width_px - 24)
    ]
    badge_px = BADGE_PX + 10 if record else 0
    page = Image.new("RGB", (width_px, badge_px + LINE_PX * len(lines) + HEAD_PX))
    pen = ImageDraw.Draw(page)
    if record:
        ground, words = VERDICTS[record["verdict"]]
        right = draw_badge(pen, 6, ground, words)
        pen.text((right + 14, 21), measures(record), fill=INK, font=font(17), anchor="lm")
    for number, line in enumerate(lines):
        pen.text((12, badge_px + LINE_PX * number), line, fill=INK, font=font(17))
    draw_legend(pen, width_px, page.height - HEAD_PX // 2, mm_per_px)
    return page


def draw_badge(pen: ImageDraw.ImageDraw, top: int, ground: Colour, words: str) -> int:
    """Print words on a coloured ground; return where it ends, in pixels."""
    dark = sum(ground) < 350
    right = 28 + round(pen.textlength(words, font=font(20)))
    pen.rectangle((8, top, right, top + BADGE_PX), fill=ground)
    ink = (255, 255, 255) if dark else (0, 0, 0)
    pen.text((18, top + BADGE_PX // 2), words, fill=ink, font=font(20), anchor="lm")
    return right


def draw_legend(pen: ImageDraw.ImageDraw, width_px: int, middle: int, mm_per_px: float) -> None:
    """Print what the colours mean, how the slices are seen, and a bar of 50 mm."""
    left = 12
    for side, words in ((RIGHT, "patient's right lung"), (LEFT, "patient's left lung")):
        pen.text((left, middle), words, fill=COLOURS[side], font=font(19), anchor="lm")
        left += round(pen.textlength(words, font=font(19))) + 22
    length = round(BAR_MM / mm_per_px)
    right = width_px - 12
    pen.rectangle((right - length, middle - 1, right, middle + 1), fill=INK)
    for end in (right - length, right):
        pen.line((end, middle - 6, end, middle + 6), fill=INK)
    bar = f"{BAR_MM} mm"
    pen.text((right - length - 8, middle), bar, fill=INK, font=font(15), anchor="rm")
    free = right - length - 16 - pen.textlength(bar, font=font(15)) - left
    if pen.textlength(NOTE, font=font(15)) < free:
        pen.text((left, middle), NOTE, fill=QUIET, font=font(15), anchor="lm")


def measures(record: Mapping[str, Any]) -> str:
    """Return a record's volumes and mean in words; empty where nothing was measured."""
    if record.get("right_litre") is None:
        return ""
    method = f", method {record['method']}" if record.get("method") else ""
    return (
        f"right {record['right_litre']:.2f} litres, left {record['left_litre']:.2f} litres, "
        f"mean {record['mean_hu']:.0f} HU{method}"
    )


def wrapped(words: str, size_px: int, width_px: float) -> list[str]:
    """Break words into lines that fit a width in pixels; a word that is too long is broken too.

    Parameters
    ----------
    words : str
    size_px : int
        Of the font.
    width_px : float

    Returns
    -------
    list of str
        Together all the words.
    """
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer, size_px, width_px):
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter, size_px, width_px):
                lines.append("")
            lines[-1] += letter
    return lines


def fits(words: str, size_px: int, width_px: float) -> bool:
    """Return whether words are no wider than a width, both in pixels."""
    return font(size_px).getlength(words) <= width_px
