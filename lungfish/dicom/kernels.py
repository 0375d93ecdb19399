"""Whether a reconstruction kernel is soft or sharp, from the names that the makers give them."""

import re

# GE words, Philips letters.
SOFT_NAMES = frozenset(
    {"SOFT", "STANDARD", "STND", "STAN", "SMOOTH", "A", "B", "C", "UA", "UB"}
)  # GE, Philips
SHARP_NAMES = frozenset(
    {"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "ULTRA", "DETAIL", "D", "E", "L"}
    | {"YA", "YB", "YC", "YD", "YE"}
)
SIEMENS = re.compile(r"[A-Z][A-Z]?(\d{2})[A-Z]?")  # B30f, Br40d, I31f, Bl57
CANON = re.compile(r"FC(\d{2})")
SIEMENS_SHARP = 50


def softness(kernel: str) -> int:
    """Return 1 for a soft kernel, -1 for a sharp one, 0 where its name does not tell.

    Siemens numbers its kernels from smooth to sharp, 50 and above for lung and bone; GE and Philips
    use words and letters; Canon's FC 30 to 39, 50 to 59 and 80 to 89 are for lung and bone. Names
    differ between software versions: this decides between two series of one patient and nothing
    else.
    """
    word = kernel.split("/")[0].strip().upper()
    if word in SOFT_NAMES:
        return 1
    if word in SHARP_NAMES:
        return -1
    if found := CANON.fullmatch(word):
        return -1 if found[1][0] in "358" else 1
    if found := SIEMENS.fullmatch(word):
        return 1 if int(found[1]) < SIEMENS_SHARP else -1
    return 0
