# A scan with missing slices is refused, or filled beside a mask of what was invented.
MARKED = CONFIG["index"]["gaps"] == "mark"


rule volumes:
    """Turn a patient's indexed slices into one volume of HU along the patient's axes."""
    input:
        dicom=dicom_folder,
        index="results/index/{patient}.json",
    output:
        **({"filled": "results/volumes/{patient}.filled.nii.gz"} if MARKED else {}),
        volume=kept("volumes", "results/volumes/{patient}.nii.gz"),
        record="results/volumes/{patient}.json",
    log:
        "logs/volumes/{patient}.log",
    benchmark:
        "logs/volumes/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("volumes"),
        runtime=minutes("volumes"),
    params:
        folder=folder_digest,
        salt=CONFIG["index"]["salt"],
        settings=settings("volumes"),
        filled=lambda wildcards, output: f"--filled {output.filled}" if MARKED else "",
        code=code("volumes"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/volumes.py" --dicom {input.dicom:q} --index {input.index}'
        " --output {output.volume} --record {output.record} {params.filled}"
        " --salt={params.salt:q} --threads {threads}"
        " --settings {params.settings:q} > {log} 2>&1 || [ $? -eq 3 ]"
