include: "lungs_unet.smk"


rule lungs:
    """Find the lungs, label right 1 and left 2, measure them, judge them, draw them."""
    input:
        volume="results/volumes/{patient}.nii.gz",
        record="results/volumes/{patient}.json",
        mask=own_mask,
        proposed=unet_proposals,
    output:
        mask="results/lungs/{patient}.nii.gz",
        measures="results/lungs/{patient}.json",
        mosaic="results/lungs/{patient}.png",
    log:
        "logs/lungs/{patient}.log",
    benchmark:
        "logs/lungs/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("lungs"),
        runtime=minutes("lungs"),
    params:
        own=lambda wildcards, input: f"--mask {input.mask}" if input.mask else "",
        proposed=lambda wildcards, input: (
            f"--proposed {input.proposed}" if input.proposed else ""
        ),
        mask=mask_digest,
        settings=settings("lungs"),
        code=code("lungs"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/lungs.py" --volume {input.volume} --record {input.record}'
        " {params.own} {params.proposed}"
        " --output {output.mask} --measures {output.measures} --mosaic {output.mosaic}"
        " --settings {params.settings:q} > {log} 2>&1 || [ $? -eq 3 ]"
