# lungfish: chest CT from DICOM to an honestly evaluated classifier. See README.md.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


# The configuration is sought in the working directory, then beside this file.
CONFIG_FILE = Path("config/config.yaml")


configfile: CONFIG_FILE if CONFIG_FILE.is_file() else Path(workflow.basedir) / CONFIG_FILE


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/phantom.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/volumes.smk"
include: "workflow/rules/lungs.smk"
include: "workflow/rules/patches.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/gmcae.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/classifier.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/requests.smk"


rule all:
    """Everything: the model, the cohort's page and a page for every patient."""
    default_target: True
    input:
        "results/model/model.json",
        "results/report/index.html",
        expand("results/report/patients/{patient}.html", patient=PATIENTS),
