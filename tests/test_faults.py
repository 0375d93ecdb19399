"""What befalls a run from outside is told in a sentence, loses nothing, and can be mended."""

import os
import re
import shutil
import subprocess
import time

import pytest

from tests import chaos
from tests.test_names import STAGES
from tests.workflow_runner import command, copy_clone, environment, snakemake

pytestmark = pytest.mark.slow
COHORT = ("results/cohort/cohort.tsv", "results/cohort/patches.tsv")
ROOM_MB = 64


def start(clone, run, *arguments):
    """Start a run and return it; its output goes into a pipe."""
    return subprocess.Popen(
        command(clone, run, *arguments), env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(path, process):
    """Wait until a running process has made a file."""
    while not path.exists():
        assert process.poll() is None, f"the run ended before {path.name} was there"
        time.sleep(0.01)


def mount(*arguments):
    """Mount something, or skip where this machine does not let us."""
    found = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"mounting needs a right that this user lacks: {found.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, with room for the tiny cohort and little more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={ROOM_MB}m", "none", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder):
    """Fill the disk of a folder to its last byte, and return the file that does."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while stream.write(bytes(1 << 16)):
                continue
        except OSError:
            return ballast


def copy_up_to(run, target, stage):
    """Copy a finished run without a stage and what follows; return what is to be asked for.

    Of the stages before the autoencoder only those up to the cohort's tables are made again: that
    takes seconds, and the results that stay must not change either.
    """
    shutil.copytree(run, target, dirs_exist_ok=True)
    early = STAGES.index(stage) < STAGES.index("gmcae")
    for later in STAGES[STAGES.index(stage) : STAGES.index("gmcae") if early else None]:
        for part in ("results", "logs"):
            shutil.rmtree(target / part / later)
    return COHORT if early else ()


@pytest.mark.parametrize("stage", ["phantom", "volumes", "gmcae", "report"])
def test_a_disk_that_fills_up_is_named_and_with_room_again_the_run_ends_equal(
    tiny, small_disk, stage
):
    clone, undisturbed = tiny
    targets = copy_up_to(undisturbed, small_disk, stage)
    process = start(clone, small_disk, *targets)
    wait_for(small_disk / "logs" / stage, process)
    ballast = fill(small_disk)
    text, _ = process.communicate()
    assert process.returncode != 0
    assert "no space left on the disk: make room, then type the same command again" in text
    assert "Traceback" not in text
    ballast.unlink()
    found = snakemake(clone, small_disk, *targets)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(small_disk, undisturbed) == []


def test_a_disk_that_is_full_already_is_named_before_any_work(tiny, small_disk):
    clone, undisturbed = tiny
    targets = copy_up_to(undisturbed, small_disk, "volumes")
    ballast = fill(small_disk)
    found = snakemake(clone, small_disk, *targets)
    assert found.returncode != 0
    # What comes before is Snakemake's own log file, which fails before our first line is read.
    assert "Traceback" not in found.stdout.split("WorkflowError")[-1]
    assert "no space left on the disk: make room" in found.stdout.split("WorkflowError")[-1]
    ballast.unlink()
    found = snakemake(clone, small_disk, *targets)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(small_disk, undisturbed) == []


@pytest.fixture(params=["read-only", "somebody else's"])
def shut(request, tiny, tmp_path):
    """A run whose results cannot be written, and what opens them again."""
    run = tmp_path / "run"
    copy_up_to(tiny[1], run, "volumes")
    results = run / "results"
    if request.param == "read-only":
        mount("--bind", results, results)
        mount("-o", "remount,ro,bind", results)
        yield run, lambda: subprocess.run(["umount", results], check=True)
        subprocess.run(["umount", results], capture_output=True)
    else:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere: run the tests as an ordinary user for this one")
        results.chmod(0o500)
        yield run, lambda: results.chmod(0o700)
        results.chmod(0o700)


def test_results_that_cannot_be_written_are_named_before_any_work(tiny, shut):
    clone, undisturbed = tiny
    run, reopen = shut
    found = snakemake(clone, run, *COHORT)
    assert found.returncode != 0
    assert re.search(r"^results: expected a folder that can be written", found.stdout, re.M)
    assert "Traceback" not in found.stdout
    assert not (run / "logs/volumes").exists()
    reopen()
    found = snakemake(clone, run, *COHORT)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(run, undisturbed) == []


def test_of_runs_started_at_once_one_works_and_the_others_say_so(tiny, tmp_path):
    clone, undisturbed = tiny
    run = tmp_path / "run"
    targets = copy_up_to(undisturbed, run, "volumes")
    started = [start(clone, run, *targets) for _ in range(3)]
    texts = [process.communicate()[0] for process in started]
    codes = [process.returncode for process in started]
    assert codes.count(0) >= 1, texts
    for code, text in zip(codes, texts, strict=True):
        if code:
            assert re.search(r"^another run( \(process \d+\))? is working in this folder: wait", text, re.M)  # noqa: E501  # fmt: skip
            assert "Traceback" not in text
            assert "ending" not in text, "nobody's commands were ended"
    assert 1 in codes, "three starts within a second, and none found another at work"
    assert chaos.differences(run, undisturbed) == []
    assert "Nothing to be done" in snakemake(clone, run, *targets).stdout


def test_a_later_run_leaves_the_first_and_its_commands_alone(tiny, tmp_path):
    clone, undisturbed = tiny
    run = tmp_path / "run"
    targets = copy_up_to(undisturbed, run, "volumes")
    first = start(clone, run, *targets)
    wait_for(run / "logs/volumes", first)
    for _ in range(2):
        found = snakemake(clone, run, *targets)
        assert found.returncode != 0
        assert f"another run (process {first.pid}) is working in this folder" in found.stdout
    text, _ = first.communicate()
    assert first.returncode == 0, text
    assert chaos.differences(run, undisturbed) == []


@pytest.fixture(scope="module")
def scans(tiny, tmp_path_factory):
    """A sheet of the tiny cohort's DICOM as a user's own folders, and a run nothing disturbed."""
    place = tmp_path_factory.mktemp("scans")
    rows = ["patient\tdicom\tlabel"]
    for number, name in enumerate(("a", "b", "c")):
        shutil.copytree(tiny[1] / f"results/phantom/tiny-{number + 1}/dicom", place / "ct" / name)
        rows.append(f"{name}\tct/{name}\t{number % 2}")
    (place / "samples.tsv").write_text("\n".join(rows) + "\n")
    clone = copy_clone(place / "clone")
    found = go_on(clone, place, place / "undisturbed")
    assert found.returncode == 0, found.stdout
    return clone, place


def go_on(clone, place, run):
    return snakemake(clone, run, *COHORT, "--config", f"samples={place / 'samples.tsv'}")


def test_a_missing_scan_is_named_with_its_row_before_any_work(scans, tmp_path):
    clone, place = scans
    (place / "ct/b").rename(place / "away")
    found = go_on(clone, place, tmp_path)
    (place / "away").rename(place / "ct/b")
    assert found.returncode != 0
    assert "row 3: dicom 'ct/b': no such folder or zip" in found.stdout
    assert "Traceback" not in found.stdout
    assert not (tmp_path / "results").exists()
    found = go_on(clone, place, tmp_path)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(tmp_path, place / "undisturbed") == []


@pytest.mark.parametrize("what", ["ct/b", "ct/b/0007.dcm"])
def test_what_vanishes_during_the_run_is_named_and_no_verdict_on_the_scan(scans, tmp_path, what):
    clone, place = scans
    sheet = f"samples={place / 'samples.tsv'}"
    process = start(clone, tmp_path, *COHORT, "--config", sheet)
    wait_for(tmp_path / "results/index/b.json", process)
    (place / what).rename(place / "away")
    text, _ = process.communicate()
    (place / "away").rename(place / what)
    assert process.returncode != 0
    assert re.search(r"^error: .* gone", text, re.M), text
    assert "Traceback" not in text
    if what.endswith(".dcm"):  # for a folder that is gone Snakemake itself stops, at once
        for other in ("a", "c"):
            assert (tmp_path / f"results/patches/{other}.h5").is_file(), "the others go on"
    assert not (tmp_path / "results/volumes/b.json").exists()
    found = go_on(clone, place, tmp_path)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(tmp_path, place / "undisturbed") == []
