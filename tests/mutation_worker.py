"""Runs mutated series one after another, in a process that may die; speaks JSON by lines.

Reads a line ``in process SEED`` or ``by scripts SEED``, answers with one line.
"""

import contextlib
import importlib
import io
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from lungfish import command, records
from lungfish.errors import Refusal
from lungfish.index import Settings as IndexSettings
from lungfish.index import index_folder
from lungfish.volumes import Settings, build_volume
from tests import mutated_bases, mutations, plain_reader

MEMORY = 2 << 30
AGREED = ("right", "right by spline", "resampled")
CODE = re.compile(r"[a-z]+(-[a-z]+)*")


def main():
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a decoder that prints must not spoil an answer
    warnings.simplefilter("ignore")
    scratch = Path(sys.argv[1])
    warm_up(scratch)
    limit_memory()
    ways = {"in process": run_in_process, "by scripts": run_by_scripts}
    for line in sys.stdin:
        way, seed = line.rsplit(" ", 1)
        answers.write(json.dumps(run_case(ways[way], int(seed), scratch)) + "\n")
        answers.flush()


def warm_up(scratch):
    """Have everything imported and every base written before memory is limited."""
    for base in mutated_bases.BASES:
        files = mutated_bases.base_files(base)
        found = run_in_process(write(scratch / "warm", files), files)
        shutil.rmtree(scratch / "warm")
        if found["outcome"] != "right":
            raise RuntimeError(f"{base}, not mutated: {found}")
    for name in ("index", "volumes", "nifti"):
        importlib.import_module(f"lungfish.{name}")


def limit_memory():
    """Allow the process so much more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def write(folder, files):
    """Write the files of a case; return what is given to the index."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "scan.zip" if "scan.zip" in files else folder


def run_case(way, seed, scratch):
    """Run one case and say what became of it."""
    case = mutations.make_case(seed)
    place = write(scratch / "case", case.files)
    tempfile.tempdir = str(scratch / "temporary")
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    before = listing(scratch)
    try:
        found = way(place, case.files)
    except Exception:
        told = traceback.format_exc().splitlines()
        found = {"outcome": "escaped", "detail": " | ".join([told[-1], *told[-4:-1]])}
    left = [name for name, kept in listing(scratch).items() if before.get(name) != kept]
    if left or len(listing(scratch)) != len(before):
        found = {"outcome": "left something", "detail": f"{left} after {found}"}
    shutil.rmtree(scratch / "case")
    return {"seed": seed, "base": case.base, "kind": case.kind, **found}


def listing(folder):
    """Return size and time of everything below a folder."""
    stats = {str(path): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def run_in_process(place, files):
    """Index, build both volumes, and compare the native one with a plain reading."""
    index = index_folder(place, settings=IndexSettings())
    index = json.loads(json.dumps(records.plain(index)))  # as the volumes stage receives it
    if index["status"] == "refused":
        return refusal(index["code"], index["reason"])
    try:
        native, record = build_volume(place, index, settings=Settings(spacing_mm="native"))
        records.plain(record)
        build_volume(place, index, settings=Settings())
    except Refusal as refused:
        return refusal(refused.code, refused.reason)
    return judge(native, index, files)


def refusal(code, reason):
    """Judge a refusal: a stable code, a sentence for a person."""
    good = CODE.fullmatch(code) and len(reason) > 20 and reason.isprintable()
    return {"outcome": "refused" if good else "bad refusal", "detail": f"{code}: {reason}"}


def judge(volume, index, files):
    """Compare a volume with what the plain reader finds in the slices that were used."""
    fates = sorted({file["fate"].split(" of ")[0] for file in index["files"]} - {"used"})
    detail = f"left out: {', '.join(fates)}" if fates else ""
    found = compare(volume, index, files, plain_reader.DECODERS)
    if found["outcome"] in AGREED:
        return {**found, "detail": detail}
    other = compare(volume, index, files, plain_reader.NAMED_DECODERS)
    if other["outcome"] in AGREED:
        return {"outcome": "decoders disagree", "detail": found["detail"]}
    return found


def compare(volume, index, files, decoders):
    """Return the outcome of a comparison."""
    try:
        numbered = plain_reader.contents(files)
        slices = [
            plain_reader.read_slice(numbered[one["file"]], one["frame"], decoders)
            for one in index["slices"]
        ]
    except Exception as error:  # that pydicom refuses is a result
        return {"outcome": "plain reader refuses", "detail": f"{type(error).__name__}: {error}"}
    told = plain_reader.compare(volume, slices)
    return {"outcome": told if told in AGREED else "wrong", "detail": told}


def run_by_scripts(place, _):
    """Run the two scripts as `command.run` does, and look at what they wrote."""
    results = place.parent.parent / "results"
    index, volume, record = (results / name for name in ("i.json", "v.nii.gz", "v.json"))
    first = script("index", "--dicom", place, "--output", index)
    second = script(
        "volumes", "--dicom", place, "--index", index, "--output", volume, "--record", record
    )
    written = sorted(path.name for path in results.iterdir())
    status = json.loads(record.read_text())["status"] if record.exists() else "none"
    shutil.rmtree(results)
    good = written == ["i.json", "v.json", "v.nii.gz"] and {first, second} <= {0, 3}
    agree = second == (0 if status == "ok" else 3) and first <= second
    return {
        "outcome": status if good and agree else "bad exit",
        "detail": f"{first}, {second}: {written}",
    }


def script(name, *options):
    """Return the exit status of a script."""
    module = importlib.import_module(f"scripts.{name}")
    sys.argv = [name, *map(str, options)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            command.run(module.main)
    except SystemExit as exit_:
        return exit_.code
    return 0


if __name__ == "__main__":
    main()
