rule cohort:
    """Decide for every patient whether it is in, why not, and in which fold."""
    input:
        index=of_cohort("results/index/{patient}.json"),
        volumes=of_cohort("results/volumes/{patient}.json"),
        lungs=of_cohort("results/lungs/{patient}.json"),
        truths=truths,
    output:
        table="results/cohort/cohort.tsv",
        summary="results/cohort/cohort.json",
    log:
        "logs/cohort/cohort.log",
    benchmark:
        "logs/cohort/cohort.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("cohort"),
        runtime=minutes("cohort"),
    params:
        sheet=sheet_digest(),
        settings=settings("cohort"),
        seed=CONFIG["seed"],
        code=code("cohort"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/cohort.py" --samples "$LUNGFISH_SAMPLES" --results results'
        " --output {output.table} --summary {output.summary}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"
