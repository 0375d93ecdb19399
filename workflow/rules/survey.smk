rule survey:
    """Say on request what the headers of the whole cohort state: tables and a page of drawings."""
    input:
        # Of digital patients only: Snakemake logs its inputs, and a folder may be called by a name.
        dicom=[dicom_folder(sample) for sample in SAMPLES if sample.dicom is None],
    output:
        slices="results/survey/slices.tsv",
        series="results/survey/series.tsv",
        others="results/survey/other_files.tsv",
        page="results/survey/index.html",
    log:
        "logs/survey/survey.log",
    benchmark:
        "logs/survey/survey.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("survey"),
        runtime=minutes("survey"),
    params:
        folder=lambda wildcards, output: str(Path(output.page).parent),
        folders=[folder_digest(SAMPLE[patient]) for patient in PATIENTS],
        salt=CONFIG["index"]["salt"],
        code=code("survey"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/survey.py" --samples "$LUNGFISH_SAMPLES" --results results'
        " --output {params.folder} --salt={params.salt:q} > {log} 2>&1"
