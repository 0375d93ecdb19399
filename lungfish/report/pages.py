"""From inputs to pages: one for the cohort, one for each patient, three lines for a terminal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lungfish.report.cohort_view import summarize_cohort, view_conclusion
from lungfish.report.inputs import CohortInputs, PatientInputs
from lungfish.report.patient_view import view_heading
from lungfish.report.sections import COHORT, PATIENT, Section
from lungfish.report.wording import ABSENT, counted

TEMPLATES = Path(__file__).parent / "templates"


def build_cohort_page(inputs: CohortInputs) -> str:
    """Return the cohort's page: the conclusion first, then every patient, scores and the run.

    Parameters
    ----------
    inputs : CohortInputs
        As `read_cohort` gives them, or made by hand.

    Returns
    -------
    str
        One HTML document that holds its style and pictures, asks for nothing and needs no script.
    """
    return (
        _environment()
        .get_template("index.html")
        .render(
            conclusion=view_conclusion(inputs),
            counts=summarize_cohort(inputs.cohort),
            sections=_fill(COHORT, inputs),
        )
    )


def build_patient_page(inputs: PatientInputs) -> str:
    """Return one patient's page: in or out and why, the outlines, the measures, the scan."""
    return (
        _environment()
        .get_template("patient.html")
        .render(
            patient=inputs.patient, heading=view_heading(inputs), sections=_fill(PATIENT, inputs)
        )
    )


def summarize(inputs: CohortInputs, *, page: str) -> str:
    """Return three lines for a terminal: where the report is, who is in it, what it says.

    Parameters
    ----------
    inputs : CohortInputs
        Of the page.
    page : str
        Where the page is, as a person at this terminal would type it.
    """
    counts, conclusion = summarize_cohort(inputs.cohort), view_conclusion(inputs)
    codes = ", ".join(f"{code} {number}" for code, number in counts["codes"].items())
    refused = f"{counts['refused']} refused" + (f" ({codes})" if codes else "")
    lines = (
        f"Report: {page}",
        f"Cohort: {counted(counts['patients'], 'patient')}, {counts['kept']} in, {refused}, "
        f"{counts['review']} to review; label 1: {counts['ones']}, label 0: {counts['zeros']}, "
        f"no label: {counts['unlabelled']}",
        f"Result: {conclusion['word']}. {conclusion['heading']}. {conclusion['text']}",
    )
    return "\n".join(" ".join(line.split()) for line in lines) + "\n"


def _fill(sections: Sequence[Section], inputs: Any) -> list[tuple[Section, dict[str, Any]]]:
    """Return the sections for which this run has something, each with its values."""
    filled = ((section, section.view(inputs)) for section in sections)
    return [(section, view) for section, view in filled if view is not None]


def typeset(text: str) -> str:
    """Give negative numbers their true minus sign and sizes their true multiplication sign."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=[\dzy]) x (?=[\dyx])", " \N{MULTIPLICATION SIGN} ", text)


def faint(text: str) -> str:
    """Print what is not there in a quiet colour, so that the eye finds what is."""
    if text not in (ABSENT, "none"):
        return text
    return Markup('<span class="absent">{}</span>').format(text)


def _environment() -> jinja2.Environment:
    """Return the templates: everything escaped, every unknown name an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    environment.filters |= {"typeset": typeset, "faint": faint}
    environment.globals["style"] = Markup(style)  # our own file
    return environment
