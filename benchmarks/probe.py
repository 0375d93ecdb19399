"""Does the code know anything? Linear probes on frozen codes for what was planted in the lungs.

A network is trained without labels on digital patients; a probe then reads from its codes whether
a patch holds a nodule, the nodule's diameter and density, and whether its margin is spiculated. The
same probe reads codes of the linear start, of a random encoder, of PCA, and a plain histogram.
What decides was fixed before any result was seen: the numbers of a patch (pooled; flattened stands
beside it), the metric of each question, and the interval, over held-out patients.
"""

import argparse
import dataclasses
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import measure, pages
from benchmarks import probe_scores as scores

Array = NDArray[Any]
Tables = dict[str, Array]
TRAINED = "trained encoder"
RIVALS = ("linear start (block KLT)", "random encoder", "PCA", "histogram of 20")
BINS = 20
HELD_OUT_FROM, TRAINING_FROM = 180, 1260
"""First seeds: of the phantom's tuning seeds and of its training seeds; none of its scoring."""
QUESTIONS = {
    "present": ("a nodule is present", "present", ("AUC", "log loss")),
    "diameter": ("its diameter, mm", "diameter_mm", ("R2", "MAE")),
    "density": ("its mean density, HU", "density_hu", ("R2", "MAE")),
    "margin": ("its margin is spiculated, not lobulated", "spiculated", ("AUC", "log loss")),
}
"""Question: words, field, and metrics; the first decides."""


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """Examples of some patients, all in a row."""

    patches: Array
    truth: Tables
    patients: Array


def gather(found: Mapping[int, Tables]) -> Side:
    """Put the examples of patients together."""
    fields = [field for _, field, _ in QUESTIONS.values()]
    counts = [len(one["present"]) for one in found.values()]
    return Side(
        np.concatenate([one["patches"] for one in found.values()]),
        {field: np.concatenate([one[field] for one in found.values()]) for field in fields},
        np.repeat(np.array(list(found)), counts),
    )


def train(found: Mapping[int, Tables], args: argparse.Namespace) -> tuple[Any, Any, float]:
    """Train a network on patches without labels; return it, its settings and the CPU seconds."""
    from lungfish.gmcae import backend

    backend.start(threads=args.threads, seed=args.seed, purpose="probe")
    from lungfish.gmcae.batches import split_patches
    from lungfish.gmcae.settings import Settings
    from lungfish.gmcae.training import train as train_network
    from lungfish.intensity import HuMap

    epochs = 8
    settings = Settings(epochs=epochs, steps_per_epoch=max(1, args.steps // epochs))
    patches = {str(seed): one["any"] for seed, one in found.items()}
    # A state is gone on with only where code, settings and patches are the same.
    folder = args.scratch / "training"
    folder.mkdir(parents=True, exist_ok=True)
    before = time.process_time()
    trained = train_network(
        split_patches(patches, settings), settings=settings, hu_map=HuMap(), seed=args.seed,
        folder=folder,
    )  # fmt: skip
    return trained, settings, time.process_time() - before


def encoders(trained: Any, settings: Any, patches: Array, seed: int) -> dict[str, Any]:
    """Return the trained encoder, the one that it started as, and a random one."""
    import keras

    from lungfish.gmcae import network

    start = network.build_gmcae(settings)
    if settings.design == "anchored":
        network.anchor(start, patches, settings)
    keras.utils.set_random_seed(seed)
    random = network.build_encoder(settings)
    for layer in random.layers:
        # What the anchored design starts at zero would silence all its convolutions.
        weights = layer.get_weights()
        if weights and not weights[0].any():
            draw = keras.initializers.GlorotUniform(seed)
            layer.set_weights([np.asarray(draw(weights[0].shape)), *weights[1:]])
    return {
        TRAINED: network.encoder_of(trained.network, settings),
        RIVALS[0]: network.encoder_of(start, settings),
        RIVALS[1]: random,
    }


def encode(encoder: Any, values: Array) -> Array:
    """Return the codes of patches on the network's scale."""
    return np.asarray(encoder.predict(values[..., None], batch_size=32, verbose=0))


def fit_pca(values: Array, count: int) -> tuple[Array, Array]:
    """Return mean and the first principal axes of patches, by the matrix of their products."""
    flat = values.reshape(len(values), -1).astype(np.float32)
    mean = flat.mean(0)
    centred = flat - mean
    eigenvalues, vectors = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(eigenvalues)[::-1][: min(count, len(flat) - 1)]
    axes = vectors[:, order].T @ centred / np.sqrt(np.maximum(eigenvalues[order], 1e-9))[:, None]
    return mean, axes


def histogram(values: Array) -> Array:
    """Return the share of each patch's voxels in 20 bins of 70 HU, -1000 to 400 HU."""
    flat = values.reshape(len(values), -1)
    bins = np.clip(((flat + 1) / 2 * BINS).astype(int), 0, BINS - 1)
    return np.stack([np.bincount(row, minlength=BINS) / len(row) for row in bins])


def numbers_of(
    sides: Sequence[Side], learned: Array, models: Mapping[str, Any], kind: str
) -> dict[str, list[Array]]:
    """Return the numbers of each rival for every side's patches."""
    from lungfish.intensity import HuMap

    values = [HuMap().to_network(side.patches) for side in sides]
    found = {
        name: [scores.summary(encode(model, part), kind) for part in values]
        for name, model in models.items()
    }
    count = found[TRAINED][0].shape[1]
    mean, axes = fit_pca(learned, count)
    found["PCA"] = [(part.reshape(len(part), -1) - mean) @ axes.T for part in values]
    found["histogram of 20"] = [histogram(part) for part in values]
    return found


def answer(
    question: str, sides: Sequence[Side], numbers: Mapping[str, Sequence[Array]]
) -> tuple[Array, Array, dict[str, Array]]:
    """Return truth and patients of the held-out examples, and what each rival's probe says."""
    _, field, metrics = QUESTIONS[question]
    used = [~np.isnan(side.truth[field]) for side in sides]
    truth = [side.truth[field][keep] for side, keep in zip(sides, used, strict=True)]
    predicted = {
        name: scores.probe(
            scores.Examples(parts[0][used[0]], truth[0], sides[0].patients[used[0]]),
            parts[1][used[1]],
            yes_no=metrics[0] == "AUC",
        )
        for name, parts in numbers.items()
    }
    return truth[1], sides[1].patients[used[1]], predicted


def tables(
    sides: Sequence[Side], numbers: Mapping[str, Sequence[Array]], *, bootstraps: int, seed: int
) -> tuple[str, str]:
    """Return the table of scores, and that of paired differences, in Markdown."""
    values, differences = [], []
    for question, (words, _, metrics) in QUESTIONS.items():
        truth, patients, predicted = answer(question, sides, numbers)
        rng = np.random.default_rng([seed, 21])
        weights = scores.resampled_weights(patients, bootstraps=bootstraps, rng=rng)
        count = len(np.unique(patients))
        for name, said in predicted.items():
            cells = [scores.score(metric, truth, said, weights, count) for metric in metrics]
            what = f"{words} (n = {len(truth)})"
            shown = (f"{metric} {cell}" for metric, cell in zip(metrics, cells, strict=True))
            values.append([what, name, *shown])
        for rival in RIVALS:
            pair = (predicted[TRAINED], predicted[rival])
            cells = [scores.advantage(m, truth, *pair, weights, count) for m in metrics]
            shown = (f"{metric} {cell}" for metric, cell in zip(metrics, cells, strict=True))
            differences.append([words, cells[0].verdict, rival, *shown])
    return (
        measure.markdown(("what is read", "from", "decides", "beside it"), values),
        measure.markdown(
            ("what is read", "the trained encoder", "rival", "better by", "better by"), differences
        ),
    )


def page(args: argparse.Namespace) -> str:
    """Make patients, train, probe; return the page."""
    from benchmarks.probe_patients import load

    training = range(TRAINING_FROM, TRAINING_FROM + args.patients)
    held_out = range(HELD_OUT_FROM, HELD_OUT_FROM + args.held_out)
    found = load(
        [*training, *held_out], args.scratch / "patients", per_patient=args.per_patient,
        workers=len(os.sched_getaffinity(0)),
    )  # fmt: skip
    sides = [gather({seed: found[seed] for seed in part}) for part in (training, held_out)]
    trained, settings, cpu_s = train({seed: found[seed] for seed in training}, args)
    from lungfish.intensity import HuMap

    learned = HuMap().to_network(np.concatenate([found[seed]["any"] for seed in training]))
    models = encoders(trained, settings, learned, args.seed)
    best = min(row["val_nats_per_voxel"] for row in trained.journal.epochs)
    digest = hashlib.sha256(b"".join(w.tobytes() for w in models[TRAINED].get_weights()))
    parts = [
        f"{args.patients} training patients ({len(sides[0].patients)} patches for the probes, "
        f"{len(learned)} others to learn from without labels), {args.held_out} held-out patients "
        f"({len(sides[1].patients)} patches). {args.steps} steps of training, {cpu_s:.0f} CPU "
        f"seconds; {best:.3f} nats per voxel at best on validation patients. Encoder "
        f"{digest.hexdigest()[:12]}."
    ]
    for kind in args.numbers:
        numbers = numbers_of(sides, learned, models, kind)
        sizes = [numbers[name][0].shape[1] for name in (TRAINED, "PCA", "histogram of 20")]
        first, second = tables(sides, numbers, bootstraps=args.bootstraps, seed=args.seed)
        head = f"### Numbers of a patch: {kind}, {sizes[0]} (PCA {sizes[1]}, histogram {sizes[2]})"
        parts += [head, second, first]
    return "\n\n".join([*parts, measure.machine()]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Probe, print the tables and store them where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, default=Path("runs/benchmark/probe"))
    parser.add_argument("--patients", type=int, default=60, help="to learn from (default 60)")
    parser.add_argument("--held-out", type=int, default=60, help="to score on (default 60)")
    parser.add_argument("--per-patient", type=int, default=32, help="unlabelled patches (32)")
    parser.add_argument("--steps", type=int, default=1600, help="of training (default 1600)")
    kinds = ("pooled", "flattened")
    parser.add_argument("--numbers", nargs="*", choices=kinds, default=kinds, help="of a patch")
    parser.add_argument("--bootstraps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--page", type=Path, help="page of the docs to put it into")
    args = parser.parse_args(argv)
    args.scratch = args.scratch.resolve()
    text = page(args)
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "probe", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
