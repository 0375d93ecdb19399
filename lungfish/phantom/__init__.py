"""Digital patients: analytic chests with nodules, scanned by two digital scanners.

The room knows anatomy and scanners; it knows nothing of how the stages find lungs or nodules, so
that what it calls true is independent of them.
"""

from lungfish.phantom.case import Case, make_case
from lungfish.phantom.designs import (
    FACTORS,
    SCORING_SEEDS,
    TRAINING_SEEDS,
    TUNING_SEEDS,
    Design,
    Factor,
    design,
)
from lungfish.phantom.files import write_dicom, write_truth
from lungfish.phantom.patient import DigitalPatient, is_malignant, make_patient
from lungfish.phantom.scanner import SCANNERS, Scanner, scanner_of
from lungfish.phantom.settings import Settings
from lungfish.phantom.shares import CONSOLIDATION, EFFUSION, MASS

__all__ = [
    "CONSOLIDATION",
    "EFFUSION",
    "FACTORS",
    "MASS",
    "SCANNERS",
    "SCORING_SEEDS",
    "TRAINING_SEEDS",
    "TUNING_SEEDS",
    "Case",
    "Design",
    "DigitalPatient",
    "Factor",
    "Scanner",
    "Settings",
    "design",
    "is_malignant",
    "make_case",
    "make_patient",
    "scanner_of",
    "write_dicom",
    "write_truth",
]
