"""Let the U-Net propose both lungs of each patient of a shard; TensorFlow starts once."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the network over the volumes of one shard."""
    parser = command.parser(__doc__, output="store of proposals to write (.h5)")
    for name, text in (
        ("--volumes", "volumes (.nii.gz)"),
        ("--records", "JSON of the volumes stage, in the same order"),
    ):
        parser.add_argument(name, type=Path, nargs="*", required=True, metavar="PATH", help=text)
    parser.add_argument("--weights", type=Path, metavar="PATH", help="default: lungfish's own")
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish import nifti, records
    from lungfish.errors import InputError, Refusal
    from lungfish.gmcae import backend

    if len(args.volumes) != len(args.records):
        raise InputError("--volumes and --records differ in number")
    backend.start(threads=args.threads, seed=0, purpose="lungs-unet")
    from lungfish.lungs.unet import network, store, weights
    from lungfish.lungs.unet.proposal import Proposal

    trained = network.load_network(args.weights or weights.FILE)

    def propose(volume: Path, record: Path) -> Proposal | Refusal:
        try:
            records.require_ok(records.read_json(record, "volumes/1"))
        except Refusal as refusal:
            return refusal
        return network.propose(nifti.read_volume(volume), trained)

    found = {
        volume.name.split(".")[0]: propose(volume, record)
        for volume, record in zip(args.volumes, args.records, strict=True)
    }
    store.write_proposals(args.output, found)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
