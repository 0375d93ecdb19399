rule classifier:
    """Train a head on a fold's training patients and predict the patients held out."""
    input:
        cohort="results/cohort/cohort.tsv",
        features=lambda wildcards: features_of(scope_of(wildcards.fold)),
    output:
        multiext(
            "results/classifier/{head}/{fold}/",
            predictions="predictions.tsv",
            record="classifier.json",
            epochs="epochs.tsv",
            head="head.keras",
        ),
    log:
        "logs/classifier/{head}-{fold}.log",
    benchmark:
        "logs/classifier/{head}-{fold}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("classifier"),
        runtime=minutes("classifier"),
    params:
        folder=subpath(output.record, parent=True),
        settings=settings("classifier"),
        seed=CONFIG["seed"],
        code=code("classifier"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/classifier.py" --features {input.features}'
        " --cohort {input.cohort} --head {wildcards.head} --fold {wildcards.fold}"
        " --output {params.folder} --settings {params.settings:q} --seed {params.seed}"
        " --threads {threads} > {log} 2>&1 || [ $? -eq 3 ]"
