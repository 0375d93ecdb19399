"""A stage depends on the code it imports, wherever that lies."""

import shutil

import pytest

from lungfish.provenance import code_digest, import_closure, package_versions, version


@pytest.fixture
def copy(clone, tmp_path):
    for name in ("lungfish", "scripts"):
        shutil.copytree(clone / name, tmp_path / "c" / name, ignore=shutil.ignore_patterns("__py*"))
    return tmp_path / "c"


def test_the_closure_holds_what_is_imported_and_nothing_else(clone):
    names = {path.relative_to(clone).as_posix() for path in
             import_closure(clone / "scripts/patches.py", clone)}  # fmt: skip
    assert {"scripts/patches.py", "lungfish/patches.py", "lungfish/volume.py"} <= names
    assert not any("dicom" in name or "gmcae" in name for name in names)


def test_place_does_not_count_and_one_changed_line_does(clone, copy):
    def digests(root):
        return {
            stage: code_digest(root / f"scripts/{stage}.py", root)
            for stage in ("index", "volumes", "patches", "cohort")
        }

    before = digests(copy)
    assert before == digests(clone)
    with (copy / "lungfish/patches.py").open("a") as stream:
        stream.write("# one line\n")
    # Imports are read once per process and path; a fresh place stands for a fresh process.
    shutil.copytree(copy, copy.parent / "d")
    after = digests(copy.parent / "d")
    assert {stage for stage in before if before[stage] != after[stage]} == {"patches"}


def test_versions_are_known(clone):
    assert version(clone).count(".") == 2
    assert package_versions()["pydicom"].startswith("3.")
