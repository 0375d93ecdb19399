"""What is measured on a pair of lungs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfish.lungs import anatomy, morphology
from lungfish.lungs.sides import LEFT, RIGHT, Labels
from lungfish.records import Record
from lungfish.volume import Volume, to_mm

EMPHYSEMA_HU = -950
"""Below it lung counts as emphysema (Gevenois et al. 1995)."""


def measure(volume: Volume, labels: Labels, *, leak_voxels: int) -> Record:
    """Measure both lungs.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of uint8, shape (z, y, x)
        On the volume's grid, 1 right, 2 left, not empty.
    leak_voxels : int
        Voxels of airway inside the closed lungs.

    Returns
    -------
    dict
        The measures of ``lungs/{patient}.json``, named with their units; see docs/stages/lungs.md.
    """
    mask = labels > 0
    box = morphology.bounds(mask)
    inside = np.sort(volume.hu[box][mask[box]])
    litre = volume.voxel_litre
    right, left = (float(np.count_nonzero(labels == side)) * litre for side in (RIGHT, LEFT))
    pieces = sum(
        count_pieces(labels[part] == side)
        for side, part in enumerate(ndimage.find_objects(labels), start=1)
        if part is not None
    )
    z_axis = int(np.argmax(np.abs(volume.affine[2, :3][::-1])))
    planes = mask.any(axis=tuple(axis for axis in range(3) if axis != z_axis))
    return {
        **place(box, volume),
        "right_litre": round(right, 4),
        "left_litre": round(left, 4),
        "volume_litre": round(right + left, 4),
        "ratio": round(right / left, 4) if left else None,
        "mean_hu": round(float(inside.mean()), 2),
        "p05_hu": round(sorted_quantile(inside, 0.05), 1),
        "p95_hu": round(sorted_quantile(inside, 0.95), 1),
        "emphysema_index": round(float(np.mean(inside < EMPHYSEMA_HU)), 5),
        "slices_with_lung": round(float(planes.mean()), 4),
        "height_mm": round(float(planes.sum()) * volume.spacing_mm[z_axis], 2),
        "border_contact": round(border_contact(mask, volume.spacing_mm), 5),
        "components": pieces,
        "airway_leak_litre": round(leak_voxels * litre, 5),
        "spacing_mm": [round(step, 6) for step in volume.spacing_mm],
        **anatomy.look(volume, labels),
    }


def sorted_quantile(values: NDArray[Any], share: float) -> float:
    """Return a quantile of sorted values, linear between two of them as `numpy.quantile` does."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (place - low) * (int(values[high]) - int(values[low])))


def place(box: morphology.Box, volume: Volume) -> Record:
    """Return the box of the lungs in voxels (z, y, x; end-exclusive) and in LPS mm (x, y, z)."""
    start = [part.start for part in box]
    stop = [part.stop for part in box]
    last = [end - 1 for end in stop]
    return {
        "box_voxel": [start, stop],
        "box_mm": to_mm(volume.affine, np.array([start, last])).round(4),
    }


def count_pieces(mask: morphology.Mask) -> int:
    """Return how many 26-connected pieces of at least a thousandth of the mask it is made of."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    # A plane at a time: bincount makes a copy of 8 bytes a voxel.
    sizes = np.zeros(count + 1, np.int64)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    return int(np.count_nonzero(sizes[1:] >= 1e-3 * sizes[1:].sum()))


def border_contact(mask: morphology.Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Return the share (0..1) of a mask's surface that lies on the border of the volume.

    The surface is summed over the faces of voxels. 0 for lungs that the scan holds whole.
    """
    area: NDArray[Any] = np.prod(spacing_mm) / np.array(spacing_mm)
    inner = border = 0.0
    for axis in range(3):
        turned = np.moveaxis(mask, axis, 0)
        inner += float(np.count_nonzero(turned[1:] != turned[:-1])) * area[axis]
        border += float(np.count_nonzero(turned[0]) + np.count_nonzero(turned[-1])) * area[axis]
    return float(border / (inner + border)) if inner + border else 0.0
