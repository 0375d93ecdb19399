rule recheck:
    """Say on request which patients' files were rewritten in place; runs whenever asked."""
    input:
        # Of digital patients only: Snakemake logs its inputs, and a folder may be called by a name.
        dicom=[dicom_folder(sample) for sample in SAMPLES if sample.dicom is None],
    output:
        table="results/recheck/recheck.tsv",
        summary="results/recheck/summary.txt",
    log:
        "logs/recheck/recheck.log",
    benchmark:
        "logs/recheck/recheck.tsv"
    conda:
        "../envs/lungfish.yaml"
    threads: 4
    resources:
        mem_mb=memory("recheck", each_worker=True),
        runtime=minutes("recheck"),
    params:
        asked=STARTED,  # never twice the same, so that there is never nothing to be done
        index=settings("index"),
        volumes=settings("volumes"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/recheck.py" --samples "$LUNGFISH_SAMPLES" --results results'
        " --output {output.table} --summary {output.summary} --workers {threads}"
        " --index-settings {params.index:q} --volumes-settings {params.volumes:q}"
        " > {log} 2>&1 || [ $? -eq 3 ]"
