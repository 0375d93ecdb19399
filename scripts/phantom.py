"""Make one digital patient: a DICOM series of a chest with nodules, and the truth beside it."""

from collections.abc import Sequence

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Make the patient, write the scan and the truth."""
    parser = command.parser(
        __doc__, dicom="folder for the DICOM files", truth="folder for the truth"
    )
    parser.add_argument("--patient", required=True, help="name; it decides the fate")
    parser.add_argument("--settings", help="JSON, or the path of a YAML file; default: defaults")
    parser.add_argument("--seed", type=int, default=0, help="of all chance, 0 or more (0)")
    arguments = parser.parse_args(argv)

    from lungfish import phantom, settings

    wanted = settings.load(phantom.Settings, arguments.settings)
    digital = phantom.make_patient(arguments.patient, seed=arguments.seed, settings=wanted)
    phantom.write_truth(arguments.truth, digital)
    phantom.write_dicom(arguments.dicom, digital)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
