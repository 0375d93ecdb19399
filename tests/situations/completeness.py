"""Situations of slices that are missing, double, of another series, or no slices at all."""

from tests.situations.placing import SAGITTAL, irregular_places, plain, set_all
from tests.situations.registry import situation
from tests.situations.scan import Scan, identify, save, stored


def renamed(datasets, uid):
    """Give data sets other SOP instance UIDs."""
    for k, dataset in enumerate(datasets):
        identify(dataset, f"{uid}.{k + 1}")
    return datasets


@situation("05a-duplicate-same-uid")
def duplicate_same_uid(folder):
    scan = Scan()
    datasets = scan.datasets()
    save(folder, [*datasets, datasets[6], datasets[15]])
    return scan.field()


@situation("05b-duplicate-other-uid", "either", codes="duplicate-positions", words="one place")
def duplicate_other_uid(folder):
    scan = Scan()
    save(folder, scan.datasets() + renamed(scan.datasets()[11:12], "1.2.3.77"))
    return scan.field()


@situation("05c-duplicate-contradicting", "refuse", codes="duplicate-positions", words="one place")
def duplicate_contradicting(folder):
    scan = Scan()
    save(folder, scan.datasets() + renamed(Scan(offset_hu=50.0).datasets()[16:17], "1.2.3.77"))
    return scan.field()


@situation(
    "06-one-missing", "either", codes="missing-slices", words="2.50 mm between files 9 and 10"
)
def one_missing(folder):
    return without(folder, 9)


@situation("07-many-missing", "either", codes="missing-slices", words="missing")
def many_missing(folder):
    return without(folder, 7, 13, 14, 15)


def without(folder, *missing):
    scan = Scan(places=tuple(k for k in range(24) if k not in missing))
    save(folder, scan.datasets())
    return scan.field()


@situation("08-irregular-spacing", "either")
def irregular_spacing(folder):
    return plain(folder, places=irregular_places())


@situation("17a-localizer-own-series")
def localizer_own_series(folder):
    return with_localizer(folder, "1.2.4")


@situation("17b-localizer-same-series", "either")
def localizer_same_series(folder):
    return with_localizer(folder, "1.2.3")


def with_localizer(folder, uid):
    scan = Scan()
    scout = Scan(slices=1, rows=64, columns=40, orientation=SAGITTAL, uid=uid).datasets()
    set_all(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], InstanceNumber=99)(scout)
    save(folder, scan.datasets() + renamed(scout, "1.2.3.88"))
    return scan.field()


@situation("18-two-series", "either")
def two_series(folder):
    return two(folder, Scan(), Scan(uid="1.2.4", offset_hu=30.0, kernel="B70f"))


def two(folder, one, other):
    save(folder, one.datasets(), [f"a{k:03d}" for k in range(len(one.field().origins_mm))])
    save(folder, other.datasets(), [f"b{k:03d}" for k in range(len(other.field().origins_mm))])
    return one.field(), other.field()


@situation("19-two-acquisitions", "either", codes="duplicate-positions", words="one place")
def two_acquisitions(folder):
    one, other = Scan(), Scan(slices=20, offset_hu=30.0, shift_mm=(0.0, 0.0, 3.1))
    again = renamed(other.datasets(), "1.2.3.5")
    set_all(AcquisitionNumber=2)(again)
    save(folder, one.datasets() + again)
    return one.field(), other.field()


@situation("51-four-phases", "either", codes="duplicate-positions", words="one place")
def four_phases(folder):
    phases = [Scan(offset_hu=25.0 * k) for k in range(4)]
    datasets = []
    for k, phase in enumerate(phases):
        made = renamed(phase.datasets(), f"1.2.3.5{k}")
        set_all(TemporalPositionIdentifier=k + 1, NumberOfTemporalPositions=4)(made)
        datasets += made
    save(folder, datasets)
    return tuple(phase.field() for phase in phases)


@situation("56-not-ct", "refuse", codes="no-ct", words="no CT slice.*24 other modality")
def not_ct(folder):
    plain(folder, lambda datasets: [
        (identify(d, d.SOPInstanceUID, "1.2.840.10008.5.1.4.1.1.4"), setattr(d, "Modality", "MR"))
        for d in datasets
    ])  # fmt: skip
    return ()


@situation("57-empty-folder", "refuse", codes="no-ct", words="no CT slice")
def empty_folder(folder):
    return ()


@situation("60-single-slice", "either", codes="too-few-slices", words="1 slice")
def single_slice(folder):
    return plain(folder, slices=1)


@situation("touching-acquisitions")
def touching_acquisitions(folder):
    """One breath-hold in two acquisitions, end to end: both belong to the volume."""

    def edit(datasets):
        for k, dataset in enumerate(datasets):
            dataset.AcquisitionNumber = 1 + (k >= 12)

    return plain(folder, edit)


@situation("half-the-acquisition-numbers", "either", codes="missing-slices", words="missing")
def half_the_acquisition_numbers(folder):
    """Headers of which some lack AcquisitionNumber; the slices belong together all the same."""

    def edit(datasets):
        for dataset in datasets[5:9]:
            del dataset.AcquisitionNumber

    return plain(folder, edit)


@situation("thin-sharp-and-thick-soft")
def thin_sharp_and_thick_soft(folder):
    """Either is the body; mixing the two or half of one is not."""
    thick = Scan(uid="1.2.4", slices=6, spacing_mm=(5.0, 0.9, 0.9), offset_hu=-20.0)
    return two(folder, Scan(kernel="B70f"), thick)


@situation("same-kernel-twice-shifted")
def same_kernel_twice_shifted(folder):
    """Two reconstructions, half a slice apart, that interleave into one finer grid."""
    shifted = Scan(uid="1.2.4", offset_hu=30.0, shift_mm=(0.0, 0.0, 0.625))
    return two(folder, Scan(), shifted)


@situation("interleaved-in-one-series", "refuse", codes="irregular-spacing", words="mixed|apart")
def interleaved_in_one_series(folder):
    """Two blocks of other spacing under one UID, with nothing to tell them apart."""
    other = Scan(slices=9, spacing_mm=(1.7, 0.9, 0.9), offset_hu=40.0)
    save(folder, Scan().datasets() + renamed(other.datasets(), "1.2.3.6"))
    return ()


@situation("projection-beside")
def projection_beside(folder):
    """A MIP of the same extent with more slices is not the scan."""
    mip = Scan(uid="1.2.4", slices=40, spacing_mm=(0.8, 0.9, 0.9), offset_hu=300.0)
    slabs = mip.datasets()
    set_all(ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"])(slabs)
    scan = Scan()
    save(folder, scan.datasets() + slabs)
    return scan.field()


@situation("duplicate-in-another-syntax", "either", codes="duplicate-positions", words="one place")
def duplicate_in_another_syntax(folder):
    from tests.situations.encoders import compress

    scan = Scan(signed=False)
    again = [compress(dataset, "JPEG-LS") for dataset in renamed(scan.datasets(), "1.2.3.6")[4:9]]
    save(folder, scan.datasets() + again)
    return scan.field()


@situation("black-duplicate", "refuse", codes="duplicate-positions", words="one place")
def black_duplicate(folder):
    scan = Scan()
    black = renamed(scan.datasets()[9:10], "1.2.3.66")
    black[0].PixelData = bytes(stored(black[0]).nbytes)
    save(folder, scan.datasets() + black)
    return scan.field()
