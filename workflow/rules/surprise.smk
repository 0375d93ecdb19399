rule surprise:
    """Map on request how unlike anything learned every patient's lungs are, and list them."""
    input:
        records=of_cohort("results/surprise/{patient}.json"),
    output:
        table="results/surprise/surprise.tsv",
    log:
        "logs/surprise/surprise.log",
    benchmark:
        "logs/surprise/surprise.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("surprise"),
        runtime=minutes("surprise"),
    params:
        code=code("surprise"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/surprise.py" cohort --records {input.records}'
        " --output {output.table} > {log} 2>&1"


rule surprise_patient:
    """Map one patient's lungs, by an autoencoder that has not seen the patient if there is one."""
    input:
        volume="results/volumes/{patient}.nii.gz",
        lungs="results/lungs/{patient}.nii.gz",
        record="results/lungs/{patient}.json",
        cohort="results/cohort/cohort.tsv",
        networks=expand("results/gmcae/{scope}/gmcae.keras", scope=SCOPES),
        gmcae=expand("results/gmcae/{scope}/gmcae.json", scope=SCOPES),
    output:
        map="results/surprise/{patient}.nii.gz",
        measures="results/surprise/{patient}.json",
        picture="results/surprise/{patient}.png",
    log:
        "logs/surprise/{patient}.log",
    benchmark:
        "logs/surprise/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("surprise_patient"),
        runtime=minutes("surprise_patient"),
    params:
        folders=lambda wildcards, input: [
            str(Path(path).parent) for path in input.gmcae
        ],
        code=code("surprise"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/surprise.py" patient --patient {wildcards.patient}'
        " --volume {input.volume} --lungs {input.lungs} --record {input.record}"
        " --cohort {input.cohort} --gmcae {params.folders} --output {output.map}"
        " --measures {output.measures} --picture {output.picture} --threads {threads}"
        " > {log} 2>&1 || [ $? -eq 3 ]"
