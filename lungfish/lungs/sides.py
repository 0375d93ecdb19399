"""Which air is lung, and which lung is which: right and left, also where they touch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import morphology
from lungfish.lungs.morphology import Mask, Spacing

RIGHT, LEFT = 1, 2
PIECE_LITRE = 0.02
"""Smaller pieces of air are not looked at as lungs of their own."""
SHEET_MM = 55.0
"""How far from the midline the sheet between touching lungs may run."""
BOTH_SIDES = 0.2
"""A piece of air with at least this share on either side of the midline is two lungs that touch."""

Labels = NDArray[np.uint8]


def find_lungs(
    hu: NDArray[Any],
    air: Mask,
    spacing_mm: Spacing,
    *,
    middle_voxel: float,
    gas_hu: int,
) -> Labels:
    """Choose the components that are lungs and label right and left.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Along the patient's axes.
    air : ndarray of bool, shape (z, y, x)
        Air inside the body without the airways.
    spacing_mm : sequence of 3 floats
    middle_voxel : float
        x of the patient's midline in voxels.
    gas_hu : int
        Pieces with a median HU below it are gas and not lung.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 the patient's right lung, 2 the left, 0 elsewhere.
    """
    result = np.zeros(air.shape, np.uint8)
    pieces, _ = ndimage.label(air)
    candidates = lung_like(hu, pieces, spacing_mm, gas_hu=gas_hu)
    if not candidates:
        return result
    first = candidates[0]
    box = first.box
    mask = pieces[box] == first.label
    middle = middle_voxel - box[2].start
    share = float(mask[:, :, : max(0, round(middle))].sum()) / first.voxels
    if BOTH_SIDES <= share <= 1 - BOTH_SIDES:
        result[box] = split_touching(hu[box], mask, spacing_mm, middle_voxel=middle)
    else:
        side = RIGHT if share > 0.5 else LEFT
        result[box][mask] = side
        other = opposite(candidates[1:], first, middle_voxel, right=side == LEFT)
        if other is not None:
            result[other.box][pieces[other.box] == other.label] = RIGHT + LEFT - side
    return result


class Piece:
    """A connected piece of air.

    Attributes
    ----------
    label, voxels : int
        Its label and size.
    box : tuple of 3 slices
        End-exclusive.
    middle_voxel : tuple of 3 float
        Centre of gravity (z, y, x).
    """

    def __init__(self, label: int, box: morphology.Box, mask: Mask) -> None:
        self.label = label
        self.box = box
        self.voxels = int(np.count_nonzero(mask))
        self.middle_voxel = tuple(
            part.start + float(position.mean())
            for part, position in zip(box, np.nonzero(mask), strict=True)
        )


def lung_like(
    hu: NDArray[Any], pieces: NDArray[Any], spacing_mm: Spacing, *, gas_hu: int
) -> list[Piece]:
    """Return the pieces that are large enough and not gas, the largest first."""
    least = PIECE_LITRE * 1e6 / float(np.prod(spacing_mm))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    boxes = ndimage.find_objects(pieces)
    result = []
    for label in np.argsort(-sizes):
        if sizes[label] < least:
            break
        box = boxes[label - 1]
        mask = pieces[box] == label
        if np.median(hu[box][mask]) >= gas_hu:
            result.append(Piece(int(label), box, mask))
    return result


def opposite(
    candidates: list[Piece], first: Piece, middle_voxel: float, *, right: bool
) -> Piece | None:
    """Return the largest piece on the other side that stands beside the first, or None.

    Gas in stomach and bowel lies below the lungs: a lung's middle is not below the other's foot,
    and at least a third of the height of the smaller is shared.
    """
    for piece in candidates:
        apart = (
            piece.middle_voxel[2] < min(first.middle_voxel[2], middle_voxel)
            if right
            else (piece.middle_voxel[2] > max(first.middle_voxel[2], middle_voxel))
        )
        low = max(piece.box[0].start, first.box[0].start)
        high = min(piece.box[0].stop, first.box[0].stop)
        height = piece.box[0].stop - piece.box[0].start
        beside = piece.middle_voxel[0] >= first.box[0].start and high - low >= height / 3
        if apart and beside:
            return piece
    return None


def split_touching(
    hu: NDArray[Any], mask: Mask, spacing_mm: Spacing, *, middle_voxel: float
) -> Labels:
    """Cut two touching lungs along the brightest sheet near the midline.

    Where lungs touch, two pleurae remain between them: a line of less than a voxel, brighter than
    both sides. In every axial slice dynamic programming finds from front to back the path of least
    cost, where aerated voxels are dear and tissue is free (Hu, Hoffman and Reinhardt 2001,
    section II.B).

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x)
    mask : ndarray of bool, shape (z, y, x)
        The joined lungs.
    spacing_mm : sequence of 3 floats
    middle_voxel : float
        x of the midline in voxels.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 right, 2 left; a lung in one piece each.
    """
    reach = int(SHEET_MM / spacing_mm[2])
    start = max(0, int(middle_voxel) - reach)
    stop = min(mask.shape[2], int(middle_voxel) + reach + 1)
    window = (slice(None), slice(None), slice(start, stop))
    aerated = np.clip(-hu[window].astype(np.float32), 0, 1000) / 1000
    cost = np.where(mask[window], 0.2 + aerated, 0)
    # Neighbouring slices agree on the sheet; among equal paths the one near the midline wins.
    cost = ndimage.gaussian_filter1d(cost, 2.5 / spacing_mm[0], axis=0)
    away_mm = np.abs(np.arange(start, stop) - middle_voxel) * spacing_mm[2]
    cost += 0.0005 * away_mm.astype(np.float32)
    sheet = cheapest_path(cost) + start
    right = np.arange(mask.shape[2]) < sheet[:, :, None]
    result = np.where(mask, np.where(right, RIGHT, LEFT), 0).astype(np.uint8)
    return give_back_crumbs(result)


def cheapest_path(cost: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return for every slice the path x(y) of least summed cost, x moving by at most 2 a row.

    Parameters
    ----------
    cost : ndarray of float32, shape (z, y, x)

    Returns
    -------
    ndarray of int, shape (z, y)
    """
    depth, rows, columns = cost.shape
    moves = np.array([-2, -1, 0, 1, 2])
    toll = np.float32(0.02) * np.abs(moves).astype(np.float32)
    total = cost[:, 0].copy()
    came = np.zeros((depth, rows, columns), np.int8)
    for y in range(1, rows):
        padded = np.pad(total, ((0, 0), (2, 2)), constant_values=np.inf)
        options = np.stack([padded[:, 2 + move : 2 + move + columns] for move in moves])
        options += toll[:, None, None]
        choice = options.argmin(axis=0)
        came[:, y] = moves[choice]
        total = np.take_along_axis(options, choice[None], axis=0)[0] + cost[:, y]
    path = np.empty((depth, rows), np.intp)
    path[:, -1] = total.argmin(axis=1)
    every = np.arange(depth)
    for y in range(rows - 1, 0, -1):
        path[:, y - 1] = path[:, y] + came[every, y, path[:, y]]
    return path


def give_back_crumbs(labels: Labels) -> Labels:
    """Give pieces that a cut left on the wrong side to the lung that they are joined to."""
    result = labels.copy()
    for side in (RIGHT, LEFT):
        mask = labels == side
        crumbs = mask & ~morphology.largest(mask)
        result[crumbs] = RIGHT + LEFT - side
    for side in (RIGHT, LEFT):
        mask = result == side
        result[mask & ~morphology.largest(mask)] = 0
    return result
