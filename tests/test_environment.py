"""Three files that state the environment, and they agree."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement


def pins_as_written(path):
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line]


def pins(path):
    return [Requirement(line) for line in pins_as_written(path)]


def by_name(requirements):
    found = {}
    for requirement in requirements:
        found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


def test_every_pin_lies_in_its_range_and_every_range_has_a_pin(clone):
    project = tomllib.loads((clone / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for file, stated in (
        ("requirements.txt", project["dependencies"]),
        ("requirements-dev.txt", extras["dev"]),
    ):
        pinned = by_name(pins(clone / file))
        ranges = by_name(map(Requirement, stated))
        assert set(pinned) == set(ranges), file
        for name, requirements in pinned.items():
            for requirement in requirements:
                (version,) = [part.version for part in requirement.specifier]
                assert str(requirement.specifier).startswith("=="), requirement
                assert ranges[name][0].specifier.contains(version), requirement


def conda(path):
    """Return the Python and the pip lines of a conda environment."""
    parts = yaml.safe_load(path.read_text())["dependencies"]
    (python,) = [part.split("=")[1] for part in parts if str(part).startswith("python=")]
    (pip,) = [part["pip"] for part in parts if isinstance(part, dict)]
    return python, pip


def test_conda_files_install_the_same_pins_on_a_supported_python(clone):
    python, pip = conda(clone / "environment.yml")
    assert python in ("3.11", "3.12", "3.13")
    assert pip == ["-r requirements.txt"]
    # Snakemake copies this one elsewhere, where no relative path would lead to the pins.
    assert conda(clone / "workflow/envs/lungfish.yaml") == (
        python,
        pins_as_written(clone / "requirements.txt"),
    )


def test_what_only_development_needs_is_not_in_the_run(clone):
    names = set(by_name(pins(clone / "requirements.txt")))
    assert not names & {"pytest", "mypy", "ruff", "jax", "torch", "pandas"}


def test_versions_agree(clone):
    project = tomllib.loads((clone / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((clone / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert re.search(rf"^## \[{re.escape(project['version'])}\]", (clone / "CHANGELOG.md").read_text(), re.M)  # noqa: E501  # fmt: skip
    assert project["license"] == citation["license"] == "MIT"
