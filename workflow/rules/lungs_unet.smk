rule lungs_unet:
    """Let the U-Net propose the lungs of a shard of patients, where a method asks for it."""
    input:
        volumes=of_shard("results/volumes/{patient}.nii.gz"),
        records=of_shard("results/volumes/{patient}.json"),
    output:
        store="results/lungs_unet/{shard}.h5",
    log:
        "logs/lungs_unet/{shard}.log",
    benchmark:
        "logs/lungs_unet/{shard}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("lungs_unet"),
        runtime=minutes("lungs_unet"),
    params:
        weights=unet_weights,
        code=code("lungs_unet"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/lungs_unet.py" --volumes {input.volumes}'
        " --records {input.records} --output {output} --threads {threads} > {log} 2>&1"
