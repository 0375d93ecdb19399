"""Pictures: drawings as SVG that takes the page's own colours, patches as PNG."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Placeholders that `draw` turns into the style sheet's colours, so that a drawing follows the
# light and the dark scheme and prints in ink.
INK, QUIET = "#010203", "#010204"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
WINDOW_HU = (-1350, 150)
DIFFERENCE_HU = 300
ENLARGED = 4

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with dollar signs is a name, not a formula
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": QUIET,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def data_uri(png: bytes) -> str:
    """Return a PNG file's bytes as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def draw(figure: Figure, *, name: str, alt: str) -> Markup:
    """Turn a figure into SVG to stand inside a page.

    Parameters
    ----------
    figure : Figure
        Drawn in the colours `INK`, `QUIET` and `SERIES`.
    name : str
        Set before every id of the drawing, so that two drawings on a page do not mix.
    alt : str
        What the drawing shows, in words.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--sans)", text)
    text = text.replace(INK, "var(--ink)").replace(QUIET, "var(--quiet)")
    for number, colour in enumerate(SERIES, start=1):
        text = text.replace(colour, f"var(--series-{number})")
    label = f'<svg role="img" aria-label="{escape(alt)}" '
    # The drawing is made here from numbers and from names that Matplotlib escapes.
    return Markup(text.replace("<svg ", label, 1))


def plot(width_inch: float, height_inch: float) -> tuple[Figure, Axes]:
    """Return an empty figure with one pair of axes, in the style of the pages."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
        return figure, figure.add_subplot()


def draw_curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    ylabel: str,
    name: str,
    alt: str,
    levels: Mapping[str, float] | None = None,
) -> Markup:
    """Draw values over epochs.

    Parameters
    ----------
    lines : mapping of str to (epochs, values)
        Names that end in ``training`` are dashed.
    levels : mapping of str to float, optional
        Values to compare with, each a dotted line with its name at the right.
    ylabel : str
        With its unit.
    """
    figure, axes = plot(4.9, 2.9)
    with matplotlib.rc_context(STYLE):
        colours: dict[str, str] = {}
        for label, (epochs, values) in lines.items():
            scope = label.rsplit(",", 1)[0]
            colour = colours.setdefault(scope, SERIES[len(colours) % len(SERIES)])
            style = "--" if label.endswith("training") else "-"
            mark = "o" if len(epochs) < 3 else None
            axes.plot(epochs, values, style, color=colour, label=label, lw=1.6, marker=mark, ms=4)
        for value in (levels or {}).values():
            axes.axhline(value, color=QUIET, ls=":", lw=1, zorder=1)
        _name_levels(axes, levels or {})
        axes.set_xlabel("epoch")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        if len(lines) > 1:
            axes.legend(fontsize=8, ncols=1 + (len(lines) > 4))
        return draw(figure, name=name, alt=alt)


def _name_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Write each level's name at its right end, moved apart where two would overlap."""
    low, high = axes.get_ylim()
    apart = 0.055 * (high - low)
    place = -np.inf
    for label, value in sorted(levels.items(), key=lambda item: item[1]):
        place = max(value, place + apart)
        axes.annotate(
            label, (1.0, place), xytext=(4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=7.5, color=QUIET,
            annotation_clip=False,
        )  # fmt: skip


def draw_dots(
    groups: Mapping[str, NDArray[np.float64]], *, constant: float | None, name: str, alt: str
) -> Markup:
    """Draw probabilities as dots, a row a group, the newest dot beside its equals.

    Parameters
    ----------
    groups : mapping of str to ndarray of float
        Row's name to probabilities, 0 to 1.
    constant : float or None
        Where the constant's answer lies.
    """
    figure, axes = plot(6.8, 0.75 + 0.75 * len(groups))
    with matplotlib.rc_context(STYLE):
        for row, values in enumerate(groups.values()):
            heights = row + _spread(values)
            axes.scatter(
                values, heights, s=26, color=SERIES[row % 2], alpha=0.75, linewidths=0, zorder=3
            )
        if constant is not None:
            axes.axvline(constant, color=QUIET, ls="--", lw=1, zorder=1)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set_xlabel("out-of-fold probability of label 1, calibrated (0 to 1)")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return draw(figure, name=name, alt=alt)


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return offsets within -0.35 to 0.35 that keep dots of nearly one value apart."""
    bins = np.round(values * 50).astype(int)
    offsets = np.zeros(len(values))
    for each in np.unique(bins):
        members = np.flatnonzero(bins == each)
        step = min(0.12, 0.7 / max(len(members), 1))
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * step
    return offsets


def draw_bars(values: Mapping[str, float], *, xlabel: str, name: str, alt: str) -> Markup:
    """Draw one horizontal bar a name, in the order given, each with its value."""
    figure, axes = plot(6.8, 0.6 + 0.27 * len(values))
    with matplotlib.rc_context(STYLE):
        bars = axes.barh(list(values), list(values.values()), color=SERIES[0], height=0.66)
        axes.bar_label(bars, fmt="%.1f", padding=4, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlabel(xlabel)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return draw(figure, name=name, alt=alt)


def grey_png(plane_hu: NDArray[Any]) -> str:
    """Return one plane of HU in the lung window as a PNG, black at -1350, white at 150 HU."""
    low, high = WINDOW_HU
    share = np.clip((plane_hu.astype(np.float64) - low) / (high - low), 0, 1)
    return _png(np.repeat(np.rint(share * 255).astype(np.uint8)[..., None], 3, axis=2))


def difference_png(difference_hu: NDArray[Any]) -> str:
    """Return one plane of differences as a PNG: blue at -300 HU, white at 0, red at 300."""
    share = np.clip(difference_hu / (2.0 * DIFFERENCE_HU) + 0.5, 0, 1)
    colours = matplotlib.colormaps["RdBu_r"](share)
    return _png(np.rint(colours[..., :3] * 255).astype(np.uint8))


def share_png(share: NDArray[Any]) -> str:
    """Return one plane of shares as a PNG: dark blue at 0, yellow at 1."""
    colours = matplotlib.colormaps["cividis"](np.clip(share, 0, 1))
    return _png(np.rint(colours[..., :3] * 255).astype(np.uint8))


def _png(rgb: NDArray[np.uint8]) -> str:
    """Enlarge without smoothing, so that a voxel stays a square on every screen and in print."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}  # no version: equal patches, equal bytes
    enlarged = rgb.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    imsave(buffer, enlarged, format="png", metadata=metadata)
    return data_uri(buffer.getvalue())
