"""Predict one new patient from a DICOM folder and a model folder."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Predict one patient; ends with 3 where the model abstains."""
    parser = command.parser(
        __doc__,
        dicom="folder with the patient's DICOM files",
        model="model folder of the model stage",
        output="prediction to write (.json)",
    )
    parser.add_argument(
        "--mask", type=Path, metavar="PATH", help="NIfTI mask of your own, in place of ours"
    )
    parser.add_argument("--threads", type=int, default=None, help="for TensorFlow (default: all)")
    args = parser.parse_args(argv)

    from lungfish import predict, records
    from lungfish.gmcae.backend import start

    start(threads=args.threads, seed=0, purpose="predict")
    record = predict.predict_folder(args.dicom, args.model, mask=args.mask)
    records.write_json(args.output, predict.SCHEMA, record)
    print(predict.three_lines(record))
    return command.DONE if record["status"] == "ok" else command.REFUSED


if __name__ == "__main__":
    command.run(main)
