"""Compare the lungs' methods: thresholds, the U-Net, and the U-Net where thresholds fail.

Digital patients with known lungs and, where a folder of real CT is given, real scans. Each method
has a process of its own; what starting it costs is counted apart. Surface distances are those of
T. Heimann et al. (IEEE TMI 28, 2009, mean symmetric) and L. Maier-Hein et al. (Nature Methods 21,
2024, the larger of both 95th percentiles), between the centres of the voxels at both lungs'
outline, in mm.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from benchmarks.measure import ROOT, markdown

Array = NDArray[Any]
Row = dict[str, Any]
METHODS = ("classical", "unet", "unet-fallback")
PLANTS = {1: "mass", 2: "effusion", 3: "consolidation"}
THICK_MM = 5.0


def dice(found: Array, truth: Array) -> float:
    """Return the Dice of two masks; 1 is best, and that of two empty ones."""
    total = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(found & truth)) / total if total else 1.0


def surface_distances_mm(found: Array, truth: Array, spacing_mm: Sequence[float]) -> list[float]:
    """Return the mean symmetric distance of two surfaces and the 95th percentile, in mm."""

    def outline(mask: Array) -> Array:
        at = np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=1))
        return np.asarray(at * np.array(spacing_mm))

    one, other = outline(found), outline(truth)
    if not len(one) or not len(other):
        return [float("nan")] * 2
    there, back = KDTree(other).query(one)[0], KDTree(one).query(other)[0]
    worst = max(np.percentile(there, 95), np.percentile(back, 95))
    return [float(np.concatenate([there, back]).mean()), float(worst)]


def make_cases(seeds: Iterable[int], scratch: Path) -> list[Path]:
    """Make the digital patients that are not in the scratch folder yet."""
    from lungfish.phantom import make_case

    files = []
    for seed in seeds:
        path = scratch / f"{seed}.npz"
        if not path.is_file():
            case = make_case(seed)
            kept = {"lungs": case.lungs, "plants": case.plants}
            np.savez(path, hu=case.volume.hu, affine=case.volume.affine, **kept)
        files.append(path)
    return files


def make_real(folder: Path, scratch: Path) -> list[Path]:
    """Read real scans to the grid of the volumes stage, with the references that they have."""
    from lungfish import index, nifti, volumes

    files = []
    for scan in sorted(path for path in folder.iterdir() if (path / "dicom").is_dir()):
        path = scratch / f"{scan.name}.npz"
        files.append(path)
        if path.is_file():
            continue
        record = index.index_folder(scan / "dicom", settings=index.Settings())
        volume, _ = volumes.build_volume(scan / "dicom", record, settings=volumes.Settings())
        kept = {"hu": volume.hu, "affine": volume.affine}
        for name in ("lung_right1_left2", "nodule_votes"):
            given = scan / "reference" / f"{name}.nii.gz"
            if given.is_file():
                kept[name], kept[f"{name}_affine"] = nifti.read_mask(given)
        np.savez(path, **kept)
    return files


def prepare(method: str, weights: Path | None) -> Callable[[Any], Any]:
    """Import and load what a method needs; return its function from a volume to a mask."""
    from lungfish import lungs

    settings = lungs.Settings()
    if method == "classical":
        return lambda volume: lungs.segment(volume, settings=settings)
    from lungfish.gmcae import backend

    backend.start(threads=len(os.sched_getaffinity(0)), seed=0, purpose="lungs-unet")
    from lungfish.lungs.unet import method as unet
    from lungfish.lungs.unet import network
    from lungfish.lungs.unet.weights import FILE

    trained = network.load_network(weights or FILE)
    return lambda volume: unet.segment_learned(
        volume, network.propose(volume, trained), settings=settings
    )


def work(method: str, weights: Path | None, files: Sequence[Path]) -> None:
    """Find the lungs of every case by one method; print a line of JSON for each."""
    import resource

    from lungfish.errors import Refusal
    from lungfish.volume import Volume

    find = prepare(method, weights)
    started = {"start_cpu_s": time.process_time()}
    print(json.dumps(started | {"start_mb": _resident_mb()}))
    for file in files:
        with np.load(file) as stored:
            volume = Volume(stored["hu"], stored["affine"])
        before = time.process_time()
        try:
            mask = find(volume)
            labels, record = mask.labels, dict(mask.record)
        except Refusal as refusal:
            labels = np.zeros(volume.hu.shape, np.uint8)
            record = {"verdict": "reject", "reasons": [refusal.reason]}
        cpu_s = time.process_time() - before
        np.savez_compressed(file.with_name(f"{file.stem}.{method}.npz"), labels=labels)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        kept = {key: record.get(key) for key in ("verdict", "reasons")}
        print(json.dumps(kept | {"cpu_s": cpu_s, "peak_mb": peak_mb, "case": file.stem}))


def _resident_mb() -> float:
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(method: str, weights: Path | None, files: Sequence[Path]) -> tuple[Row, list[Row]]:
    """Run `work` in a fresh process; return what the start cost, and a row for each case."""
    command = [sys.executable, "-m", "benchmarks.lungs_methods", "--work", method]
    command += ["--files", *map(str, files)]
    command += ["--weights", str(weights)] if weights else []
    found = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    start, *rows = map(json.loads, found.stdout.splitlines())
    return start, rows


def score(file: Path, row: Row, method: str) -> Row:
    """Add to a row how a mask compares with the truth of its digital patient."""
    with np.load(file.with_name(f"{file.stem}.{method}.npz")) as stored:
        labels = stored["labels"]
    with np.load(file) as stored:
        truth, plants, affine = stored["lungs"], stored["plants"], stored["affine"]
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    mean_mm, worst_mm = surface_distances_mm(labels > 0, truth > 0, spacing_mm)
    found = {
        "dice": dice(labels > 0, truth > 0),
        "sides": min(dice(labels == side, truth == side) for side in (1, 2)),
        "mean_mm": mean_mm,
        "worst_mm": worst_mm,
        "slice_mm": float(spacing_mm[0]),
    }
    for value, name in PLANTS.items():
        if (plants == value).any():
            found[name] = float((labels[plants == value] > 0).mean())
    return row | found


def choose(classical: Row, learned: Row) -> Row:
    """Return the row of the method `unet-fallback`, which costs both where thresholds doubt."""
    rank = ("ok", "review", "reject").index
    if classical["verdict"] == "ok":
        return classical
    taken = learned if rank(learned["verdict"]) < rank(classical["verdict"]) else classical
    return taken | {"cpu_s": classical["cpu_s"] + learned["cpu_s"]}


def mean(rows: Sequence[Row], key: str) -> float:
    """Return the mean of a key over the rows that have it."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.nanmean(values)) if values else float("nan")


def summary(rows: Sequence[Row]) -> list[str]:
    """Return the cells of a table's row: accuracy over some digital patients."""
    scores = [row["dice"] for row in rows]
    kept = [f"{mean(rows, name):.2f}".replace("nan", "") for name in PLANTS.values()]
    sides = f"{mean(rows, 'sides'):.4f}"
    return [
        f"{len(rows)}", f"{np.mean(scores):.4f}", f"{min(scores):.4f}",
        f"{sum(one < 0.95 for one in scores)}", sides, f"{mean(rows, 'mean_mm'):.2f}",
        f"{mean(rows, 'worst_mm'):.1f}", *kept,
        "/".join(str(sum(row["verdict"] == word for row in rows)) for word in
                 ("ok", "review", "reject")),
    ]  # fmt: skip


GROUPS: Mapping[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "slices up to 5 mm": lambda row: row["slice_mm"] <= THICK_MM,
    "thicker": lambda row: row["slice_mm"] > THICK_MM,
    "mass, effusion or consolidation": lambda row: any(name in row for name in PLANTS.values()),
    "consolidation": lambda row: "consolidation" in row,
    "effusion": lambda row: "effusion" in row,
    "mass": lambda row: "mass" in row,
    "none of the three": lambda row: not any(name in row for name in PLANTS.values()),
}
COLUMNS = (
    "digital patients", "method", "n", "Dice", "least", "below 0.95", "worse lung's Dice",
    "surface mm", "95 % mm", "mass held", "effusion held", "consolidation held",
    "ok/review/reject",
)  # fmt: skip


def phantom_table(scored: Mapping[str, Sequence[Row]]) -> str:
    """Return the table of accuracy on digital patients, group by group."""
    rows = []
    for group, belongs in GROUPS.items():
        for method in METHODS:
            members = [row for row in scored[method] if belongs(row)]
            if members:
                rows.append([group, method, *summary(members)])
    return markdown(COLUMNS, rows)


def cost_table(starts: Mapping[str, Row], rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the table of time and memory."""
    cells = []
    for method in ("classical", "unet"):
        times = [row["cpu_s"] for row in rows[method]]
        peak = max(row["peak_mb"] for row in rows[method])
        cells.append([
            method, f"{starts[method]['start_cpu_s']:.1f}", f"{np.median(times):.2f}",
            f"{max(times):.2f}", f"{starts[method]['start_mb']:.0f}", f"{peak:.0f}",
        ])  # fmt: skip
    columns = ("method", "start, CPU s", "a case, CPU s", "most", "MB after start", "peak MB")
    return markdown(columns, cells)


def real_table(files: Sequence[Path], rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the table of the real scans: against references where there are any."""
    from lungfish import nifti

    cells = []
    for k, file in enumerate(files):
        stored = dict(np.load(file))
        affine = stored["affine"]
        litre = float(abs(np.linalg.det(affine[:3, :3]))) * 1e-6
        masks = {
            method: np.load(file.with_name(f"{file.stem}.{method}.npz"))["labels"]
            for method in ("classical", "unet")
        }
        both = dice(masks["classical"] > 0, masks["unet"] > 0)
        for method, labels in masks.items():
            right, left = (np.count_nonzero(labels == side) * litre for side in (1, 2))
            cell = [file.stem, method, rows[method][k]["verdict"], f"{right:.2f}", f"{left:.2f}"]
            cell += [f"{both:.4f}", *against(stored, labels, affine, nifti.carry_mask)]
            cells.append([*cell, f"{rows[method][k]['cpu_s']:.1f}"])
    columns = (
        "scan", "method", "verdict", "right l", "left l", "Dice between both", "Dice", "right",
        "left", "surface mm", "95 % mm", "contoured nodule held", "CPU s",
    )  # fmt: skip
    return markdown(columns, cells)


def against(stored: Mapping[str, Array], labels: Array, affine: Array, carry: Any) -> list[str]:
    """Return the cells that compare a mask with what the scan has as references."""
    cells = ["", "", "", "", "", ""]
    if "lung_right1_left2" in stored:
        truth, place = stored["lung_right1_left2"], stored["lung_right1_left2_affine"]
        there = carry(labels, affine, shape=truth.shape, to_affine=place)
        spacing_mm = np.linalg.norm(place[:3, :3], axis=0)[::-1]
        scores = [dice(there > 0, truth > 0), *(dice(there == s, truth == s) for s in (1, 2))]
        distances = surface_distances_mm(there > 0, truth > 0, spacing_mm)
        cells[:5] = [f"{one:.4f}" for one in scores] + [f"{one:.2f}" for one in distances]
    if "nodule_votes" in stored:
        votes, place = stored["nodule_votes"], stored["nodule_votes_affine"]
        there = carry(labels, affine, shape=votes.shape, to_affine=place)
        cells[5] = f"{float((there[votes > 0] > 0).mean()):.3f}"
    return cells


def report(seeds: Sequence[int], real: Path | None, weights: Path | None, scratch: Path) -> str:
    """Run all methods on all cases and return the tables in Markdown."""
    scratch.mkdir(parents=True, exist_ok=True)
    files = make_cases(seeds, scratch)
    starts, rows = {}, {}
    for method in ("classical", "unet"):
        starts[method], found = run(method, weights, files)
        rows[method] = [score(*pair, method) for pair in zip(files, found, strict=True)]
    pairs = zip(rows["classical"], rows["unet"], strict=True)
    rows["unet-fallback"] = [choose(*pair) for pair in pairs]
    parts = [phantom_table(rows), cost_table(starts, rows)]
    if real is not None:
        scans = make_real(real, scratch)
        answers = {method: run(method, weights, scans)[1] for method in ("classical", "unet")}
        parts.append(real_table(scans, answers))
    return "\n".join(parts)


def main() -> None:
    """Print the tables, or work through cases where called by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 60), metavar=("FIRST", "END"))
    parser.add_argument("--real", type=Path, help="folder of scans, DICOM in <scan>/dicom")
    parser.add_argument("--weights", type=Path, help="default: lungfish's own")
    parser.add_argument("--scratch", type=Path, default=Path("runs/benchmark/lungs"))
    parser.add_argument("--output", type=Path, help="Markdown to write")
    parser.add_argument("--work", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.weights, args.files)
        return
    text = report(range(*args.seeds), args.real, args.weights, args.scratch.absolute())
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
