rule segments:
    """Write on request the masks as DICOM SEG, which name the patients; runs whenever asked."""
    input:
        # Of digital patients only: Snakemake logs its inputs, and a folder may be called by a name.
        dicom=[dicom_folder(sample) for sample in SAMPLES if sample.dicom is None],
        index=of_cohort("results/index/{patient}.json"),
        volumes=of_cohort("results/volumes/{patient}.json"),
        masks=of_cohort("results/lungs/{patient}.nii.gz"),
        lungs=of_cohort("results/lungs/{patient}.json"),
    output:
        table="exports/segments/segments.tsv",
    log:
        "logs/segments/segments.log",
    benchmark:
        "logs/segments/segments.tsv"
    conda:
        "../envs/lungfish.yaml"
    threads: 2
    resources:
        mem_mb=memory("segments", each_worker=True),
        runtime=minutes("segments"),
    params:
        asked=STARTED,  # never twice the same, so that there is never nothing to be done
        folder=lambda wildcards, output: str(Path(output.table).parent),
        index=settings("index"),
        volumes=settings("volumes"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/segments.py" --samples "$LUNGFISH_SAMPLES" --results results'
        " --output {params.folder} --workers {threads}"
        " --index-settings {params.index:q} --volumes-settings {params.volumes:q}"
        " > {log} 2>&1 || [ $? -eq 3 ]; cat {log} >&2"
