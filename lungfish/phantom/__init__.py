"""Digital patients: analytic chests with nodules, scanned by two digital scanners.

The room knows anatomy and scanners; it knows nothing of how the stages find lungs or nodules, so
that what it calls true is independent of them.
"""

from lungfish.phantom.files import write_dicom, write_truth
from lungfish.phantom.patient import DigitalPatient, is_malignant, make_patient
from lungfish.phantom.scanner import SCANNERS, Scanner, scanner_of
from lungfish.phantom.settings import Settings

__all__ = [
    "SCANNERS",
    "DigitalPatient",
    "Scanner",
    "Settings",
    "is_malignant",
    "make_patient",
    "scanner_of",
    "write_dicom",
    "write_truth",
]
