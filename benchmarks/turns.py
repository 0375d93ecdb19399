"""Workers that take turns: each does some steps when asked, and says what they cost.

Start-up, compilation and the first steps are left out; what a step costs is compared round after
round, so that a busy machine is busy for all. Only the standard library, since a worker may run
under another Python that has none of the project's packages.
"""

import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Turn:
    """Some steps of one worker.

    Attributes
    ----------
    cpu_s, wall_s : float
        Of one step, in the mean; CPU is user and system of all threads.
    loss : float
        Of the last step.
    peak_mb : float
        Highest resident memory so far, in MB (1e6 bytes).
    """

    cpu_s: float
    wall_s: float
    loss: float
    peak_mb: float


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve(first_loss: float, step: Callable[[int], float]) -> None:
    """Say the first loss, then do as many steps as each line on standard input asks for.

    Parameters
    ----------
    first_loss : float
        Before any update.
    step : callable
        Takes the number of the step, makes it and returns its loss.
    """
    number = 0
    print(json.dumps({"first_loss": first_loss}), flush=True)
    for line in sys.stdin:
        wanted, loss = int(line), first_loss
        cpu_s, wall_s = _cpu_s(), time.perf_counter()
        for _ in range(wanted):
            loss = step(number)
            number += 1
        spent = (_cpu_s() - cpu_s) / wanted, (time.perf_counter() - wall_s) / wanted
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps(dataclasses.asdict(Turn(*spent, loss, peak_mb))), flush=True)


class Worker:
    """A process that serves turns.

    Parameters
    ----------
    command : sequence of str
        Ends in `serve`.
    """

    def __init__(self, command: Sequence[str], **kwargs: Any) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs
        )

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with status {self._process.wait()}")
        return dict(json.loads(line))

    def first_loss(self) -> float:
        """Wait until the worker is ready, and return its loss before any update."""
        return self._answer()["first_loss"]

    def turn(self, steps: int) -> Turn:
        """Let the worker make some steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return Turn(**self._answer())

    def end(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def take_turns(
    workers: Mapping[str, Worker], *, rounds: int, steps: int, warm_up: int
) -> dict[str, list[Turn]]:
    """Let every worker make its steps once a round, the order turned round each time.

    Parameters
    ----------
    workers : mapping of str to Worker
    rounds, steps : int
        Measured rounds, and steps of each worker in each of them.
    warm_up : int
        Steps before the first round, not kept: they compile and allocate.
    """
    for worker in workers.values():
        worker.turn(warm_up)
    found: dict[str, list[Turn]] = {name: [] for name in workers}
    for number in range(rounds):
        for name in list(workers)[:: -1 if number % 2 else 1]:
            found[name].append(workers[name].turn(steps))
    return found
