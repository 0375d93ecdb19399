rule evaluation:
    """Score the out-of-fold predictions beside what trivial models score."""
    input:
        cohort="results/cohort/cohort.tsv",
        predictions=of_folds("predictions.tsv"),
    output:
        predictions="results/evaluation/predictions.tsv",
        metrics="results/evaluation/metrics.json",
    log:
        "logs/evaluation/evaluation.log",
    benchmark:
        "logs/evaluation/evaluation.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("evaluation"),
        runtime=minutes("evaluation"),
    params:
        settings=settings("evaluation"),
        seed=CONFIG["seed"],
        code=code("evaluation"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/evaluation.py" --predictions {input.predictions}'
        " --cohort {input.cohort} --predictions-output {output.predictions}"
        " --metrics-output {output.metrics} --settings {params.settings:q}"
        " --seed {params.seed} > {log} 2>&1 || [ $? -eq 3 ]"
