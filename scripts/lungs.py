"""Find both lungs of one patient, measure them, judge the mask and draw it."""

from collections.abc import Sequence

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
    parser.add_argument("--settings", help="JSON text or a YAML file; default: all defaults")
    arguments = parser.parse_args(argv)

    from lungfish import lungs, nifti, records, settings
    from lungfish.errors import Refusal

    chosen = settings.load(lungs.Settings, arguments.settings)
    try:
        records.require_ok(records.read_json(arguments.record, "volumes/1"))
        volume = nifti.read_volume(arguments.volume)
        found = lungs.segment(volume, settings=chosen)
        record = found.record
    except Refusal as refusal:
        record = lungs.refused_record(refusal)
    if record["status"] == "refused":
        nifti.write_refused(arguments.output, record["code"], mask=True)
        picture = lungs.mosaic.draw_refused(record["code"], record["reason"])
    else:
        nifti.write_mask(arguments.output, found.labels, volume.affine)
        picture = lungs.mosaic.draw(volume, found.labels, caption=lungs.describe(record))
    with records.atomic(arguments.mosaic) as temporary:
        temporary.write_bytes(lungs.mosaic.encode(picture))
    records.write_json(arguments.measures, lungs.SCHEMA, record)
    records.require_ok(record)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
