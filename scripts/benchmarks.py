"""Say where the time, memory and disk of a run went: two tables and a page."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from lungfish import command


def main(argv: Sequence[str] | None = None) -> int:
    """Read the logs, sum by stage, write; what to look at is said at the terminal too."""
    parser = command.parser(__doc__, output="folder for the tables and the page")
    for name, text in (("logs", "benchmark files and logs"), ("results", "results")):
        parser.add_argument(
            f"--{name}", type=Path, default=Path(name), metavar="PATH",
            help=f"folder of the {text}, in which each stage has its own ({name})",
        )  # fmt: skip
    args = parser.parse_args(argv)

    from lungfish import benchmarks, records

    jobs = benchmarks.read_jobs(args.logs)
    disk_mb = benchmarks.sizes_on_disk(args.results)
    stages = benchmarks.sum_stages(jobs, disk_mb)
    records.write_table(
        args.output / "benchmarks.tsv", benchmarks.COLUMNS, map(dataclasses.asdict, stages)
    )
    records.write_table(
        args.output / "jobs.tsv", benchmarks.JOB_COLUMNS, [job.row() for job in jobs]
    )
    page = args.output / "index.html"
    with records.atomic(page) as temporary:
        temporary.write_text(benchmarks.build_page(jobs, stages), encoding="utf-8")
    print(f"Benchmarks: {os.path.relpath(page)}")
    for finding in benchmarks.describe_findings(jobs):
        print(finding)
    return command.DONE


if __name__ == "__main__":
    command.run(main)
