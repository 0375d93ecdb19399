"""Pages a person can read: one for the cohort, one for each patient, three lines for a terminal.

Everything is read from results on disk; no code of another stage is imported. The pages are
single HTML files: style and pictures are inside, nothing is fetched, no script is needed.
`sections` declares what stands on them, in order, with the caption of each.
"""

from lungfish.report.inputs import CohortInputs, PatientInputs, read_cohort, read_patients
from lungfish.report.pages import build_cohort_page, build_patient_page, summarize

__all__ = [
    "CohortInputs",
    "PatientInputs",
    "build_cohort_page",
    "build_patient_page",
    "read_cohort",
    "read_patients",
    "summarize",
]
