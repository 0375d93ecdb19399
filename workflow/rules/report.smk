# What the pages quote of the configuration: no path of the machine and no secret.
QUOTED = json.dumps(
    {
        stage: json.loads(settings(stage))
        for stage in CONFIG
        if isinstance(CONFIG[stage], dict)
    }
    | {
        "seed": CONFIG["seed"],
        "shards": CONFIG["shards"],
        "scope": CONFIG["gmcae"]["scope"],
    }
    | {
        "index": {
            **CONFIG["index"],
            "salt": "kept secret" if CONFIG["index"]["salt"] else "none",
        }
    },
    sort_keys=True,
)


rule report:
    """Make the page of the cohort, and the three lines that a run ends with."""
    input:
        cohort="results/cohort/cohort.tsv",
        index=of_cohort("results/index/{patient}.json"),
        lungs=of_cohort("results/lungs/{patient}.json"),
        predictions="results/evaluation/predictions.tsv",
        metrics="results/evaluation/metrics.json",
        model="results/model/model.json",
        gmcae=expand("results/gmcae/{scope}/gmcae.json", scope=SCOPES),
        patches="results/cohort/patches.tsv",
    output:
        page="results/report/index.html",
        summary="results/report/summary.txt",
    log:
        "logs/report/report.log",
    benchmark:
        "logs/report/report.tsv"
    conda:
        "../envs/lungfish.yaml"
    resources:
        mem_mb=memory("report"),
        runtime=minutes("report"),
    params:
        gmcae=lambda wildcards, input: [str(Path(path).parent) for path in input.gmcae],
        config=QUOTED,
        code=code("report"),
    shell:
        "LUNGFISH_MEM_MB={resources.mem_mb}"
        ' python "$LUNGFISH/scripts/report.py" cohort --cohort {input.cohort} --index {input.index}'
        " --lungs {input.lungs} --predictions {input.predictions} --metrics {input.metrics}"
        " --gmcae {params.gmcae} --patches {input.patches} --logs logs --config {params.config:q}"
        " --output {output.page} --summary {output.summary} > {log} 2>&1"


# One rule a shard, since its outputs are those of its patients.
for shard_name, members in sorted(SHARDS.items()):

    rule:
        """Make the pages of a shard of patients."""
        name:
            f"report_patients_{shard_name.replace('-', '_')}"
        input:
            cohort="results/cohort/cohort.tsv",
            index=expand("results/index/{patient}.json", patient=members),
            volumes=expand("results/volumes/{patient}.json", patient=members),
            lungs=expand("results/lungs/{patient}.json", patient=members),
            mosaics=expand("results/lungs/{patient}.png", patient=members),
            predictions="results/evaluation/predictions.tsv",
            surprise=maps_made(members, ".json"),
            surprise_pictures=maps_made(members, ".png"),
        output:
            pages=expand("results/report/patients/{patient}.html", patient=members),
        log:
            f"logs/report/{shard_name}.log",
        benchmark:
            f"logs/report/{shard_name}.tsv"
        conda:
            "../envs/lungfish.yaml"
        resources:
            mem_mb=memory("report_patients", members),
            runtime=minutes("report_patients", members),
        params:
            folder=lambda wildcards, output: str(Path(output.pages[0]).parent),
            code=code("report"),
        shell:
            "LUNGFISH_MEM_MB={resources.mem_mb}"
            ' python "$LUNGFISH/scripts/report.py" patients --cohort {input.cohort}'
            " --index {input.index} --volumes {input.volumes} --lungs {input.lungs}"
            " --mosaics {input.mosaics} --predictions {input.predictions}"
            " --surprise {input.surprise}"
            " --output {params.folder} > {log} 2>&1"
