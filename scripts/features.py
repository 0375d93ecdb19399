"""Run the encoder over the whole lungs of a shard of patients."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the features stage for one shard."""
    parser = command.parser(
        __doc__, encoder="folder of the gmcae stage", output="store to write (.h5)"
    )
    for name, text in (
        ("--volumes", "volumes (.nii.gz)"),
        ("--lungs", "masks (.nii.gz), in the same order"),
        ("--lungs-records", "lungs JSON, in the same order"),
    ):
        parser.add_argument(name, type=Path, nargs="*", required=True, metavar="PATH", help=text)
    parser.add_argument("--settings", help="section `features` as JSON or the path of a YAML file")
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish import nifti, records
    from lungfish.errors import InputError, Refusal
    from lungfish.gmcae import backend

    backend.start(threads=args.threads, seed=0, purpose="features")
    from lungfish import features
    from lungfish.gmcae.encoder import Encoder, load_encoder
    from lungfish.settings import load

    settings = load(features.Settings, args.settings)
    if not len(args.volumes) == len(args.lungs) == len(args.lungs_records):
        raise InputError("--volumes, --lungs and --lungs-records differ in number")

    def encode(
        encoder: Encoder | Refusal, volume: Path, lungs: Path, record: Path
    ) -> features.Features | Refusal:
        try:
            if isinstance(encoder, Refusal):
                raise encoder
            measures = records.read_json(record, "lungs/1")
            records.require_ok(measures)
            labels, _ = nifti.read_mask(lungs)
            return features.encode_lungs(
                encoder, nifti.read_volume(volume), labels, measures["box_voxel"], settings=settings
            )
        except Refusal as refusal:
            return refusal

    try:
        encoder: Encoder | Refusal = load_encoder(args.encoder)
    except Refusal as refusal:
        encoder = refusal
    triples = zip(args.volumes, args.lungs, args.lungs_records, strict=True)
    found = {paths[0].name.split(".")[0]: encode(encoder, *paths) for paths in triples}
    features.write_features(args.output, found)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
