"""Two digital scanners: what the body looks like after slice profile, kernel, noise and field."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from lungfish.phantom.canvas import Canvas, Floats
from lungfish.phantom.settings import Settings
from lungfish.randomness import stable_hash
from lungfish.volume import AIR_HU, axis_aligned_affine

FINEST_MM = 1.3
"""Slices of the canvas are at most this thick; a scanned slice averages several."""


@dataclasses.dataclass(frozen=True)
class Scanner:
    """A digital scanner.

    Attributes
    ----------
    manufacturer, model, kernel : str
        As they stand in the DICOM header.
    blur_mm : float
        Standard deviation of the point spread within a slice.
    roll_off_per_mm : float
        Spatial frequency at which the kernel's noise has fallen to 1/e: the sharper the kernel,
        the higher.
    zoom : float
        Its field of view over the settings'.
    circular : bool
        Whether only the circle within the square is reconstructed and the rest is padding.
    signed : bool
        Whether pixels are stored as signed integers.
    intercept : int
        Added to a stored value to give HU.
    padding : int or None
        Stored value outside the circle.
    head_first : bool
        Whether the slices are numbered from the head down.
    edge : float
        How much the kernel overshoots at edges: the share of the fine detail that it adds.
    """

    manufacturer: str
    model: str
    kernel: str
    blur_mm: float
    roll_off_per_mm: float
    zoom: float
    circular: bool
    signed: bool
    intercept: int
    padding: int | None
    head_first: bool
    edge: float = 0.0


SCANNERS = (
    Scanner(
        "Digital Scanner A", "Plain 1", "SOFT", 0.9, 0.16, 1.0, False, False, -1024, None, True
    ),
    Scanner("Digital Scanner B", "Round 2", "SHARP", 0.5, 0.38, 1.04, True, True, 0, -2000, False),
)


def scanner_of(patient: str) -> Scanner:
    """Return the scanner of a patient: a function of the name alone, independent of the fate.

    That lets a sheet of patients be chosen in which each scanner saw as many malignant as benign
    patients, whatever the seed.
    """
    return SCANNERS[stable_hash("scanner", patient) & 1]


def pixel_mm(settings: Settings, scanner: Scanner) -> float:
    """Return the distance of neighbouring pixel centres, rounded as a DICOM header holds it."""
    return round(settings.field_of_view_mm * scanner.zoom / settings.matrix, 6)


def scan_affine(settings: Settings, scanner: Scanner) -> NDArray[np.float64]:
    """Return the affine of the scan, index order x, y, z, to LPS mm.

    The reference point is the middle of the reconstructed square at the height of the carina;
    the scan reaches 0.632 of its length below it.
    """
    pixel = pixel_mm(settings, scanner)
    corner = round(-(settings.matrix - 1) / 2 * pixel, 6)
    bottom = round(-0.632 * settings.slices * settings.slice_mm, 6)
    return axis_aligned_affine((settings.slice_mm, pixel, pixel), (corner, corner, bottom))


def sub_slices(settings: Settings) -> int:
    """Return how many slices of the canvas make one step of the scan.

    An odd number where the slices are thinner than their distance: the profile then has a slice
    of the canvas in its middle.
    """
    parts = max(1, int(np.ceil(settings.slice_mm / FINEST_MM)))
    return parts | 1 if settings.thickness_mm < settings.slice_mm else parts


def _overlap(settings: Settings) -> int:
    """Return how many slices of the canvas a scanned slice reaches beyond its own step."""
    fine = settings.slice_mm / sub_slices(settings)
    return int(np.ceil(max(0.0, settings.thickness_mm - settings.slice_mm) / 2 / fine))


def canvas_for(settings: Settings, scanner: Scanner, *, scale: float) -> Canvas:
    """Return an empty canvas, in mm of the reference body, that covers the scan.

    Parameters
    ----------
    settings : Settings
    scanner : Scanner
    scale : float
        Size of the body over the reference body's.
    """
    affine = scan_affine(settings, scanner)
    count, parts, extra = settings.matrix, sub_slices(settings), _overlap(settings)
    pixel = affine[0, 0]
    x = (affine[0, 3] + pixel * np.arange(count)) / scale
    fine = settings.slice_mm / parts
    low = affine[2, 3] - settings.slice_mm / 2 + fine / 2 - extra * fine
    z = (low + fine * np.arange(settings.slices * parts + 2 * extra)) / scale
    hu = np.full((len(z), count, count), -1000, np.float32)
    x = x.astype(np.float32)
    return Canvas(hu, x, x.copy(), z.astype(np.float32))


def average(fine: Floats, settings: Settings) -> Floats:
    """Average slices of the canvas over the slice thickness, a box profile.

    Parameters
    ----------
    fine : ndarray of float32, shape (canvas z, y, x)
        HU or coverage.
    settings : Settings

    Returns
    -------
    ndarray of float32, shape (slices, y, x)
    """
    parts, extra = sub_slices(settings), _overlap(settings)
    middle = (np.arange(parts + 2 * extra) + 0.5 - extra) * settings.slice_mm / parts
    half_fine = settings.slice_mm / parts / 2
    away = np.abs(middle - settings.slice_mm / 2)
    weights = np.clip((settings.thickness_mm / 2 - away + half_fine) / (2 * half_fine), 0, 1)
    if not weights.any():
        weights = (away == away.min()).astype(float)
    weights /= weights.sum()
    out = np.zeros((settings.slices, *fine.shape[1:]), np.float32)
    for k, weight in enumerate(weights):
        if weight > 0:
            stop = k + parts * (settings.slices - 1) + 1
            out += np.float32(weight) * fine[k:stop:parts]
    return out


def noise(settings: Settings, scanner: Scanner, random: np.random.Generator) -> Floats:
    """Return quantum noise of standard deviation 1 with the texture of the kernel.

    Filtered back-projection leaves noise whose power rises with the spatial frequency f and falls
    with the kernel: power(f) = f exp(-(f / roll-off)^2) (after S. J. Riederer et al., Phys Med
    Biol 23, 1978).

    Returns
    -------
    ndarray of float32, shape (slices, matrix, matrix)
    """
    count = settings.matrix
    pixel = pixel_mm(settings, scanner)
    frequency = np.hypot(np.fft.fftfreq(count, pixel)[:, None], np.fft.rfftfreq(count, pixel))
    amplitude = np.sqrt(frequency * np.exp(-((frequency / scanner.roll_off_per_mm) ** 2)))
    full = np.concatenate([amplitude, amplitude[:, 1 : (count + 1) // 2]], axis=1)
    gain = (amplitude / np.sqrt(np.mean(full**2))).astype(np.float32)
    out = random.standard_normal((settings.slices, count, count), np.float32)
    for plane in out:
        plane[:] = fft.irfft2(fft.rfft2(plane) * gain, s=plane.shape)
    return out


def noise_level(settings: Settings, scanner: Scanner) -> Floats:
    """Return the standard deviation of the noise in HU, shape (matrix, matrix).

    It is highest in the middle of the body, which the fewest photons cross, and falls with the
    root of the thickness.
    """
    soft = scanner.kernel == "SOFT"
    middle = settings.noise_soft_hu if soft else settings.noise_sharp_hu
    middle *= np.sqrt(2.5 / settings.thickness_mm)
    x = scan_affine(settings, scanner)[0, 3] + pixel_mm(settings, scanner) * np.arange(
        settings.matrix
    )
    square = x[None, :] ** 2 / 150**2 + x[:, None] ** 2 / 110**2
    return np.asarray(middle * (0.45 + 0.55 * np.exp(-0.7 * square)), np.float32)


def outside_circle(settings: Settings) -> NDArray[np.bool_]:
    """Return which pixels of a slice a circular field of view leaves out."""
    offset = np.arange(settings.matrix) - (settings.matrix - 1) / 2
    far = offset[None, :] ** 2 + offset[:, None] ** 2
    return np.asarray(far > (settings.matrix / 2) ** 2)


def _sharpen(hu: Floats, edge: float, width: float) -> None:
    """Add the fine detail once more, in place, as edge-enhancing kernels do."""
    for plane in hu:
        plane += np.float32(edge) * (plane - ndimage.gaussian_filter(plane, width))


def _streaks(shape: tuple[int, ...], random: np.random.Generator) -> Floats:
    """Return noise drawn out along x, of standard deviation 1: few photons pass both shoulders."""
    rough = random.standard_normal(shape, np.float32)
    ndimage.uniform_filter1d(rough, max(3, shape[2] // 6), axis=2, output=rough, mode="wrap")
    return np.asarray(rough / rough.std(), np.float32)


def acquire(
    canvas: Canvas, settings: Settings, scanner: Scanner, random: np.random.Generator,
    *, streaks: float = 0.0,
) -> NDArray[np.int16]:  # fmt: skip
    """Scan a painted canvas.

    Parameters
    ----------
    canvas : Canvas
    settings : Settings
    scanner : Scanner
    random : numpy.random.Generator
    streaks : float
        Noise drawn out from side to side, over the other noise.

    Returns
    -------
    ndarray of int16, shape (slices, matrix, matrix)
        HU, -1024 at least and 3071 at most; -1024 outside a circular field of view.
    """
    hu = average(canvas.hu, settings)
    width = scanner.blur_mm / pixel_mm(settings, scanner)
    for axis in (1, 2):
        ndimage.gaussian_filter1d(hu, width, axis=axis, output=hu, mode="nearest")
    if scanner.edge:
        _sharpen(hu, scanner.edge, 1.2 / pixel_mm(settings, scanner))
    quantum = noise(settings, scanner, random)
    if streaks:
        quantum += streaks * _streaks(quantum.shape, random)
    quantum *= noise_level(settings, scanner)
    hu += quantum
    np.rint(hu, out=hu)
    np.clip(hu, AIR_HU, 3071, out=hu)
    if scanner.circular:
        hu[:, outside_circle(settings)] = AIR_HU
    return hu.astype(np.int16)
