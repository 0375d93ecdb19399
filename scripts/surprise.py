"""Map how unlike anything learned each voxel of a patient's lungs is; list all patients."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Make one patient's map, or the table of all maps.

    Returns
    -------
    int
        0, or 3 for a refused patient, after the outputs that say so are written.
    """
    args = read_arguments(argv)
    if args.kind == "cohort":
        from lungfish.gmcae import surprise_table

        surprise_table.write_table(args.output, args.records)
        return command.DONE
    return map_one(args)


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of ``patient`` or ``cohort``."""
    parser = command.parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    patient = kinds.add_parser("patient", help="the map of one patient")
    cohort = kinds.add_parser("cohort", help="a table of all maps")
    patient.add_argument("--patient", required=True, help="as in the cohort table")
    for name, text in (
        ("--volume", "volume (.nii.gz)"),
        ("--lungs", "mask (.nii.gz)"),
        ("--record", "lungs JSON"),
        ("--cohort", "cohort table (.tsv)"),
        ("--output", "map to write (.nii.gz)"),
        ("--measures", "JSON to write"),
        ("--picture", "PNG to write"),
    ):
        patient.add_argument(name, type=Path, required=True, metavar="PATH", help=text)
    for kind, name, text in (
        (patient, "--gmcae", "folders of all trained autoencoders, each called by its scope"),
        (cohort, "--records", "JSON of each map"),
    ):
        kind.add_argument(name, type=Path, nargs="+", required=True, metavar="PATH", help=text)
    patient.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    cohort.add_argument("--output", type=Path, required=True, help="table to write (.tsv)")
    return parser.parse_args(argv)


def map_one(args: argparse.Namespace) -> int:
    """Make one patient's map, its picture and its record."""
    from lungfish import nifti, records
    from lungfish.errors import InputError, Refusal
    from lungfish.gmcae import backend, maps

    backend.start(threads=args.threads, seed=0, purpose="surprise")
    folds = {row["patient"]: row["fold"] for row in records.read_table(args.cohort)}
    if args.patient not in folds:
        raise InputError(f"{args.patient} is not in {args.cohort.name}: rerun the cohort stage")
    outputs = (args.output, args.measures, args.picture)
    try:
        records.require_ok(records.read_json(args.record, "lungs/1"))
        volume, lungs = nifti.read_volume(args.volume), nifti.read_mask(args.lungs)[0] > 0
        fold = folds[args.patient]
        mapped = maps.map_patient(args.patient, fold, args.gmcae, volume, lungs)
    except Refusal as refusal:
        maps.write_refused(*outputs, refusal)
        raise
    maps.write_map(*outputs, mapped, volume)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
