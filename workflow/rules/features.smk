rule features:
    """Run the encoder over the whole lungs of a shard of patients."""
    input:
        volumes=of_shard("results/volumes/{patient}.nii.gz"),
        lungs=of_shard("results/lungs/{patient}.nii.gz"),
        records=of_shard("results/lungs/{patient}.json"),
        encoder="results/gmcae/{scope}/encoder.keras",
        record="results/gmcae/{scope}/gmcae.json",
    output:
        store="results/features/{scope}/{shard}.h5",
    log:
        "logs/features/{scope}-{shard}.log",
    benchmark:
        "logs/features/{scope}-{shard}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("features"),
        runtime=minutes("features"),
    params:
        folder=subpath(input.encoder, parent=True),
        settings=settings("features"),
        code=code("features"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/features.py" --volumes {input.volumes} --lungs {input.lungs}'
        " --lungs-records {input.records} --encoder {params.folder} --output {output}"
        " --settings {params.settings:q} --threads {threads} > {log} 2>&1"
