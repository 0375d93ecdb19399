rule phantom:
    """Make the DICOM of one digital patient, and the truth beside it."""
    output:
        dicom=kept("phantom", directory("results/phantom/{patient}/dicom")),
        truth=directory("results/phantom/{patient}/truth"),
    log:
        "logs/phantom/{patient}.log",
    benchmark:
        "logs/phantom/{patient}.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("phantom"),
        runtime=minutes("phantom"),
    params:
        settings=settings("phantom"),
        seed=CONFIG["seed"],
        code=code("phantom"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/phantom.py" --patient {wildcards.patient}'
        " --dicom {output.dicom} --truth {output.truth}"
        " --settings {params.settings:q} --seed {params.seed} > {log} 2>&1"
