"""Whether a mask fits its scan, and whether the scan shows a chest the right way round.

All is measured on blocks of at most `GRID_MM`, along the patient's axes as the affine says. Right
and left of the body are told by signs that a mask and a scan's affine cannot carry along when
they are wrong: heart and aorta to the left, liver to the right (in situs inversus they lie the
other way, which cannot be told from a mirrored scan).
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.body import body_mask
from lungfish.lungs.gas import remove_gas
from lungfish.lungs.morphology import Mask
from lungfish.lungs.orientation import turn_of
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.lungs.spine import spine_middle
from lungfish.records import Record
from lungfish.volume import Volume

GRID_MM = 4.0
"""The signs are centimetres large."""
GAS_HU = -960
"""As the default of `Settings.gas_hu`."""
LUNG_HU = (-920, -500)
"""Median of what may be missed lung; darker is gas or trachea, brighter a mixture with tissue."""
MISSED_MM = 10.0
"""Radius of a ball that missed lung holds, and trachea, bronchi and the rim of a lung do not."""
SKIN_MM = 6.0
"""A mask may reach so far beyond the body, whose rim lies in blocks."""
BONE_HU = 250
"""Cortical bone, and above most blood with contrast medium in blocks."""
SPINE_MM = 30.0
"""Half the width of the middle of the body in which spine and breastbone are weighed."""
BACK_MM = (40.0, 45.0)
FRONT_MM = (15.0, 15.0)
"""How far before and behind the edge of the lungs spine and breastbone lie."""
SPINE_MM3 = 2e3
"""Less bone than this, from the middle of the lungs to the back, shows no spine."""
LEAST_BONE_MM3 = 3e3
"""Less bone than this in the middle of the body says nothing of back and front."""
CORE = 0.45
"""Inner and outer part of a lung's footprint, as shares of its greatest depth."""
FEW = 30
"""Columns of a footprint below which its shape says nothing."""
TISSUE_HU = (0, 200)
"""Liver and other organs, with contrast medium too; not fat, gas or bone."""
HEART, AORTA = ((0.2, 0.6), (0.0, 0.5)), ((0.3, 0.7), (0.6, 0.85))
"""Where heart and descending aorta lie: shares of the lungs' box, from its base and its front."""
UNDER_MM = 60.0
"""Height of what is looked at under the lungs' lower faces."""
FULL = {"heart_left_mm": 15.0, "aorta_left_mm": 10.0, "liver_right": 0.3, "recess_mm": 20.0}
"""Size from which a sign counts in full: about the mean of digital patients and six real ones."""

MIRRORED = ("heart_left_mm", "aorta_left_mm", "liver_right", "liver_right")
"""The signs that are weighed against each other for a mirrored scan."""
AIRLESS_HU = -300
"""Above it a block is more than two thirds tissue."""


@dataclasses.dataclass(frozen=True, eq=False)
class Chest:
    """A scan and its mask on a coarse grid along the patient's axes.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
    labels : ndarray of uint8, shape (z, y, x)
    body : ndarray of bool, shape (z, y, x)
    step : tuple of 3 float
        Edge of the blocks in mm along (z, y, x).
    """

    hu: NDArray[Any]
    labels: Labels
    body: Mask
    step: tuple[float, float, float]

    def bone(self) -> Mask:
        """Return the bone, without the shell of a table."""
        return np.asarray((self.hu > BONE_HU) & self.body)

    def litre(self, mask: Mask) -> float:
        """Return the volume of a mask in litres."""
        return float(np.count_nonzero(mask) * np.prod(self.step)) * 1e-6


def look(volume: Volume, labels: Labels) -> Record:
    """Measure what tells a mask on the wrong place, or a patient the wrong way round.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (z, y, x)
        On the volume's grid, 1 right, 2 left, not empty.

    Returns
    -------
    dict
        As in docs/stages/lungs.md: ``left_of_right_mm``, ``head_up_mm``, ``back_behind`` and
        ``heart_left`` (signs of the right way round, -1 to 1, 1 is best) with the measures
        ``spine_behind``, ``recess_mm``, ``heart_left_mm``, ``aorta_left_mm`` and ``liver_right``
        from which they come, and ``outside_litre``, ``gas_litre`` and ``missed_litre`` (0 is
        best). None where there is nothing to measure, as with one lung.
    """
    return signs_of(coarsen(volume, labels))


def signs_of(chest: Chest) -> Record:
    """Return what `look` does, of blocks."""
    found = {"spine_behind": spine_behind(chest), "recess_mm": recess(chest)} | mirror_signs(chest)
    signs = {name: found[name] / full for name, full in FULL.items()}
    back = mean_sign([found["spine_behind"], signs["recess_mm"]])
    # Twice the liver: a lung that lost volume draws heart and aorta over, not the liver.
    heart = mean_sign([signs[name] for name in MIRRORED])
    return {
        "left_of_right_mm": rounded(left_of_right(chest), 1),
        "head_up_mm": rounded(head_up(chest), 1),
        "back_behind": rounded(back, 3),
        "heart_left": rounded(heart, 3),
        **{name: rounded(value, 3) for name, value in found.items()},
        "right_airless": rounded(airless(chest, RIGHT), 4),
        "left_airless": rounded(airless(chest, LEFT), 4),
        **{name: round(value, 4) for name, value in misplaced(chest).items()},
    }


def rounded(value: float, digits: int) -> float | None:
    """Return a rounded number, None for one that is not known."""
    return round(float(value), digits) if np.isfinite(value) else None


def mean_sign(signs: list[float]) -> float:
    """Return the mean of the known signs, each -1 to 1 at most; nan if none is known."""
    known = [value for value in signs if np.isfinite(value)]
    return float(np.mean(np.clip(known, -1, 1))) if known else float("nan")


def coarsen(volume: Volume, labels: Labels) -> Chest:
    """Return a scan and its mask in blocks of at most `GRID_MM` (more where the slices are)."""
    turn = turn_of(volume.affine)
    hu, marked = turn.forward(volume.hu), turn.forward(labels)
    spacing_mm = turn.spacing(volume.spacing_mm)
    factors = morphology.block_factors(spacing_mm, GRID_MM)
    z, y, x = (edge * factor for edge, factor in zip(spacing_mm, factors, strict=True))
    coarse = morphology.block_mean(hu, factors)
    # The label in the middle of a block will do, and costs a tenth of counting them all.
    middles = [
        np.minimum(np.arange(count) * factor + factor // 2, size - 1)
        for count, factor, size in zip(coarse.shape, factors, marked.shape, strict=True)
    ]
    return Chest(coarse, marked[np.ix_(*middles)], body_mask(coarse, (z, y, x)), (z, y, x))


def misplaced(chest: Chest) -> dict[str, float]:
    """Return in litres what of the mask is no lung, and what looks like lung and is not in it."""
    lungs = chest.labels > 0
    body = morphology.dilate(chest.body, chest.step, SKIN_MM)
    gas = lungs & ~remove_gas(chest.hu, lungs, chest.step, gas_hu=GAS_HU)
    return {
        "outside_litre": chest.litre(lungs & ~body),
        "gas_litre": chest.litre(gas & body),
        "missed_litre": chest.litre(missed(chest)),
    }


def airless(chest: Chest, side: int) -> float:
    """Return the share of a lung that holds no air, in blocks; nan without that lung."""
    inside = chest.hu[chest.labels == side]
    return float(np.mean(inside > AIRLESS_HU)) if len(inside) else float("nan")


def missed(chest: Chest) -> Mask:
    """Return the air in the body, as dense as lung, that the mask leaves out."""
    low, high = LUNG_HU
    near = ndimage.binary_dilation(chest.labels > 0)
    air = morphology.opening(chest.body & (chest.hu < high) & ~near, chest.step, MISSED_MM)
    pieces, count = ndimage.label(air)
    medians = ndimage.median(chest.hu[air], pieces[air], np.arange(1, count + 1)) if count else []
    return np.asarray(np.concatenate([[False], np.asarray(medians) > low])[pieces])


def sides_of(chest: Chest) -> list[Mask]:
    """Return the right and the left lung."""
    return [chest.labels == side for side in (RIGHT, LEFT)]


def left_of_right(chest: Chest) -> float:
    """Return how far the left lung's middle lies to the patient's left of the right one's, mm."""
    weights = [np.count_nonzero(mask, axis=(0, 1)) for mask in sides_of(chest)]
    if not all(weight.any() for weight in weights):
        return float("nan")
    across = np.arange(chest.labels.shape[2])
    right, left = (float(np.average(across, weights=weight)) for weight in weights)
    return (left - right) * chest.step[2]


def head_up(chest: Chest) -> float:
    """Return by how many mm the lungs bulge upwards, at apex and diaphragm together.

    Both ends of a lung are higher in the middle of its footprint than at the rim.
    """
    bulges = []
    for mask in sides_of(chest):
        footprint = mask.any(axis=0)
        if np.count_nonzero(footprint) < FEW:
            continue
        depth = ndimage.distance_transform_edt(footprint, sampling=chest.step[1:])
        inner = depth > CORE * depth.max()
        rim = footprint & ~inner
        if not rim.any():
            continue
        ends = (mask.argmax(axis=0), len(mask) - 1 - mask[::-1].argmax(axis=0))
        bulges.append(sum(np.median(end[inner]) - np.median(end[rim]) for end in ends))
    return float(np.mean(bulges)) * chest.step[0] if bulges else float("nan")


def spine_behind(chest: Chest) -> float:
    """Return (behind - before) / (behind + before) of the bone in the middle of the body."""
    box = morphology.bounds(chest.labels > 0)
    _, dy, dx = chest.step
    middle = (box[2].start + box[2].stop) / 2
    reach = SPINE_MM / dx
    columns = slice(max(0, int(middle - reach)), int(middle + reach) + 1)
    rows = np.asarray(chest.bone()[box[0], :, columns].sum(axis=(0, 2)), np.float64)
    front, back = box[1].start, box[1].stop
    before = rows[max(0, int(front - FRONT_MM[0] / dy)) : int(front + FRONT_MM[1] / dy)].sum()
    behind = rows[max(0, int(back - BACK_MM[0] / dy)) : int(back + BACK_MM[1] / dy)].sum()
    total = float(before + behind)
    enough = total * np.prod(chest.step) > LEAST_BONE_MM3
    return float(behind - before) / total if enough else float("nan")


def recess(chest: Chest) -> float:
    """Return by how many mm the lungs reach lower at the back than in front, as they do."""
    deeper = []
    for mask in sides_of(chest):
        footprint = mask.any(axis=0)
        if np.count_nonzero(footprint) < FEW:
            continue
        low = mask.argmax(axis=0)
        front, back = np.quantile(np.nonzero(footprint)[0], (0.35, 0.65))
        rows = np.arange(footprint.shape[0])[:, None]
        before, behind = footprint & (rows <= front), footprint & (rows >= back)
        deeper.append(np.median(low[before]) - np.median(low[behind]))
    return float(np.mean(deeper)) * chest.step[0] if deeper else float("nan")


def mirror_signs(chest: Chest) -> dict[str, float]:
    """Return what lies differently right and left; negative in a mirror, nan with one lung.

    Heart and aorta keep the left lung further from the spine than the right one, in mm; of what
    lies under the lungs more is tissue on the right, where the liver is (difference of shares).
    """
    names = ("heart_left_mm", "aorta_left_mm", "liver_right")
    if not all(mask.any() for mask in sides_of(chest)):
        return dict.fromkeys(names, float("nan"))
    box = morphology.bounds(chest.labels > 0)
    spine = spine_middle(
        chest.bone(), chest.labels > 0, chest.step, behind_mm=BACK_MM[1], least_mm3=SPINE_MM3
    )
    heart, aorta = (gap(chest, box, spine, window=window) for window in (HEART, AORTA))
    right, left = (tissue_under(chest, mask) for mask in sides_of(chest))
    return dict(zip(names, (heart, aorta, right - left), strict=True))


def gap(
    chest: Chest, box: morphology.Box, spine: float, *,
    window: tuple[tuple[float, float], tuple[float, float]],
) -> float:  # fmt: skip
    """Return how much further from the spine the left lung begins than the right, mean in mm."""
    part = tuple(
        slice(*(edge.start + int(share * (edge.stop - edge.start)) for share in shares))
        for edge, shares in zip(box[:2], window, strict=True)
    )
    right, left = (mask[part] for mask in sides_of(chest))
    to_right = spine - (right.shape[2] - 1 - right[:, :, ::-1].argmax(axis=2))
    to_left = left.argmax(axis=2) - spine
    both = right.any(axis=2) & left.any(axis=2)
    if np.count_nonzero(both) < FEW:
        return float("nan")
    return float(np.mean((to_left - to_right)[both])) * chest.step[2]


def tissue_under(chest: Chest, lung: Mask) -> float:
    """Return which share of what lies under a lung's lower face is tissue; nan if little does."""
    deep = UNDER_MM / chest.step[0]
    low = lung.argmax(axis=0)
    heights = np.arange(len(lung))[:, None, None]
    under = (heights < low - 1) & (heights >= low - deep) & chest.body & (low >= deep / 2)
    hu = chest.hu[under]
    return float(np.mean((hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1]))) if len(hu) > FEW else np.nan
