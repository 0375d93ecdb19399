rule index:
    """Say what each file of a patient's folder is, and which slices make the volume."""
    input:
        dicom=dicom_folder,
    output:
        record="results/index/{patient}.json",
    log:
        "logs/index/{patient}.log",
    benchmark:
        "logs/index/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("index"),
        runtime=minutes("index"),
    params:
        folder=folder_digest,
        series=lambda wildcards: SAMPLE[wildcards.patient].series,
        settings=settings("index"),
        code=code("index"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/index.py" --dicom {input.dicom:q} --output {output}'
        " --series={params.series:q} --settings {params.settings:q} > {log} 2>&1"
        " || [ $? -eq 3 ]"
