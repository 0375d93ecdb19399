"""Digital patients for the probe: patches with a planted nodule, their controls, and any others.

Each nodule's patch is shifted at random, so that its place in the patch says nothing. Its control
lies in the same lung at the same depth below the pleura, as far from the hilum as nodules are
planted, shifted by the same law, and holds no nodule.
"""

import concurrent.futures
import dataclasses
import math
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
EDGE = 32
SHIFT_VOXEL = 10
"""Most that a patch is shifted from its nodule, along each axis. With 6 a bright middle gave
nodules away; with 10 those of more than 12 mm are cut now and then."""
DEPTH_MM = 2.0
"""Within which the depths of nodule and control agree."""
THINNEST_MM, THICKEST_MM = 1.0, 3.0
TRIES = 200
FIELDS = ("patches", "present", "diameter_mm", "density_hu", "spiculated", "any")


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """A digital patient at 1 mm.

    Attributes
    ----------
    hu, lungs, nodules : ndarrays, shape (z, y, x)
    depth_mm : ndarray of float32
        Of each lung voxel below the lung's surface, on every second voxel.
    affine : ndarray, shape (4, 4)
    """

    hu: Array
    lungs: Array
    nodules: Array
    depth_mm: Array
    affine: Array

    def cut(self, volume: Array, corner: Array) -> Array:
        """Return 32 x 32 x 32 voxels; the volume's last plane goes on beyond its border."""
        ranges = [
            np.clip(np.arange(start, start + EDGE), 0, length - 1)
            for start, length in zip(corner, volume.shape, strict=True)
        ]
        return np.asarray(volume[np.ix_(*ranges)])


def make_scan(seed: int) -> tuple[Any, Scan]:
    """Make the digital patient of a seed, one to eight nodules of 6 to 20 mm, at 1 mm.

    Kernel, noise, slices (1 to 3 mm here), emphysema, contrast and the lungs' junction are those of
    the seed's design; masses, effusions and consolidations are left out.
    """
    from lungfish import phantom
    from lungfish.resampling import to_patient_grid
    from lungfish.volume import to_index, to_mm

    plan = phantom.design(seed)
    slice_mm = min(max(plan.slice_mm, THINNEST_MM), THICKEST_MM)
    plan = dataclasses.replace(
        plan, slice_mm=slice_mm, mass_mm=None, effusion_litre=None, consolidation_litre=None,
        arms_mm=None, cut=None, gas_litre=None, table_mm=None,
    )  # fmt: skip
    grid = phantom.Settings(
        matrix=256, slices=math.ceil(328 / slice_mm), slice_mm=slice_mm, thickness_mm=slice_mm,
        field_of_view_mm=360.0, nodules=8, smallest_mm=6.0, largest_mm=20.0,
        noise_soft_hu=plan.noise_hu, noise_sharp_hu=plan.noise_hu,
    )  # fmt: skip
    case = phantom.make_case(plan, settings=grid, malignant=True)
    volume = to_patient_grid(case.volume.hu, case.volume.affine, spacing_mm=1.0)
    ends = np.diag(np.array(volume.hu.shape) - 1)
    low = to_index(case.volume.affine, to_mm(volume.affine, np.zeros(3)))
    high = [to_index(case.volume.affine, to_mm(volume.affine, end)) for end in ends]
    nearest = np.ix_(*[
        np.rint(np.linspace(low[k], high[k][k], volume.hu.shape[k])).astype(int).clip(
            0, case.lungs.shape[k] - 1)
        for k in range(3)
    ])  # fmt: skip
    lungs, nodules = case.lungs[nearest], case.nodules[nearest]
    depth_mm = 2 * ndimage.distance_transform_edt(lungs[::2, ::2, ::2] > 0).astype(np.float32)
    return case, Scan(np.asarray(volume.hu), lungs, nodules, depth_mm, volume.affine)


def control(scan: Scan, centre: Array, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """Return the corner of a nodule's control; None where `TRIES` places do not suffice."""
    from lungfish.volume import to_mm

    half = tuple(np.minimum(centre // 2, np.array(scan.depth_mm.shape) - 1))
    side = scan.lungs[tuple(centre)]
    near = (np.abs(scan.depth_mm - scan.depth_mm[half]) <= DEPTH_MM) & (scan.depth_mm > 0)
    places = 2 * np.argwhere(near & (scan.lungs[::2, ::2, ::2] == (side or 1)))
    if not len(places):
        return None
    for place in rng.choice(places, TRIES):
        x, _, z = to_mm(scan.affine, place)
        # Where `lungfish.phantom.nodules` plants none: the tube of the hilum's large vessels.
        if math.hypot(abs(x) - 40, z + 25) < 30:
            continue
        corner = place + rng.integers(-SHIFT_VOXEL, SHIFT_VOXEL + 1, 3) - EDGE // 2
        if not scan.cut(scan.nodules, corner).any():
            return np.asarray(corner)
    return None


def make_examples(seed: int, *, per_patient: int) -> dict[str, Array]:
    """Return a patient's patches and what is true of them.

    Parameters
    ----------
    seed : int
    per_patient : int
        Patches round any voxel of the lungs, to learn from without labels.

    Returns
    -------
    dict of str to ndarray
        `FIELDS`: patches (int16 HU) and, for each, present (1 with a nodule, 0 its control),
        diameter_mm, density_hu (mean over the voxels that are nodule in truth, as scanned),
        spiculated (1, or 0 for lobulated) with NaN where it does not apply; any: patches round any
        lung voxel.
    """
    from lungfish.volume import to_index

    rng = np.random.default_rng([seed, 20])
    case, scan = make_scan(seed)
    rows: list[tuple[Array, float, float, float, float]] = []
    for nodule in case.truth["nodules"]:
        mask = case.nodules == nodule["label"]
        centre = np.rint(to_index(scan.affine, np.array(nodule["centre_mm"]))).astype(int)
        other = control(scan, centre, rng) if mask.any() else None
        if other is None:
            continue
        shifted = centre + rng.integers(-SHIFT_VOXEL, SHIFT_VOXEL + 1, 3) - EDGE // 2
        kind = {"spiculated": 1.0, "lobulated": 0.0}.get(nodule["margin"], math.nan)
        density_hu = float(case.volume.hu[mask].mean())
        rows.append((scan.cut(scan.hu, shifted), 1.0, nodule["diameter_mm"], density_hu, kind))
        rows.append((scan.cut(scan.hu, other), 0.0, math.nan, math.nan, math.nan))
    somewhere = rng.choice(np.argwhere(scan.lungs[::2, ::2, ::2] > 0) * 2, per_patient)
    columns = zip(*rows, strict=True) if rows else [[] for _ in range(5)]
    found = dict(zip(FIELDS, (np.array(list(column)) for column in columns), strict=False))
    found["patches"] = found["patches"].reshape(-1, EDGE, EDGE, EDGE).astype(np.int16)
    found["any"] = np.stack([scan.cut(scan.hu, place - EDGE // 2) for place in somewhere])
    return found


def _store(path: Path, seed: int, per_patient: int) -> None:
    if not path.is_file():
        temporary = path.with_suffix(".part.npz")
        np.savez_compressed(temporary, **make_examples(seed, per_patient=per_patient))
        temporary.rename(path)


def load(
    seeds: Sequence[int], folder: Path, *, per_patient: int, workers: int
) -> dict[int, dict[str, Array]]:
    """Return the examples of patients, made by several processes unless the folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {seed: folder / f"{seed}-{per_patient}-{SHIFT_VOXEL}.npz" for seed in seeds}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(_store, path, seed, per_patient) for seed, path in paths.items()]
        for job in jobs:
            job.result()
    return {seed: dict(np.load(path)) for seed, path in paths.items()}
