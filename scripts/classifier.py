"""Train a head on the patients of all folds but one, and predict those of that one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the classifier stage for one fold."""
    parser = command.parser(
        __doc__,
        cohort="cohort table (.tsv)",
        output="folder to write: head.keras, epochs.tsv, predictions.tsv, classifier.json",
    )
    parser.add_argument(
        "--features", type=Path, nargs="+", required=True, metavar="PATH", help="shards (.h5)"
    )
    parser.add_argument("--head", default=None, help="kind of head (default: settings' own)")
    parser.add_argument("--fold", type=int, required=True, help="fold to hold out, from 0")
    parser.add_argument(
        "--settings", help="section `classifier` as JSON or the path of a YAML file"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish import records
    from lungfish.classifier.settings import EPOCH_COLUMNS, PREDICTION_COLUMNS, SCHEMA, Settings
    from lungfish.settings import load, parse

    settings = load(Settings, args.settings)
    if args.head:
        settings = parse(Settings, dataclasses.asdict(settings) | {"head": args.head})

    from lungfish.gmcae.backend import save_network, start

    start(threads=args.threads, seed=args.seed, purpose="classifier")
    from lungfish.classifier.examples import read_vectors
    from lungfish.classifier.fold import labelled_patients, run_fold

    patients = labelled_patients(records.read_table(args.cohort))
    vectors = read_vectors(args.features, [each.name for each in patients], settings=settings)
    result = run_fold(patients, vectors, fold=args.fold, settings=settings, seed=args.seed)
    save_network(args.output / "head.keras", result.network)
    records.write_table(args.output / "epochs.tsv", EPOCH_COLUMNS, result.epochs)
    records.write_table(args.output / "predictions.tsv", PREDICTION_COLUMNS, result.predictions)
    records.write_json(args.output / "classifier.json", SCHEMA, result.record)
    return command.DONE if result.record["status"] == "ok" else command.REFUSED


if __name__ == "__main__":
    command.run(main)
