"""One page with the drawings of the survey: a histogram or bars for each thing a series states."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from lungfish.records import Record
from lungfish.report import figures
from lungfish.report.pages import TEMPLATES, faint, typeset

MOST_BARS = 20
BINS = 30
UNKNOWN = "not stated"

PAGE = """{% extends "base.html" %}
{% block title %}lungfish: header survey{% endblock %}
{% block header %}
<h1>Header survey</h1>
<p class="lead">What the headers of the cohort state, a count a series; nothing was decoded and
nothing was left out. Places, distances and extents come from the positions, never from
SliceThickness.</p>
{% endblock %}
{% block main %}
<ul class="facts">
{% for name, value in facts.items() %}
<li><strong>{{ value }}</strong> <span>{{ name }}</span></li>
{% endfor %}
</ul>
{% for title, caption, drawings in parts %}
<section>
<h2>{{ title }}</h2>
<p class="caption">{{ caption | typeset }}</p>
<figure class="drawings">{% for drawing in drawings %}<div>{{ drawing }}</div>{% endfor %}</figure>
</section>
{% endfor %}
<section>
<h2>What is not as it should be</h2>
<p class="caption">Series with slices that cannot be used, that lack an element, that lie at one
place, that have gaps, or that do not agree with one another. The index stage decides what each
means for the run.</p>
<div class="scroll long" tabindex="0" role="region" aria-label="Series that stand apart">
<table>
<thead><tr><th scope="col">Patient</th><th scope="col" class="n">Series</th>
<th scope="col" class="n">Slices</th><th scope="col">What</th></tr></thead>
<tbody>
{% for row in odd %}
<tr><th scope="row">{{ row.patient }}</th><td class="n">{{ row.series }}</td>
<td class="n">{{ row.slices }}</td><td>{{ row.what }}</td></tr>
{% else %}
<tr><td colspan="4">None.</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
<section>
<h2>Files that are no CT slice</h2>
<div class="scroll long" tabindex="0" role="region" aria-label="Other files">
<table>
<thead><tr><th scope="col">Patient</th><th scope="col">What</th>
<th scope="col" class="n">Files</th></tr></thead>
<tbody>
{% for row in others %}
<tr><th scope="row">{{ row.patient }}</th><td>{{ row.fate }}</td>
<td class="n">{{ row.files }}</td></tr>
{% else %}
<tr><td colspan="3">None.</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
{% endblock %}
{% block footer %}
<p>Made by lungfish. Beside this file stand its tables: slices.tsv, series.tsv, other_files.tsv.
Patients have the sheet's names, series and files are numbered; no identifying element was read.</p>
{% endblock %}
"""


@dataclasses.dataclass(frozen=True)
class Chart:
    """A drawing of one thing that series state.

    Attributes
    ----------
    name : str
        Set before the ids of the drawing.
    xlabel : str
        With its unit.
    columns : mapping of str to str
        Columns of series.tsv to the words of the legend.
    bars : bool
        A bar for each value, else a histogram.
    """

    name: str
    xlabel: str
    columns: Mapping[str, str]
    bars: bool = False


def bars(name: str, *columns: str) -> Chart:
    """Declare a bar for each value that the columns hold together."""
    return Chart(
        name, f"series, by {name.replace('-', ' ')}", dict.fromkeys(columns, ""), bars=True
    )


AXES = {
    "extent_x_mm": "x, right to left",
    "extent_y_mm": "y, front to back",
    "extent_z_mm": "z, feet to head",
}
PARTS: tuple[tuple[str, str, tuple[Chart, ...]], ...] = (
    (
        "Size",
        "How many slices a series has, and how far it reaches along the patient's axes, from the "
        "first to the last voxel centre. A chest is about 300 mm high; much less is a part of one.",
        (
            Chart("slices", "slices of a series", {"slices": ""}),
            Chart("extent", "extent (mm)", AXES),
            bars("matrix", "rows", "columns"),
            bars("plane", "plane"),
        ),
    ),
    (
        "Spacing",
        "Distances of slices from their positions (dz), and of pixels (dy between rows, dx "
        "between columns). Where slices lie farther apart than they are thick, what lies between "
        "them was not measured.",
        (
            Chart("dz", "dz (mm)", {"step_mm": ""}),
            Chart(
                "dxdy", "pixel spacing (mm)", {"row_spacing_mm": "dy", "column_spacing_mm": "dx"}
            ),
            Chart("thickness", "thickness (mm)", {"thickness_mm": ""}),
        ),
    ),
    (
        "Scanner and kernel",
        "If a label comes mostly from one maker or kernel, a network can answer by the scanner "
        "and never look at the disease.",
        (
            bars("maker", "manufacturer"),
            bars("model", "manufacturer", "model"),
            bars("kernel", "kernel"),
            bars("transfer-syntax", "syntax"),
        ),
    ),
    (
        "Dose",
        "Tube voltage in kV and the median exposure of each series in mAs, as the headers have "
        "them; makers do not all mean the same by it (some state effective mAs).",
        (bars("tube-voltage", "kvp"), Chart("mas", "exposure (mAs)", {"mas": ""})),
    ),
)


def build_page(patients: Sequence[str], series: Sequence[Record], others: Sequence[Record]) -> str:
    """Return the survey's page.

    Parameters
    ----------
    patients : sequence of str
        All that were looked at, those without a slice too.
    series, others : sequence of dict
        Rows with the keys `SERIES_COLUMNS` and `OTHER_COLUMNS`.

    Returns
    -------
    str
        One HTML document that holds its style and drawings, asks for nothing and needs no script.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"typeset": typeset, "faint": faint}
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # our own file
    with_slices = {row["patient"] for row in series}
    return environment.from_string(PAGE).render(
        style=style,
        sections=(),
        facts={
            "patients": len(patients),
            "without a CT slice": len(set(patients) - with_slices),
            "series": len(series),
            "slices": sum(row["slices"] for row in series),
            "other files": sum(row["files"] for row in others),
        },
        parts=_draw_parts(series) if series else (),
        odd=[row | {"what": what} for row in series if (what := describe_oddity(row))],
        others=others,
    )


def describe_oddity(row: Record) -> str:
    """Return in what a series stands apart, or nothing."""
    same, gaps = row.get("same_place") or 0, row.get("gaps") or 0
    tilt = row.get("tilt_degrees") or 0.0
    said = [
        row["problem"],
        f"{gaps} gap{'s' * (gaps != 1)}" if gaps else "",
        f"{same} at a place that another slice has" if same else "",
        f"tilted by {tilt:.1f} degrees" if tilt > 0.5 else "",
        f"mixed: {row['mixed']}" if row["mixed"] else "",
        f"lacks {row['lacks']}" if row["lacks"] else "",
    ]
    return "; ".join(filter(None, said))


def _draw_parts(series: Sequence[Record]) -> list[tuple[str, str, list[Markup]]]:
    return [
        (title, caption, [(_bars if chart.bars else _histogram)(series, chart) for chart in charts])
        for title, caption, charts in PARTS
    ]


def _histogram(series: Sequence[Record], chart: Chart) -> Markup:
    """Draw how often each value stands in one or more columns, a count a series."""
    values = {
        label: [float(row[key]) for row in series if row.get(key) is not None]
        for key, label in chart.columns.items()
    }
    everything = [value for found in values.values() for value in found]
    edges = np.histogram_bin_edges(everything, BINS) if everything else np.arange(2.0)
    figure, axes = figures.plot(4.4, 2.6)
    with matplotlib.rc_context(figures.STYLE):
        for number, (label, found) in enumerate(values.items()):
            counts, _ = np.histogram(found, edges)
            several = len(values) > 1
            axes.stairs(
                counts, edges, fill=not several, color=figures.SERIES[number], label=label, lw=1.6
            )
        if len(values) > 1:
            axes.legend(fontsize=8)
        axes.set_xlabel(chart.xlabel)
        axes.set_ylabel("series")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        said = "; ".join(f"{label} {_range(found)}".strip() for label, found in values.items())
        return figures.draw(figure, name=chart.name, alt=f"Histogram of {chart.xlabel}: {said}.")


def _range(found: Sequence[float]) -> str:
    if not found:
        return UNKNOWN
    middle = statistics.median(found)
    return f"{min(found):g} to {max(found):g}, median {middle:g}, of {len(found)} series"


def _bars(series: Sequence[Record], chart: Chart) -> Markup:
    """Draw how many series state each value, the commonest first."""
    counts = Counter(_cell(row, tuple(chart.columns)) for row in series).most_common()
    shown = dict(counts[:MOST_BARS])
    if rest := sum(count for _, count in counts[MOST_BARS:]):
        shown[f"{len(counts) - MOST_BARS} others"] = rest
    figure, axes = figures.plot(6.8, 0.7 + 0.27 * len(shown))
    with matplotlib.rc_context(figures.STYLE):
        bars_drawn = axes.barh(
            list(shown), list(shown.values()), color=figures.SERIES[0], height=0.66
        )
        axes.bar_label(bars_drawn, fmt="%d", padding=4, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlabel(chart.xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        said = ", ".join(f"{value} {count}" for value, count in shown.items())
        return figures.draw(figure, name=chart.name, alt=f"Bars, {chart.xlabel}: {said}.")


def _cell(row: Record, columns: Sequence[str]) -> str:
    """Return what a series states in some columns, as one label."""
    cells = [row.get(column) for column in columns]
    stated = [f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells if cell]
    return (" x " if "rows" in columns else " ").join(stated) or UNKNOWN
