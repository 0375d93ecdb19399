# What each job asks for: memory and time by the size of its scan, within what this machine has.
from lungfish import machine, resources

SPACING_MM = CONFIG["volumes"]["spacing_mm"]
DIGITAL = resources.digital(CONFIG["phantom"], SPACING_MM)
KNOWN_SIZES = {sample.patient: DIGITAL for sample in SAMPLES if sample.dicom is None}
# A plan has no second attempts. Where all scans are alike too, each job of a patient asks for the
# same: said once, and not asked 16,000 times for 1,600 patients, a tenth of the planning.
ALIKE = runs.only_looks(sys.argv) and len(KNOWN_SIZES) == len(SAMPLES)
LIMIT = "mem_mb"
TOLD = set()


def size_of(patient):
    """Return the size of a patient's scan: exactly from its records, a stated guess before."""
    if patient not in KNOWN_SIZES:
        records = [
            Path(f"results/{stage}/{patient}.json") for stage in ("volumes", "index")
        ]
        found = resources.read_size(*records, SPACING_MM)
        if found is None:
            return resources.typical(SPACING_MM)
        KNOWN_SIZES[patient] = found
    return KNOWN_SIZES[patient]


def size_of_job(wildcards, members):
    """Return the size of what a job reads: a patient, a shard, some members or the cohort."""
    if "patient" in wildcards.keys():
        return size_of(wildcards["patient"])
    if "shard" in wildcards.keys():
        members = SHARDS[wildcards.shard]
    training = CONFIG["gmcae"]
    drawn = training["batch_size"] * training["steps_per_epoch"] * training["epochs"]
    patches = sum(CONFIG["patches"][key] for key in ("per_patient", "background"))
    return resources.Size.of_many(
        [size_of(patient) for patient in members],
        patches=len(members) * patches,
        drawn=drawn,
    )


def memory(stage, members=PATIENTS, *, each_worker=False):
    """Return a rule's memory in MB by the size of its input; it grows with the attempt."""

    def ask(wildcards, attempt, threads):
        size = size_of_job(wildcards, members)
        workers = threads if each_worker else 1
        asked_mb = resources.memory_mb(stage, size, attempt=attempt, workers=workers)
        warn_of_clamp(stage, asked_mb)
        return asked_mb

    return said_once(stage, ask)


def minutes(stage, members=PATIENTS):
    """Return a rule's minutes by the size of its input; they grow with the attempt."""

    def ask(wildcards, attempt, threads):
        return resources.minutes(
            stage, size_of_job(wildcards, members), attempt=attempt
        )

    return said_once(stage, ask)


def said_once(stage, ask):
    """Return the function, or its answer where that is the same for all that the stage does."""
    if ALIKE and stage in resources.OF_A_PATIENT:
        return ask({"patient": PATIENTS[0]}, 1, 1)
    return ask


def warn_of_clamp(stage, asked_mb):
    """Say once a stage that a job asks for more than there is: Snakemake clamps and runs it."""
    limit = workflow.global_resources.get(LIMIT)
    # On a cluster Snakemake knows the name and no value.
    limited = limit is not None and limit.value is not None
    if workflow.is_main_process and limited and asked_mb > limit.value:
        if stage not in TOLD:
            logger.warning(
                f"memory: {stage} asks for {asked_mb} MB, jobs may share {limit.value} MB: "
                "it runs alone, and fails if it needs them all"
            )
        TOLD.add(stage)


def limit_memory():
    """Let the jobs of a local run share what this machine has free, unless the user said more.

    Snakemake itself knows no limit: it would start eight jobs on eight cores in any memory. A
    cluster has its own limits, and with one Snakemake counts nodes.
    """
    local = workflow.is_main_process and workflow.resource_settings.nodes is None
    if not local or LIMIT in workflow.global_resources:
        return
    free_mb = machine.free_memory_mb()
    shared_mb = machine.memory_for_jobs_mb(free_mb)
    workflow.register_resource(LIMIT, shared_mb)
    if not runs.only_looks(sys.argv):
        logger.info(
            f"memory: jobs share {shared_mb} MB of the {free_mb:.0f} MB free here "
            "(--resources mem_mb=N sets another limit)"
        )


limit_memory()
