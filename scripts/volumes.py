"""Turn a patient's indexed slices into one volume of HU along the patient's axes."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the volumes stage for one patient."""
    parser = command.parser(
        __doc__,
        dicom="folder or zip that was indexed",
        index="index JSON",
        output="volume to write (.nii.gz)",
        record="volumes JSON to write",
    )
    parser.add_argument("--filled", type=Path, help="mask of invented voxels to write (.nii.gz)")
    parser.add_argument("--salt", default="", help="salt of the index stage")
    parser.add_argument("--threads", type=int, default=1, help="that decode slices")
    parser.add_argument("--settings", help="section `volumes` as JSON or the path of a YAML file")
    args = parser.parse_args(argv)

    from lungfish import index, nifti, records, volumes
    from lungfish.errors import Refusal
    from lungfish.settings import load

    settings = load(volumes.Settings, args.settings)
    indexed = records.read_json(args.index, index.SCHEMA)
    try:
        volume, record = volumes.build_volume(
            args.dicom, indexed, settings=settings, salt=args.salt, threads=args.threads
        )
    except Refusal as refusal:
        nifti.write_refused(args.output, refusal.code, mask=False)
        if args.filled:
            nifti.write_refused(args.filled, refusal.code, mask=True)
        records.write_json(args.record, volumes.SCHEMA, records.refused(refusal))
        raise
    nifti.write_volume(args.output, volume)
    if args.filled:
        nifti.write_mask(args.filled, volumes.filled_mask(volume, indexed), volume.affine)
    records.write_json(args.record, volumes.SCHEMA, record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
