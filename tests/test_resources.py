"""What jobs ask for follows the size of their input, and is more than what they use."""

import dataclasses
import json
import math
import re
import subprocess
import sys

import psutil
import pytest
import yaml

from lungfish import resources, usage
from lungfish.benchmarks import read_jobs
from lungfish.records import read_json
from tests.workflow_runner import environment, snakemake

SIZES = (
    resources.Size.of((60, 96, 96), (100, 120, 120)),
    resources.Size.of((300, 512, 512), (375, 360, 360)),
    resources.Size.of((600, 512, 512), (600, 512, 512)),
)


@pytest.mark.parametrize("stage", resources.STAGES)
def test_more_input_never_asks_for_less_and_a_second_attempt_asks_for_twice(stage):
    for ask in (resources.memory_mb, resources.minutes):
        asked = [ask(stage, size) for size in SIZES]
        assert asked == sorted(asked)
        assert [ask(stage, size, attempt=2) for size in SIZES] == [2 * each for each in asked]
    # Each job of a cluster holds two Snakemakes before it begins.
    assert resources.memory_mb(stage, resources.Size()) >= 500


@pytest.mark.parametrize("stage", resources.MEMORY)
def test_no_stage_is_thought_to_need_more_than_three_gb_for_a_long_scan(stage):
    many_patches = dataclasses.replace(SIZES[-1], patches=200_000)
    assert resources.MEMORY[stage].of(many_patches) <= 3000


def test_memory_and_seconds_are_known_for_the_same_rules():
    assert set(resources.MEMORY) == set(resources.SECONDS)
    for cost in [*resources.MEMORY.values(), *resources.SECONDS.values()]:
        assert all(value >= 0 for value in dataclasses.astuple(cost))


def test_a_digital_patients_size_is_known_before_anything_was_made(clone, tiny):
    config = yaml.safe_load((clone / "config/tiny.yaml").read_text())
    schema = yaml.safe_load((clone / "workflow/schemas/config.schema.yaml").read_text())
    defaults = {
        key: part["default"] for key, part in schema["properties"]["phantom"]["properties"].items()
    }
    spacing_mm = config["volumes"]["spacing_mm"]
    expected = resources.digital(defaults | config["phantom"], spacing_mm)
    for path in (tiny[1] / "results/volumes").glob("*.json"):
        record = read_json(path, "volumes/1")
        assert math.prod(record["acquired_size"]) == expected.acquired_mvoxel * 1e6
        assert math.prod(record["size"]) == pytest.approx(expected.volume_mvoxel * 1e6, rel=0.15)


def test_the_index_says_nearly_what_the_volume_says_exactly(tiny, tmp_path):
    results = tiny[1] / "results"
    for volume in (results / "volumes").glob("*.json"):
        index = results / "index" / volume.name
        exact = resources.read_size(volume, index, 3.0)
        assert exact.volume_mvoxel == math.prod(read_json(volume, "volumes/1")["size"]) / 1e6
        nearly = resources.read_size(tmp_path / "none.json", index, 3.0)
        assert nearly.acquired_mvoxel == exact.acquired_mvoxel
        assert nearly.volume_mvoxel == pytest.approx(exact.volume_mvoxel, rel=0.05)


def test_without_records_nothing_is_known_and_a_refused_scan_is_small(tmp_path):
    volume, index = tmp_path / "volume.json", tmp_path / "index.json"
    assert resources.read_size(volume, index, 1.0) is None
    index.write_text(json.dumps({"geometry": None, "status": "refused"}))
    assert resources.read_size(volume, index, 1.0) is None
    volume.write_text(json.dumps({"status": "refused"}))
    assert resources.read_size(volume, index, 1.0).volume_mvoxel < 0.001


def test_a_bundle_of_twenty_real_scans_fits_a_partition_of_four_hours():
    stages = set(resources.OF_A_PATIENT) - {"phantom"}
    scan = resources.typical(1.0)
    asked = 20 * sum(resources.minutes(stage, scan) for stage in stages)
    took = 20 * sum(resources.SECONDS[stage].of(scan) for stage in stages) / 60
    assert 10 * took <= asked <= 240


def test_every_rule_asks_by_its_own_name(clone):
    for path in sorted((clone / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        asked = re.findall(r'mem_mb=memory\("(\w+)"', text)
        assert asked == re.findall(r'runtime=minutes\("(\w+)"', text)
        assert set(asked) <= set(resources.STAGES), path
        assert len(asked) == text.count("LUNGFISH_MEM_MB={resources.mem_mb}"), path


def test_no_job_of_the_tiny_cohort_used_more_than_it_asked_for(tiny):
    jobs = read_jobs(tiny[1] / "logs")
    assert len(jobs) == len(list((tiny[1] / "logs").glob("*/*.tsv"))) > 20
    for job in jobs:
        assert job.asked_mb is not None, job
        assert job.peak_mb <= job.asked_mb - resources.SNAKEMAKE_MB, job
        assert job.cpu_s <= 60 * resources.LEAST_MINUTES, job


def test_no_job_took_more_cores_than_its_threads(tiny):
    for job in read_jobs(tiny[1] / "logs"):
        assert job.cpu_s <= 1.1 * job.threads * job.wall_s + 0.5, job


THREADS = """
from lungfish import command
def main(argv):
    import json, os, sys
    import SimpleITK as sitk
    import numpy as np, scipy.linalg, threadpoolctl
    from lungfish.gmcae import backend
    import tensorflow as tf
    block = np.ones((300, 300)); block @ block
    image = sitk.Image(64, 64, 64, sitk.sitkFloat32)
    sitk.DiscreteGaussian(image)
    print(json.dumps({
        "itk": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "blas": max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()),
        "intra": int(os.environ["TF_NUM_INTRAOP_THREADS"]),
        "inter": int(os.environ["TF_NUM_INTEROP_THREADS"]),
    }))
    return 0
command.run(main)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_numpy_simpleitk_and_tensorflow_have_the_threads_of_the_rule(clone, threads):
    given = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    found = subprocess.run(
        [sys.executable, "-c", THREADS], text=True, stdout=subprocess.PIPE, check=True,
        env=environment() | given | {usage.ASKED: "900", "PYTHONPATH": str(clone)},
    )  # fmt: skip
    assert set(json.loads(found.stdout).values()) == {threads}


def test_every_script_that_takes_threads_is_given_those_of_its_rule(clone):
    for path in sorted((clone / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^ *(?=rule\b)", path.read_text(), flags=re.M)[1:]:
            script = re.search(r"scripts/(\w+)\.py", rule)
            if script and '"--threads"' in (clone / f"scripts/{script[1]}.py").read_text():
                few = script[1] == "surprise" and 'surprise.py" cohort' in rule
                assert few or "--threads {threads}" in rule, path


def overlap_s(run, stage):
    """Return how long two jobs of a stage ran at once."""
    one, two = (job for job in read_jobs(run / "logs") if job.stage == stage)
    start_s = max(job.ended_s - job.wall_s for job in (one, two))
    return min(one.ended_s, two.ended_s) - start_s


def test_two_jobs_that_do_not_fit_into_memory_together_run_one_after_the_other(clone, tmp_path):
    half_mb = int(0.6 * psutil.virtual_memory().available / 1e6)
    targets = [f"results/phantom/tiny-{k}/dicom" for k in (1, 2)]
    large = ("--set-resources", f"phantom:mem_mb={half_mb}")
    found = snakemake(clone, tmp_path, *targets, *large)
    assert found.returncode == 0, found.stdout
    assert re.search(r"memory: jobs share \d+ MB of the \d+ MB free here", found.stdout)
    assert overlap_s(tmp_path, "phantom") < 0.05
    # Whoever says more gets more.
    more = ("--resources", f"mem_mb={3 * half_mb}", "--forceall")
    found = snakemake(clone, tmp_path, *targets, *large, *more)
    assert found.returncode == 0, found.stdout
    assert "memory: jobs share" not in found.stdout
    assert overlap_s(tmp_path, "phantom") > 0.5


def test_what_asks_for_more_than_there_is_is_clamped_and_said(clone, tmp_path):
    found = snakemake(clone, tmp_path, "--dry-run", "--resources", "mem_mb=550")
    assert found.returncode == 0, found.stdout
    assert found.stdout.count("memory: lungs asks for") == 1
    assert "jobs may share 550 MB: it runs alone" in found.stdout
    assert "mem_mb=550" in found.stdout


def test_a_cluster_is_not_limited_by_the_machine_that_submits(clone, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    much = ("--dry-run", "--set-resources", "phantom:mem_mb=999999999")
    granted = re.compile(r"^    resources: .*mem_mb=999999999", re.M)
    assert not granted.search(snakemake(clone, tmp_path, *much).stdout)
    slurm = ("--executor", "slurm", "--jobs", "2")
    assert granted.search(snakemake(clone, tmp_path, *much, *slurm).stdout)
