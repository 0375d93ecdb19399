"""Take somebody else's encoder in place of one that is trained here."""

from collections.abc import Sequence

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Check an encoder and write it as the gmcae stage would."""
    parser = command.parser(
        __doc__,
        pretrained="folder with encoder.keras and gmcae.json, or a .keras file beside the second",
        output="folder to write",
    )
    parser.add_argument(
        "--spacing-mm", type=float, default=None, help="voxel size of the volumes, to be compared"
    )
    args = parser.parse_args(argv)

    from lungfish.gmcae import backend

    backend.start(threads=None, seed=0, purpose="gmcae pretrained")
    from lungfish.gmcae import artefacts, pretrained

    encoder = pretrained.load_pretrained(args.pretrained)
    pretrained.check_spacing(encoder, args.spacing_mm)
    artefacts.write_pretrained(
        args.output, encoder, digest=pretrained.digest_of(pretrained.file_of(args.pretrained))
    )
    return command.DONE


if __name__ == "__main__":
    command.run(main)
