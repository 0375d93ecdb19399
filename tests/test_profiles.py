"""Profiles agree where they must, explain each key, and bundle patients at a true price."""

import re

import pytest
import yaml

from tests.workflow_runner import snakemake

CLUSTER = ("slurm", "slurm-no-accounting", "generic")
PROFILES = ("default", *CLUSTER)
SHARED = ("retries", "rerun-incomplete", "keep-going", "show-failed-logs")
PER_PATIENT = {"phantom", "index", "volumes", "lungs", "patches"}


def text_of(clone, name):
    return (clone / "profiles" / name / "config.yaml").read_text()


def profile(clone, name):
    return yaml.safe_load(text_of(clone, name))


def test_every_profile_stands_in_the_list(clone):
    assert {path.name for path in (clone / "profiles").iterdir()} == set(PROFILES)


def test_keys_that_all_need_are_the_same_in_all(clone):
    for key in SHARED:
        values = [profile(clone, name)[key] for name in PROFILES]
        assert values == values[:1] * len(PROFILES), key


def test_nothing_in_the_default_profile_overrides_another(clone):
    """Snakemake reads profiles/default beside --profile, and there it wins."""
    default = profile(clone, "default")
    for name in CLUSTER:
        for key, value in profile(clone, name).items():
            assert default.get(key, value) == value, (name, key)


@pytest.mark.parametrize("name", PROFILES)
def test_every_key_is_explained(clone, name):
    lines = text_of(clone, name).splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z-]+:", line):
            above = lines[number - 1]
            explained = above.startswith("#") or re.match(r"( +|[a-z-]+:)", above)
            assert explained, (name, line)


def test_slurm_profiles_differ_by_accounting_alone(clone):
    with_it, without = (profile(clone, name) for name in CLUSTER[:2])
    report = {"slurm-efficiency-report", "slurm-efficiency-report-path"}
    assert set(with_it) - set(without) == report
    assert {key: with_it[key] for key in without} == without
    assert without["slurm-status-command"] == "squeue", "sacct hides a cancelled job"
    assert "slurm-array-jobs" not in with_it, "they delete good results in 2.8.0"


def test_bundles_hold_what_is_short_and_of_one_patient(clone):
    for name in CLUSTER:
        found = profile(clone, name)
        assert set(found["groups"]) == PER_PATIENT
        assert set(found["groups"].values()) == set(found["group-components"])
        if name != "generic":
            assert set(found["set-resources"]) == PER_PATIENT, "each takes its place in the job"


def test_every_rule_says_what_it_needs_so_that_no_profile_has_to(clone):
    for path in sorted((clone / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^ *(?=rule\b)", path.read_text(), flags=re.M)[1:]:
            assert "mem_mb=" in rule, rule.splitlines()[0]
            assert "runtime=" in rule, rule.splitlines()[0]


def test_partitions_and_accounts_are_in_profiles_only(clone):
    rules = [clone / "Snakefile", *sorted((clone / "workflow").rglob("*.smk"))]
    for path in rules:
        assert not re.search(r"partition|account\b|\bqos\b", path.read_text()), path


def bundle(clone, folder, *arguments):
    """Return the sorted names of groups that would be submitted, each as often as it would be."""
    found = snakemake(clone, folder, "--dry-run", *arguments)
    assert found.returncode == 0, found.stdout
    return sorted(re.findall(r"Group job (\w+)", found.stdout))


def test_four_patients_are_one_job_or_two(clone, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    chosen = ("--profile", str(clone / "profiles/slurm"))
    assert bundle(clone, tmp_path, *chosen) == ["patients"]
    assert bundle(clone, tmp_path, *chosen, "--group-components", "patients=2") == ["patients"] * 2


def test_with_the_unet_two_bundles_stand_before_and_behind_it(clone, tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    text = text_of(clone, "slurm")
    (groups,) = re.findall(r"^# --groups (.*)$", text, re.M)
    (components,) = re.findall(r"^# --group-components (.*)$", text, re.M)
    found = bundle(
        clone, tmp_path, "--profile", str(clone / "profiles/slurm"),
        "--groups", *groups.split(), "--group-components", *components.split(),
        "--config", "lungs={method: unet}",
    )  # fmt: skip
    assert found == ["masks", "scans"]
