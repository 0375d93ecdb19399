"""Time a training step beside the same network written plainly in PyTorch, on the CPU.

PyTorch is no dependency: `make benchmark-torch` puts it into an environment of its own, and this
command measures nothing, and says so, where that Python has no PyTorch. All ways start from the
same weights and must find the same loss before the first step; then they take turns.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import measure, pages
from benchmarks.turns import Turn, Worker, serve, take_turns

OURS = "lungfish"
TORCH = {
    "PyTorch": "plain",
    "PyTorch, channels last": "last",
    "PyTorch, channels last, bfloat16": "last bfloat16",
    "PyTorch compiled": "compiled",
    "PyTorch compiled, channels last": "compiled last",
    "PyTorch compiled, channels last, bfloat16": "compiled last bfloat16",
}
"""Way: what `torch_gmcae` is told."""
AT_LEAST = 1.5
"""Wanted: CPU seconds of the fastest PyTorch to lungfish's."""
SAME = 1e-4
"""Largest allowed difference of the first losses, in nats per voxel, in float32."""
SAME_LOW = 0.1
"""The same of bfloat16, which has 3 digits."""
BATCHES = 4
KDSB17 = {"design": "layered", "head": "patch", "filters": (8, 16, 32), "components": 4}
"""The layout of kdsb17, an eighth as wide: as wide as it was, a CPU trains 2 patches a second."""
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "default, batch 16": {"batch_size": 16},
    "kdsb17's layout": KDSB17,
    "kdsb17's layout, batch 16": KDSB17 | {"batch_size": 16},
}
"""Case: settings other than the default."""
COLUMNS = (
    "case", "way", "CPU ms a step, least (median)", "wall ms, least (median)",
    "CPU of this / lungfish: median of rounds", "peak MB", "loss before, after",
)  # fmt: skip


def make_patches(count: int) -> NDArray[np.int16]:
    """Cut cubes of 32 voxels from the lungs of a digital patient, in HU."""
    from lungfish import phantom

    digital = phantom.make_patient("turns", seed=0, settings=phantom.Settings(matrix=192))
    hu = np.pad(digital.volume.hu, 16, mode="edge")
    rng = np.random.default_rng(0)
    corners = rng.choice(np.argwhere(digital.lungs > 0), count)
    return np.stack([hu[z : z + 32, y : y + 32, x : x + 32] for z, y, x in corners])


def settings_of(case: str) -> Any:
    """Return the settings of a case."""
    from lungfish.gmcae.settings import Settings

    return Settings(**CASES[case])


def build(case: str) -> tuple[Any, Any]:
    """Return our compiled network, every weight away from zero, and its settings."""
    from lungfish.gmcae.backend import keras  # it starts TensorFlow quietly
    from lungfish.gmcae.training import compile_network

    settings = settings_of(case)
    keras.utils.set_random_seed(0)
    network = compile_network(settings)
    rng = np.random.default_rng(1)
    # Layers that start at zero would hide what is behind them from the comparison of losses.
    network.set_weights([
        weight + 0.02 * rng.standard_normal(weight.shape).astype(weight.dtype)
        for weight in network.get_weights()
    ])  # fmt: skip
    return network, settings


def matrices() -> dict[str, list[list[float]]]:
    """Return what the fixed linear layers do to a line of 32 voxels, or of 4 cells."""
    from lungfish.gmcae.blocks import spread_matrix
    from lungfish.gmcae.lapping import HALF, WIDTH, lapping_matrix

    found = {"spread": spread_matrix(4)}
    for name in ("lap", "unlap"):
        whole = np.eye(32, dtype=np.float32)
        for start in range(HALF, 32 - HALF, WIDTH):
            group = slice(start, start + WIDTH)
            whole[group, group] = lapping_matrix(inverse=name == "unlap")
        found[name] = whole
    return {name: matrix.tolist() for name, matrix in found.items()}


def write_case(case: str, folder: Path) -> None:
    """Write settings, weights and batches of a case for all ways."""
    from lungfish.gmcae import batches, linear
    from lungfish.gmcae.settings import Settings
    from lungfish.intensity import HuMap

    network, settings = build(case)
    record = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings)}
    record |= {"matrices": matrices(), "least_error": linear.LEAST_ERROR}
    record["outputs"] = settings.components * (3 if settings.head == "voxel" else 1)
    (folder / "case.json").write_text(json.dumps(record))
    weights = {}
    for layer in network.layers:
        for name, value in zip(("kernel", "bias"), layer.get_weights(), strict=False):
            weights[f"{layer.name}/{name}"] = value
    np.savez(folder / "weights.npz", **weights)
    hu = make_patches(BATCHES * settings.batch_size)
    made = batches.fixed_batches(hu, batch_size=settings.batch_size, hu_map=HuMap())
    inputs, targets = (np.stack(part) for part in zip(*made, strict=True))
    np.savez(folder / "batches.npz", inputs=inputs, targets=targets)


def serve_ours(case: str, folder: Path, threads: int) -> None:
    """Serve the library's own training step: what `training` does with each batch."""
    from lungfish.gmcae import backend

    backend.start(threads=threads, seed=0, purpose="benchmark")
    from lungfish.gmcae.sentinel import Sentinel

    network, _ = build(case)
    sentinel = Sentinel(network, folder)
    with np.load(folder / "batches.npz") as stored:
        made = list(zip(stored["inputs"], stored["targets"], strict=True))

    def step(number: int) -> float:
        inputs, targets = made[number % len(made)]
        network.reset_metrics()
        loss = float(network.train_on_batch(inputs, targets))
        sentinel.check(loss, inputs, targets, epoch=1, batch=number + 1)
        return loss

    serve(float(network.test_on_batch(*made[0])), step)


def start(
    case: str, folder: Path, python: str, ways: Sequence[str], *, threads: int, spin: bool
) -> tuple[dict[str, Worker], dict[str, float]]:
    """Start a worker for each way; each says its loss before any update."""
    base = ["--folder", str(folder), "--threads", str(threads)]
    ours = [sys.executable, "-m", "benchmarks.gmcae_torch", "--serve", case, *base]
    commands = {OURS: ours}
    for way in ways:
        words = ["-m", "benchmarks.torch_gmcae", *base, "--way", TORCH[way]]
        commands[way] = [python, *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    # Threads that wait shall sleep: spinning burns seconds that the work does not cost.
    environment |= {} if spin else {"OMP_WAIT_POLICY": "PASSIVE"}
    workers = {
        name: Worker(command, cwd=measure.ROOT, env=environment)
        for name, command in commands.items()
    }
    return workers, {name: worker.first_loss() for name, worker in workers.items()}


def check_same(first: Mapping[str, float]) -> None:
    """End with a sentence where two ways differ before the first step: other networks."""
    for way, loss in first.items():
        most = SAME_LOW if "bfloat16" in way else SAME
        if abs(loss - first[OURS]) > most:
            raise SystemExit(
                f"{way}: the loss before the first step is {loss:.6f}, lungfish's "
                f"{first[OURS]:.6f}: not the same network (benchmarks/torch_gmcae.py)"
            )


def measure_case(
    case: str, scratch: Path, args: argparse.Namespace
) -> tuple[dict[str, float], dict[str, list[Turn]]]:
    """Measure all ways of a case in turn; return the first losses, and the turns."""
    folder = (scratch / case.replace(" ", "-").replace("'", "").replace(",", "")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["--write", case, "--folder", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gmcae_torch", *command], cwd=measure.ROOT, check=True
    )
    workers, first = start(
        case, folder, args.torch, args.ways, threads=args.threads, spin=args.spin
    )
    try:
        check_same(first)
        # As many steps a turn as make it last: the clock counts in hundredths of a second.
        return first, take_turns(workers, rounds=args.rounds, steps=args.steps, warm_up=5)
    finally:
        for worker in workers.values():
            worker.end()


def ratio(turns: Mapping[str, Sequence[Turn]], way: str) -> float:
    """Return the median over rounds of a way's CPU seconds to lungfish's."""
    pairs = zip(turns[way], turns[OURS], strict=True)
    return statistics.median(other.cpu_s / own.cpu_s for other, own in pairs)


def rows(
    case: str, first: Mapping[str, float], turns: Mapping[str, Sequence[Turn]]
) -> list[list[str]]:
    """Return the lines of a case in the table."""

    def milliseconds(way: str, field: str) -> str:
        values = [1e3 * getattr(turn, field) for turn in turns[way]]
        return f"{min(values):.0f} ({statistics.median(values):.0f})"

    return [
        [
            case, way, milliseconds(way, "cpu_s"), milliseconds(way, "wall_s"),
            f"{ratio(turns, way):.2f}", f"{turns[way][-1].peak_mb:.0f}",
            f"{first[way]:.4f}, {turns[way][-1].loss:.4f}",
        ]
        for way in turns
    ]  # fmt: skip


def sentence(case: str, turns: Mapping[str, Sequence[Turn]]) -> str:
    """Say whether the wanted ratio to the fastest way with a finite loss is reached."""
    finite = [way for way in turns if way != OURS and np.isfinite(turns[way][-1].loss)]
    fastest = min(finite, key=lambda way: ratio(turns, way))
    found = ratio(turns, fastest)
    kept = "kept" if found >= AT_LEAST else "**not kept**"
    return (
        f"{case}: the fastest is {fastest}, at {found:.2f} times lungfish's CPU seconds "
        f"(wanted: {AT_LEAST:g} or more): {kept}."
    )


def has_torch(python: str) -> str | None:
    """Return the version of PyTorch that a Python has; None where there is none."""
    try:
        words = [python, "-c", "import numpy, torch; print(torch.__version__)"]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", default="runs/torch/bin/python", help="Python with PyTorch")
    parser.add_argument("--scratch", type=Path, default=Path("runs/benchmark/torch"))
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--ways", nargs="*", choices=list(TORCH), default=list(TORCH))
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default 7)")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of each way (default 1)")
    parser.add_argument(
        "--spin", action="store_true", help="let PyTorch's waiting threads spin, as they do unasked"
    )
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--page", type=Path, help="page of the docs to put it into")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=list(CASES), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case, print the table and store it where wanted."""
    args = parse(argv)
    if args.write:
        write_case(args.write, args.folder)
        return 0
    if args.serve:
        serve_ours(args.serve, args.folder, args.threads)
        return 0
    version = has_torch(args.torch)
    if version is None:
        print(f"skipped: {args.torch} has no PyTorch with NumPy; make benchmark-torch installs it")
        return 0
    lines, sentences = [], []
    for case in args.cases:
        first, turns = measure_case(case, args.scratch, args)
        lines += rows(case, first, turns)
        sentences.append("- " + sentence(case, turns))
        print(sentences[-1], file=sys.stderr)
    waiting = "1 thread" if args.threads == 1 else f"{args.threads} threads"
    waiting += ", which spin while they wait" if args.spin else ""
    text = (
        f"{args.rounds} rounds in turn, {args.steps} steps each, {waiting}.\n\n"
        + "\n".join(sentences) + "\n\n" + measure.markdown(COLUMNS, lines)
        + f"\n{measure.machine()} PyTorch {version}.\n"
    )  # fmt: skip
    measure.publish(text, args.output)
    if args.page:
        pages.put(args.page, "torch, spinning" if args.spin else "torch", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
