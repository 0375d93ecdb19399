"""Does the loss stay finite? Five seeds at three rates on real patches, then patches made to hurt.

The default, and beside it kdsb17's parametrisation of the variance (its layout, narrow). The
patches are those of `benchmarks.gmcae_study`, cut by the workflow.
"""

import argparse
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import pages
from benchmarks.measure import machine, markdown, publish

SEEDS = range(5)
RATES = (1e-4, 1e-3, 3e-3)
STEPS = 200
HURTFUL = ("one grey level", "metal", "noise of one grey level", "one bright voxel", "two levels")
LEVELS_HU = (-3024, -1024, -1000, -300, 0, 400, 3071)
DESIGNS: dict[str, dict[str, Any]] = {
    "default": {},
    "kdsb17's parametrisation": {
        "design": "layered", "head": "patch", "filters": (8, 16, 32), "components": 4,
        "variance": "kdsb17",
    },
}  # fmt: skip
Array = NDArray[Any]


def hurtful(rng: np.random.Generator, count: int) -> Array:
    """Return patches that no lung has, int16 HU, shape (count, 32, 32, 32); each kind in turn."""
    made = np.empty((count, 32, 32, 32), np.int16)
    for at in range(count):
        level = int(rng.choice([*LEVELS_HU, int(rng.integers(-1000, 400))]))
        patch = np.full((32, 32, 32), level, np.int16)
        kind = HURTFUL[at % len(HURTFUL)]
        if kind == "metal":
            patch[tuple(slice(*sorted(rng.integers(0, 33, 2))) for _ in range(3))] = 3071
        elif kind == "noise of one grey level":
            patch += rng.integers(0, 2, patch.shape).astype(np.int16)
        elif kind == "one bright voxel":
            patch[tuple(rng.integers(0, 32, 3))] = 3071
        elif kind == "two levels":
            patch[:16] = -1000
        made[at] = patch
    return made


@dataclasses.dataclass
class Seen:
    """What steps did: how many, whether the sentinel stopped them, losses and gradient norms."""

    steps: int = 0
    stopped: bool = False
    losses: list[float] = dataclasses.field(default_factory=list)
    norms: list[float] = dataclasses.field(default_factory=list)


def train(network: Any, made: Iterator[Any], sentinel: Any, steps: int) -> Seen:
    """Make steps until the sentinel finds a loss, a gradient or a weight that is not finite."""
    from lungfish.errors import InputError

    seen = Seen()
    for batch, (inputs, targets) in enumerate(itertools.islice(made, steps), start=1):
        network.reset_metrics()
        loss = float(network.train_on_batch(inputs, targets))
        seen.steps += 1
        seen.losses.append(loss)
        try:
            sentinel.check(loss, inputs, targets, epoch=1, batch=batch)
        except InputError:
            seen.stopped = True
            return seen
        seen.norms.append(sentinel.gradient_norm())
    return seen


def one(name: str, learn: Array, *, seed: int, rate: float, hurt: int) -> tuple[Seen, Seen]:
    """Train one network on real patches and then on hurtful ones."""
    import keras

    from lungfish.gmcae import batches, network, sentinel, training
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap

    keras.utils.set_random_seed(seed)
    settings = Settings(
        **DESIGNS[name] | {"learning_rate": rate, "steps_per_epoch": STEPS, "epochs": 16}
    )
    net = training.compile_network(settings)
    hu_map = HuMap()
    if settings.design == "anchored":
        network.anchor(net, hu_map.to_network(batches.evenly(learn, 512)), settings)
    made = hurtful(np.random.default_rng(seed), 1000)
    with tempfile.TemporaryDirectory() as folder:
        watch = sentinel.Sentinel(net, Path(folder))

        def epochs(patches: Array) -> Iterator[Any]:
            for epoch in itertools.count(1):
                yield from batches.epoch_batches(
                    patches, epoch=epoch, settings=settings, hu_map=hu_map, seed=seed
                )

        real = train(net, epochs(learn), watch, STEPS)
        return real, Seen() if real.stopped else train(net, epochs(made), watch, hurt)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=Path, nargs="+", required=True, help="stores (.h5)")
    parser.add_argument("--hurt", type=int, default=2000, help="steps on hurtful patches, in all")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--page", type=Path, help="page of the docs to put the table into")
    args = parser.parse_args(argv)

    from lungfish.gmcae import backend

    backend.start(threads=None, seed=0, purpose="gmcae stability")
    from lungfish.gmcae import pool

    stores = [pool.find_patches(path) for path in args.patches]
    learn = np.concatenate([found[np.arange(len(found))] for found in stores])
    rows, failed = [], 0
    for name in DESIGNS:
        for rate in RATES:
            before = time.process_time()
            # The hurtful steps go on with the first seed of each rate.
            share = {seed: args.hurt // len(RATES) + 1 if seed == 0 else 0 for seed in SEEDS}
            found = [one(name, learn, seed=seed, rate=rate, hurt=share[seed]) for seed in SEEDS]
            real, hurt = ([each[k] for each in found] for k in (0, 1))
            failed += sum(each.stopped for each in real + hurt) if name == "default" else 0
            ends = [float(np.mean(each.losses[-20:])) for each in real]
            rows.append([
                name, f"{rate:g}", f"{sum(e.stopped for e in real)} of {len(real)}",
                f"{min(ends):.2f} to {max(ends):.2f}",
                f"{max(itertools.chain(*(e.norms for e in real))):.3g}",
                f"{sum(e.stopped for e in hurt)} of {sum(e.steps for e in hurt)}",
                f"{max(itertools.chain(*(e.norms for e in hurt)), default=0):.3g}",
                f"{time.process_time() - before:.0f}",
            ])  # fmt: skip
            print(rows[-1], flush=True)
    columns = [
        "network", "rate", f"seeds with a value that is not finite in {STEPS} steps",
        "loss of the last 20 steps, nats per voxel", "largest gradient norm",
        "such steps on hurtful patches", "largest gradient norm there", "CPU s",
    ]  # fmt: skip
    text = markdown(columns, rows) + f"\n{machine()}\n"
    publish(text, args.output)
    if args.page:
        pages.put(args.page, "stability", text)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
