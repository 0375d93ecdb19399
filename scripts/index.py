"""Say what each file of a patient's DICOM folder is, and which slices make the volume."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the index stage for one patient, or tell a person what is in a folder."""
    parser = command.parser(__doc__, dicom="folder or zip of the scan")
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help="index JSON to write; without it, say it here"
    )
    parser.add_argument("--series", default="", help="SeriesInstanceUID to use, else by rule")
    parser.add_argument("--settings", help="section `index` as JSON or the path of a YAML file")
    args = parser.parse_args(argv)

    from lungfish import index, records
    from lungfish.dicom.verdict import tell
    from lungfish.settings import load

    settings = load(index.Settings, args.settings)
    record = index.index_folder(args.dicom, settings=settings, series=args.series)
    if args.output is None:
        print(tell(args.dicom, record))
        return command.DONE if record["status"] == "ok" else command.REFUSED
    records.write_json(args.output, index.SCHEMA, record)
    records.require_ok(record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
