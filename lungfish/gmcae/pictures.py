"""The surprise map beside the CT that it was made of, as one picture a person can read."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lungfish.gmcae.surprise import smooth_within
from lungfish.lungs import panels
from lungfish.lungs.morphology import bounds
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.panels import AXIAL, CORONAL, INK, WHITEST, WINDOW_HU, View
from lungfish.volume import Volume, spacing_of, to_index

COLOURS = matplotlib.colormaps["inferno"]
DIM = 0.4
"""Brightness of the CT outside of the lungs, beside the colours."""
SHOWN_MM = 1.5
"""Standard deviation of the Gaussian over which the colours are averaged: single voxels are mostly
noise, which is as surprising in one place as in another."""
RING_MM = 12.0
GAP_PX = 4
HEAD_PX = 64
LABEL_PX = 22
BAR_PX = (420, 18)
COLUMNS = 6
LEVELS = (40, 150)
"""Greys and colours that the PNG keeps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """What is drawn.

    Attributes
    ----------
    view : View
        The CT on the patient's axes, without outlines.
    inside : ndarray of bool, shape (z, y, x)
        Lungs, on the same axes.
    colours : ndarray of float32, shape (z, y, x)
        The map, 0 to 1 between the ends of the colour bar.
    low, high : float
        The ends, in nats per voxel.
    """

    view: View
    inside: NDArray[np.bool_]
    colours: NDArray[np.float32]
    low: float
    high: float


def draw_surprise(
    volume: Volume,
    values: NDArray[np.float32],
    places: Sequence[Mapping[str, Any]] = (),
    *,
    caption: str = "",
    width_px: int = 1500,
) -> NDArray[np.uint8]:
    """Draw axial and coronal slices of the CT, and below each the same slice with the map.

    Radiological convention: the patient's right at the picture's left, axial slices seen from the
    feet, coronal ones from the front.

    Parameters
    ----------
    volume : Volume
    values : ndarray of float32, shape (z, y, x)
        From `surprise.surprise`; nan outside of the lungs.
    places : sequence of mappings
        From `surprise.places`: each has an axial slice of its own, with a ring of 12 mm round it.
    caption : str
        For the top.
    width_px : int
        Of the picture.

    Returns
    -------
    ndarray of uint8, shape (rows, width_px, 3)
        RGB; equal arguments give equal bytes.
    """
    shown = prepare(volume, values, (width_px - GAP_PX * (COLUMNS + 1)) // COLUMNS)
    rows = [draw_head(width_px, shown, caption)]
    for axis, words in ((AXIAL, "axial, head to feet"), (CORONAL, "coronal, front to back")):
        found = slices_within(shown.inside, axis)
        rows += pair(shown, axis, found, [None] * len(found), words, width_px)
    if places:
        positions = np.array([place["position_mm"] for place in places])
        indices = np.rint(to_index(shown.view.affine, positions)).astype(int)
        words = "axial, through the places that surprise most, the first of them the most"
        rows += pair(shown, AXIAL, indices[:, 0].tolist(), list(indices), words, width_px)
    page = Image.new("RGB", (width_px, sum(row.height + GAP_PX for row in rows)))
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height + GAP_PX
    return np.asarray(page)


def prepare(volume: Volume, values: NDArray[np.float32], cell_px: int) -> Shown:
    """Turn CT and map to the patient's axes and choose the ends of the colour bar."""
    lungs = np.isfinite(values)
    smooth = smooth_within(values, lungs, tuple(SHOWN_MM / step for step in volume.spacing_mm))
    low, high = np.percentile(smooth[lungs], (1, 99.7))
    low, high = float(np.floor(2 * low) / 2), float(np.ceil(2 * high) / 2)
    view = panels.make_view(volume, lungs.astype(np.uint8), cell_px)
    turn = turn_of(volume.affine)
    colours = np.nan_to_num((turn.forward(smooth) - low) / (high - low))
    return Shown(view, turn.forward(lungs), np.clip(colours, 0, 1), low, high)


def slices_within(inside: NDArray[np.bool_], axis: int) -> list[int]:
    """Return the middles of equal parts of the lungs, the uppermost or foremost first."""
    part = bounds(inside)[axis]
    middles = part.start + (np.arange(COLUMNS) + 0.5) / COLUMNS * (part.stop - part.start)
    chosen = sorted({int(place) for place in middles})
    return chosen[::-1] if axis == AXIAL else chosen


def pair(
    shown: Shown,
    axis: int,
    indices: Sequence[int],
    rings: Sequence[NDArray[Any] | None],
    words: str,
    width_px: int,
) -> list[Image.Image]:
    """Return a line of words, a row of CT and a row of the same slices with the map."""
    label = Image.new("RGB", (width_px, LABEL_PX))
    ImageDraw.Draw(label).text((12, LABEL_PX // 2), words, INK, panels.font(17), anchor="lm")
    rows = [label]
    for with_map in (False, True):
        row = Image.new("RGB", (width_px, panels.panel_size(shown.view, axis)[1]))
        for column, (index, ring) in enumerate(zip(indices, rings, strict=True)):
            panel = draw_panel(shown, axis, index, with_map=with_map)
            if ring is not None:
                draw_ring(panel, shown.view, ring)
            panels.write_on(panel, axis, position_text(shown.view, axis, index))
            cell = (width_px - GAP_PX) / COLUMNS
            row.paste(panel, (round(GAP_PX + column * cell + (cell - GAP_PX - panel.width) / 2), 0))
        rows.append(row)
    return rows


def position_text(view: View, axis: int, index: int) -> str:
    """Return a slice's position in LPS mm, in words."""
    return f"{panels.NAMES[axis]} = {panels.position_mm(view, axis, index):.0f} mm"


def draw_panel(shown: Shown, axis: int, index: int, *, with_map: bool) -> Image.Image:
    """Draw one slice in lung window; with the map in colour inside the lungs, dim outside."""
    where: list[Any] = list(shown.view.box)
    where[axis] = index
    hu, inside, colours = (
        array[tuple(where)] if axis == AXIAL else array[tuple(where)][::-1]  # the head is up
        for array in (shown.view.hu, shown.inside, shown.colours)
    )
    low, high = WINDOW_HU
    grey = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * WHITEST
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    if with_map:
        pixels = np.where(inside[..., None], 255 * COLOURS(colours)[..., :3], DIM * pixels)
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    return picture.resize(panels.panel_size(shown.view, axis), Image.Resampling.BILINEAR)


def draw_ring(panel: Image.Image, view: View, index: NDArray[Any]) -> None:
    """Draw a ring round a voxel (z, y, x) on its axial slice."""
    steps = spacing_of(view.affine)
    across, along = (
        (index[axis] - view.box[axis].start + 0.5) * steps[axis] / view.mm_per_px for axis in (2, 1)
    )
    radius = RING_MM / view.mm_per_px
    box = (across - radius, along - radius, across + radius, along + radius)
    ImageDraw.Draw(panel).ellipse(box, outline=(86, 180, 233), width=2)


def draw_head(width_px: int, shown: Shown, caption: str) -> Image.Image:
    """Draw the colour bar with its unit, and what stands to be said."""
    page = Image.new("RGB", (width_px, HEAD_PX))
    pen = ImageDraw.Draw(page)
    ramp = COLOURS(np.linspace(0, 1, BAR_PX[0]))[None, :, :3].repeat(BAR_PX[1], axis=0)
    left, top = 60, 10
    page.paste(Image.fromarray((255 * ramp).round().astype(np.uint8)), (left, top))
    pen.rectangle((left - 1, top - 1, left + BAR_PX[0], top + BAR_PX[1]), outline=INK)
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = shown.low + share * (shown.high - shown.low)
        place = (left + round(share * BAR_PX[0]), top + BAR_PX[1] + 4)
        pen.text(place, f"{value:g}", INK, panels.font(16), anchor="ma")
    middle = top + BAR_PX[1] // 2
    words = "surprise, -log p (nats per voxel above the bound of 1 HU): dark expected, bright not"
    pen.text((left + BAR_PX[0] + 24, middle), words, INK, panels.font(17), anchor="lm")
    pen.text((left + BAR_PX[0] + 24, middle + 25), caption, (170,) * 3, panels.font(16), "lm")
    return page


def encode(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture as PNG with a palette of greys and of the colour bar."""
    greys = np.repeat(np.linspace(0, 255, LEVELS[0])[:, None], 3, axis=1)
    colours = 255 * COLOURS(np.linspace(0, 1, LEVELS[1]))[:, :3]
    fixed = np.array([INK, (86, 180, 233)])
    board = Image.new("P", (1, 1))
    board.putpalette(np.concatenate([greys, colours, fixed]).round().astype(np.uint8).tobytes())
    small = Image.fromarray(picture).quantize(palette=board, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    small.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()
