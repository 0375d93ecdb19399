"""Make the weights of the lungs' U-Net again, from digital patients alone (`make lungs-unet`)."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from lungfish import command

CASES = 180
STEPS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Make the cases, train, store the weights and where they come from."""
    parser = command.parser(
        __doc__,
        cases="folder for the digital patients, about 2 MB each; those there are taken",
        output="weights to write (.npz); their provenance is written beside them (.json)",
    )
    parser.add_argument("--count", type=int, default=CASES, help=f"patients (default: {CASES})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of two (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--threads", type=int, default=2, help="and processes (default: 2)")
    args = parser.parse_args(argv)

    from lungfish.lungs.unet.cases import store_case
    from lungfish.phantom import TRAINING_SEEDS

    seeds = TRAINING_SEEDS[: args.count]
    args.cases.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process of the pool has one core
    with ProcessPoolExecutor(args.threads) as pool:
        files = list(pool.map(partial(store_case, args.cases), seeds, chunksize=4))
    print(f"made {len(files)} digital patients: {cpu_s():.0f} CPU seconds", flush=True)

    from lungfish import provenance
    from lungfish.gmcae import backend
    from lungfish.lungs.unet import weights

    backend.start(threads=args.threads, seed=args.seed, purpose="lungs-unet")
    from lungfish.lungs.unet import network, training

    tell = partial(print, flush=True)
    trained = training.train(files, steps=args.steps, seed=args.seed, tell=tell)
    made_from = {
        "command": f"scripts/train_lungs_unet.py --count {args.count} --steps {args.steps} "
        f"--seed {args.seed} --threads {args.threads}",
        "training_seeds": [seeds.start, seeds.stop],
        "versions": provenance.package_versions(),
        "what": "trained on digital patients alone, no person's scan",
    }
    weights.write_weights(args.output, network.arrays_of(trained), made_from)
    print(f"trained: {cpu_s():.0f} CPU seconds in all")
    return command.DONE


def cpu_s() -> float:
    """Return CPU seconds of this process and its children so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    command.run(main)
