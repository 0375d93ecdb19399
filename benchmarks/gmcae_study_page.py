"""The page and the figure of `benchmarks.gmcae_study`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.measure import machine, markdown

Found = Mapping[str, Mapping[str, Any]]
CONFIDENCE = 0.95
FIGURE = "gmcae-study.svg"

HEAD = """# Does the autoencoder learn?

Made by `make study-gmcae DATA=folder`; on {machine}

{patients} patients of public CT, each left out in turn: the autoencoder is trained on the patches
of the others and judged on {judged} patches of his, which training does not see, not to stop
either. The defaults of the workflow, {steps} steps of {batch} patches (five minutes on two idle
cores; {cpu_s:.0f} CPU s each), {parameters:,} parameters, a code of 2048 numbers a patch.

**What was chosen while looking at these patients.** The design was: the learning rate with
lidc-0028 left out, the lapping and the code's own error with lidc-0028, dx-a0002-b70f, lidc-0306
and dx-a0001-b left out, in shorter trials and closed form. lidc-0001 was looked at in none.

**How to read the numbers.** *Nats per voxel* are on the network's scale, where 1 is 700 HU, with
targets spread over their HU; -6.551 is the least that any density reaches. *Bits per voxel* are the
same at a resolution of 1 HU, 0 the least. *RMSE* is that of the reconstruction, in HU. Lower is
better in all three. **Three kinds of number must not be mixed.** *Marginal*: what the patch costs.
*Given a code*: what it costs somebody who was told its code already, free of charge; the
autoencoder's loss is of this kind, and so are those of the linear codes, with as many numbers.
*Whole message*: what a file costs from which the patch can be had again. The autoencoder's whole
message is its code, rounded to a step chosen on training patients and coded with the frequencies
seen there, and the patch given that. Intervals are 95 % t intervals over patients
(n = {patients}) of the paired difference, or over seeds.
"""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and t interval over patients or seeds."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def said(values: Sequence[float], digits: int) -> str:
    """Return mean and interval in words."""
    mean, low, high = interval(values)
    if np.isnan(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def write(rivals: Found, runs: Found, *, chosen: str, figures: Path | None) -> str:
    """Return the page, and draw its figure into a folder."""
    patients = list(rivals)
    held = {left: runs[f"held-{left}-0"] for left in patients}
    one = held[patients[0]]
    head = HEAD.format(
        machine=machine(), patients=len(patients), judged=one["judged"], steps=one["steps"],
        batch=8, cpu_s=np.mean([run["cpu_s"] for run in held.values()]),
        parameters=one["parameters"],
    )  # fmt: skip
    parts = [head, _against(rivals, held), _patients(rivals, held), _messages(rivals, held)]
    parts += [_seeds(rivals, runs, chosen), _options(rivals, runs, chosen)]
    if figures is not None:
        draw(rivals, runs, chosen, figures / FIGURE)
        parts.insert(2, f"![Curves over m, rates and time]({FIGURE})\n")
    return "\n".join(parts)


def _against(rivals: Found, held: Found) -> str:
    """Return the table of all rivals over patients."""
    names = list(next(iter(rivals.values()))["rivals"])
    own = {
        "nats_per_voxel": [run["val_nats_per_voxel"] for run in held.values()],
        "rmse_hu": [run["val_rmse_hu"] for run in held.values()],
    }
    start = {
        "nats_per_voxel": [each["before"]["val_nats_per_voxel"] for each in rivals.values()],
        "rmse_hu": [each["before"]["val_rmse_hu"] for each in rivals.values()],
    }
    bits = [run["val_bits_per_voxel"] for run in held.values()]
    rows = [
        ["**autoencoder**", "given a code", f"{np.mean(own['nats_per_voxel']):.3f}",
         f"{np.mean(bits):.2f}", "", f"{np.mean(own['rmse_hu']):.1f}", ""],
        _row("the same before its first step", "given a code", start,
             np.mean([each["before"]["val_bits_per_voxel"] for each in rivals.values()]), own),
    ]  # fmt: skip
    for name in names:
        found = [each["rivals"][name] for each in rivals.values()]
        values = {key: [each[key] for each in found] for key in own}
        if found[0]["kind"] != "whole message":
            mean = np.mean([each["bits_per_voxel"] for each in found])
            rows.append(_row(name, found[0]["kind"], values, mean, own))
    columns = [
        "model", "kind", "nats per voxel", "bits per voxel", "autoencoder less this, nats",
        "RMSE, HU", "autoencoder less this, HU",
    ]  # fmt: skip
    return "## Against what?\n\n" + markdown(columns, rows)


def _row(name: str, kind: str, values: Mapping[str, Any], bits: Any, own: Any) -> list[str]:
    apart = {key: np.subtract(own[key], values[key]) for key in own}
    return [
        name, kind, f"{np.mean(values['nats_per_voxel']):.3f}", f"{bits:.2f}",
        said(apart["nats_per_voxel"], 3), f"{np.mean(values['rmse_hu']):.1f}",
        said(apart["rmse_hu"], 1),
    ]  # fmt: skip


def _patients(rivals: Found, held: Found) -> str:
    """Return the table of each patient, with the nearest rivals."""
    names = [
        name for name, each in next(iter(rivals.values()))["rivals"].items()
        if each["kind"] == "given a code"
    ]  # fmt: skip
    rows = []
    for left, run in held.items():
        others = [rivals[left]["before"]] + [rivals[left]["rivals"][name] for name in names]
        cells = [
            f"{each.get('nats_per_voxel', each.get('val_nats_per_voxel')):.3f}, "
            f"{each.get('rmse_hu', each.get('val_rmse_hu')):.1f}"
            for each in others
        ]
        own = f"**{run['val_nats_per_voxel']:.3f}, {run['val_rmse_hu']:.1f}**"
        rows.append([left, own, *cells])
    columns = ["left out", "autoencoder", "before its first step", *names]
    text = "\n## Patient by patient\n\nNats per voxel, RMSE in HU.\n\n"
    return text + markdown(columns, rows)


def _messages(rivals: Found, held: Found) -> str:
    """Return the table of whole messages."""
    name = next(
        name for name, each in next(iter(rivals.values()))["rivals"].items()
        if each["kind"] == "whole message"
    )  # fmt: skip
    rows, apart = [], []
    for left, run in held.items():
        codec = rivals[left]["rivals"][name]["bits_per_voxel"]
        apart.append(run["message_bits"] - codec)
        cells = (run["message_bits"], run["code_bits"], codec)
        rows.append([left, *(f"{cell:.2f}" for cell in cells)])
    columns = ["left out", "autoencoder: whole message", "of which the code", name]
    text = "\n## Against a lossless codec\n\nBits per voxel, all paid for.\n\n"
    difference = said(apart, 2)
    return text + markdown(columns, rows) + f"\nAutoencoder less codec: {difference} bits.\n"


def _seeds(rivals: Found, runs: Found, chosen: str) -> str:
    """Return what other seeds and a longer run of one patient give."""
    seeds = [run for name, run in runs.items() if name.startswith(f"held-{chosen}-")]
    longer = runs.get(f"long-{chosen}")
    others = rivals[chosen]["rivals"].values()
    best = min(
        (each for each in others if each["kind"] != "whole message"),
        key=lambda each: each["nats_per_voxel"],
    )
    sharp = min(each["rmse_hu"] for each in others if each["kind"] == "given a code")
    codec = min(each["bits_per_voxel"] for each in others if each["kind"] == "whole message")
    named = [(f"five minutes, seed {run.get('seed', 0)}", run) for run in seeds]
    if longer:
        named.append((f"thirty minutes, {longer['steps']:,} steps", longer))
    rows = [
        [name, f"{run['val_nats_per_voxel']:.3f}", f"{run['val_rmse_hu']:.2f}",
         f"{run['message_bits']:.2f}", f"{run['cpu_s']:.0f}"] for name, run in named
    ]  # fmt: skip
    rows.insert(len(seeds), [
        "five minutes, all seeds", said([r["val_nats_per_voxel"] for r in seeds], 3),
        said([r["val_rmse_hu"] for r in seeds], 2), "", "",
    ])  # fmt: skip
    rows.append(["best rival", f"{best['nats_per_voxel']:.3f}", f"{sharp:.2f}",
                 f"{codec:.2f}", ""])  # fmt: skip
    columns = [
        f"{chosen} left out", "nats per voxel", "RMSE, HU", "whole message, bits per voxel",
        "CPU s",
    ]  # fmt: skip
    return "\n## Other seeds, and longer\n\n" + markdown(columns, rows)


def _options(rivals: Found, runs: Found, chosen: str) -> str:
    """Return the table of short runs."""
    rows = []
    for name, run in runs.items():
        kind, _, what = name.partition("-")
        if kind not in ("m", "rate", "option"):
            continue
        words = {"m": f"m = {what}", "rate": f"rate {what}", "option": what}[kind]
        median, high, most = run["gradient_norm"]
        rows.append([
            words, f"{run['val_nats_per_voxel']:.3f}", f"{run['val_rmse_hu']:.1f}",
            f"{run['cpu_s']:.0f}", f"{run['parameters']:,}", str(run["components_used"]),
            f"{median:.2g}, {high:.2g}, {most:.2g}",
        ])  # fmt: skip
    columns = [
        "short run", "nats per voxel", "RMSE, HU", "CPU s", "parameters", "components used",
        "gradient norm: median, 99 %, most",
    ]  # fmt: skip
    if not rows:
        return ""
    before = rivals[chosen]["before"]
    steps = next(run["steps"] for name, run in runs.items() if name.startswith("m-"))
    text = (
        f"\n## Options\n\n{chosen} left out, {steps} steps, one seed; before its first step the "
        f"default is at {before['val_nats_per_voxel']:.3f} nats, {before['val_rmse_hu']:.1f} HU. "
        "One seed and few steps rank options roughly.\n\n"
    )
    return text + markdown(columns, rows)


def draw(rivals: Found, runs: Found, chosen: str, path: Path) -> None:
    """Draw the curves over m, over rates and over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    over_m, over_rate, over_time = figure.subplots(1, 3)
    for axes, kind, label in (
        (over_m, "m-", "components m"), (over_rate, "rate-", "learning rate")
    ):  # fmt: skip
        found = [(float(n.removeprefix(kind)), r) for n, r in runs.items() if n.startswith(kind)]
        values = [run["val_nats_per_voxel"] for _, run in found]
        axes.plot([at for at, _ in found], values, "o-", color="#1b6ca8")
        axes.set(xlabel=label, ylabel="nats per voxel, left out", xscale="log")
        axes.axhline(rivals[chosen]["before"]["val_nats_per_voxel"], ls=":", color="#555555")
    over_m.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"], minor=False)
    over_m.minorticks_off()
    for name, run in runs.items():
        if name.startswith(("held-", "long-")):
            steps = np.arange(1, len(run["epochs"]) + 1) * run["per_epoch"]
            inner = [row["val_nats_per_voxel"] for row in run["epochs"]]
            long = name.startswith("long-")
            over_time.plot(steps, inner, color="#c2571a" if long else "#9db8cc", lw=1.6)
    over_time.set(xlabel="step", ylabel="nats per voxel, training patients")
    over_time.set_title("thirty minutes (orange), five minutes", fontsize=9)
    over_m.set_title("dotted: before the first step", fontsize=9)
    over_rate.set_title("dotted: before the first step", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
