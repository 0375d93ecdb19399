"""The same work for every patient of a sheet, side by side."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lungfish.command import set_threads
from lungfish.errors import InputError
from lungfish.records import Record
from lungfish.samples import Sample, read_samples


def for_each(
    sheet: Path, schema: Path, work: Callable[[Sample], Record], *, workers: int
) -> list[Record]:
    """Do some work for every patient of a sheet, and return its results in the sheet's order.

    Parameters
    ----------
    sheet, schema : Path
        As of `lungfish.samples.read_samples`.
    work : callable
        From a sample to a record; a function of a module, so that another process finds it.
    workers : int
        Processes side by side; with 1 all is done in this one.

    Raises
    ------
    InputError
        With every problem of the sheet.
    """
    samples, problems = read_samples(sheet, schema)
    if problems:
        raise InputError("; ".join(problems))
    if workers == 1:
        return [work(sample) for sample in samples]
    # Each worker is one of the job's threads, and its libraries are not to start as many again.
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=set_threads, initargs=(1,)
    ) as pool:
        return list(pool.map(work, samples))
