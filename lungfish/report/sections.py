"""What stands on the pages, in order: each section's title, template and caption.

To add one, declare it here, write its template and a function that gives the template its values
(or None, where this run has nothing for it: the section is then left out).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from lungfish.report import cohort_view, gmcae_view, patient_view, run_view


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes
    ----------
    key : str
        Its anchor, and the name of its template.
    title : str
    caption : str
        What you see, and what is wrong if it looks otherwise.
    view : callable
        From the page's inputs to the values of the template, or to None.
    """

    key: str
    title: str
    caption: str
    view: Callable[[Any], dict[str, Any] | None]

    @property
    def template(self) -> str:
        """Name of the template's file."""
        return f"{self.key}.html"


COHORT = (
    Section(
        "cohort",
        "Who is in, and why not",
        "Every patient of the samples sheet has a row. Who is out is out for the reason given; "
        "nothing was repaired in silence. A highlighted verdict asks a person to look at the "
        "outlines on that patient's page before trusting the numbers.",
        cohort_view.view_cohort,
    ),
    Section(
        "acquisition",
        "How they were scanned",
        "Accepted patients by scanner, kernel, slice thickness and label. If one label comes "
        "mostly from one row, a network can answer by the scanner and never look at the disease.",
        cohort_view.view_acquisition,
    ),
    Section(
        "metrics",
        "Scores beside what needs no image",
        "Each value with its 95 % interval, from predictions for patients whom the head did not "
        "train on. A head that does not clearly beat all three baselines has shown nothing: a "
        "constant knows only how frequent label 1 is, the others know one number about the lungs "
        "or how the scan was made. AUC is the chance that a patient with label 1 is ranked above "
        "one with label 0.",
        cohort_view.view_metrics,
    ),
    Section(
        "predictions",
        "Predictions",
        "One dot and one row per patient, each predicted by a head that was trained without that "
        "patient. If the two rows of dots overlap, the head does not tell the labels apart. The "
        "dashed line is the share of label 1, which is what a constant would answer.",
        cohort_view.view_predictions,
    ),
    Section(
        "counts",
        "What the autoencoder learned from",
        "Patches by patient and place. A patient with few inner ones has small lungs or a mask "
        "with holes; many voxels beyond the scan mean lungs cut off by its edge; clipped ones are "
        "denser or thinner than the network can see.",
        gmcae_view.view_counts,
    ),
    Section(
        "training",
        "How the autoencoder learned",
        "Lower is better in both drawings. Validation patches come from patients that were "
        "not trained on, where there are two or more. Well: both curves fall and flatten. If the "
        "validation curve rises while the training curve falls, it learns by heart; if both still "
        "fall at the end, it was stopped early; a curve that jumps or ends suddenly means that "
        "training went wrong. A dotted line is a rival on the same patches, beside the loss only "
        "one that is told a code as the autoencoder is: to stay above it is to have learned less.",
        gmcae_view.view_training,
    ),
    Section(
        "reconstruction",
        "What the autoencoder sees",
        "Validation patches of 32 x 32 x 32 voxels (middle axial plane; front of the body up, "
        "the patient's right at the picture's left) above what the autoencoder made of them. "
        "Vessels and walls should be where they are in the input; fine texture is lost, since "
        "noise cannot be predicted. If every reconstruction looks alike, the features hold "
        "nothing. A component's responsibility is the share of a voxel that it explains; mostly "
        "one is narrow and takes even tissue, another is wide and takes edges.",
        gmcae_view.view_reconstruction,
    ),
    Section(
        "samples",
        "What the autoencoder draws",
        "Real patches above patches drawn from the model (middle axial plane). Drawn noise is "
        "white where the scanner's is not, since voxels are drawn one by one; what else is gone, "
        "vessels or walls, the code does not hold. Where a patch drawn with no input looks like no "
        "lung, codes of real lungs do not follow a Gaussian.",
        gmcae_view.view_samples,
    ),
    Section(
        "times",
        "Where the time went",
        "From Snakemake's benchmark files. Jobs that ran side by side count each in full, so the "
        "sum may be longer than the run took. Memory is the largest of a single job.",
        run_view.view_times,
    ),
    Section(
        "methods",
        "Methods, ready to paste",
        "Written from the settings and counts of this run. Check it before you publish it.",
        run_view.view_methods,
    ),
    Section(
        "provenance",
        "Versions and settings",
        "What it takes to do this again. Salts are not shown, and of absolute paths only the "
        "last part is.",
        run_view.view_provenance,
    ),
)

PATIENT = (
    Section(
        "mosaic",
        "Lungs outlined",
        "Lung window, radiological convention. Axial planes from head to feet and coronal planes "
        "from front to back: the patient's right (R) is at the picture's left, the patient's left "
        "(L) at the picture's right. Sagittal planes from right to left: front (A) at the left. "
        "Orange outlines the right lung, blue the left. The outlines should follow the inner chest "
        "wall and leave out windpipe and heart. Wrong: an outline that cuts through a lung, takes "
        "in bowel, stomach or the table, swaps its colours between planes, or misses the tips.",
        patient_view.view_mosaic,
    ),
    Section(
        "surprise",
        "What the autoencoder did not expect",
        "How unlikely each voxel is to the autoencoder, below the CT of the same plane; the "
        "patient's right (R) is at the picture's left. Edges, vessels and noise always surprise a "
        "little. Look where a whole place is bright that is no vessel; if all of the lung is "
        "bright, the scan differs from what was learned by its dose, kernel or breath.",
        patient_view.view_surprise,
    ),
    Section(
        "measures",
        "Measures of the lungs",
        "Of the voxels inside the outlines. They are only as right as the outlines are.",
        patient_view.view_measures,
    ),
    Section(
        "prediction",
        "Prediction out of fold",
        "From a head that was trained without this patient. It is one row of an experiment, not "
        "a finding about this person: read it beside the conclusion of the cohort page.",
        patient_view.view_prediction_of,
    ),
    Section(
        "scan",
        "The scan",
        "As its headers state it. Kernel and thickness change every density measure.",
        patient_view.view_scan,
    ),
)
