"""One scan, written in every way that the standard and its writers allow."""

import dataclasses
import io
import itertools
import zipfile

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from tests.situations import encoders
from tests.situations.scan import encode, encode_bare, identify

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
AIR = -1024
NATIVE = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}
ENCODED = ("RLE", "JPEG lossless", "JPEG lossless process 14", "JPEG-LS", "JPEG 2000", "HTJ2K")


@dataclasses.dataclass(frozen=True)
class Body:
    """HU on a lattice along the patient's axes.

    Attributes
    ----------
    hu : ndarray of int16, shape (z, y, x)
        Noise of lung, tissue and bone; -1024 HU around a cylinder, as a scanner leaves it.
    spacing_mm, origin_mm : tuples of 3 floats
        Along (z, y, x), and LPS (x, y, z) of the first centre.
    """

    hu: np.ndarray
    spacing_mm: tuple
    origin_mm: tuple

    @classmethod
    def of(cls, rng, spacing_mm, origin_mm=(-61.0625, 3.7, -9), shape=(14, 20, 17)):
        hu = rng.choice([-990.0, -850.0, 40.0, 700.0], shape) + rng.normal(0, 40, shape)
        y, x = (np.arange(count) - (count - 1) / 2 for count in shape[1:])
        hu[:, np.hypot(y[:, None], x) > max(shape) / 2] = AIR
        hu[3, 4:7, 5:9], hu[5, 2, 4:9] = AIR, 1900
        return cls(np.rint(np.clip(hu, AIR, 1900)).astype(np.int16), spacing_mm, origin_mm)

    @property
    def affine(self):
        affine = np.diag([*self.spacing_mm[::-1], 1.0])
        affine[:3, 3] = self.origin_mm
        return affine


@dataclasses.dataclass(frozen=True)
class Cut:
    """Which lattice axis runs along slices, rows and columns, and which of them run backwards."""

    axes: tuple = (0, 1, 2)
    flips: tuple = (1, 1, 1)

    def planes(self, array):
        return array.transpose(self.axes)[tuple(slice(None, None, flip) for flip in self.flips)]

    def direction(self, axis):
        """Return the unit vector in LPS along which an array axis of the planes runs."""
        unit = np.zeros(3)
        unit[2 - self.axes[axis]] = self.flips[axis]
        return unit

    def spacing_mm(self, body, axis):
        return body.spacing_mm[self.axes[axis]]

    def position_mm(self, body, k):
        """Return where the first pixel of plane k lies."""
        first = [
            (n - 1 if self.flips[self.axes.index(axis)] < 0 else 0)
            for axis, n in enumerate(body.hu.shape)
        ]
        first[self.axes[0]] += k * self.flips[0]
        return np.array(body.origin_mm) + (np.array(first) * body.spacing_mm)[::-1]


CUTS = [
    Cut(axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


@dataclasses.dataclass(frozen=True)
class Writing:
    """How one scan is written; the defaults are the plainest way."""

    cut: Cut = Cut()
    syntax: str = "explicit"
    rescale: str = "1, -1024"
    signed: bool = False
    bits: str = "16"
    padding: str = "none"
    frames: str = "single"
    shuffled: bool = False
    instances: str = "rising"
    names: str = "plain"
    start: str = "preamble"
    packed: str = "folder"
    junk: bool = False
    irregular_digits: bool = False


CHOICES = {
    "cut": CUTS,
    "syntax": (*NATIVE, *ENCODED),
    "rescale": ("1, -1024", "1, 0", "1, -1000", "1, -8192", "0.5, -1024", "0.5, 0", "per slice"),
    "signed": (False, True),
    "bits": ("fewest", "16"),
    "padding": ("none", "declared low", "declared high", "other sign", "range", "undeclared low"),
    "frames": ("single", "shared", "per frame"),
    "shuffled": (False, True),
    "instances": ("rising", "falling", "random", "equal", "absent"),
    "names": ("plain", "random", "nested"),
    "start": ("preamble", "no preamble", "bare"),
    "packed": ("folder", "zip", "zip in a folder", "stored zip"),
    "junk": (False, True),
    "irregular_digits": (False, True),
}


class Writer:
    """Writes a body in one way."""

    def __init__(self, body, writing, rng):
        self.body, self.writing, self.rng = body, writing, rng
        self.planes = writing.cut.planes(body.hu).astype(np.int64)
        self.signed = writing.signed
        self.rescales = [self.rescale() for _ in self.planes]
        if writing.frames == "shared":
            self.rescales = self.rescales[:1] * len(self.planes)
        self.values = [
            np.rint((plane - intercept) / slope).astype(np.int64)
            for plane, (slope, intercept) in zip(self.planes, self.rescales, strict=True)
        ]
        if min(int(values.min()) for values in self.values) < 0:
            self.signed = True
        self.low, self.high = (-32768, 32767) if self.signed else (0, 65535)
        self.pad = self.padding()
        self.bits = self.bits_stored()

    def rescale(self):
        name = self.writing.rescale
        if name == "per slice":
            name = str(self.rng.choice([c for c in CHOICES["rescale"] if c != "per slice"]))
        slope, intercept = name.split(", ")
        return float(slope), float(intercept)

    def padding(self):
        """Store what lies outside the field of view as padding; return (value, limit) as 16 bits.

        Several ways need a value that no pixel has.
        """
        kind, limit = self.writing.padding, None
        if kind == "none":
            return None
        if kind == "undeclared low":
            for values, (slope, intercept) in zip(self.values, self.rescales, strict=True):
                lower = int((-2000 - intercept) / slope)
                if lower >= self.low:
                    values[values * slope + intercept == AIR] = lower
            return None
        pad = self.high - 7
        if kind != "declared high" and self.signed:
            pad = -17000
        if kind == "range":
            limit = pad + 5
        for plane, values in zip(self.planes, self.values, strict=True):
            outside = plane == AIR
            values[outside] = pad + (self.rng.integers(0, 6, outside.sum()) if limit else 0)
        return pad, limit

    def bits_stored(self):
        if self.writing.bits == "16":
            return 16
        values = np.stack(self.values)
        for bits in (12, 13, 14, 15):
            half = 1 << (bits - 1)
            low, high = (-half, half - 1) if self.signed else (0, 2 * half - 1)
            if low <= values.min() and values.max() <= high:
                return bits
        return 16

    def decimal(self, value):
        """Return a decimal string; some writers pad, sign or use exponents."""
        plain = f"{value:.12f}"[:16].rstrip("0").rstrip(".") or "0"
        if not self.writing.irregular_digits:
            return plain
        choices = [plain, f"{value:+.9f}"[:16], f"{value:.9e}", f"{value:.9f}"[:16]]
        fitting = [text for text in choices if len(text) <= 16 and abs(float(text) - value) < 1e-9]
        return str(self.rng.choice(fitting))

    def decimals(self, values):
        return [self.decimal(float(value)) for value in values]

    def common(self, uid):
        dataset = identify(Dataset(), uid)
        cut = self.writing.cut
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2.9"
        dataset.StudyInstanceUID, dataset.Modality = "1.2", "CT"
        dataset.PatientID, dataset.SeriesDescription = "4711", "Thorax"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = self.planes.shape[1:]
        dataset.BitsAllocated, dataset.BitsStored = 16, self.bits
        dataset.HighBit, dataset.PixelRepresentation = self.bits - 1, int(self.signed)
        measures = Dataset()
        measures.PixelSpacing = self.decimals(cut.spacing_mm(self.body, axis) for axis in (1, 2))
        measures.SliceThickness = "5"
        plane = Dataset()
        plane.ImageOrientationPatient = self.decimals([*cut.direction(2), *cut.direction(1)])
        if self.pad:
            pad, limit = self.pad
            other = (self.writing.padding == "other sign") != self.signed
            kind = "SS" if other else "US"
            for tag, value in ((0x00280120, pad), (0x00280121, limit)):
                if value is not None:
                    word = np.array(value & 0xFFFF, np.uint16)
                    dataset.add_new(tag, kind, int(word.view(np.int16) if other else word))
        return dataset, measures, plane

    def rescaling(self, k):
        dataset = Dataset()
        dataset.RescaleSlope, dataset.RescaleIntercept = self.decimals(self.rescales[k])
        dataset.RescaleType = "HU"
        return dataset

    def place(self, k):
        dataset = Dataset()
        dataset.ImagePositionPatient = self.decimals(self.writing.cut.position_mm(self.body, k))
        return dataset

    def fill(self, dataset, planes):
        """Put the pixels of planes into a data set, encoded as the writing says."""
        syntax = self.writing.syntax
        kind = "i2" if self.signed else "u2"
        mask = (1 << self.bits) - 1 if self.bits < 16 else 0xFFFF
        words = [(self.values[k] & mask).astype(np.uint16) for k in planes]
        if syntax in NATIVE:
            dataset.file_meta.TransferSyntaxUID = UID(NATIVE[syntax])
            order = ">" if syntax == "big endian" else "<"
            dataset.PixelData = np.stack(words).astype(order + "u2").tobytes()
            dataset["PixelData"].VR = "OW"
            return
        # A decoder cares for the sign: what is signed is encoded whole, sign bits included.
        words = [self.values[k].astype(kind) for k in planes]
        dataset.file_meta.TransferSyntaxUID = UID(encoders.SYNTAX[syntax][0])
        dataset.PixelData = encapsulate([encoders.frame(one, syntax) for one in words])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    def order(self):
        count = len(self.planes)
        return self.rng.permutation(count) if self.writing.shuffled else np.arange(count)

    def datasets(self):
        return self.singles() if self.writing.frames == "single" else [self.enhanced()]

    def singles(self):
        count = len(self.planes)
        numbers = {
            "rising": range(1, count + 1),
            "falling": range(count, 0, -1),
            "random": self.rng.permutation(count) + 1,
            "equal": [1] * count,
            "absent": [None] * count,
        }[self.writing.instances]
        made = []
        for k in self.order():
            dataset, measures, plane = self.common(f"1.2.3.{k + 1}")
            for part in (measures, plane, self.rescaling(k), self.place(k)):
                dataset.update(part)
            if numbers[k] is not None:
                dataset.InstanceNumber = int(numbers[k])
            self.fill(dataset, [k])
            made.append(dataset)
        return made

    def enhanced(self):
        """Return all planes as frames of one data set, PS3.3 A.38."""
        dataset, measures, plane = self.common("1.2.3.1")
        identify(dataset, "1.2.3.1", ENHANCED_CT)
        order = self.order()
        dataset.NumberOfFrames = len(order)
        shared, frames = Dataset(), []
        for k in order:
            group = Dataset()
            group.PlanePositionSequence = Sequence([self.place(k)])
            each = group if self.writing.frames == "per frame" else shared
            each.PixelMeasuresSequence = Sequence([measures])
            each.PlaneOrientationSequence = Sequence([plane])
            each.PixelValueTransformationSequence = Sequence([self.rescaling(k)])
            frames.append(group)
        dataset.SharedFunctionalGroupsSequence = Sequence([shared])
        dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
        self.fill(dataset, order)
        return dataset

    def file(self, dataset):
        start, syntax = self.writing.start, self.writing.syntax
        if start == "bare" and syntax in ("implicit", "explicit"):
            return encode_bare(dataset, implicit=syntax == "implicit")
        whole = encode(dataset)
        return whole if start == "preamble" else whole[132:]

    def name(self, k):
        if self.writing.names == "plain":
            return f"{k + 1:04d}.dcm"
        word = "".join(self.rng.choice(list("abcxyz0123 _-é"), 9)).strip() + str(k)
        return f"{'/'.join('pqr'[: int(self.rng.integers(4))])}/{word}".lstrip("/") + (
            "" if self.writing.names == "nested" else str(self.rng.choice(["", ".ima", ".txt"]))
        )

    def files(self):
        files = {self.name(k): self.file(one) for k, one in enumerate(self.datasets())}
        return files | (junk() if self.writing.junk else {})

    def write(self, folder):
        """Write everything; return what to hand to the index."""
        folder.mkdir()
        files = self.files()
        if self.writing.packed == "folder":
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return folder
        kind = zipfile.ZIP_STORED if "stored" in self.writing.packed else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(folder / "scan.zip", "w", kind) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return folder if "folder" in self.writing.packed else folder / "scan.zip"


def junk():
    """Return what lies beside scans: texts, pictures, other objects, another series."""
    topogram = identify(Dataset(), "1.2.5.1")
    topogram.Modality, topogram.SeriesInstanceUID = "CT", "1.2.5"
    topogram.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    topogram.Rows = topogram.Columns = 4
    topogram.PixelData = bytes(32)
    topogram["PixelData"].VR = "OW"
    report = identify(Dataset(), "1.2.6.1", "1.2.840.10008.5.1.4.1.1.88.67")
    report.Modality, report.SeriesInstanceUID = "SR", "1.2.6"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("letter.txt", "Dear colleague")
    return {
        "0 letter.txt": b"Dear colleague, the scan is on the disc.\n" * 9,
        "AUTORUN.INF": b"[autorun]\r\n",
        "empty.dcm": b"",
        "picture.jpg": b"\xff\xd8\xff\xe0" + bytes(200),
        "sub/topogram": encode(topogram),
        "sub/report.dcm": encode(report),
        "thumbs/attached.bin": packed.getvalue()[5:],
    }
