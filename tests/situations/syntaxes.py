"""Situations of transfer syntaxes, whole streams and cut ones."""

import numpy as np

from tests.situations.encoders import big_endian, compress, deflate
from tests.situations.placing import plain
from tests.situations.registry import situation
from tests.situations.scan import ImplicitVRLittleEndian, Scan, encode, stored


def rewritten(rewrite, **options):
    """Return what makes an ordinary series with every data set rewritten."""

    def make(folder):
        return plain(folder, lambda datasets: [rewrite(d) for d in datasets], **options)

    return make


def implicit(dataset):
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def encoded(name, **how):
    return lambda dataset: compress(dataset, name, **how)


def lossy(dataset):
    dataset.LossyImageCompression = "01"
    return compress(dataset, "JPEG 2000 lossy")


def sign_mismatch(dataset):
    """An unsigned codestream in a data set that says signed: the bits are what counts."""
    return compress(dataset, "JPEG 2000", values=stored(dataset).view(np.uint16))


UNSIGNED = {"signed": False}
SIGNED_12 = {"signed": True, "intercept": 0.0}
WRITERS = {
    "22-big-endian": (big_endian, {}),
    "23-deflated": (deflate, {}),
    "24-rle": (encoded("RLE"), {}),
    "25a-jpeg-lossless": (encoded("JPEG lossless"), UNSIGNED),
    "25b-jpeg-lossless-signed": (encoded("JPEG lossless"), SIGNED_12),
    "26a-jpeg-ls": (encoded("JPEG-LS"), UNSIGNED),
    "26b-jpeg-ls-signed": (encoded("JPEG-LS"), SIGNED_12),
    "27a-jpeg2000": (encoded("JPEG 2000"), UNSIGNED),
    "27b-jpeg2000-signed": (encoded("JPEG 2000"), SIGNED_12),
    "52-implicit-vr": (implicit, {}),
    "54-many-fragments": (encoded("JPEG-LS", fragments=4), UNSIGNED),
    "jpeg-lossless-process-14": (encoded("JPEG lossless process 14"), UNSIGNED),
    "rle-in-fragments-of-signed": (encoded("RLE"), SIGNED_12),
}
for _name, (_rewrite, _options) in WRITERS.items():
    situation(_name)(rewritten(_rewrite, **_options))

situation("27c-jpeg2000-sign-mismatch", "either", codes="undecodable", words="pixels")(
    rewritten(sign_mismatch, **SIGNED_12)
)
situation("28-htj2k", "either")(rewritten(encoded("HTJ2K"), **UNSIGNED))
situation("46-jpeg2000-lossy", "either")(rewritten(lossy, **UNSIGNED))


@situation("35a-truncated", "refuse", codes="damaged-files", words="cut off.*file 9")
def truncated(folder):
    field = plain(folder)
    cut(folder / "0009.dcm", 0.5)
    return field


@situation("35b-truncated-jpeg-ls", "refuse", codes="damaged-files", words="cut off.*file 9")
def truncated_jpeg_ls(folder):
    field = rewritten(encoded("JPEG-LS"), **UNSIGNED)(folder)
    cut(folder / "0009.dcm", 0.8)
    return field


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def cut_and_closed(name):
    """Return what writes whole files, one of them with a cut stream given its end marker again."""

    def make(folder):
        def edit(datasets):
            for k, dataset in enumerate(datasets):
                compress(dataset, name, spoil=shorten if k == 8 else lambda stream: stream)

        return plain(folder, edit, **UNSIGNED)

    return make


def shorten(stream):
    return stream[: int(len(stream) * 0.8)] + b"\xff\xd9"


UNDECODABLE = {"codes": "undecodable damaged-files", "words": "file 9"}
situation("cut-and-closed-jpeg-ls", "refuse", **UNDECODABLE)(cut_and_closed("JPEG-LS"))
situation("cut-and-closed-jpeg2000", "refuse", **UNDECODABLE)(cut_and_closed("JPEG 2000"))
for _name, _title in (("JPEG lossless", "jpeg-lossless"), ("HTJ2K", "htj2k")):
    situation(f"cut-and-closed-{_title}", "refuse", **UNDECODABLE)(cut_and_closed(_name))


@situation("61-trailing-pad", "either")
def trailing_pad(folder):
    def edit(datasets):
        for dataset in datasets:
            dataset.PixelData += b"\0\0"

    return plain(folder, edit)


@situation("mixed-syntaxes")
def mixed_syntaxes(folder):
    """An archive that compressed half of the slices later."""
    names = ("JPEG-LS", "RLE", "JPEG 2000")

    def edit(datasets):
        for k, dataset in enumerate(datasets):
            if k % 4:
                compress(dataset, names[k % 4 - 1])

    return plain(folder, edit, **UNSIGNED)


@situation("declared-explicit-but-implicit", "either", codes="damaged-files no-ct", words=".")
def declared_explicit_but_implicit(folder):
    """The file meta says explicit, the data set is implicit: seen from broken archives."""
    scan = Scan()
    for k, dataset in enumerate(scan.datasets()):
        whole = encode(implicit(dataset))
        (folder / f"{k:04d}").write_bytes(_relabel(whole))
    return scan.field()


def _relabel(whole):
    """Write the explicit syntax's UID into a file meta of the implicit one, lengths put right."""
    old, new = b"UI\x12\x001.2.840.10008.1.2\0", b"UI\x14\x001.2.840.10008.1.2.1\0"
    at = whole.index(old)
    length = int.from_bytes(whole[140:144], "little") + 2
    return whole[:140] + length.to_bytes(4, "little") + whole[144:at] + new + whole[at + len(old) :]
