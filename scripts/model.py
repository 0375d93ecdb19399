"""Make the model folder for new patients: encoder, head on all labelled patients, its evidence."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the model stage."""
    parser = command.parser(
        __doc__,
        encoder="folder of the gmcae stage",
        cohort="cohort table (.tsv)",
        predictions="out-of-fold predictions of the evaluation (.tsv)",
        metrics="metrics of the evaluation (.json)",
        output="model folder to write",
    )
    parser.add_argument("--features", type=Path, nargs="+", required=True, help="shards (.h5)")
    parser.add_argument("--classifiers", type=Path, nargs="*", default=[], help="classifier.json")
    for stage in ("classifier", "index", "volumes", "lungs"):
        parser.add_argument(f"--{stage}-settings", help=f"section `{stage}`: JSON, or a YAML file")
    parser.add_argument("--settings", help="section `model`: JSON, or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish.gmcae.backend import start

    start(threads=args.threads, seed=args.seed, purpose="model")
    from lungfish import index, lungs, model, records, volumes
    from lungfish.classifier.ensemble import train_ensemble
    from lungfish.classifier.examples import read_vectors
    from lungfish.classifier.fold import labelled_patients
    from lungfish.classifier.settings import SCHEMA as FOLD_SCHEMA
    from lungfish.classifier.settings import Settings as ClassifierSettings
    from lungfish.errors import Refusal
    from lungfish.settings import load

    settings = load(model.Settings, args.settings)
    classifier = load(ClassifierSettings, args.classifier_settings)
    cohort = records.read_table(args.cohort)
    metrics = records.read_json(args.metrics, "evaluation/1")
    folds = [records.read_json(path, FOLD_SCHEMA) for path in args.classifiers]
    patients = labelled_patients(cohort)
    names = [each.name for each in patients]
    record = {
        "head": settings.head,
        "trained_on": model.trained_on(cohort),
        "evaluation": model.summarise_evaluation(metrics, settings.head),
        "preparation": model.preparation(
            index=load(index.Settings, args.index_settings),
            volumes=load(volumes.Settings, args.volumes_settings),
            lungs=load(lungs.Settings, args.lungs_settings),
        ),
        "versions": model.versions(),
    }
    try:
        records.require_ok(metrics)
        ensemble = train_ensemble(
            patients,
            read_vectors(args.features, names, settings=classifier),
            epochs=model.choose_epochs(folds, settings.head),
            calibration=model.calibrate(records.read_table(args.predictions), settings.head),
            classifier=classifier,
            bootstraps=settings.bootstraps,
            seed=args.seed,
        )
    except Refusal as refusal:
        record |= records.refused(refusal)
        model.write_model(args.output, encoder=args.encoder, ensemble=None, record=record)
        raise
    record |= records.accepted() | ensemble.facts()
    model.write_model(args.output, encoder=args.encoder, ensemble=ensemble, record=record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
