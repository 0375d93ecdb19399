"""One run of `benchmarks.gmcae_study`, in a process of its own."""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
INNER = 10
"""One in so many patches of a training patient chooses the epoch and trains nothing."""
CODE_STEPS = tuple(2.0**-k for k in range(2, 9))
"""To which codes, of unit variance at the start, may be rounded for a whole message."""


def read(stores: dict[str, str], left: str, judged: int) -> tuple[Array, Array, Array]:
    """Return the patches to learn from, to choose the epoch by, and to judge by; int16 HU."""
    from lungfish.gmcae import batches, pool

    found = {name: pool.find_patches(Path(path)) for name, path in stores.items()}
    taken = {name: np.arange(len(each)) for name, each in found.items()}
    others = [name for name in found if name != left]
    inner = [found[name][taken[name][INNER // 2 :: INNER]] for name in others]
    training = [found[name][np.delete(taken[name], np.s_[INNER // 2 :: INNER])] for name in others]
    return (
        np.concatenate(training),
        batches.evenly_of_each(inner, 64),
        batches.evenly(found[left], judged),
    )


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Train without one patient and judge his patches; nothing here looks at them before."""
    from lungfish.gmcae import backend

    backend.start(threads=None, seed=spec.get("seed", 0), purpose="gmcae study")
    from lungfish.gmcae import batches, training
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap

    learn, inner, held = read(spec["stores"], spec["left"], spec["judged"])
    chosen = {key: tuple(v) if isinstance(v, list) else v for key, v in spec["settings"].items()}
    epochs = spec["steps"] // spec["per_epoch"]
    settings = Settings(
        **{"steps_per_epoch": spec["per_epoch"], "epochs": epochs, "patience": epochs} | chosen
    )
    patches = batches.Patches(learn, inner, ("training",), ("inner",))
    hu_map = HuMap()
    before = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = training.train(
            patches, settings=settings, hu_map=hu_map, seed=spec.get("seed", 0), folder=Path(folder)
        )
    cost = {
        "cpu_s": time.process_time() - before[0],
        "wall_s": time.perf_counter() - before[1],
        "parameters": trained.network.count_params(),
    }
    scores = training.judge(trained.network, held, settings, hu_map)
    rows = [row["gradient_norm"] for row in trained.journal.batches]
    return {
        **spec, **cost, **scores, "epochs": trained.journal.epochs,
        "gradient_norm": [float(value) for value in np.percentile(rows, [50, 99, 100])],
        **message(trained.network, inner, held, settings, hu_map, learn),
    }  # fmt: skip


def message(
    network: Any, inner: Array, held: Array, settings: Any, hu_map: Any, learn: Array
) -> dict[str, float]:
    """Return the length of a whole message in bits per voxel: the rounded code, then the patch.

    A rounded code costs what an arithmetic coder with a table of each channel's values in training
    patches would need; the patch costs -log2 p given the rounded code. Unlike the likelihood given
    a code, this may be set beside a lossless codec. The step is the best for patches of the
    training patients.
    """
    from lungfish.gmcae import batches, samples
    from lungfish.gmcae.heads import head_of
    from lungfish.gmcae.network import VOXELS
    from lungfish.gmcae.training import bits_per_voxel

    encoder, decoder = samples.halves(network)
    head = head_of(settings, voxels=VOXELS)

    def codes(hu: Array) -> Array:
        return encoder.predict(hu_map.to_network(hu)[..., None], batch_size=8, verbose=0)  # type: ignore[no-any-return]

    seen = codes(batches.evenly(learn, 256))

    def bits(hu: Array, step: float) -> tuple[float, float]:
        table = [np.rint(values / step).astype(np.int64) for values in (seen, codes(hu))]
        sent = table[1] * np.float32(step)
        nats = []
        for at, (_, targets) in enumerate(batches.fixed_batches(hu, batch_size=8, hu_map=hu_map)):
            output = decoder.predict_on_batch(sent[8 * at : 8 * at + 8])
            nats.append(head.nats(targets, output))
        cost = sum(
            entropy_bits(known.ravel(), values.ravel())
            for known, values in zip(*(np.moveaxis(each, -1, 0) for each in table), strict=True)
        )
        return cost / hu.size, bits_per_voxel(float(np.concatenate(nats).mean()), hu_map)

    step = min(CODE_STEPS, key=lambda each: sum(bits(inner, each)))
    code, rest = bits(held, step)
    return {"code_step": step, "code_bits": code, "message_bits": code + rest}


def entropy_bits(known: Array, values: Array) -> float:
    """Return the bits of whole numbers under the frequencies of known ones."""
    low = min(known.min(), values.min())
    size = max(known.max(), values.max()) - low + 1
    # One more of each value: what training never showed can be sent too.
    table = np.bincount(known - low, minlength=size) + 1
    return float(-np.log2(table[values - low] / table.sum()).sum())


def judge_rivals(spec: dict[str, Any]) -> dict[str, Any]:
    """Judge the rivals, and the network before its first step."""
    from lungfish.gmcae import backend

    backend.start(threads=None, seed=0, purpose="gmcae study")
    from lungfish.gmcae import batches, network, rivals, training
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap

    learn, _, held = read(spec["stores"], spec["left"], spec["judged"])
    hu_map, settings = HuMap(), Settings()
    pairs = list(batches.fixed_batches(held, batch_size=8, hu_map=hu_map))
    inputs = np.concatenate([pair[0][..., 0] for pair in pairs])
    targets = np.concatenate([pair[1] for pair in pairs]).reshape(inputs.shape)
    known = hu_map.to_network(learn)
    found = rivals.rivals(known, inputs, targets, hu_map=hu_map, channels=settings.filters[-1])
    net = training.compile_network(settings)
    network.anchor(net, hu_map.to_network(batches.evenly(learn, training.ANCHOR_PATCHES)), settings)
    return {
        "rivals": {name: each.record(hu_map) for name, each in found.items()},
        "before": training.judge(net, held, settings, hu_map),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Make one run and write its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=json.loads, required=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args(argv)
    spec = {"settings": {}, **args.spec}
    found = judge_rivals(spec) if spec.get("rivals") is True else run(spec)
    found.pop("stores", None)
    args.result.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
