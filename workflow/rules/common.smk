# Reads and checks the configuration and the sheet; names what the rules look up.
import atexit
import functools
import gc
import hashlib
import json
import logging
import os
import shlex
import shutil
import sys
import time

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))

from snakemake.exceptions import WorkflowError

from lungfish import cohort, command, provenance, runs, samples
from lungfish.errors import InputError
from lungfish.randomness import stable_hash
from lungfish.records import read_table

STARTED, FOLDER = time.time(), Path.cwd()
LITTLE_ROOM_MB = 10  # a disk with less than this at the end of a failed run was full

# The plan of a large cohort is millions of small objects that all stay: looking through them for
# garbage again and again would be a sixth of the planning.
gc.freeze()
gc.set_threshold(100_000, 20, 100)

# On a full disk Snakemake's own log file fails at every line: not one traceback for each.
logging.raiseExceptions = False

# Commands find the library and their Python through the environment, and not by a path in a rule:
# a path in a rule would rerun everything when the clone is moved.
os.environ.update(
    LUNGFISH=str(ROOT),
    PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])]),
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)]
    ),
)

if workflow.is_main_process and not runs.only_looks(sys.argv):
    try:
        runs.take_over(
            Path.cwd(), typed=sys.argv[1:], on_cluster=workflow.nodes is not None
        )
        runs.require_writable(map(Path, ("results", "logs", ".snakemake")))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    except OSError as error:
        raise WorkflowError(command.explain(error)) from None


def read_front_door():
    """Return the full configuration and the samples, or stop with every problem at once."""
    schema = ROOT / "workflow/schemas/config.schema.yaml"
    problems = samples.check_config(config, schema)
    sheet = Path(str(config.get("samples", "config/samples.tsv")))
    found = next((path for path in (sheet, ROOT / sheet) if path.is_file()), sheet)
    try:
        patients, rows = samples.read_samples(
            found, ROOT / "workflow/schemas/samples.schema.yaml"
        )
    except InputError as error:
        patients, rows = [], [str(error)]
    if problems + rows:
        raise WorkflowError("\n".join(["", *problems, *rows]))
    return samples.with_defaults(config, schema), found, patients


CONFIG, SHEET, SAMPLES = read_front_door()
os.environ.update(LUNGFISH_SAMPLES=str(SHEET.resolve()))
SAMPLE = {sample.patient: sample for sample in SAMPLES}
PATIENTS = sorted(SAMPLE)
for warning in samples.shared_folders(SAMPLES):
    logger.warning(warning)

# Not the stage's own business but the workflow's: how often it runs and on what.
WORKFLOW_KEYS = {"gmcae": {"scope", "pretrained"}, "classifier": {"heads"}}
LABELS = [sample.label for sample in SAMPLES]
FOLDS = list(
    range(
        cohort.number_of_folds(
            LABELS,
            CONFIG["cohort"]["folds"],
            splits=[sample.split for sample in SAMPLES],
        )
    )
)
HEADS = CONFIG["classifier"]["heads"]
SCOPES = ["cohort"]  # the model's own; a fold has one too where the scope is the fold
PRETRAINED = CONFIG["gmcae"]["pretrained"]  # somebody else's encoder knows no folds
if CONFIG["gmcae"]["scope"] == "fold" and not PRETRAINED:
    SCOPES += [f"fold-{fold}" for fold in FOLDS]


def shard_of(patient):
    """Return the shard of a patient: by its name alone, so that adding one moves nobody."""
    return f"shard-{stable_hash('shard', patient) % CONFIG['shards']}"


SHARDS = {}
for patient in PATIENTS:
    SHARDS.setdefault(shard_of(patient), []).append(patient)


wildcard_constraints:
    patient="[A-Za-z0-9_-]+",
    scope=r"cohort|fold-\d+",
    shard=r"shard-\d+",
    head="[a-z]+",
    fold=r"\d+",


def settings(stage):
    """Return the section of a stage as JSON: just the keys that its script uses."""
    section = CONFIG[stage].items()
    kept = {
        key: value for key, value in section if key not in WORKFLOW_KEYS.get(stage, ())
    }
    return json.dumps(kept, sort_keys=True)


@functools.cache
def code(stage):
    """Return the digest of all the code that a stage runs."""
    return provenance.code_digest(ROOT / "scripts" / f"{stage}.py", ROOT)


def sheet_digest():
    """Return a digest of what the cohort reads in the sheet, wherever the sheet lies."""
    rows = sorted((sample.patient, sample.label, sample.split) for sample in SAMPLES)
    return f"{stable_hash(repr(rows)):016x}"


def kept(stage, output):
    """Mark an output for removal after its last use where the configuration lists its stage."""
    return temp(output) if stage in CONFIG["temp"] else output


def dicom_folder(wildcards):
    """Return a patient's DICOM: the sheet's folder, or what the phantom stage makes."""
    if SAMPLE[wildcards.patient].dicom is None:
        return f"results/phantom/{wildcards.patient}/dicom"
    return str(LINKS / wildcards.patient)


def mask_link(patient):
    """Return the link by which a patient's own mask is read; None where there is none."""
    mask = SAMPLE[patient].mask
    if mask is None:
        return None
    return MASK_LINKS / (patient + (".nii.gz" if mask.name.endswith(".gz") else ".nii"))


def link_to(target, link):
    """Make a link to a path unless it is there."""
    if link.exists() and link.samefile(target):
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())


def link_inputs():
    """Give each folder and mask of the sheet a link called by the sheet's name for the patient.

    Snakemake writes the names of inputs into its logs and its records, and a folder is often
    called by the patient's name.
    """
    for sample in SAMPLES:
        if sample.dicom is not None:
            link_to(sample.dicom, LINKS / sample.patient)
        if sample.mask is not None:
            link_to(sample.mask, mask_link(sample.patient))
    for name, path in pretrained_files().items():
        link_to(path, PRETRAINED_LINKS / name)


def pretrained_files():
    """Return the files of somebody else's encoder, encoder.keras and gmcae.json; none without."""
    if not PRETRAINED:
        return {}
    places = [Path(PRETRAINED), ROOT / PRETRAINED]
    place = next((path for path in places if path.exists()), places[0])
    encoder = place / "encoder.keras" if place.is_dir() else place
    files = {"encoder.keras": encoder, "gmcae.json": encoder.with_name("gmcae.json")}
    if not all(path.is_file() for path in files.values()):
        raise WorkflowError(
            f"config key gmcae.pretrained: {PRETRAINED}: expected a folder with encoder.keras and "
            "gmcae.json, or a .keras file beside a gmcae.json"
        )
    return files


def pretrained_digest():
    """Return a digest of somebody else's encoder: another content is another encoder."""
    contents = b"".join(path.read_bytes() for path in pretrained_files().values())
    return hashlib.sha256(contents).hexdigest()[:16]


def pretrained_spacing():
    """Return the voxel size to compare with; where volumes keep theirs, features compares."""
    spacing_mm = CONFIG["volumes"]["spacing_mm"]
    return "" if spacing_mm == "native" else f"--spacing-mm {spacing_mm}"


LINKS = Path(".snakemake/lungfish/scans")
MASK_LINKS = Path(".snakemake/lungfish/masks")
PRETRAINED_LINKS = Path(".snakemake/lungfish/pretrained")
if workflow.is_main_process:
    link_inputs()


def own_mask(wildcards):
    """Return a patient's own mask as an input whose time is no matter; nothing without one."""
    link = mask_link(wildcards.patient)
    return [] if link is None else [ancient(str(link))]


def unet_proposals(wildcards):
    """Return what the U-Net proposes, where the method asks for it and no mask is given."""
    if CONFIG["lungs"]["method"] == "classical" or SAMPLE[wildcards.patient].mask:
        return []
    return [f"results/lungs_unet/{shard_of(wildcards.patient)}.h5"]


def unet_weights(wildcards):
    """Return a digest of the U-Net's weights: another network proposes otherwise."""
    weights = ROOT / "resources" / "lungs-unet.npz"
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


def mask_digest(wildcards):
    """Return a digest of what a patient's own mask holds: another content is another mask."""
    mask = SAMPLE[wildcards.patient].mask
    if mask is None:
        return ""
    return hashlib.sha256(mask.read_bytes()).hexdigest()[:16]


def folder_digest(wildcards):
    """Return a digest of where the sheet says a scan is: another place may be another scan."""
    folder = SAMPLE[wildcards.patient].dicom
    if folder is None:
        return ""
    place = folder if folder.is_absolute() else os.path.relpath(folder)
    return f"{stable_hash(str(place)):016x}"


def truths(wildcards):
    """Return what the makers of the digital patients know."""
    digital = [patient for patient in PATIENTS if SAMPLE[patient].dicom is None]
    return expand("results/phantom/{patient}/truth", patient=digital)


def scope_of(fold):
    """Return which autoencoder a fold uses."""
    return f"fold-{fold}" if len(SCOPES) > 1 else "cohort"


def features_of(scope):
    """Return the feature stores of one autoencoder, every patient in one of them."""
    return expand(
        "results/features/{scope}/{shard}.h5", scope=scope, shard=sorted(SHARDS)
    )


def of_shard(pattern):
    """Return an input function: a pattern for every patient of the shard."""
    return lambda wildcards: expand(pattern, patient=SHARDS[wildcards.shard])


def of_cohort(pattern):
    """Return a pattern for every patient of the sheet."""
    return expand(pattern, patient=PATIENTS)


def of_folds(name):
    """Return a file of every head and fold; none where the labels allow no classifier."""
    return expand(
        f"results/classifier/{{head}}/{{fold}}/{name}", head=HEADS, fold=FOLDS
    )


def maps_made(patients, ending):
    """Return the surprise maps' files that stand: who asked for a map once keeps it up to date."""
    files = expand("results/surprise/{patient}", patient=patients)
    return [f"{file}{ending}" for file in files if Path(f"{file}.json").is_file()]


def show_summary():
    """Print what the report says in three lines."""
    summary = Path("results/report/summary.txt")
    if summary.is_file():
        print(summary.read_text(encoding="utf-8"), end="", file=sys.stderr)


def show_recheck():
    """Print what a recheck of this very run found, and the command that takes it up."""
    summary = Path("results/recheck/summary.txt")
    if not summary.is_file() or summary.stat().st_mtime < STARTED:
        return
    print(summary.read_text(encoding="utf-8"), end="", file=sys.stderr)
    rows = read_table(Path("results/recheck/recheck.tsv"))
    rewritten = [row["patient"] for row in rows if row["status"] == "rewritten"]
    files = expand("results/index/{patient}.json", patient=rewritten)
    if files:
        typed = [word for word in sys.argv[1:] if word != "recheck"]
        line = shlex.join(["snakemake", *typed, "--forcerun", *files])
        print(
            f"To take up what was rewritten, and all that follows:\n  {line}",
            file=sys.stderr,
        )


def show_trouble():
    """Say what stops every run, where that is the cause, and that nothing is lost."""
    os.chdir(FOLDER)  # from where Snakemake has gone back by now
    if shutil.disk_usage(FOLDER).free < LITTLE_ROOM_MB * 1_000_000:
        print(f"error: {command.NO_SPACE}", file=sys.stderr)
    for sample in SAMPLES:
        if sample.dicom is not None and not samples.is_scan(sample.dicom):
            print(
                f"error: the scan of patient {sample.patient} is gone: bring its folder or zip "
                "back, or take its row out of the sheet",
                file=sys.stderr,
            )
    print(
        "What was made is kept: once the cause above is mended, the same command goes on from it.",
        file=sys.stderr,
    )


def forget_the_pace():
    """Let the scheduler look when a job ends, and not again and again.

    With a pace (Snakemake's own is 100 new jobs a second, which slows nothing down here) and jobs
    that wait, each look has another follow a second later, for ever: after 500 jobs it looks 150
    times a second and takes a fifth of two cores (snakemake issue 2967). Another pace is kept.
    """
    pace = getattr(workflow.scheduler, "job_rate_limiter", None)
    if pace and (pace.max_jobs, pace.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onstart:
    forget_the_pace()
    # Not `onerror`, which Snakemake passes over where it stops for an input that is gone.
    atexit.register(show_trouble)


onsuccess:
    atexit.unregister(show_trouble)
    show_summary()
    show_recheck()
