"""Run every situation of the tests through other readers, and score them with the same judge.

A reader runs in a process of its own, which is started anew after a crash; a folder that takes
longer than half a minute counts as one. Readers that are not installed are named and left out.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import readers
from lungfish.records import atomic
from tests.situations import SITUATIONS, judge

ROOT = Path(__file__).parent.parent
LIMIT_S = 30.0
BEGIN, END = "<!-- scores: made by make gauntlet -->", "<!-- end of scores -->"
PLAIN = "01-plain-axial"
TROUBLE = re.compile(
    "warn|error|missing|incorrect|cannot|unable|skip|uniform|differ|inconsist|invalid",
    re.IGNORECASE,
)
SCORES = {
    "R": "right",
    "R+": "right, with something wrong beside it",
    "X": "refused",
    "L": "right by luck",
    "w": "wrong, with a warning",
    "S": "silently wrong",
    "C": "crashed or hung",
}


def installed(python: str) -> dict[str, str]:
    """Return the versions of the readers that an interpreter has."""
    command = [python, ROOT / "benchmarks" / "readers.py", "--present"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(found.stdout))


def run_reader(name: str, python: str, folders: Sequence[Path], output: Path) -> None:
    """Let a reader read folders; what it left without a result crashed it or took too long."""
    output.mkdir()
    waiting = list(folders)
    script = str(ROOT / "benchmarks" / "readers.py")
    while waiting:
        command = [python, script, name, str(output), *map(str, waiting)]
        process = subprocess.Popen(command, env=_environment(), stderr=subprocess.DEVNULL)
        done, since = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            finished = sum(_result(output, folder).exists() for folder in waiting)
            if finished > done:
                done, since = finished, time.monotonic()
            if time.monotonic() - since > LIMIT_S:
                process.kill()
                process.wait()
        done = sum(_result(output, folder).exists() for folder in waiting)
        waiting = waiting[done + 1 :]  # the one after the last result is to blame


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}


def _result(output: Path, folder: Path) -> Path:
    return output / f"{folder.name}.json"


def score(name: str, output: Path, fields: Sequence[object]) -> str:
    """Return how a reader did in a situation, a key of `SCORES`."""
    result = output / f"{name}.json"
    if not result.exists():
        return "C"
    with np.load(output / f"{name}.npz") as store:
        count = len(store.files) // 2
        volumes = [(store[f"hu{k}"], store[f"affine{k}"]) for k in range(count)]
    if not volumes:
        return "X"
    right = [is_right(hu, affine, fields) for hu, affine in volumes]
    if any(right):
        if SITUATIONS[name].must == "refuse":
            return "L"
        return "R" if all(right) else "R+"
    return "w" if warned(name, output) else "S"


def warned(name: str, output: Path) -> bool:
    """Say whether a reader said anything of trouble that it does not say of a plain series."""
    said, usual = (
        set(json.loads((output / f"{one}.json").read_text())["said"].splitlines())
        for one in (name, PLAIN)
    )
    return any(TROUBLE.search(line) for line in said - usual)


def is_right(hu: np.ndarray, affine: np.ndarray, fields: Sequence[object]) -> bool:
    """Say whether a volume, on whatever grid, holds one of the fields."""
    if hu.ndim != 3 or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return False
    return not judge(hu.astype(np.float64), affine, fields).wrong


def table(scores: dict[str, dict[str, str]], versions: dict[str, str]) -> str:
    """Return the scores as Markdown: counts first, then a row a situation."""
    names = list(scores)
    heads = [f"{name} {versions[name]}" if versions[name] else name for name in names]
    lines = ["| score | " + " | ".join(heads) + " |", "|---" * (len(names) + 1) + "|"]
    for key, meaning in SCORES.items():
        cells = []
        for name in names:
            listed = Counter(s for n, s in scores[name].items() if n[0].isdigit())
            cells.append(f"{listed[key]} / {Counter(scores[name].values())[key]}")
        lines.append(f"| {key} {meaning} | " + " | ".join(cells) + " |")
    lines += ["", "| situation | must | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for situation in SITUATIONS.values():
        row = [scores[name][situation.name] for name in names]
        cells = [f"**{cell}**" if cell in "SC" else cell for cell in row]
        lines.append(f"| {situation.name} | {situation.must} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Write the table: between its marks where the page has them, else as the whole file."""
    page = path.read_text() if path.exists() else ""
    if BEGIN in page and END in page:
        before, rest = page.split(BEGIN, 1)
        text = f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}"
    else:
        text += "\n"
    with atomic(path) as partial:
        partial.write_text(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the score table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter that has the other readers"
    )
    parser.add_argument("--output", type=Path, help="page or file that gets the table")
    parser.add_argument("--reader", action="append", help="only this one; may be repeated")
    options = parser.parse_args(argv)
    versions = {**installed(options.python), "lungfish": "", "kdsb17": ""}
    wanted = [name for name in readers.READERS if name in (options.reader or readers.READERS)]
    for name in [name for name in wanted if name not in versions]:
        print(f"{name} is not installed beside {Path(options.python).name}: left out")
    with tempfile.TemporaryDirectory() as place:
        built = {name: one.build(Path(place, "in", name)) for name, one in SITUATIONS.items()}
        folders = [Path(place, "in", name) for name in SITUATIONS]
        scores = {}
        for name in [name for name in wanted if name in versions]:
            output = Path(place, name.replace(" ", "-"))
            python = sys.executable if name == "lungfish" else options.python
            run_reader(name, python, folders, output)
            scores[name] = {one: score(one, output, built[one].fields) for one in SITUATIONS}
            print(f"{name}: {dict(Counter(scores[name].values()))}", flush=True)
    text = table(scores, versions)
    print(text)
    if options.output:
        write(options.output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
