"""Pretrain the autoencoder on the patches of a scope's training patients, without labels."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gmcae stage for one scope."""
    parser = command.parser(__doc__, cohort="cohort table (.tsv)", output="folder to write")
    parser.add_argument(
        "--patches", type=Path, nargs="+", required=True, metavar="PATH", help="stores (.h5)"
    )
    parser.add_argument("--scope", default="cohort", help="cohort, or fold-K: all but fold K")
    parser.add_argument("--settings", help="section `gmcae` as JSON or the path of a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish import patches, records
    from lungfish.errors import Refusal
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap
    from lungfish.settings import load

    settings = load(Settings, args.settings)
    accepted = {
        row["patient"]
        for row in records.read_table(args.cohort)
        if row["status"] == "ok" and args.scope != f"fold-{row['fold']}"
    }
    sets = {
        path.stem: patches.read_patches(path)
        for path in sorted(args.patches)
        if path.stem in accepted
    }

    from lungfish.gmcae import backend

    backend.start(threads=args.threads, seed=args.seed, purpose=f"gmcae {args.scope}")
    from lungfish.gmcae import artefacts, batches, training

    hu_map = HuMap()
    spacing_mm = batches.common_spacing_mm(
        {patient: found.spacing_mm for patient, found in sets.items() if len(found.patches)}
    )
    try:
        arrays = {patient: found.patches for patient, found in sets.items()}
        split = batches.split_patches(arrays, settings)
    except Refusal as refusal:
        artefacts.write_refused(args.output, refusal)
        raise
    trained = training.train(
        split, settings=settings, hu_map=hu_map, seed=args.seed, folder=args.output
    )
    artefacts.write(
        args.output, trained, split, settings=settings, hu_map=hu_map, spacing_mm=spacing_mm
    )
    return command.DONE


if __name__ == "__main__":
    command.run(main)
