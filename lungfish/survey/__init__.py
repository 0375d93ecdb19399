"""What the headers of a cohort say: a row a slice, a row a series, and the drawings of both.

It helps to know a cohort before the first run, and to find the series that stand apart. No
element that identifies a patient is read; UIDs stand as salted hashes.
"""

from lungfish.survey.page import build_page
from lungfish.survey.tables import (
    OTHER_COLUMNS,
    SERIES_COLUMNS,
    SLICE_COLUMNS,
    PatientSurvey,
    survey_patient,
)

__all__ = [
    "OTHER_COLUMNS",
    "SERIES_COLUMNS",
    "SLICE_COLUMNS",
    "PatientSurvey",
    "build_page",
    "survey_patient",
]
