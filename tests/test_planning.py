"""A plan for 1,600 patients is made in seconds, and one patient more is one patient more."""

import re
import resource
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.test_gmcae_pretrained import stranger
from tests.workflow_runner import CLONE, command, environment, planned_files, snakemake

pytestmark = pytest.mark.slow
PATIENTS, SHARDS = 1600, 20
MOST_MB = 1000
OWN = ("phantom", "index", "volumes", "lungs", "patches")
BARE = """
P = [f"p{{k}}" for k in range({patients})]
rule all:
    input: expand("r/{last}/{{p}}", p=P)
""" + "".join(
    f'rule {name}:\n    {source}output: "r/{name}/{{{{p}}}}"\n    shell: "touch {{{{output}}}}"\n'
    for name, source in zip(
        "abcde", ["", *(f'input: "r/{name}/{{{{p}}}}"\n    ' for name in "abcd")], strict=True
    )
)
"""A workflow of one file in and one file out, five rules a patient: what Snakemake itself takes."""


def write_sheet(path, patients, *, digital):
    """Write a sheet of digital patients, or of folders made up for the purpose."""
    rows = ["patient\tdicom\tlabel"]
    for k in range(patients):
        folder = "" if digital else f"scans/scan-{k:04d}"
        if folder:
            (path.parent / folder).mkdir(parents=True, exist_ok=True)
            (path.parent / folder / "1.dcm").touch()
        rows.append(f"p-{k:04d}\t{folder}\t{int(k % 3 == 0)}")
    path.write_text("\n".join(rows) + "\n")
    return path


def options(sheet, *more):
    return ["--config", f"samples={sheet}", f"shards={SHARDS}", *more]


def cost(line):
    """Return CPU seconds and the peak of memory in MB of a command that goes well."""
    # Not the peak that wait4 tells: a child's begins with that of this process, which is large.
    peak_kb, before = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak_kb = max(peak_kb, int(found[1]) if found else 0)
        time.sleep(0.1)
    assert process.returncode == 0, line
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, peak_kb * 1024 / 1e6


@pytest.mark.parametrize("digital", [True, False], ids=["digital", "folders"])
def test_1600_patients_are_planned_in_1_gb_and_the_time_of_three_bare_plans(tmp_path, digital):
    sheet = write_sheet(tmp_path / "samples.tsv", PATIENTS, digital=digital)
    quiet = ["--dry-run", "--quiet", "rules"]
    line = command(CLONE, tmp_path / "run", *options(sheet), *quiet, config="config.yaml")
    cpu_s, peak_mb = cost(line)
    (tmp_path / "bare.smk").write_text(BARE.format(patients=PATIENTS, last="e"))
    bare = command(CLONE, tmp_path / "bare", *quiet)
    bare[bare.index("--snakefile") + 1] = str(tmp_path / "bare.smk")
    bare_s, _ = cost([*bare, "--workflow-profile", "none"])
    print(f"{cpu_s:.1f} CPU s, {peak_mb:.0f} MB; Snakemake's own {bare_s:.1f} CPU s")
    assert peak_mb < MOST_MB
    assert cpu_s < 3 * bare_s


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cohort of 1,600 whose results are all there, empty, and up to date for Snakemake."""
    place = tmp_path_factory.mktemp("planning")
    sheet = write_sheet(place / "samples.tsv", PATIENTS, digital=False)
    return place, sheet, touch(place / "run", sheet)


def touch(run, sheet, *more):
    """Make every result of a cohort as an empty file that Snakemake takes for made."""
    for name in planned_files(CLONE, run, *options(sheet, *more)):
        path = Path(run, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = snakemake(CLONE, run, *options(sheet, *more), "--touch", "--quiet", "rules")
    assert found.returncode == 0, found.stdout[-4000:]
    assert planned_files(CLONE, run, *options(sheet, *more)) == []
    return run


def add_one(sheet):
    """Return a sheet with one patient more."""
    more = sheet.with_name("more.tsv")
    (sheet.parent / "scans/newcomer").mkdir(exist_ok=True)
    more.write_text(sheet.read_text() + "newcomer\tscans/newcomer\t1\n")
    return more


def by_stage(files):
    return Counter(name.split("/")[1] for name in files)


def of_others(files):
    """Return the files of one patient each that are not the newcomer's."""
    return [name for name in files if name.split("/")[1] in OWN and "newcomer" not in name]


def test_one_patient_more_plans_no_file_of_another(finished):
    _, sheet, run = finished
    files = planned_files(CLONE, run, *options(add_one(sheet)))
    assert of_others(files) == []
    found = by_stage(files)
    assert [found[stage] for stage in OWN] == [0, 1, 2, 3, 1]
    assert found["gmcae"] > 0, "the training set changed"


def test_with_somebody_elses_encoder_only_his_shard_and_what_follows_is_planned(finished):
    place, sheet, _ = finished
    pretrained = f"gmcae={{pretrained: {stranger(place)}}}"
    run = touch(place / "pretrained", sheet, pretrained)
    files = planned_files(CLONE, run, *options(add_one(sheet), pretrained))
    assert of_others(files) == []
    found = by_stage(files)
    assert [found[stage] for stage in OWN] == [0, 1, 2, 3, 1]
    assert found["features"] == 1
    assert found["gmcae"] == 0
    assert set(found) == {*OWN[1:], "features", "cohort", "classifier", "evaluation", "model", "report"}  # noqa: E501  # fmt: skip
