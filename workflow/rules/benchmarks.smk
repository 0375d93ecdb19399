rule benchmarks:
    """Say on request where time, memory and disk went; reads what is there and makes nothing else."""
    output:
        stages="results/benchmarks/benchmarks.tsv",
        jobs="results/benchmarks/jobs.tsv",
        page="results/benchmarks/index.html",
    log:
        "logs/benchmarks/benchmarks.log",
    benchmark:
        "logs/benchmarks/benchmarks.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("benchmarks"),
        runtime=minutes("benchmarks"),
    params:
        asked=STARTED,  # never twice the same, so that there is never nothing to be done
        folder=lambda wildcards, output: str(Path(output.page).parent),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/benchmarks.py" --logs logs --results results'
        " --output {params.folder} > {log} 2>&1; cat {log} >&2"
