"""Count every patient's patches: of the lungs' inside, of their border and beside them."""

from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table of counts of a cohort."""
    parser = command.parser(__doc__, output="table to write (.tsv)")
    parser.add_argument(
        "--patches", type=Path, nargs="+", required=True, metavar="PATH", help="stores (.h5)"
    )
    args = parser.parse_args(argv)

    from lungfish import patches, records
    from lungfish.gmcae import pool
    from lungfish.intensity import HuMap

    rows = (
        pool.count_patches(path.stem, patches.read_patches(path), hu_map=HuMap())
        for path in sorted(args.patches)
    )
    records.write_table(args.output, pool.COUNT_COLUMNS, rows)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
