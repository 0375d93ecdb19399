"""Cut cubes of 32 voxels from inside a patient's lungs into an HDF5 store."""

from collections.abc import Sequence

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the patches stage for one patient."""
    parser = command.parser(
        __doc__,
        volume="volume (.nii.gz)",
        lungs="mask (.nii.gz)",
        record="lungs JSON",
        output="patch store to write (.h5)",
    )
    parser.add_argument("--patient", required=True, help="name, so that chance is this patient's")
    parser.add_argument("--settings", help="section `patches` as JSON or the path of a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default 0)")
    args = parser.parse_args(argv)

    from lungfish import nifti, patches, records
    from lungfish.errors import Refusal
    from lungfish.randomness import generator
    from lungfish.settings import load

    settings = load(patches.Settings, args.settings)
    try:
        records.require_ok(records.read_json(args.record, "lungs/1"))
        volume = nifti.read_volume(args.volume)
        labels, _ = nifti.read_mask(args.lungs)
        rng = generator(args.seed, "patches", args.patient)
        found = patches.sample_patches(volume, labels, settings=settings, rng=rng, seed=args.seed)
    except Refusal as refusal:
        patches.write_patches(args.output, patches.no_patches(refusal, seed=args.seed))
        raise
    patches.write_patches(args.output, found)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
