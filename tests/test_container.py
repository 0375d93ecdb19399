"""The container recipes install what is pinned, copy what exists, and agree with each other."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow_runner import PARTS

PLACE = "/opt/lungfish"


@pytest.fixture(scope="module")
def dockerfile(clone):
    """The instructions of the Dockerfile, continued lines joined: word and rest."""
    text = (clone / "container/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


@pytest.fixture(scope="module")
def sections(clone):
    """The header of the Apptainer recipe under `header`, and each section's lines."""
    found = {"header": []}
    current = "header"
    for line in (clone / "container/lungfish.def").read_text().splitlines():
        if line.startswith("%"):
            current = line[1:]
            found[current] = []
        elif line.strip() and not line.startswith("#"):
            found[current].append(line.strip())
    return found


def copied(dockerfile):
    """Return the sources that the Dockerfile copies, and where each lands."""
    for word, rest in dockerfile:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                yield source, target + (source if target.endswith("/") else "")


def test_both_start_from_the_same_python_which_is_that_of_the_environment(
    clone, dockerfile, sections
):
    (image,) = [rest for word, rest in dockerfile if word == "FROM"]
    header = dict(line.split(": ") for line in sections["header"])
    assert header == {"Bootstrap": "docker", "From": image}
    parts = yaml.safe_load((clone / "environment.yml").read_text())["dependencies"]
    version = re.match(r"python:(3\.\d+)-", image)[1]
    assert f"python={version}" in parts


def test_both_copy_what_a_run_needs_and_it_exists(clone, dockerfile, sections):
    pairs = dict(copied(dockerfile))
    assert pairs == dict(line.split() for line in sections["files"])
    assert set(pairs) >= {*PARTS, "resources", "requirements.txt"}
    for source, target in pairs.items():
        assert (clone / source).exists(), source
        assert target == f"{PLACE}/{source}"


def test_only_what_is_copied_reaches_the_builder(clone, dockerfile):
    lines = (clone / "container/Dockerfile.dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(dict(copied(dockerfile)))


def test_both_install_the_pins_and_nothing_else(dockerfile, sections):
    run = " ".join(rest for word, rest in dockerfile if word == "RUN")
    post = " ".join(sections["post"])
    for text in (run, post):
        installs = re.findall(r"pip install ([^&]+?)(?:&&|chmod|$)", text.replace("\\", " "))
        names = [word for word in shlex.split(installs[0]) if not word.startswith("--")]
        assert (len(installs), names) == (1, [f"{PLACE}/requirements.txt"])
    assert "apt-get" not in run + post


def test_nobody_runs_as_root_and_the_snakefile_is_the_entry(dockerfile, sections):
    words = [word for word, _ in dockerfile]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert int(dict(dockerfile)["USER"]) > 0
    assert dict(dockerfile)["ENTRYPOINT"] == f'["snakemake", "--snakefile", "{PLACE}/Snakefile"]'
    assert f"snakemake --snakefile {PLACE}/Snakefile" in sections["runscript"][0]


def test_hadolint_has_nothing_to_say(clone):
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed beside this Python: make env-dev brings it")
    found = subprocess.run(
        [hadolint, clone / "container/Dockerfile"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr
