"""Resampling along the patient's axes: exact on straight lines up to the border, in one pass.

Everything is a matrix along one axis (`axes`), multiplied block by block (`products`) from the
acquired grid to the new one (`grids`, `patient_grid`).
"""

from lungfish.resampling.axes import Interpolation, axis_matrix
from lungfish.resampling.grids import resampled_length
from lungfish.resampling.patient_grid import to_patient_grid

__all__ = ["Interpolation", "axis_matrix", "resampled_length", "to_patient_grid"]
