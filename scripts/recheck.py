"""Say which patients' DICOM files were rewritten in place since their results were made."""

import functools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lungfish import command
from lungfish.errors import InputError
from lungfish.records import Record, atomic, read_json, write_table
from lungfish.samples import Sample, read_samples

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Recheck every patient of a sheet; exit with 3 if one changed."""
    parser = command.parser(__doc__, samples="samples sheet", output="table to write (.tsv)")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="PATH",
        help="folder that holds index/, volumes/ (and phantom/) (results)",
    )  # fmt: skip
    parser.add_argument("--summary", type=Path, help="text to write: who changed, a line each")
    parser.add_argument("--index-settings", help="section `index` as JSON or a YAML file's path")
    parser.add_argument("--volumes-settings", help="section `volumes`, likewise")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (1)")
    args = parser.parse_args(argv)

    from lungfish import recheck

    sheet, problems = read_samples(args.samples, SCHEMA)
    if problems:
        raise InputError("; ".join(problems))
    options = (args.index_settings, args.volumes_settings)
    check_one = functools.partial(check, results=args.results, options=options)
    if args.workers == 1:
        rows = [check_one(sample) for sample in sheet]
    else:
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(check_one, sheet))
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
