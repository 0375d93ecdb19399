"""Survey the headers of a cohort: a row a slice, a row a series, and a page of drawings."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from lungfish import command

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the headers of every patient, write the tables and the page."""
    args = read_arguments(argv)

    from lungfish import records, survey
    from lungfish.dicom.headers import read_headers

    folders = find_folders(args)
    series: list[records.Record] = []
    others: list[records.Record] = []

    def slices() -> Iterator[records.Record]:  # a patient at a time: cohorts have millions of them
        for patient, folder in folders.items():
            found = survey.survey_patient(patient, read_headers(folder), salt=args.salt)
            series.extend(found.series)
            others.extend(found.others)
            yield from found.slices

    records.write_table(args.output / "slices.tsv", survey.SLICE_COLUMNS, slices())
    records.write_table(args.output / "series.tsv", survey.SERIES_COLUMNS, series)
    records.write_table(args.output / "other_files.tsv", survey.OTHER_COLUMNS, others)
    with records.atomic(args.output / "index.html") as temporary:
        page = survey.build_page(list(folders), series, others)
        temporary.write_text(page, encoding="utf-8")
    return command.DONE


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options: a sheet, or folders."""
    parser = command.parser(__doc__, output="folder for the tables and the page")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", type=Path, metavar="PATH", help="samples sheet")
    source.add_argument(
        "--dicom", type=Path, nargs="+", metavar="PATH",
        help="folders or zips, one a patient; the rows call them 1, 2, 3, ...",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="PATH",
        help="folder that holds phantom/, for the digital patients of the sheet (results)",
    )  # fmt: skip
    parser.add_argument("--salt", default="", help="salt of the index stage")
    return parser.parse_args(argv)


def find_folders(args: argparse.Namespace) -> dict[str, Path]:
    """Return the folder of each patient; one that is not there is wrong input."""
    from lungfish.errors import InputError
    from lungfish.samples import read_samples

    folders = {str(number): folder for number, folder in enumerate(args.dicom or (), start=1)}
    if args.samples:
        sheet, problems = read_samples(args.samples, SCHEMA)
        if problems:
            raise InputError("; ".join(problems))
        digital = args.results / "phantom"
        folders = {each.patient: each.dicom or digital / each.patient / "dicom" for each in sheet}
    missing = [patient for patient, folder in folders.items() if not folder.exists()]
    if missing:
        raise InputError(
            f"the DICOM of {len(missing)} of {len(folders)} patients is not there (first: patient "
            f"{missing[0]}): correct the path, or make digital patients first"
        )
    return folders


if __name__ == "__main__":
    command.run(main)
