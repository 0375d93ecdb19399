"""Situations of stored values: rescale, padding, sign, bits, metal."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.situations.placing import air, left_band, plain, set_all
from tests.situations.registry import situation
from tests.situations.scan import Scan, put, save, store, stored
from tests.situations.truth import Painted

INCOMPLETE = "incomplete-header"


@situation("13-per-slice-rescale")
def per_slice_rescale(folder):
    scan = Scan()
    datasets = scan.datasets()
    for k, (dataset, hu) in enumerate(zip(datasets, scan.hu(), strict=True)):
        store(dataset, hu, slope=1 + 0.04 * k, intercept=-1024.0 + 13 * k)
    save(folder, datasets)
    return scan.field()


@situation("14a-no-slope", "either", codes=INCOMPLETE, words="RescaleSlope")
def no_slope(folder):
    def edit(datasets):
        for dataset in datasets:
            del dataset.RescaleSlope

    return plain(folder, edit)


@situation("14b-one-slice-no-rescale", "refuse", codes=INCOMPLETE, words="1 of 24.*Rescale.*file 8")
def one_slice_no_rescale(folder):
    def edit(datasets):
        del datasets[7].RescaleSlope, datasets[7].RescaleIntercept

    return plain(folder, edit)


def padded(folder, stored_value, *, elements, **options):
    """Write a scan whose first columns hold a stored value that stands for no measurement."""
    scan = Scan(**options)
    outside = left_band(scan.field().shape)
    datasets = scan.datasets()
    for dataset, mask in zip(datasets, outside, strict=True):
        put(dataset, np.where(mask, stored_value, stored(dataset).astype(int)))
        for keyword, value in elements.items():
            dataset.add_new(keyword, "US", value)
    save(folder, datasets)
    return scan.field((air(outside),))


@situation("15a-padding-unsigned")
def padding_unsigned(folder):
    return padded(folder, 0, elements={"PixelPaddingValue": 0}, signed=False)


@situation("15b-padding-63536")
def padding_63536(folder):
    return padded(folder, -2000, elements={"PixelPaddingValue": 63536}, intercept=0.0)


@situation("15c-padding-high")
def padding_high(folder):
    return padded(folder, 4095, elements={"PixelPaddingValue": 4095}, signed=False, bits=12)


@situation("padding-range")
def padding_range(folder):
    scan = Scan(signed=False)
    outside = left_band(scan.field().shape)
    datasets = scan.datasets()
    ramp = 60000 + np.arange(scan.rows)[:, None] % 7
    for dataset, mask in zip(datasets, outside, strict=True):
        put(dataset, np.where(mask, ramp, stored(dataset).astype(int)))
        dataset.add_new("PixelPaddingValue", "US", 60000)
        dataset.add_new("PixelPaddingRangeLimit", "US", 60006)
    save(folder, datasets)
    return scan.field((air(outside),))


@situation("16a-garbage-high-bits")
def garbage_high_bits(folder):
    """An old writer's overlay in the four bits above BitsStored (retired in PS3.5)."""
    noise = np.random.default_rng(16)

    def edit(datasets):
        for dataset in datasets:
            values = stored(dataset).astype(int)
            put(dataset, values | noise.integers(0, 16, values.shape) << 12)

    return plain(folder, edit, signed=False, bits=12)


@situation("16b-signed-12-not-extended")
def signed_12_not_extended(folder):
    def edit(datasets):
        for dataset in datasets:
            put(dataset, stored(dataset).astype(int) & 0xFFF)

    return plain(folder, edit, bits=12, intercept=0.0)


@situation("29-monochrome1")
def monochrome1(folder):
    return plain(folder, set_all(PhotometricInterpretation="MONOCHROME1"))


def with_metal(folder, hu, low, high, **options):
    scan = Scan(**options)
    metal = np.zeros(scan.field().shape, bool)
    metal[6:18, 20:34, 24:38] = True
    datasets = scan.datasets()
    for dataset, values, mask in zip(datasets, scan.hu(), metal, strict=True):
        store(dataset, np.where(mask, hu, values), slope=scan.slope, intercept=scan.intercept)
    save(folder, datasets)
    return scan.field((Painted(metal, low, high),))


@situation("40a-metal-30000")
def metal_30000(folder):
    return with_metal(folder, 30000.0, 30000.0, 30000.0)


@situation("40b-metal-beyond-int16", "either")
def metal_beyond_int16(folder):
    return with_metal(folder, 60000.0, 32767.0, 60000.0, signed=False, slope=2.0)


@situation("43-rescale-type-us", "either", codes="not-hu", words="RescaleType US instead of HU")
def rescale_type_us(folder):
    return plain(folder, set_all(RescaleType="US"))


@situation("44c-comma-slope", "either", codes=INCOMPLETE, words="RescaleSlope")
def comma_slope(folder):
    field = plain(folder, set_all(RescaleSlope="1.00"))
    for path in folder.iterdir():
        whole = path.read_bytes()
        tag = b"\x28\x00\x53\x10DS\x04\x00"
        at = whole.index(tag) + len(tag)
        path.write_bytes(whole[:at] + b"1,00" + whole[at + 4 :])
    return field


@situation("47-mixed-sign")
def mixed_sign(folder):
    scan = Scan()
    datasets = scan.datasets()
    datasets[1::2] = Scan(signed=False).datasets()[1::2]
    save(folder, datasets)
    return scan.field()


@situation("53-modality-lut", "refuse", codes="not-hu", words="Modality LUT")
def modality_lut(folder):
    def edit(datasets):
        for dataset in datasets:
            values = stored(dataset).astype(int)
            put(dataset, values // 3)
            lut = Dataset()
            lut.LUTDescriptor, lut.ModalityLUTType = [1024, 0, 16], "HU"
            lut.add_new("LUTData", "US", [3 * k for k in range(1024)])
            dataset.ModalityLUTSequence = Sequence([lut])

    return plain(folder, edit, signed=False)


@situation("fractional-slope-unsigned")
def fractional_slope_unsigned(folder):
    return plain(folder, signed=False, slope=0.5)


@situation("negative-slope")
def negative_slope(folder):
    """Stored values that fall where HU rise: the standard allows it."""
    return plain(folder, signed=True, slope=-1.0, intercept=1000.0)


@situation("uncompressed-in-32-bits", "either", codes=INCOMPLETE, words="16-bit")
def in_32_bits(folder):
    def edit(datasets):
        for dataset in datasets:
            values = stored(dataset).astype("<i4")
            dataset.BitsAllocated = dataset.BitsStored = 32
            dataset.HighBit = 31
            dataset.PixelData = values.tobytes()

    return plain(folder, edit)
