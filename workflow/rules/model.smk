rule model:
    """Put all that prediction needs into one folder: encoder, head, HU map, settings, scores."""
    input:
        cohort="results/cohort/cohort.tsv",
        encoder="results/gmcae/cohort/encoder.keras",
        record="results/gmcae/cohort/gmcae.json",
        features=features_of("cohort"),
        classifiers=of_folds("classifier.json"),
        predictions="results/evaluation/predictions.tsv",
        metrics="results/evaluation/metrics.json",
    output:
        record="results/model/model.json",
        encoder="results/model/encoder.keras",
    log:
        "logs/model/model.log",
    benchmark:
        "logs/model/model.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("model"),
        runtime=minutes("model"),
    params:
        gmcae=subpath(input.encoder, parent=True),
        folder=subpath(output.record, parent=True),
        settings=settings("model"),
        classifier=settings("classifier"),
        index=settings("index"),
        volumes=settings("volumes"),
        lungs=settings("lungs"),
        seed=CONFIG["seed"],
        code=code("model"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/model.py" --encoder {params.gmcae} --features {input.features}'
        " --cohort {input.cohort} --classifiers {input.classifiers}"
        " --predictions {input.predictions} --metrics {input.metrics}"
        " --output {params.folder} --settings {params.settings:q}"
        " --classifier-settings {params.classifier:q} --index-settings {params.index:q}"
        " --volumes-settings {params.volumes:q} --lungs-settings {params.lungs:q} --seed {params.seed} --threads {threads}"
        " > {log} 2>&1 || [ $? -eq 3 ]"
