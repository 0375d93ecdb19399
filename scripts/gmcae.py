"""Pretrain the autoencoder on the patches of a scope's training patients, without labels."""

import dataclasses
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
    parser.add_argument("--workers", type=int, default=1, help="threads that make batches ahead")
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
    stores = {path.stem: path for path in sorted(args.patches) if path.stem in accepted}

    from lungfish.gmcae import backend

    backend.start(threads=args.threads, seed=args.seed, purpose=f"gmcae {args.scope}")
    from lungfish.gmcae import artefacts, batches, pool, training

    hu_map = HuMap()
    found = {patient: pool.find_patches(path) for patient, path in stores.items()}
    spacing_mm = batches.common_spacing_mm(
        {patient: stored.spacing_mm for patient, stored in found.items() if len(stored)}
    )
    try:
        split = batches.split_patches(found, settings)
    except Refusal as refusal:
        artefacts.write_refused(args.output, refusal)
        raise
    origins = []
    for patient in split.training_patients:
        with patches.open_store(stores[patient]) as store:
            origins += [f"{patient} {tuple(at)}" for at in store["corner_voxel"][:].tolist()]
    split = dataclasses.replace(split, origins=tuple(origins))
    trained = training.train(
        split, settings=settings, hu_map=hu_map, seed=args.seed, folder=args.output,
        workers=args.workers,
    )  # fmt: skip
    artefacts.write(
        args.output, trained, split, settings=settings, hu_map=hu_map, spacing_mm=spacing_mm
    )
    return command.DONE


if __name__ == "__main__":
    command.run(main)
