rule gmcae:
    """Pretrain the autoencoder on the patches of a scope's training patients, without labels."""
    input:
        cohort="results/cohort/cohort.tsv",
        patches=of_cohort("results/patches/{patient}.h5"),
    output:
        multiext(
            "results/gmcae/{scope}/",
            encoder="encoder.keras",
            network="gmcae.keras",
            record="gmcae.json",
            epochs="epochs.tsv",
            batches="batches.tsv",
            summary="summary.txt",
            examples="examples.h5",
        ),
    log:
        "logs/gmcae/{scope}.log",
    benchmark:
        "logs/gmcae/{scope}.tsv"
    conda:
        "../envs/lungfish.yaml"
    threads: 2
    resources:
        mem_mb=memory("gmcae"),
        runtime=minutes("gmcae"),
    params:
        folder=subpath(output.encoder, parent=True),
        settings=settings("gmcae"),
        seed=CONFIG["seed"],
        code=code("gmcae"),
    shell:
        # To the terminal too: this is the long one, and its epochs are the progress to watch.
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/gmcae.py" --patches {input.patches} --cohort {input.cohort}'
        " --scope {wildcards.scope} --output {params.folder} --settings {params.settings:q}"
        " --seed {params.seed} --threads {threads} 2>&1 | tee {log} >&2 || [ $? -eq 3 ]"


if PRETRAINED:

    include: "gmcae_pretrained.smk"
