"""Time the resampling of a chest CT to 1 mm: lungfish's ways, SciPy's zoom and SimpleITK.

Each measurement is a process of its own, on the same random HU of 300 x 512 x 512. The errors
stand beside the cost: rms against plane waves up to 0.7 of Nyquist (106 HU rms), on a grid that
does not shrink, ten voxels from the edge.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import ct, measure
from benchmarks.measure import Measurement, least

Array = NDArray[Any]
Resample = Callable[[NDArray[np.int16], Sequence[float]], Array]
"""From HU and the spacing (z, y, x) to HU on a grid of 1 mm."""
WAVES_SPACING_MM = (1.25, 1.1, 1.05)
WAVES_SHAPE = (60, 80, 80)
WAVES_HU = 106


def by_lungfish(hu: NDArray[np.int16], spacing_mm: Sequence[float], *, kind: Any) -> Array:
    """Resample by banded matrices."""
    from lungfish.resampling import to_patient_grid
    from lungfish.volume import axis_aligned_affine

    affine = axis_aligned_affine(spacing_mm, (0, 0, 0))
    return to_patient_grid(hu, affine, spacing_mm=1.0, interpolation=kind).hu


def by_shear(hu: NDArray[np.int16], spacing_mm: Sequence[float]) -> Array:
    """Resample as if the gantry had been tilted by 15 degrees."""
    from lungfish.resampling import to_patient_grid
    from lungfish.volume import axis_aligned_affine

    affine = axis_aligned_affine(spacing_mm, (0, 0, 0))
    tilt = np.deg2rad(15)
    affine[1:3, 1] *= np.cos(tilt)
    affine[2, 1] = spacing_mm[1] * np.sin(tilt)
    return to_patient_grid(hu, affine, spacing_mm=1.0).hu


def by_scipy(hu: NDArray[np.int16], spacing_mm: Sequence[float]) -> Array:
    """Resample as kdsb17 does; the last centres are moved to fit the rounded size."""
    from scipy import ndimage

    sizes = [round((n - 1) * d + 1) for n, d in zip(hu.shape, spacing_mm, strict=True)]
    factors = [new / old for new, old in zip(sizes, hu.shape, strict=True)]
    return np.asarray(ndimage.zoom(hu, factors, order=3, mode="nearest"))


def by_simpleitk(hu: NDArray[np.int16], spacing_mm: Sequence[float], *, kind: str) -> Array:
    """Resample with SimpleITK, which truncates to int16."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(hu)
    image.SetSpacing([float(step) for step in spacing_mm[::-1]])
    sizes = [round((n - 1) * d + 1) for n, d in zip(hu.shape, spacing_mm, strict=True)]
    made = sitk.Resample(
        image, sizes[::-1], sitk.Transform(), getattr(sitk, kind), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )
    return sitk.GetArrayFromImage(made)


WAYS: dict[str, Resample] = {
    "lungfish, cubic": partial(by_lungfish, kind="cubic"),
    "lungfish, linear": partial(by_lungfish, kind="linear"),
    "lungfish, Lanczos-3": partial(by_lungfish, kind="lanczos3"),
    "lungfish, cubic, tilted by 15 degrees": by_shear,
    "SciPy zoom, order 3": by_scipy,
    "SimpleITK, B-spline": partial(by_simpleitk, kind="sitkBSpline"),
    "SimpleITK, linear": partial(by_simpleitk, kind="sitkLinear"),
}


def waves(shape: Sequence[int], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return 24 plane waves on a grid, the same in mm whatever the grid."""
    rng = np.random.default_rng(ct.SEED)
    z, y, x = (np.arange(n) * d for n, d in zip(shape, spacing_mm, strict=True))
    hu = np.zeros(shape)
    for _ in range(24):
        a, b, c = 0.7 * np.pi * rng.uniform(-1, 1, 3) / WAVES_SPACING_MM
        hu += np.cos(a * z[:, None, None] + b * y[:, None] + c * x + rng.uniform(0, 2 * np.pi))
    return np.asarray(WAVES_HU * np.sqrt(2 / 24) * hu)


def error_hu(resample: Resample) -> float:
    """Return the rms error on the waves."""
    made = resample(np.rint(waves(WAVES_SHAPE, WAVES_SPACING_MM)).astype("i2"), WAVES_SPACING_MM)
    away = made - waves(made.shape, (1, 1, 1))
    return float(np.sqrt(np.mean(away[10:-10, 10:-10, 10:-10] ** 2)))


def prepare(way: str) -> tuple[measure.Work, measure.Check]:
    """Return the work of one way on the large volume, and its error on the small one."""
    resample = WAYS[way]
    error = 0.0 if resample is by_shear else error_hu(resample)  # imports what the way needs
    rng = np.random.default_rng(ct.SEED)
    hu = rng.integers(-1000, 1000, (ct.SLICES, ct.SIDE, ct.SIDE), dtype=np.int16)
    return partial(resample, hu, ct.SPACING_MM), lambda made: [error, made.nbytes / 1e6]


COLUMNS = (
    "way", "CPU s, least (median)", "wall s, least (median)", "peak MB above the input",
    "of which output", "rms error on waves, HU", "CPU, SciPy's zoom / this",
)  # fmt: skip


def row(way: str, runs: Sequence[Measurement], zoom: Sequence[Measurement]) -> list[str]:
    """Return one line of the table."""
    error, output_mb = runs[0].answer
    ratio = f"{least(zoom, 'cpu_s') / least(runs, 'cpu_s'):.0f}" if zoom else "-"
    return [
        way,
        measure.both(runs, "cpu_s"),
        measure.both(runs, "wall_s"),
        f"{max(run.peak_mb for run in runs):.0f}",
        f"{output_mb:.0f}",
        f"{error:.1f}" if error else "-",
        ratio,
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and store it where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (default 3)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--output", type=Path, help="Markdown page to write")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        measure.report_here(partial(prepare, args.measure))
        return 0
    ways = {
        way: partial(measure.in_fresh_process, "benchmarks.resampling", ["--measure", way])
        for way in args.ways
    }
    found = measure.interleaved(ways, args.rounds)
    rows = [row(way, runs, found.get("SciPy zoom, order 3", [])) for way, runs in found.items()]
    title = f"{ct.SLICES} x {ct.SIDE} x {ct.SIDE} at {ct.SPACING_MM} mm to 1 mm"
    table = measure.markdown(COLUMNS, rows)
    measure.publish(
        f"{title}, {args.rounds} rounds in turn.\n\n{table}\n{measure.machine()}\n", args.output
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
