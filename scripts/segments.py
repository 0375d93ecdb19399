"""Write the lung masks of a cohort as DICOM SEG on the original slices; they name the patients."""

import functools
from collections.abc import Sequence
from pathlib import Path

from lungfish import command
from lungfish.errors import Refusal
from lungfish.patients import for_each
from lungfish.records import Record, read_json, refused, write_table
from lungfish.samples import Sample

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Export every patient of a sheet; exit with 3 if an accepted one could not be."""
    parser = command.parser(__doc__, samples="samples sheet", output="folder for {patient}.dcm")
    command.add_cohort_options(parser)
    args = parser.parse_args(argv)

    from lungfish import segments

    options = (args.index_settings, args.volumes_settings)
    export_one = functools.partial(
        export, results=args.results, output=args.output, options=options
    )
    rows = for_each(args.samples, SCHEMA, export_one, workers=args.workers)
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
