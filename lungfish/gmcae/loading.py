"""Which patch each draw of a training run takes, and batches made before they are needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lungfish.randomness import generator

WORKERS = 1
"""Threads that make batches ahead: one hides the disk where a batch costs 3 % of a step."""
Made = TypeVar("Made")


def places(patches: int, *, seed: int, first: int, count: int) -> NDArray[np.int64]:
    """Return which patch each draw of a run takes: one shuffled pass over all after another.

    Parameters
    ----------
    patches : int
        How many there are.
    seed : int
        Of the run.
    first, count : int
        The draws wanted, counted from the beginning of the run.

    Returns
    -------
    ndarray of int, shape (count,)
    """
    passes = range(first // patches, (first + count - 1) // patches + 1)
    orders = [generator(seed, "gmcae", "pass", one).permutation(patches) for one in passes]
    return np.concatenate(orders)[first - passes[0] * patches :][:count]


def ahead(make: Callable[[int], Made], starts: Iterable[int], *, workers: int) -> Iterator[Made]:
    """Yield what is made of each start, in their order, made by threads ahead of its use.

    Threads are enough: NumPy lets go of the interpreter in everything that takes long, and a batch
    need not be copied between processes.
    """
    if not workers:
        yield from map(make, starts)
        return
    with ThreadPoolExecutor(workers, "batches") as threads:
        waiting: deque[Future[Made]] = deque()
        try:
            for start in starts:
                waiting.append(threads.submit(make, start))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
