"""Say which patients' DICOM files were rewritten in place since their results were made."""

import functools
from collections.abc import Sequence
from pathlib import Path

from lungfish import command
from lungfish.patients import for_each
from lungfish.records import Record, atomic, read_json, write_table
from lungfish.samples import Sample

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Recheck every patient of a sheet; exit with 3 if one changed."""
    parser = command.parser(__doc__, samples="samples sheet", output="table to write (.tsv)")
    parser.add_argument("--summary", type=Path, help="text to write: who changed, a line each")
    command.add_cohort_options(parser)
    args = parser.parse_args(argv)

    from lungfish import recheck

    options = (args.index_settings, args.volumes_settings)
    check_one = functools.partial(check, results=args.results, options=options)
    rows = for_each(args.samples, SCHEMA, check_one, workers=args.workers)
    write_table(args.output, recheck.COLUMNS, rows)
    text = recheck.summarise(rows)
    if args.summary:
        with atomic(args.summary) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(text, end="")
    changed = any(row["status"] in recheck.CHANGED for row in rows)
    return command.REFUSED if changed else command.DONE


def check(sample: Sample, results: Path, options: tuple[str | None, str | None]) -> Record:
    """Recheck one patient."""
    from lungfish import index, recheck, volumes
    from lungfish.settings import load

    def record(stage: str) -> Record | None:
        path = results / stage / f"{sample.patient}.json"
        return read_json(path, f"{stage}/1") if path.is_file() else None

    status, differs = recheck.recheck_patient(
        sample.dicom or results / "phantom" / sample.patient / "dicom",
        record("index"),
        record("volumes"),
        index_settings=load(index.Settings, options[0]),
        volumes_settings=load(volumes.Settings, options[1]),
        series=sample.series,
    )
    return {"patient": sample.patient, "status": status, "differs": differs}


if __name__ == "__main__":
    command.run(main)
