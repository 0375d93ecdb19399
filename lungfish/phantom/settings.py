"""What can be set about digital patients."""

import dataclasses

from lungfish.errors import InputError

LENGTH_MM = 295.0
"""Length along z that holds both lungs of every digital patient."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How digital patients are scanned and how large their nodules are.

    Attributes
    ----------
    matrix : int
        Rows and columns of a slice, 32 or more.
    slices : int
        Number of slices; `slices` times `slice_mm` must reach 295 mm to hold the whole chest.
    slice_mm : float
        Distance of neighbouring slice centres, in mm.
    thickness_mm : float
        Thickness over which a slice averages, in mm.
    field_of_view_mm : float
        Width of the reconstructed square, in mm; scanner B reconstructs 4 % more.
    noise_soft_hu : float
        Standard deviation of the noise of scanner A (soft kernel) in the middle of the body, in
        HU, at a thickness of 2.5 mm; it falls with the root of the thickness.
    noise_sharp_hu : float
        The same of scanner B (sharp kernel), in HU.
    nodules : int
        The most nodules of a patient; each patient has 1 to this many.
    smallest_mm : float
        Diameter of the smallest nodule, in mm, benign or malignant.
    largest_mm : float
        Diameter of the largest nodule, in mm, benign or malignant.
    factors : str
        What the patients have besides: nothing (empty), ``drawn`` (each a design of its own from
        the table of factors), or fields of a design, the same for all, such as
        ``mass_mm=40 mass_kind=apex effusion_litre=0.5``.
    """

    matrix: int = 256
    slices: int = 120
    slice_mm: float = 2.5
    thickness_mm: float = 2.5
    field_of_view_mm: float = 360.0
    noise_soft_hu: float = 12.0
    noise_sharp_hu: float = 24.0
    nodules: int = 4
    smallest_mm: float = 8.0
    largest_mm: float = 24.0
    factors: str = ""

    def __post_init__(self) -> None:
        if self.matrix < 32 or self.slices < 1 or self.nodules < 1:
            raise InputError("phantom: expected matrix >= 32, slices >= 1 and nodules >= 1")
        if min(self.slice_mm, self.thickness_mm, self.field_of_view_mm) <= 0:
            raise InputError("phantom: expected slice_mm, thickness_mm and field_of_view_mm > 0")
        if self.slices * self.slice_mm < LENGTH_MM:
            found = self.slices * self.slice_mm
            raise InputError(
                f"phantom: {self.slices} slices of {self.slice_mm:g} mm cover {found:g} mm: "
                f"expected at least {LENGTH_MM:g} mm, more slices or thicker ones"
            )
        if min(self.noise_soft_hu, self.noise_sharp_hu) < 0:
            raise InputError("phantom: expected noise_soft_hu and noise_sharp_hu of 0 or more")
        if not 0 < self.smallest_mm <= self.largest_mm:
            raise InputError("phantom: expected 0 < smallest_mm <= largest_mm")
