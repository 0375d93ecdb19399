"""Write the lung masks of a cohort as DICOM SEG on the original slices; they name the patients."""

import functools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lungfish import command
from lungfish.errors import InputError, Refusal
from lungfish.records import Record, read_json, refused, write_table
from lungfish.samples import Sample, read_samples

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Export every patient of a sheet; exit with 3 if an accepted one could not be."""
    parser = command.parser(__doc__, samples="samples sheet", output="folder for {patient}.dcm")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="PATH",
        help="folder that holds index/, volumes/, lungs/ (and phantom/) (results)",
    )  # fmt: skip
    parser.add_argument("--index-settings", help="section `index` as JSON or a YAML file's path")
    parser.add_argument("--volumes-settings", help="section `volumes`, likewise")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (1)")
    args = parser.parse_args(argv)

    from lungfish import segments

    sheet, problems = read_samples(args.samples, SCHEMA)
    if problems:
        raise InputError("; ".join(problems))
    options = (args.index_settings, args.volumes_settings)
    export_one = functools.partial(
        export, results=args.results, output=args.output, options=options
    )
    if args.workers == 1:
        rows = [export_one(sample) for sample in sheet]
    else:
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            rows = list(pool.map(export_one, sheet))
    write_table(args.output / "segments.tsv", segments.COLUMNS, rows)
    print(segments.summarise(rows), end="")
    return command.REFUSED if any(row.get("failed") for row in rows) else command.DONE


def export(
    sample: Sample, results: Path, output: Path, options: tuple[str | None, str | None]
) -> Record:
    """Export one patient; a file of an earlier run does not outlive a refusal."""
    from lungfish import index, nifti, provenance, segments, volumes
    from lungfish.settings import load

    stages = {
        stage: read_json(results / stage / f"{sample.patient}.json", f"{stage}/1")
        for stage in ("index", "volumes", "lungs")
    }
    path = output / f"{sample.patient}.dcm"
    try:
        row = segments.export_patient(
            sample.dicom or results / "phantom" / sample.patient / "dicom",
            stages,
            nifti.read_mask(results / "lungs" / f"{sample.patient}.nii.gz"),
            path,
            settings=load(volumes.Settings, options[1]),
            salt=load(index.Settings, options[0]).salt,
            version=provenance.version(),
        )
    except Refusal as refusal:
        path.unlink(missing_ok=True)
        row = refused(refusal) | {"failed": stages["lungs"]["status"] != "refused"}
    return {"patient": sample.patient} | row


if __name__ == "__main__":
    command.run(main)
