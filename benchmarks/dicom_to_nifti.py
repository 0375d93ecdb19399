"""Time the way from a DICOM folder to a 1 mm volume on disk: lungfish, kdsb17's steps, SimpleITK.

Each measurement is a process of its own. lungfish's is the whole of its stages `index` and
`volumes`, as their scripts run them: every check, the hashes and the JSON included.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import ct, measure
from benchmarks.measure import Measurement, least

SPEED_FLOOR = 15
"""Smallest allowed ratio of CPU seconds, kdsb17's steps to lungfish's."""
MEMORY_FLOOR_MB = 500
"""Largest allowed peak of lungfish's process, imports included."""
Prepared = tuple[measure.Work, measure.Check]


def prepare_lungfish(folder: Path, output: Path, *, interpolation: str) -> Prepared:
    """Return the stages index and volumes, run by the main functions of their scripts."""
    # The scripts import these after reading their arguments; imports are not counted here.
    import lungfish.index
    import lungfish.nifti
    import lungfish.settings
    import lungfish.volumes  # noqa: F401
    from scripts import index, volumes

    listed, record, image = (output / name for name in ("index.json", "v.json", "v.nii.gz"))
    settings = json.dumps({"interpolation": interpolation})
    places = ["--index", listed, "--output", image, "--record", record, "--settings", settings]

    def both_stages() -> Path:
        index.main(["--dicom", str(folder), "--output", str(listed)])
        volumes.main([str(word) for word in ("--dicom", folder, *places)])
        return image

    return both_stages, describe_nifti


def describe_nifti(path: Path) -> dict[str, Any]:
    """Return the size (x, y, z), the spacing and the bytes of an image on disk."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    return {
        "size": image.GetSize(),
        "spacing_mm": [round(step, 4) for step in image.GetSpacing()],
        "megabytes": path.stat().st_size / 1e6,
    }


def kdsb17_hu(dataset: Any) -> NDArray[np.int16]:
    """Return one slice's HU by kdsb17's rule, its guards in stored units included."""
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    stored = dataset.pixel_array.astype(np.int32)
    stored[stored <= -1000] = -1000 - intercept
    stored[stored > 4095] = 4095
    return (stored.astype(np.float64) * slope + intercept).astype(np.int16)


def prepare_kdsb17(folder: Path, output: Path) -> Prepared:
    """Return kdsb17's steps: read all, stack, cubic zoom, savez_compressed."""
    import pydicom
    from scipy import ndimage

    target = output / "v.npz"

    def steps() -> Path:
        slices = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
        slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
        places = [float(dataset.ImagePositionPatient[2]) for dataset in slices]
        spacing = np.array([np.diff(places).mean(), *map(float, slices[0].PixelSpacing)])
        stack = np.stack([kdsb17_hu(dataset) for dataset in slices])
        count = np.array(stack.shape)
        # First and last centres stay: round((n - 1) d / 1 mm + 1) voxels.
        factors = (1 - 1 / count) * spacing + 1 / count
        volume = ndimage.zoom(stack, factors, order=3, mode="nearest")
        np.savez_compressed(target, array=volume, spacing=np.ones(3))
        return target

    return steps, describe_npz


def describe_npz(path: Path) -> dict[str, Any]:
    """Return the size (x, y, z), the stated spacing and the bytes of an archive on disk."""
    with np.load(path) as archive:
        size = archive["array"].shape[::-1]
    return {"size": size, "spacing_mm": [1.0] * 3, "megabytes": path.stat().st_size / 1e6}


def prepare_simpleitk(folder: Path, output: Path, *, linear: bool) -> Prepared:
    """Return SimpleITK's series reader, its resampling and its .nii.gz."""
    import SimpleITK as sitk

    target = output / "v.nii.gz"
    interpolator = sitk.sitkLinear if linear else sitk.sitkBSpline

    def steps() -> Path:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        extent = zip(image.GetSize(), image.GetSpacing(), strict=True)
        size = [round((count - 1) * step + 1) for count, step in extent]
        resampled = sitk.Resample(
            image,
            size,
            sitk.Transform(),
            interpolator,
            image.GetOrigin(),
            (1.0, 1.0, 1.0),
            image.GetDirection(),
            -1024,
            sitk.sitkInt16,
        )
        sitk.WriteImage(resampled, str(target), useCompression=True)
        return target

    return steps, describe_nifti


WAYS: dict[str, Callable[[Path, Path], Prepared]] = {
    "lungfish, cubic": partial(prepare_lungfish, interpolation="cubic"),
    "kdsb17's steps": prepare_kdsb17,
    "SimpleITK, BSpline": partial(prepare_simpleitk, linear=False),
    "lungfish, linear": partial(prepare_lungfish, interpolation="linear"),
    "lungfish, lanczos3": partial(prepare_lungfish, interpolation="lanczos3"),
    "SimpleITK, linear": partial(prepare_simpleitk, linear=True),
}
COLUMNS = (
    "way", "CPU s, least (median)", "wall s, least (median)", "kdsb17 / this: CPU (wall)",
    "process: CPU s", "process: peak MB", "MB on disk",
)  # fmt: skip


def row(way: str, found: dict[str, list[Measurement]]) -> list[str]:
    """Return one line of the table."""
    runs = found[way]
    ratios = "-"
    if "kdsb17's steps" in found:
        slow = found["kdsb17's steps"]
        cpu = least(slow, "cpu_s") / least(runs, "cpu_s")
        ratios = f"{cpu:.1f} ({least(slow, 'wall_s') / least(runs, 'wall_s'):.1f})"
    return [
        way,
        measure.both(runs, "cpu_s"),
        measure.both(runs, "wall_s"),
        ratios,
        f"{least(runs, 'total_cpu_s'):.2f}",
        f"{max(run.total_peak_mb for run in runs):.0f}",
        f"{runs[0].answer['megabytes']:.0f}",
    ]


def verdict(found: dict[str, list[Measurement]]) -> str:
    """Return whether lungfish's cubic way keeps what is promised, in a sentence."""
    if not {"lungfish, cubic", "kdsb17's steps"} <= set(found):
        return ""
    own, slow = found["lungfish, cubic"], found["kdsb17's steps"]
    ratio = least(slow, "cpu_s") / least(own, "cpu_s")
    in_turn = np.median([a.cpu_s / b.cpu_s for a, b in zip(slow, own, strict=True)])
    peak_mb = max(run.total_peak_mb for run in own)
    kept = "kept" if ratio >= SPEED_FLOOR and peak_mb < MEMORY_FLOOR_MB else "**not kept**"
    return (
        f"Promised: at least {SPEED_FLOOR} times less CPU than kdsb17's steps and less than "
        f"{MEMORY_FLOOR_MB} MB. Found: {ratio:.1f} times (median of rounds {in_turn:.1f}) and "
        f"{peak_mb:.0f} MB: {kept}.\n\n"
    )


def page(found: dict[str, list[Measurement]], encoding: str, rounds: int) -> str:
    """Return the table of all ways; they must agree on the size of the result."""
    sizes = {tuple(run.answer["size"]) for runs in found.values() for run in runs}
    if len(sizes) > 1:
        raise SystemExit(f"the ways disagree on the size of the result: {sizes}")
    (size,) = sizes
    return (
        f"From {ct.SLICES} x {ct.SIDE} x {ct.SIDE} ({encoding}) to 1 mm, "
        f"{size[2]} x {size[1]} x {size[0]} on disk, {rounds} rounds in turn.\n\n"
        + verdict(found)
        + measure.markdown(COLUMNS, [row(way, found) for way in found])
        + f"\n{measure.machine()}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for CT and results")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--encoding", choices=list(ct.ENCODINGS), default="uncompressed")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    results = args.scratch / "volumes"
    if args.measure:
        results.mkdir(parents=True, exist_ok=True)
        folder = ct.folder_of(args.scratch, args.encoding)
        measure.report_here(partial(WAYS[args.measure], folder, results))
        return 0
    ct.make(args.scratch, [args.encoding])
    base = ["--scratch", str(args.scratch), "--encoding", args.encoding, "--measure"]
    fresh = partial(measure.in_fresh_process, "benchmarks.dicom_to_nifti")
    ways = {way: partial(fresh, [*base, way]) for way in args.ways}
    found = measure.interleaved(ways, args.rounds)
    measure.publish(page(found, args.encoding, args.rounds), args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
