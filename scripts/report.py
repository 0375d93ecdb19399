"""Make the cohort's page or the pages of patients from results on disk."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from lungfish import command
from lungfish.records import atomic


def main(argv: Sequence[str] | None = None) -> int:
    """Read results, build pages, write them.

    Returns
    -------
    int
        0.
    """
    options = vars(read_arguments(argv))
    kind, output = options.pop("kind"), options.pop("output")
    summary = options.pop("summary", None)
    from lungfish import report  # after the arguments, so that --help does not start Matplotlib

    if kind == "patients":
        for patient in report.read_patients(**options):
            write(output / f"{patient.patient}.html", report.build_patient_page(patient))
        return command.DONE
    inputs = report.read_cohort(**options)
    write(output, report.build_cohort_page(inputs))
    write(summary, report.summarize(inputs, page=os.path.relpath(output)))
    return command.DONE


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of ``cohort`` or ``patients``."""
    parser = command.parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    cohort = kinds.add_parser("cohort", help="index.html and the summary for the terminal")
    patients = kinds.add_parser("patients", help="one page for each patient")
    for kind in (cohort, patients):
        kind.add_argument("--cohort", type=Path, required=True, help="cohort.tsv")
        kind.add_argument("--predictions", type=Path, help="out of fold, of all heads")
        for name in ("index", "lungs"):
            add_many(kind, name, f"{name} JSON of each patient")
    add_many(cohort, "gmcae", "folder of each trained autoencoder")
    add_many(patients, "volumes", "volume JSON of each patient")
    add_many(patients, "mosaics", "PNG of each patient")
    add_many(patients, "surprise", "JSON of surprise maps, their PNG beside them")
    cohort.add_argument("--metrics", type=Path, help="metrics.json")
    cohort.add_argument("--patches", type=Path, help="table of patches a patient")
    cohort.add_argument("--logs", type=Path, help="folder of benchmark files; may be absent")
    cohort.add_argument("--config", default="{}", help="settings of the run as JSON text")
    cohort.add_argument("--output", type=Path, required=True, help="index.html")
    cohort.add_argument("--summary", type=Path, required=True, help="three lines of text")
    patients.add_argument("--output", type=Path, required=True, help="folder of the pages")
    return parser.parse_args(argv)


def add_many(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add an option that takes any number of paths; a patient is a name up to the first dot."""
    parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], metavar="PATH", help=text)


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
