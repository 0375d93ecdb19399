"""Style, types and wiring are clean, judged by the tools themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
TOOLS = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "snakefmt": ["snakefmt", "--check", "Snakefile", "workflow"],
    "snakemake lint": ["snakemake", "--lint"],
}


@pytest.mark.parametrize("name", TOOLS)
def test_tool_has_nothing_to_say(clone, name):
    tool, *arguments = TOOLS[name]
    if not (BIN / tool).exists():
        pytest.skip(f"{tool} is not installed beside this Python")
    found = subprocess.run([BIN / tool, *arguments], cwd=clone, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
