"""Write a samples sheet from a folder with one subfolder a patient, or of digital patients."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from lungfish import command

log = logging.getLogger("samples")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a samples sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with one subfolder a patient")
    source.add_argument("--digital", type=int, metavar="N", help="N digital patients instead")
    parser.add_argument("--labels", type=Path, help="CSV with header, such as id,cancer")
    parser.add_argument("--output", type=Path, required=True, help="sheet to write (.tsv)")
    args = parser.parse_args(argv)

    from lungfish import samples

    labels: dict[str, str] = {}
    folders: dict[str, Path | None]
    if args.data is not None:
        folders = dict(samples.find_patients(args.data))
        labels = samples.read_labels(args.labels) if args.labels else {}
    else:
        from lungfish.phantom import is_malignant

        folders = {f"digital-{k:04d}": None for k in range(1, args.digital + 1)}
        labels = {name: str(int(is_malignant(name))) for name in folders}
    for patient in sorted(set(labels) - set(folders)):
        log.warning("label of %s: no folder of that name, left out", patient)
    samples.write_sheet(args.output, folders, labels)
    known = sum(labels.get(patient, "") != "" for patient in folders)
    log.info("%s: %d patients, %d with a label", args.output, len(folders), known)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
