"""Situations of geometry: orders, orientations, tilt, rounding, cosines that lie."""

import dataclasses

import numpy as np

from tests.situations.registry import situation
from tests.situations.scan import Scan, decimal, save, store

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
PRONE = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
DECUBITUS = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
FEET_FIRST = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def oblique(degrees=25.0):
    """Return an orientation turned about all three axes."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(np.radians(degrees / 2)), np.sin(np.radians(degrees / 2))
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turned = about_z @ about_x
    return tuple(turned[:, 0]) + tuple(turned[:, 1])


def plain(folder, edit=lambda datasets: None, **options):
    """Write an ordinary series after `edit` had its way with the data sets."""
    scan = Scan(**options)
    datasets = scan.datasets()
    edit(datasets)
    save(folder, datasets)
    return scan.field()


def set_all(**elements):
    """Return an edit that sets elements of every slice."""

    def edit(datasets):
        for dataset in datasets:
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)

    return edit


def number(datasets, numbers):
    for dataset, instance in zip(datasets, numbers, strict=True):
        dataset.InstanceNumber = int(instance)


@situation("01-plain-axial")
def plain_axial(folder):
    return plain(folder)


@situation("02-random-names")
def random_names(folder):
    scan, order = Scan(), np.random.default_rng(2).permutation(24)
    save(folder, scan.datasets(), [f"IM{value:06d}" for value in order])
    return scan.field()


@situation("03a-descending")
def descending(folder):
    scan = Scan()
    datasets = scan.datasets()[::-1]
    number(datasets, range(1, 25))
    save(folder, datasets)
    return scan.field()


@situation("03b-feet-first")
def feet_first(folder):
    return plain(folder, set_all(PatientPosition="FFS"), orientation=FEET_FIRST)


@situation("04a-instance-reversed")
def instance_reversed(folder):
    return plain(folder, lambda datasets: number(datasets, range(24, 0, -1)))


@situation("04b-instance-shuffled")
def instance_shuffled(folder):
    order = np.random.default_rng(4).permutation(24) + 1
    return plain(folder, lambda datasets: number(datasets, order))


@situation("09-gantry-tilt")
def gantry_tilt(folder):
    return plain(folder, set_all(GantryDetectorTilt="15"), tilt_degrees=15.0)


@situation("10-sagittal")
def sagittal(folder):
    return plain(folder, orientation=SAGITTAL)


@situation("11-oblique")
def oblique_series(folder):
    return plain(folder, orientation=oblique())


@situation("12-prone")
def prone(folder):
    return plain(folder, set_all(PatientPosition="HFP"), orientation=PRONE)


@situation("32-spacing-between-slices")
def spacing_between_slices(folder):
    return plain(folder, set_all(SpacingBetweenSlices="5"))


@situation("33-slice-thickness")
def slice_thickness(folder):
    return plain(folder, set_all(SliceThickness="2.5"))


@situation("42-anisotropic-pixels")
def anisotropic_pixels(folder):
    return plain(folder, spacing_mm=(1.25, 0.8, 1.1))


@situation("44a-odd-decimal-strings")
def odd_decimal_strings(folder):
    def edit(datasets):
        for dataset in datasets:
            dataset.PixelSpacing = ["009.000000e-01", "+0.9000000000000"]
            x, y, z = (float(value) for value in dataset.ImagePositionPatient)
            dataset.ImagePositionPatient = [f"{x:+.6E}", f" {y:.8f} ", f"{z:.9f}0"]
            dataset.RescaleSlope = "1.00000E+000"

    return plain(folder, edit)


@situation("48-rounding-noise")
def rounding_noise(folder):
    noise = np.random.default_rng(48)

    def edit(datasets):
        for dataset in datasets:
            position = np.array(dataset.ImagePositionPatient, float) + noise.normal(0, 5e-4, 3)
            dataset.ImagePositionPatient = [decimal(value) for value in position]
            cosines = np.array(dataset.ImageOrientationPatient, float) + noise.normal(0, 4e-6, 6)
            dataset.ImageOrientationPatient = [decimal(value) for value in cosines]

    return plain(folder, edit)


@situation("59-rounded-positions", "either", codes="irregular-spacing", words="spac|apart|beside")
def rounded_positions(folder):
    def edit(datasets):
        for dataset in datasets:
            position = [f"{float(value):.1f}" for value in dataset.ImagePositionPatient]
            dataset.ImagePositionPatient[2] = position[2]

    return plain(folder, edit, spacing_mm=(0.625, 0.9, 0.9))


@situation("62-tilt-and-descending")
def tilt_and_descending(folder):
    scan = Scan(tilt_degrees=-18.5, signed=False)
    datasets = scan.datasets()[::-1]
    number(datasets, range(1, 25))
    save(folder, datasets)
    return scan.field()


@situation(
    "49-bad-orientation", "refuse", codes="bad-orientation", words="direction vectors.*0.300"
)
def bad_orientation(folder):
    plain(folder, set_all(ImageOrientationPatient=["1", "0", "0", "0.3", "1", "0"]))
    return ()


@situation(
    "31-other-pixel-spacing", "refuse", codes="mixed-pixel-spacing", words="6 slices.*pixel spacing"
)
def other_pixel_spacing(folder):
    scan, other = Scan(), Scan(spacing_mm=(1.25, 0.7, 0.7))
    save(folder, scan.datasets()[:18] + other.datasets()[18:])
    return scan.field()


@situation("30-other-matrix", "refuse", codes="mixed-matrix", words="6 slices.*matrix")
def other_matrix(folder):
    scan, other = Scan(), Scan(rows=40, columns=50)
    save(folder, scan.datasets()[:18] + other.datasets()[18:])
    return scan.field()


@situation("50-mixed-orientation", "either", codes="mixed-orientation", words="orientation")
def mixed_orientation(folder):
    scan = Scan()
    planes = Scan(orientation=SAGITTAL, slices=6, places=(0, 4, 8, 12, 16, 20)).datasets()
    for k, dataset in enumerate(planes):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.9.{k}"
    save(folder, scan.datasets() + planes)
    return scan.field()


@situation("slightly-other-orientation", "refuse", codes="mixed-orientation", words="orientation")
def slightly_other_orientation(folder):
    save(folder, Scan().datasets()[:18] + Scan(orientation=oblique(4.0)).datasets()[18:])
    return ()


@situation(
    "55-other-frame-of-reference", "refuse", codes="mixed-frame-of-reference",
    words="frame of reference",
)  # fmt: skip
def other_frame_of_reference(folder):
    def edit(datasets):
        for dataset in datasets[12:]:
            dataset.FrameOfReferenceUID = "1.2.99"

    plain(folder, edit)
    return ()  # nobody knows where the second half lies


@situation("coronal")
def coronal(folder):
    return plain(folder, orientation=CORONAL)


@situation("decubitus")
def decubitus(folder):
    return plain(folder, set_all(PatientPosition="HFDR"), orientation=DECUBITUS)


@situation("descending-oblique")
def descending_oblique(folder):
    scan = Scan(orientation=oblique(-17.0))
    save(folder, scan.datasets()[::-1])
    return scan.field()


@situation("oblique-tilt")
def oblique_tilt(folder):
    return plain(folder, orientation=oblique(12.0), tilt_degrees=10.0)


@situation("irregular-tilt")
def irregular_tilt(folder):
    return plain(folder, places=irregular_places(), tilt_degrees=12.0)


@situation("sagittal-feet-first-tilt")
def sagittal_tilt(folder):
    """Slices of a tilted sagittal stack, as a reformat along a leaning axis leaves them."""
    return plain(folder, orientation=SAGITTAL, tilt_degrees=-9.0)


@situation("table-moved", "refuse", codes="irregular-spacing", words="beside the line")
def table_moved(folder):
    scan = Scan()
    datasets, moved = scan.datasets(), Scan(shift_mm=(6.0, 0.0, 0.0)).datasets()
    save(folder, datasets[:15] + moved[15:])
    return ()


def irregular_places():
    """Return the places of slices whose steps run from 0.8 to 1.35 of the usual one."""
    steps = np.ones(23)
    steps[[4, 5, 13, 18, 20]] = 0.8, 1.35, 1.25, 0.9, 1.3
    return tuple(np.concatenate([[0.0], steps.cumsum()]))


@situation("tilted-with-padding")
def tilted_with_padding(folder):
    scan = Scan(tilt_degrees=15.0)
    field = scan.field()
    outside = left_band(field.shape)
    datasets = scan.datasets()
    for dataset, hu, mask in zip(datasets, scan.hu(), outside, strict=True):
        store(dataset, np.where(mask, -2000.0, hu), intercept=0.0)
        dataset.add_new("PixelPaddingValue", "US", 63536)
    save(folder, datasets)
    return dataclasses.replace(field, painted=(air(outside),))


def left_band(shape, columns=16):
    """Return a mask of the first columns of every slice."""
    mask = np.zeros(shape, bool)
    mask[..., :columns] = True
    return mask


def air(mask):
    """Return padding as what it must be read as."""
    from tests.situations.truth import AIR_HU, Painted

    return Painted(mask, -np.inf, AIR_HU)
