"""Time random batches from patients' patch stores beside a training step of the default network.

Each measurement is a process of its own. Batches are as large as the settings say; all ways read
the same patches of the same digital cohort, in the order in which training takes them.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import measure
from benchmarks.measure import Measurement, least
from lungfish import patches
from lungfish.gmcae import batches, pool
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.randomness import generator

PATIENTS, PER_PATIENT = 40, 128
STEPS, BATCHES = 100, 1000
SEED = 0
FLOOR, VARIED_FLOOR = 0.05, 0.10
"""Largest allowed share of a step's CPU seconds: for random batches, and varied ones."""
Prepared = tuple[measure.Work, measure.Check]
SETTLED = Settings()
STILL = dataclasses.replace(SETTLED, blur_voxel=0.0, noise_hu=0.0)
ALL_ON = dataclasses.replace(SETTLED, symmetries="cube", jitter_hu=10.0, jitter_scale=0.01)


def digital_patches(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return patches with noise and vessels, which compress about as those of a chest do."""
    shape = (PER_PATIENT, *pool.PATCH_SHAPE)
    hu = np.full(shape, -850, np.float32)
    hu[:, 10:14] = 40
    hu[:, :, 20:, 25:] = 60
    hu += 30 * rng.standard_normal(shape, dtype=np.float32)
    return np.rint(hu).astype(np.int16)


def make_cohort(scratch: Path) -> None:
    """Write the stores of all patients, also packed as others pack them."""
    for number in range(PATIENTS):
        rng = generator(SEED, "benchmark", number)
        found = dataclasses.replace(
            patches.no_patches(patches.Refusal("", ""), seed=SEED),
            patches=digital_patches(rng),
            corner_voxel=np.zeros((PER_PATIENT, 3), np.int32),
            lung_fraction=np.ones(PER_PATIENT, np.float32),
        )
        patches.write_patches(scratch / "plain" / f"{number:03}.h5", found)
        for kind in ("lzf", "gzip"):
            (scratch / kind).mkdir(exist_ok=True)
            with h5py.File(scratch / kind / f"{number:03}.h5", "w") as store:
                chunks = (1, *pool.PATCH_SHAPE)
                store.create_dataset("patches", data=found.patches, chunks=chunks, compression=kind)


class Opened:
    """A store read through h5py: opened for each patch, or kept open."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path = path
        self.store = h5py.File(path)["patches"] if keep else None

    def __len__(self) -> int:
        return PER_PATIENT

    def __getitem__(self, which: int) -> Any:
        if self.store is not None:
            return self.store[int(which)]
        with h5py.File(self.path) as store:
            return store["patches"][int(which)]


def stored(scratch: Path, kind: str = "plain") -> list[Path]:
    """Return the stores of a kind."""
    return sorted((scratch / kind).glob("*.h5"))


def from_disk(scratch: Path) -> Any:
    """Return the patches as training reads them where they do not fit into memory."""
    found = [pool.find_patches(path) for path in stored(scratch)]
    return pool.join(found, in_memory_bytes=0)


def from_cold_disk(scratch: Path) -> Any:
    """Return the same after the system was asked to forget what it knows of the files."""
    for path in stored(scratch):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return from_disk(scratch)


def from_memory(scratch: Path) -> Any:
    """Return the patches as training reads them where they fit into memory."""
    return pool.join([pool.find_patches(path) for path in stored(scratch)])


def by_h5py(scratch: Path, *, kind: str = "plain", keep: bool = True) -> Any:
    """Return patches that h5py reads."""
    return pool.Pool(tuple(Opened(path, keep=keep) for path in stored(scratch, kind)))  # type: ignore[arg-type]


def made(training: Any, settings: Settings, count: int, workers: int = 0) -> Iterator[Any]:
    """Yield so many batches, as one epoch."""
    long = dataclasses.replace(settings, steps_per_epoch=count)
    return batches.epoch_batches(
        training, settings=long, hu_map=HuMap(), seed=SEED, epoch=1, workers=workers
    )


def prepare_batches(scratch: Path, source: Callable[[Path], Any], settings: Settings) -> Prepared:
    """Return the work of making batches."""
    training = source(scratch)
    return lambda: sum(1 for _ in made(training, settings, BATCHES)), int


def prepare_steps(scratch: Path, workers: int | None) -> Prepared:
    """Return the work of training: on one batch again and again, or with batches from disk."""
    from lungfish.gmcae import backend

    backend.start(threads=None, seed=SEED, purpose="benchmark")
    from lungfish.gmcae.training import compile_network

    network, training = compile_network(SETTLED), from_disk(scratch)
    first = next(made(training, SETTLED, 1))
    for _ in range(5):
        network.train_on_batch(*first)

    def work() -> int:
        source = [first] * STEPS if workers is None else made(training, SETTLED, STEPS, workers)
        return sum(network.train_on_batch(*batch) is not None for batch in source)

    return work, int


STEP, DISK = "training step alone", "batches from disk"
VARIED = "batches from disk, blur and noise"
WAYS: dict[str, Callable[[Path], Prepared]] = {
    STEP: partial(prepare_steps, workers=None),
    DISK: partial(prepare_batches, source=from_disk, settings=STILL),
    VARIED: partial(prepare_batches, source=from_disk, settings=SETTLED),
    "all options on": partial(prepare_batches, source=from_disk, settings=ALL_ON),
    "batches from a cold disk": partial(prepare_batches, source=from_cold_disk, settings=STILL),
    "batches from memory": partial(prepare_batches, source=from_memory, settings=STILL),
    "h5py, files kept open": partial(prepare_batches, source=by_h5py, settings=STILL),
    "h5py, opened for each": partial(
        prepare_batches, source=partial(by_h5py, keep=False), settings=STILL
    ),
    "h5py, lzf": partial(prepare_batches, source=partial(by_h5py, kind="lzf"), settings=STILL),
    "h5py, gzip": partial(prepare_batches, source=partial(by_h5py, kind="gzip"), settings=STILL),
    "step and batch, no thread": partial(prepare_steps, workers=0),
    "step and batch, 1 thread": partial(prepare_steps, workers=1),
    "step and batch, 2 threads": partial(prepare_steps, workers=2),
}
COLUMNS = ("way", "CPU ms a batch, least (median)", "wall ms", "CPU: share of a step")


def milliseconds(runs: Sequence[Measurement], field: str) -> str:
    """Return ``least (median)`` of a field, of one batch or step."""
    count = runs[0].answer
    low, middle = least(runs, field), measure.median(runs, field)
    return f"{1e3 * low / count:.2f} ({1e3 * middle / count:.2f})"


def share(runs: Sequence[Measurement], steps: Sequence[Measurement]) -> float:
    """Return what a batch costs beside a step."""
    return (least(runs, "cpu_s") / runs[0].answer) / (least(steps, "cpu_s") / steps[0].answer)


def page(found: dict[str, list[Measurement]], rounds: int) -> str:
    """Return the table, and what was promised."""
    steps = found[STEP]
    plain, varied = share(found[DISK], steps), share(found[VARIED], steps)
    kept = "kept" if plain < FLOOR and varied < VARIED_FLOOR else "NOT kept"
    rows = [
        [way, milliseconds(runs, "cpu_s"), milliseconds(runs, "wall_s"),
         f"{100 * share(runs, steps):.1f} %"]
        for way, runs in found.items()
    ]  # fmt: skip
    return (
        f"Batches of {SETTLED.batch_size} of {PATIENTS} x {PER_PATIENT} patches, {rounds} rounds "
        f"in turn. Promised: random batches below {FLOOR:.0%} of a step's CPU seconds, varied "
        f"ones below {VARIED_FLOOR:.0%}. Found: {plain:.1%} and {varied:.1%}: {kept}.\n\n"
        f"{measure.markdown(COLUMNS, rows)}\n{measure.machine()}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for stores, 900 MB")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        measure.report_here(partial(WAYS[args.measure], args.scratch))
        return 0
    make_cohort(args.scratch)
    arguments = ["--scratch", str(args.scratch), "--measure"]
    ways = {
        way: partial(measure.in_fresh_process, "benchmarks.patch_store", [*arguments, way])
        for way in WAYS
    }
    measure.publish(page(measure.interleaved(ways, args.rounds), args.rounds), args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
