ruleorder: gmcae_pretrained > gmcae


rule gmcae_pretrained:
    """Take somebody else's encoder (gmcae.pretrained) instead of training one."""
    input:
        encoder=ancient(str(PRETRAINED_LINKS / "encoder.keras")),
        record=ancient(str(PRETRAINED_LINKS / "gmcae.json")),
    output:
        multiext(
            "results/gmcae/cohort/",
            encoder="encoder.keras",
            network="gmcae.keras",
            record="gmcae.json",
            epochs="epochs.tsv",
            batches="batches.tsv",
            summary="summary.txt",
            examples="examples.h5",
        ),
    log:
        "logs/gmcae/pretrained.log",
    benchmark:
        "logs/gmcae/pretrained.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("gmcae_pretrained"),
        runtime=minutes("gmcae_pretrained"),
    params:
        folder=subpath(output.encoder, parent=True),
        spacing=pretrained_spacing(),
        contents=pretrained_digest(),
        code=code("gmcae_pretrained"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/gmcae_pretrained.py" --pretrained {input.encoder}'
        " {params.spacing} --output {params.folder} 2>&1 | tee {log} >&2"
