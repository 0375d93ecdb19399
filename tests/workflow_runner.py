"""Runs Snakemake on the tiny cohort and reads what it planned."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

CLONE = Path(__file__).parent.parent
PARTS = ("Snakefile", "lungfish", "scripts", "workflow", "config", "profiles", "pyproject.toml")


def copy_clone(target: Path) -> Path:
    """Copy what a run needs to another place, as a fresh clone would be."""
    ignore = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        source = CLONE / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignore, copy_function=shutil.copyfile)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / part)
    return target


def command(clone: Path, folder: Path, *arguments: str, config: str = "tiny.yaml") -> list[str]:
    """Return the command line of a run of a clone in a folder."""
    snakemake = str(Path(sys.executable).parent / "snakemake")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        snakemake, "--snakefile", str(clone / "Snakefile"), "--directory", str(folder),
        "--configfile", str(clone / "config" / config), "--cores", "2", *arguments,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """Return the environment of a stranger: nothing of ours but the search path."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"}


def snakemake(clone: Path, folder: Path, *arguments: str, **options: str):
    """Run Snakemake to its end and return the finished process, its output in stderr."""
    return subprocess.run(
        command(clone, folder, *arguments, **options),
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def plan(clone: Path, folder: Path, *arguments: str, **options: str) -> Counter[str]:
    """Return how often each rule would run."""
    found = snakemake(clone, folder, "--dry-run", *arguments, **options)
    assert found.returncode == 0, found.stdout
    table = found.stdout.split("Job stats:")[-1].split("total")[0]
    jobs = re.findall(r"^(\w+) +(\d+)$", table, re.M) if "Job stats:" in found.stdout else []
    counts: Counter[str] = Counter()
    for rule, count in jobs:
        # The pages of each shard have a rule of their own.
        name = "report_patients" if rule.startswith("report_patients") else rule
        counts[name] += int(count) if rule != "all" else 0
    return +counts


def planned_files(clone: Path, folder: Path, *arguments: str, **options: str) -> list[str]:
    """Return every output that would be made."""
    found = snakemake(clone, folder, "--dry-run", *arguments, **options)
    assert found.returncode == 0, found.stdout
    lines = re.findall(r"^ +output: (.*)$", found.stdout, re.M)
    return [name for line in lines for name in line.split(", ")]
