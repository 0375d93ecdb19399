"""Exit status and the one line that a person reads."""

import subprocess
import sys

import pytest

from lungfish import command
from lungfish.errors import InputError, Refusal

STAGES = sorted(path.stem for path in __import__("pathlib").Path("scripts").glob("*.py"))


def raiser(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (Refusal("no-ct", "no slice here"), 3, "refused (no-ct): no slice here\n"),
        (InputError("no such folder"), 2, "error: no such folder\n"),
        (
            OSError(28, "No space left on device", "x"),
            2,
            "error: no space left on the disk: make room, then type the same command again\n",
        ),
        (PermissionError(13, "Permission denied", "x"), 2, "error: Permission denied: x\n"),
    ],
)
def test_status_and_sentence(capsys, error, status, line):
    with pytest.raises(SystemExit, match=str(status)):
        command.run(raiser(error))
    assert capsys.readouterr().err == line


def test_a_full_disk_is_known_in_a_librarys_words(capsys):
    def main(argv):
        try:
            raise OSError(28, "No space left on device", "x")
        except OSError as error:
            raise OSError("With tag (7FE0,0010) got exception") from error  # as pydicom does

    with pytest.raises(SystemExit, match="2"):
        command.run(main)
    assert capsys.readouterr().err == f"error: {command.NO_SPACE}\n"


def test_a_librarys_own_error_keeps_its_traceback():
    with pytest.raises(OSError, match="cannot identify image"):
        command.run(raiser(OSError("cannot identify image")))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="bug"):
        command.run(raiser(ZeroDivisionError("bug")))


@pytest.mark.parametrize("stage", STAGES)
def test_every_script_helps_without_heavy_imports(clone, stage):
    heavy = "{'tensorflow', 'keras', 'SimpleITK', 'skimage', 'sklearn', 'h5py', 'matplotlib'}"
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['{stage}.py', '--help']\n"
        f"try: runpy.run_path('scripts/{stage}.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        f"loaded = {heavy} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "usage:" in found.stdout
