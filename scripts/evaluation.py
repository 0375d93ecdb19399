"""Score out-of-fold predictions beside a constant, the lungs' size and the scanner."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation stage."""
    parser = command.parser(
        __doc__,
        cohort="cohort table (.tsv)",
        predictions_output="predictions of all folds to write (.tsv)",
        metrics_output="metrics to write (.json)",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="*",
        default=[],
        metavar="PATH",
        help="predictions.tsv of each head and fold; none where no classifier could be trained",
    )
    parser.add_argument(
        "--settings", help="section `evaluation` as JSON or the path of a YAML file"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    args = parser.parse_args(argv)

    from lungfish import records
    from lungfish.errors import Refusal
    from lungfish.evaluation.evaluate import PREDICTION_COLUMNS, evaluate, gather, nothing
    from lungfish.evaluation.settings import SCHEMA, Settings
    from lungfish.settings import load

    settings = load(Settings, args.settings)
    cohort = records.read_table(args.cohort)
    rows = gather([records.read_table(path) for path in args.predictions], cohort)
    records.write_table(args.predictions_output, PREDICTION_COLUMNS, rows)
    try:
        record = evaluate(rows, cohort, settings=settings, seed=args.seed)
    except Refusal as refusal:
        records.write_json(args.metrics_output, SCHEMA, nothing(refusal, cohort))
        raise
    records.write_json(args.metrics_output, SCHEMA, record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
