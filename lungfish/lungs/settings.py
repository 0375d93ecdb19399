"""The settings of the lungs stage."""

import dataclasses
from typing import Literal

from lungfish.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """How lungs are found, and when a mask is doubted.

    Attributes
    ----------
    method : "classical", "unet" or "unet-fallback"
        Thresholds and geometry; a small network's proposal; or the first, and the second where the
        first is not judged ok and the second is judged better.
    threshold_hu : int
        HU below which a voxel inside the body counts as air.
    fallback_hu : tuple of int
        Thresholds tried in order where the first gives no lung, one lung, or a rejected mask.
    closing_mm : float
        Radius in mm of the ball that closes each lung over vessels, nodules and the mouths of
        the hilum; 0 closes nothing.
    working_mm : float
        Edge in mm that the voxels of the grid for the global steps reach at most.
    gas_hu : int
        A component whose median HU lies below this is gas in the gut or air outside, not lung.
    airway_max_litre : float
        Litres above which the growth of the airways has leaked into the lung.
    reject_below_litre : float
        Both lungs together, in litres, below which the mask is rejected.
    reject_mean_above_hu : int
        Mean HU inside the mask above which it is rejected.
    reject_mean_below_hu : int
        Mean HU inside the mask below which it is rejected: air outside, or shifted HU.
    review_litre : tuple of 2 float
        Range in litres of both lungs together; beyond it a person should look.
    review_ratio : tuple of 2 float
        Range of right over left volume.
    review_mean_hu : tuple of 2 float
        Range of the mean HU inside the mask.
    one_lung_share : float
        A lung with less than this share (0..1) of both counts as not found.
    review_airway_leak_litre : float
        Litres taken out as airway though inside a lung.
    review_border_contact : float
        Share (0..1) of the lungs' surface on the border of the volume.
    review_height_mm : float
        Height in mm of the lungs below which the scan holds too few slices of them.
    review_components : int
        Number of pieces above which the mask is doubted.
    review_missed_litre : float
        Litres of air as dense as lung, in the body but not in the mask.
    review_outside_litre : float
        Litres of the mask outside the body.
    review_gas_litre : float
        Litres of the mask as dark as gas throughout: gut, or a large bulla.
    review_airless : float
        Share (0..1) of either lung that holds no air: effusion, consolidation or tumour in it.
    review_left_of_right_mm : float
        How far in mm the left lung lies to the patient's left of the right one, at least.
    review_head_up_mm : float
        How far in mm the lungs bulge upwards, at least; negative upside down.
    review_signs : float
        The least that the signs of back and front, and of left and right, may say (-1..1).
    """

    method: Literal["classical", "unet", "unet-fallback"] = "classical"
    threshold_hu: int = -450
    fallback_hu: tuple[int, ...] = (-300,)
    closing_mm: float = 10.0
    working_mm: float = 3.0
    gas_hu: int = -960
    airway_max_litre: float = 0.08
    reject_below_litre: float = 0.5
    reject_mean_above_hu: int = -350
    reject_mean_below_hu: int = -970
    review_litre: tuple[float, ...] = (1.5, 11.0)
    review_ratio: tuple[float, ...] = (0.6, 2.0)
    review_mean_hu: tuple[float, ...] = (-920.0, -550.0)
    one_lung_share: float = 0.05
    review_airway_leak_litre: float = 0.05
    review_border_contact: float = 0.01
    review_height_mm: float = 120.0
    review_components: int = 2
    review_missed_litre: float = 0.05
    review_outside_litre: float = 0.02
    review_gas_litre: float = 0.02
    review_airless: float = 0.3
    review_left_of_right_mm: float = 20.0
    review_head_up_mm: float = -5.0
    review_signs: float = -0.05

    def __post_init__(self) -> None:
        for name in ("review_litre", "review_ratio", "review_mean_hu"):
            limits = getattr(self, name)
            if len(limits) != 2 or limits[0] >= limits[1]:
                raise InputError(f"lungs.{name}: expected [low, high], found {list(limits)}")
        if self.working_mm <= 0 or self.closing_mm < 0:
            raise InputError(
                "lungs: expected working_mm above 0 and closing_mm of 0 or more, found "
                f"{self.working_mm:g} and {self.closing_mm:g}"
            )
