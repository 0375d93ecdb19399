"""Where the spine stands: the patient's midline that no lung can draw over."""

import numpy as np

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

REACH_MM = 50.0
"""How far from the middle of the lungs the spine is sought."""


def spine_middle(
    bone: Mask, lungs: Mask, spacing_mm: Spacing, *, behind_mm: float, least_mm3: float
) -> float:
    """Return x of the spine in voxels; the middle of the lungs where no spine is seen.

    A trachea may be bowed, or be a bronchus where the scan begins below the neck.

    Parameters
    ----------
    bone, lungs : ndarray of bool, shape (z, y, x)
        Along the patient's axes; lungs not empty.
    spacing_mm : sequence of 3 floats
    behind_mm : float
        How far behind the lungs bone counts.
    least_mm3 : float
        Less bone than this shows no spine.
    """
    box = morphology.bounds(lungs)
    middle = float(box[2].start + box[2].stop - 1) / 2
    reach = round(REACH_MM / spacing_mm[2])
    first = max(0, round(middle) - reach)
    back = slice((box[1].start + box[1].stop) // 2, box[1].stop + int(behind_mm / spacing_mm[1]))
    across = np.asarray(bone[box[0], back, first : round(middle) + reach + 1].sum(axis=(0, 1)))
    if float(across.sum()) * float(np.prod(spacing_mm)) < least_mm3:
        return middle
    return first + float(np.average(np.arange(len(across)), weights=across))
