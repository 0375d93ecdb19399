"""Failures planted in good scans: eight kinds, each a function of a scan and of chance."""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from lungfish import lungs
from lungfish.errors import Refusal
from lungfish.lungs import measures, morphology, verdict
from lungfish.lungs.body import body_mask
from lungfish.lungs.orientation import turn_of
from lungfish.phantom import Design, design, make_case
from lungfish.randomness import generator
from lungfish.records import Record
from lungfish.volume import Volume

RIGHT, LEFT = 1, 2
LOWEST_HU, HIGHEST_HU = -1024, 3071
WHOLE_LITRE = 0.5
"""Effusion above it, and a scan that leaves lung out, are for a person to see: such designs are no
good scans. Stated before any verdict was looked at."""


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
    """A failure: a scan to be segmented, or a scan with the mask that is wrong.

    `what` says in words what was planted; `labels` is None where the scan itself was changed.
    """

    what: str
    volume: Volume
    labels: np.ndarray | None = None


def is_good(plan: Design) -> bool:
    """Whether a digital patient's scan shows whole lungs with at most a moderate effusion."""
    return plan.cut is None and (plan.effusion_litre or 0) <= WHOLE_LITRE


def good_seeds(seeds) -> list[int]:
    return [seed for seed in seeds if is_good(design(seed))]


def verdict_of(planted: Planted, *, settings: lungs.Settings | None = None) -> Record:
    """Return the record that the stage would write of a planted scan or mask."""
    settings = settings or lungs.Settings()
    if planted.labels is None:
        try:
            return lungs.segment(planted.volume, settings=settings).record
        except Refusal as refusal:
            return verdict.refused_record(refusal)
    found = measures.measure(planted.volume, planted.labels, leak_voxels=0)
    return verdict.judge(found, trachea=True, settings=settings) | found


def erase_lung(volume, labels, random) -> Planted:
    """A lung erased, or all of it but a stub of at most a tenth at its top."""
    side = int(random.integers(RIGHT, LEFT + 1))
    turn = turn_of(volume.affine)
    result = labels.copy()
    view = turn.forward(result)
    heights = np.nonzero(view == side)[0]
    left_over = float(random.choice([0.0, random.uniform(0, 0.1)]))
    edge = np.quantile(heights, 1 - left_over) if left_over else view.shape[0]
    lower = view[: int(edge)]
    lower[lower == side] = 0
    return Planted(f"{side} erased but {left_over:.0%}", volume, result)


def leak(volume, labels, random) -> Planted:
    """The mask grown into the gas of stomach and bowel, or through the chest wall into the air."""
    turn = turn_of(volume.affine)
    hu, result = turn.forward(volume.hu), labels.copy()
    view = turn.forward(result)
    step = turn.spacing(volume.spacing_mm)
    body = body_mask(hu, step)
    gas = gut_gas(hu, view, body)
    gas_litre = np.count_nonzero(gas) * volume.voxel_litre
    if gas_litre > 0.04 and random.integers(2):
        added, what = gas, "gut"
    else:
        added, what = outside_ball(view, body, step, random), "outside"
    grown = added & (view == 0)
    columns = np.flatnonzero((view > 0).any((0, 1)))
    sides = np.where(np.arange(view.shape[2]) < columns.mean(), RIGHT, LEFT)
    view[grown] = np.broadcast_to(sides, view.shape)[grown]
    return Planted(f"{np.count_nonzero(grown) * volume.voxel_litre:.2f} litre {what}",
                   volume, result)  # fmt: skip


def gut_gas(hu, labels, body):
    """Return the air inside the body below the middle of the lungs and not in them."""
    middle = int(np.flatnonzero((labels > 0).any((1, 2))).mean())
    result = np.zeros(labels.shape, np.bool_)
    near = ndimage.binary_dilation(labels[:middle] > 0, iterations=2)
    air = (hu[:middle] < -600) & body[:middle] & ~near
    result[:middle] = ndimage.binary_opening(air)
    return result


def outside_ball(labels, body, step, random):
    """Return a ball of air outside the body, 30 to 60 mm in radius, and a channel to a lung."""
    heights = np.flatnonzero((labels > 0).any((1, 2)))
    z = int(random.choice(heights[len(heights) // 5 : -len(heights) // 5]))
    y, x = (int(random.choice(index)) for index in np.nonzero(labels[z]))
    rows = np.flatnonzero(body[z, :, x])
    front = int(rows[0]) if len(rows) else 0
    radius = float(random.uniform(30, 60))
    grid = np.ogrid[tuple(slice(0, size) for size in labels.shape)]
    away = [(axis - at) * edge for axis, at, edge in zip(grid, (z, front, x), step, strict=True)]
    ball = sum(part**2 for part in away) <= radius**2
    channel = (away[0] ** 2 + away[2] ** 2 <= 8.0**2) & (grid[1] >= front) & (grid[1] <= y)
    return (ball & ~body) | channel


def shift_hu(offset_hu: int) -> Callable[..., Planted]:
    """Return a plant that adds an offset to the HU, as a wrong intercept does."""

    def plant(volume, labels, random) -> Planted:
        shifted = np.clip(volume.hu.astype(np.int32) + offset_hu, -2048 if random.integers(2)
                          else LOWEST_HU, HIGHEST_HU).astype(np.int16)  # fmt: skip
        return Planted(f"{offset_hu:+d} HU", Volume(shifted, volume.affine))

    return plant


def swap_sides(volume, labels, random) -> Planted:
    """Right labelled left and left labelled right."""
    return Planted("swapped", volume, np.array([0, LEFT, RIGHT], np.uint8)[labels])


def cut_lowest_third(volume, labels, random) -> Planted:
    """The lowest third of the lungs' height missing: of the mask, or of the scan."""
    turn = turn_of(volume.affine)
    view = turn.forward(labels)
    heights = np.flatnonzero((view > 0).any((1, 2)))
    first = int(heights[0] + np.ceil((heights[-1] + 1 - heights[0]) / 3))
    if random.integers(2):
        affine = turn.affine(volume.affine, volume.hu.shape)
        affine[:3, 3] += affine[:3, 2] * first
        return Planted("scan cut", Volume(
            np.ascontiguousarray(turn.forward(volume.hu)[first:]), affine))  # fmt: skip
    result = labels.copy()
    turn.forward(result)[:first] = 0
    return Planted("mask cut", volume, result)


def drown_lung(volume, labels, random) -> Planted:
    """Fluid in 75 to 100 % of one half of the chest, from the back up, as the patient lies."""
    turn = turn_of(volume.affine)
    side = int(random.integers(RIGHT, LEFT + 1))
    hu = turn.forward(volume.hu).copy()
    mask = turn.forward(labels) == side
    share = float(random.uniform(0.75, 1.0))
    level = np.quantile(np.nonzero(mask)[1], 1 - share)
    wet = morphology.dilate(mask, turn.spacing(volume.spacing_mm), 2.0)
    wet &= (np.arange(mask.shape[1]) >= level)[None, :, None]
    wet &= hu < 0
    hu[wet] = 10 + 15 * random.standard_normal(np.count_nonzero(wet))
    return Planted(f"{side} drowned by {share:.0%}", Volume(
        np.ascontiguousarray(turn.back(hu)), volume.affine))  # fmt: skip


def flip_axis(volume, labels, random, *, axis: int | None = None) -> Planted:
    """The scan turned over along one axis though its affine says otherwise."""
    axis = int(random.integers(3)) if axis is None else axis
    turn = turn_of(volume.affine)
    flipped = turn.back(np.flip(turn.forward(volume.hu), axis))
    words = ("upside down", "back to front", "mirrored")
    return Planted(words[axis], Volume(np.ascontiguousarray(flipped), volume.affine))


KINDS: dict[str, Callable[..., Planted]] = {
    "erased": erase_lung,
    "leak": leak,
    "-1024 HU": shift_hu(-1024),
    "+1000 HU": shift_hu(1000),
    "swapped": swap_sides,
    "cut": cut_lowest_third,
    "drowned": drown_lung,
    "flipped": flip_axis,
}
"""The eight kinds of issue 10, point 5."""
LEAST_SLICE_MM = 2.5
"""Thinner slices are made this thick: the verdict looks at blocks of 4 mm, and minutes count."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the stage said of one scan, planted (`kind` of `KINDS`) or plain."""

    kind: str
    scan: str
    what: str
    verdict: str
    reasons: tuple[str, ...]


def digital(seed, *, matrix=256, slice_mm=LEAST_SLICE_MM) -> Volume:
    """Return the scan of a digital patient of the table of factors."""
    return make_case(seed, matrix=matrix, slice_mm=max(design(seed).slice_mm, slice_mm)).volume


def judge_scan(name, volume, kinds, *, settings=None) -> list[Judged]:
    """Return what the stage says of a scan, and, if that is ok, of it with each kind planted."""
    good = lungs.segment(volume, settings=settings or lungs.Settings())
    plain = Judged("plain", name, "", good.record["verdict"], tuple(good.record["reasons"]))
    found = [plain]
    for kind in kinds if plain.verdict == "ok" else ():
        planted = KINDS[kind](volume, good.labels, generator(0, "planted", name, kind))
        record = verdict_of(planted, settings=settings)
        found.append(Judged(kind, name, planted.what, record["verdict"], tuple(record["reasons"])))
    return found


def kinds_of(number, *, scans: int, each: int = 25) -> list[str]:
    """Return the kinds to be planted in the scan of this number, so that each has `each` of them.

    Every kind begins its run of scans elsewhere, so that no scan has all of them.
    """
    starts = {kind: k * scans // len(KINDS) for k, kind in enumerate(KINDS)}
    return [kind for kind, start in starts.items() if (number - start) % scans < each]


def table(rows) -> str:
    """Return how many of each kind were sent to review or reject, and how many plain ones passed.

    Ones that were missed, and plain ones that were doubted, follow with their reasons.
    """
    lines = ["kind            n  review  reject  missed  sensitivity"]
    planted = [row for row in rows if row.kind != "plain"]
    for kind in [*KINDS, "all"]:
        of_kind = [row for row in planted if kind in (row.kind, "all")]
        if not of_kind:
            continue
        count = {v: sum(row.verdict == v for row in of_kind) for v in ("review", "reject", "ok")}
        share = 1 - count["ok"] / len(of_kind)
        lines.append(f"{kind:12} {len(of_kind):4} {count['review']:7} {count['reject']:7} "
                     f"{count['ok']:7}  {share:.1%}")  # fmt: skip
    plain = [row for row in rows if row.kind == "plain"]
    passed = sum(row.verdict == "ok" for row in plain)
    if plain:
        lines.append(f"plain: {passed} of {len(plain)} ok, specificity {passed / len(plain):.1%}")
    lines += [f"missed: {row.kind}, {row.scan}: {row.what}" for row in planted
              if row.verdict == "ok"]  # fmt: skip
    lines += [f"doubted: {row.scan}: {row.verdict}: {'; '.join(row.reasons)}" for row in plain
              if row.verdict != "ok"]  # fmt: skip
    return "\n".join(lines)


def sensitivity(rows, kind) -> float:
    """Return the share of planted scans of a kind (``all``: of any) that are not ok."""
    verdicts = [row.verdict for row in rows
                if row.kind != "plain" and kind in (row.kind, "all")]  # fmt: skip
    return sum(verdict != "ok" for verdict in verdicts) / len(verdicts)
