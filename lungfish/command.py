"""What every script shares: its options, its threads, its log format and its exit status."""

import argparse
import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lungfish import usage
from lungfish.errors import InputError, LungfishError, Refusal

log = logging.getLogger(__name__)

THREADS = "OMP_NUM_THREADS"
"""Environment variable in which Snakemake states a job's threads, for NumPy's libraries too."""
LIBRARIES = (
    THREADS, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Those that NumPy, SimpleITK and TensorFlow read; Snakemake does not know the last three."""

DONE, BUG, WRONG_INPUT, REFUSED = 0, 1, 2, 3
NO_SPACE = "no space left on the disk: make room, then type the same command again"


def parser(description: str | None, **paths: str) -> argparse.ArgumentParser:
    """Return a parser with one required ``--name PATH`` for each keyword.

    Parameters
    ----------
    description : str or None
        The script's docstring; its first line becomes the description.
    **paths : str
        Option name, with ``_`` for ``-``, and its help text.
    """
    first_line = (description or "").strip().splitlines()[0]
    result = argparse.ArgumentParser(description=first_line)
    for name, text in paths.items():
        option = "--" + name.replace("_", "-")
        result.add_argument(option, type=Path, required=True, metavar="PATH", help=text)
    return result


def add_cohort_options(parser: argparse.ArgumentParser) -> None:
    """Add what a script needs to go over the patients of a sheet whose results stand."""
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="PATH",
        help="folder of the results, in which each stage has its own (results)",
    )  # fmt: skip
    parser.add_argument("--index-settings", help="section `index` as JSON or a YAML file's path")
    parser.add_argument("--volumes-settings", help="section `volumes`, likewise")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (1)")


def explain(error: OSError) -> str:
    """Return what the system refused, and what to do, in a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror}{where}"


def bind_threads() -> None:
    """Give every library as many threads as the rule was given; by hand, what it likes.

    They read the environment when they are first imported, which is after this.
    """
    if usage.ASKED in os.environ and THREADS in os.environ:
        set_threads(int(os.environ[THREADS]))


def set_threads(threads: int) -> None:
    """Let the libraries that this process has not yet imported start so many threads each."""
    os.environ.update(dict.fromkeys(LIBRARIES, str(threads)))


def of_system(error: BaseException | None) -> OSError | None:
    """Return what the system refused, also where a library wrapped it in words of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def run(main: Callable[[Sequence[str] | None], int]) -> None:
    """Run a script's ``main`` and exit: 0 done, 3 refused, 2 wrong input, 1 a bug's traceback."""
    bind_threads()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        status = main(None)
    except Refusal as refusal:
        _say(f"refused ({refusal.code}): {refusal.reason}")
        status = REFUSED
    except (InputError, LungfishError) as error:
        _say(f"error: {error}")
        status = WRONG_INPUT
    except OSError as error:
        found = of_system(error)
        if found is None:  # not the system's word but a library's: a bug until known
            raise
        _say(f"error: {explain(found)}")
        status = WRONG_INPUT
    if used := usage.measure():
        log.info(usage.in_words(used))
    sys.exit(status)


def _say(text: str) -> None:
    """Tell a person; on a full disk the log takes no more, and the exit status must do."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
