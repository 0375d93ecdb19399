"""Find both lungs of one patient, measure them, judge the mask and draw it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the lungs stage for one patient; a refusal is stored before it is raised."""
    parser = command.parser(
        __doc__,
        volume="NIfTI of HU from the volumes stage",
        record="JSON of the volumes stage",
        output="NIfTI mask to write: 1 right lung, 2 left",
        measures="JSON to write: measures and verdict",
        mosaic="PNG to write: slices with both lungs outlined",
    )
    parser.add_argument(
        "--mask", type=Path, metavar="PATH", help="NIfTI mask of your own, in place of ours"
    )
    parser.add_argument(
        "--proposed",
        type=Path,
        metavar="PATH",
        help="store of lungs_unet.py, for the U-Net's methods",
    )
    parser.add_argument("--settings", help="JSON text or a YAML file; default: all defaults")
    arguments = parser.parse_args(argv)

    from lungfish import lungs, nifti, records, settings
    from lungfish.errors import Refusal

    chosen = settings.load(lungs.Settings, arguments.settings)
    volume = found = None
    try:
        records.require_ok(records.read_json(arguments.record, "volumes/1"))
        volume = nifti.read_volume(arguments.volume)
        found = find(volume, arguments, chosen)
        record = found.record
    except Refusal as refusal:
        record = lungs.refused_record(refusal)
    if found is None or record["status"] == "refused":
        nifti.write_refused(arguments.output, record["code"], mask=True)
    else:
        nifti.write_mask(arguments.output, found.labels, volume.affine)
    picture = lungs.mosaic.draw_record(record, volume, found and found.labels)
    with records.atomic(arguments.mosaic) as temporary:
        temporary.write_bytes(lungs.mosaic.encode(picture))
    records.write_json(arguments.measures, lungs.SCHEMA, record)
    records.require_ok(record)
    return command.DONE


def find(volume: Any, arguments: Any, chosen: Any) -> Any:
    """Return the mask that was given, or the one found by the method of the settings."""
    from lungfish import lungs, nifti

    if arguments.mask is not None:
        return lungs.adopt(volume, *nifti.read_given_mask(arguments.mask), settings=chosen)
    if chosen.method == "classical":
        return lungs.segment(volume, settings=chosen)
    from lungfish.lungs.unet import method, store

    proposal = None
    if arguments.proposed is not None:
        proposal = store.read_proposal(arguments.proposed, arguments.volume.name.split(".")[0])
    return method.segment_by(volume, proposal, settings=chosen)


if __name__ == "__main__":
    command.run(main)
