"""The same results through a real SLURM, as a user and as root, with and without accounting."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import differences
from tests.cluster.slurm_runner import finish, is_root, start
from tests.workflow_runner import CLONE, copy_clone, snakemake

pytestmark = pytest.mark.cluster
USER = "lungfish-test"


def test_the_tiny_cohort_through_slurm_without_accounting(tiny, slurm, open_place):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    clone, undisturbed = tiny
    folder = open_place / "tiny"
    finish(start(slurm, clone, folder, "slurm-no-accounting"), folder)
    assert not differences(folder, undisturbed)
    jobs = slurm.submitted(folder)
    assert max(jobs.values()) == 1, jobs
    bundles = [what for what in jobs if "lungs" in what and "patches" in what]
    assert len(bundles) == 1, "four patients are one bundle"


@pytest.mark.slow
def test_the_tiny_cohort_through_a_generic_submit_command(tiny, slurm, open_place):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    clone, undisturbed = tiny
    folder = open_place / "generic"
    finish(start(slurm, clone, folder, "generic"), folder)
    assert not differences(folder, undisturbed)
    assert set(slurm.submitted(folder).values()) == {1}


@pytest.mark.slow
def test_the_tiny_cohort_through_slurm_with_accounting(tiny, slurm_with_accounting, open_place):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    clone, undisturbed = tiny
    folder = open_place / "accounted"
    finish(start(slurm_with_accounting, clone, folder, "slurm"), folder)
    assert not differences(folder, undisturbed)
    states = slurm_with_accounting.ask("sacct", "-X", "-n", "-P", "-o", "State").split()
    assert set(states) == {"COMPLETED"}
    (table,) = (folder / "logs/slurm").glob("*.csv")
    assert "Requested" in table.read_text()


@pytest.fixture(scope="module")
def embedded(open_place):
    """A clone and the embedded cohort, run locally from it."""
    clone, local = copy_clone(open_place / "embedded-clone"), open_place / "embedded-local"
    found = snakemake(clone, local, config="config.yaml")
    assert found.returncode == 0, found.stdout
    return clone, local


FOUR_A_BUNDLE = ("--group-components", "patients=4")
"""Twenty patients are one bundle by the profile: one job after the other, on one core of four."""


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["slurm-no-accounting", "slurm"])
def test_the_embedded_cohort_through_slurm(embedded, open_place, profile, request):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    accounted = profile == "slurm"
    server = request.getfixturevalue("slurm_with_accounting" if accounted else "slurm")
    clone, local = embedded
    folder = open_place / f"embedded-{profile}"
    more = ("--configfile", str(clone / "config/config.yaml"), *FOUR_A_BUNDLE)
    finish(start(server, clone, folder, profile, *more), folder, patience_s=7200)
    assert not differences(folder, local)


@pytest.fixture
def ordinary():
    """The number of an ordinary user, made for the test and removed after it."""
    if not is_root():
        pytest.skip("the whole test runs as an ordinary user already")
    if shutil.which("useradd") is None:
        pytest.skip("useradd is missing, so that no ordinary user can be made")
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", USER], check=True)
    yield pwd.getpwnam(USER)
    subprocess.run(["userdel", USER], check=True)


def works_for(user, python):
    """Say whether another user may run a Python and import what we need."""
    try:
        tried = subprocess.run(
            [python, "-c", "import snakemake, lungfish"], capture_output=True, cwd="/",
            user=user.pw_uid, group=user.pw_gid, extra_groups=[],
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    except PermissionError:
        return False
    return tried.returncode == 0


def system_python(place):
    """Return a Python of the system, of our version, that reads our packages; None without one."""
    system = Path("/usr/bin") / f"python3.{sys.version_info.minor}"
    if not system.exists():
        return None
    made = [system, "-m", "venv", "--without-pip", place / "python"]
    subprocess.run(made, check=True, capture_output=True)
    (folder,) = (place / "python/lib").glob("python3*/site-packages")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (folder / "shared.pth").write_text(f"{packages}\n{CLONE}\n")
    return place / "python/bin/python"


def readable_python(user, place):
    """Return a Python that another user may run; the one of the tests may lie in a closed home."""
    ours = Path(sys.executable)
    if works_for(user, ours):
        return ours
    other = system_python(place)
    return other if other and works_for(user, other) else None


@pytest.mark.slow
@pytest.mark.parametrize("cohort", ["tiny", "embedded"])
def test_an_ordinary_user_gets_the_same_results(cohort, slurm, open_place, ordinary, request):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    python = readable_python(ordinary, open_place)
    if python is None:
        pytest.skip("no Python with our packages that an ordinary user may read")
    undisturbed = request.getfixturevalue(cohort)[1]
    clone = copy_clone(open_place / f"user-clone-{cohort}")
    folder = open_place / f"user-{cohort}"
    folder.mkdir()
    shutil.chown(folder, ordinary.pw_uid, ordinary.pw_gid)
    config = "tiny.yaml" if cohort == "tiny" else "config.yaml"
    more = ("--configfile", str(clone / "config" / config), *FOUR_A_BUNDLE)
    finish(
        start(
            slurm, clone, folder, "slurm-no-accounting", *more, python=python, home=folder,
            user=ordinary.pw_uid, group=ordinary.pw_gid, extra_groups=[],
        ),
        folder,
        patience_s=7200,
    )  # fmt: skip
    owners = {path.owner() for path in (folder / "results").rglob("*.json")}
    assert owners == {USER}
    assert not differences(folder, undisturbed)


@pytest.mark.slow
def test_training_gets_the_gpu_that_the_profile_asks_for(tiny, slurm, open_place):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    clone, undisturbed = tiny
    folder = open_place / "gpu"
    shutil.copytree(undisturbed, folder)
    text = (clone / "profiles/slurm-no-accounting/config.yaml").read_text()
    asked = text.replace("  # gmcae:\n  #   gpu: 1\n", "  gmcae:\n    gpu: 1\n")
    assert asked != text, "the profile shows how"
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(asked)
    more = ("--forcerun", "gmcae", "--until", "gmcae")
    finish(start(slurm, clone, folder, str(folder / "profile"), *more), folder)
    (number,) = [job[0] for job in slurm.jobs(folder) if "gmcae" in job[2]]
    assert "gpu:1" in slurm.ask("scontrol", "show", "job", number)
