"""Say what each file of a patient's DICOM folder is, and which slices make the volume."""

from collections.abc import Sequence

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the index stage for one patient."""
    parser = command.parser(__doc__, dicom="folder of the scan", output="index JSON to write")
    parser.add_argument("--series", default="", help="SeriesInstanceUID to use, else by rule")
    parser.add_argument("--settings", help="section `index` as JSON or the path of a YAML file")
    args = parser.parse_args(argv)

    from lungfish import index, records
    from lungfish.settings import load

    settings = load(index.Settings, args.settings)
    record = index.index_folder(args.dicom, settings=settings, series=args.series)
    records.write_json(args.output, index.SCHEMA, record)
    records.require_ok(record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
