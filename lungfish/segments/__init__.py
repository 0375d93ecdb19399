"""Masks as DICOM SEG, on request only: a SEG carries the patient's data by design.

1. `read_source`: the slices that the volume was made from, as their files name them; 2. labels
carried to them (`resampling.masks`); 3. `build`: a segmentation that refers to every slice.
"""

from lungfish.segments.dataset import SEGMENTS, build, write
from lungfish.segments.export import COLUMNS, export_patient, summarise
from lungfish.segments.source import Slice, Source, read_source

__all__ = [
    "COLUMNS",
    "SEGMENTS",
    "Slice",
    "Source",
    "build",
    "export_patient",
    "read_source",
    "summarise",
    "write",
]
