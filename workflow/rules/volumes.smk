rule volumes:
    """Turn a patient's indexed slices into one volume of HU along the patient's axes."""
    input:
        dicom=dicom_folder,
        index="results/index/{patient}.json",
    output:
        volume="results/volumes/{patient}.nii.gz",
        record="results/volumes/{patient}.json",
    log:
        "logs/volumes/{patient}.log",
    benchmark:
        "logs/volumes/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(20),
    params:
        salt=CONFIG["index"]["salt"],
        settings=settings("volumes"),
        code=code("volumes"),
    shell:
        'python "$LUNGFISH/scripts/volumes.py" --dicom {input.dicom:q} --index {input.index}'
        " --output {output.volume} --record {output.record} --salt={params.salt:q}"
        " --settings {params.settings:q} > {log} 2>&1 || [ $? -eq 3 ]"
