"""Whether HU look like HU: where air and soft tissue lie on the scale.

A wrong intercept shifts every HU alike. Geometry can still be right then, so the scan is not
refused but put to review, with the number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.volume import AIR_HU

Counts = NDArray[np.int64]
LOWEST_HU, HIGHEST_HU = AIR_HU, 3071
AIR_RANGE_HU = (-1024, -850)
TISSUE_RANGE_HU = (-60, 160)
"""Soft tissue is 0 to 100 HU; the ends leave room for contrast, and for sharp kernels, whose noise
melts the peaks of fat and muscle into one. What this is to find is off by hundreds."""
SAMPLE = 1 << 21


def sample_counts(hu: NDArray[np.int16]) -> Counts:
    """Count the HU of about two million voxels taken at even steps.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)

    Returns
    -------
    ndarray of int64, shape (4096,)
        Of -1024, -1023, ..., 3071 HU; what lies above is counted at 3071.
    """
    step = max(1, round((hu.size / SAMPLE) ** (1 / 3)))
    values = np.minimum(hu[::step, ::step, ::step].ravel(), HIGHEST_HU).astype(np.int64)
    return np.bincount(values - LOWEST_HU, minlength=HIGHEST_HU - LOWEST_HU + 1)


def air_hu(counts: Counts) -> float | None:
    """Return the median of the darkest 2 % of voxels above -1024 HU, or None where there are none.

    At -1024 itself stands what lies outside the field of view, which says nothing of the scale.
    """
    inside = counts.copy()
    inside[0] = 0
    total = int(inside.sum())
    if not total:
        return None
    return float(LOWEST_HU + np.searchsorted(np.cumsum(inside), 0.01 * total))


def tissue_hu(counts: Counts) -> float | None:
    """Return the HU of the brightest broad peak: muscle and blood, beside fat and below bone.

    Peaks count from a fifth of the highest one above the middle between air and water.
    """
    smooth = ndimage.gaussian_filter1d(counts[1:].astype(np.float64), 12)
    above = smooth[500:]
    if not above.any():
        return None
    inner = above[1:-1]
    peaks = np.flatnonzero(
        (inner >= above[:-2]) & (inner > above[2:]) & (inner >= 0.2 * above.max())
    )
    return float(LOWEST_HU + 1 + 500 + 1 + peaks[-1]) if peaks.size else None


def review(counts: Counts) -> dict[str, Any]:
    """Judge a scan's scale.

    Returns
    -------
    dict
        ``air_hu`` and ``tissue_hu`` (HU or None), ``verdict`` (``ok`` or ``review``) and
        ``reasons``, a sentence each.
    """
    air, tissue = air_hu(counts), tissue_hu(counts)
    reasons = []
    if air is None or not AIR_RANGE_HU[0] <= air <= AIR_RANGE_HU[1]:
        found = "no air at all" if air is None else f"air at {air:.0f} HU"
        reasons.append(f"{found} where about -1000 is expected: the rescale values may be wrong")
    if tissue is None or not TISSUE_RANGE_HU[0] <= tissue <= TISSUE_RANGE_HU[1]:
        found = "no soft tissue" if tissue is None else f"soft tissue at {tissue:.0f} HU"
        reasons.append(f"{found} where 0 to 100 is expected: the rescale values may be wrong")
    return {
        "air_hu": air,
        "tissue_hu": tissue,
        "verdict": "review" if reasons else "ok",
        "reasons": reasons,
    }
