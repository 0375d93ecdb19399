"""Decide for every patient of the sheet whether it is in, why not, and in which fold."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/samples.schema.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cohort stage."""
    parser = command.parser(
        __doc__,
        samples="samples sheet",
        results="results folder that holds index/, volumes/, lungs/ (and phantom/)",
        output="cohort table to write (.tsv)",
        summary="counts to write (.json)",
    )
    parser.add_argument("--settings", help="section `cohort` as JSON or the path of a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    args = parser.parse_args(argv)

    from lungfish import cohort, records, samples
    from lungfish.errors import InputError
    from lungfish.settings import load

    settings = load(cohort.Settings, args.settings)
    sheet, problems = samples.read_samples(args.samples, SCHEMA)
    if problems:
        raise InputError("; ".join(problems))

    def member(sample: samples.Sample) -> cohort.Member:
        def record(stage: str) -> records.Record:
            path = Path(args.results, stage, f"{sample.patient}.json")
            return records.read_json(path, f"{stage}/1")

        truth = Path(args.results, "phantom", sample.patient, "truth", "truth.json")
        return cohort.Member(
            patient=sample.patient,
            label=sample.label,
            split=sample.split,
            index=record("index"),
            volumes=record("volumes"),
            lungs=record("lungs"),
            truth=records.read_json(truth, "phantom/1") if sample.dicom is None else None,
        )

    labels = [sample.label for sample in sheet]
    splits = [sample.split for sample in sheet]
    folds = cohort.number_of_folds(labels, settings.folds, splits=splits)
    rows = cohort.build_cohort([member(sample) for sample in sheet], folds=folds, seed=args.seed)
    records.write_table(args.output, cohort.COLUMNS, rows)
    records.write_json(args.summary, cohort.SCHEMA, cohort.summarise(rows))
    return command.DONE


if __name__ == "__main__":
    command.run(main)
