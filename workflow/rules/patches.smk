rule patches:
    """Cut cubes of 32 voxels from inside a patient's lungs."""
    input:
        volume="results/volumes/{patient}.nii.gz",
        lungs="results/lungs/{patient}.nii.gz",
        record="results/lungs/{patient}.json",
    output:
        store=kept("patches", "results/patches/{patient}.h5"),
    log:
        "logs/patches/{patient}.log",
    benchmark:
        "logs/patches/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("patches"),
        runtime=minutes("patches"),
    params:
        settings=settings("patches"),
        seed=CONFIG["seed"],
        code=code("patches"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/patches.py" --patient {wildcards.patient}'
        " --volume {input.volume} --lungs {input.lungs} --record {input.record}"
        " --output {output} --settings {params.settings:q} --seed {params.seed}"
        " > {log} 2>&1 || [ $? -eq 3 ]"


rule patch_counts:
    """Count every patient's patches: of the lungs' inside, of their border and beside them."""
    input:
        patches=of_cohort("results/patches/{patient}.h5"),
    output:
        table="results/cohort/patches.tsv",
    log:
        "logs/cohort/patches.log",
    benchmark:
        "logs/cohort/patches.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("patch_counts"),
        runtime=minutes("patch_counts"),
    params:
        code=code("patch_counts"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/patch_counts.py" --patches {input.patches}'
        " --output {output.table} > {log} 2>&1"
