"""What code a stage depends on, and which versions made a result."""

import ast
import functools
import hashlib
import importlib.metadata
import tomllib
from pathlib import Path

PACKAGE = "lungfish"
REPORTED_PACKAGES = (
    "snakemake", "pydicom", "SimpleITK", "numpy", "scipy", "scikit-image", "scikit-learn", "h5py",
    "keras", "tensorflow-cpu", "tensorflow", "imagecodecs",
)  # fmt: skip


def import_closure(script: Path, root: Path) -> list[Path]:
    """Return a script and every module of the package that it imports, directly or not.

    Parameters
    ----------
    script : Path
        A Python file below `root`.
    root : Path
        The clone: the folder that holds the package.

    Returns
    -------
    list of Path
        Sorted; imports inside functions count too.
    """
    seen: set[Path] = set()
    queue = [script]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue += [file for name in _imports(path) for file in _files(name, root)]
    return sorted(seen)


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the dotted names of the package that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return tuple(sorted(name for name in names if name.split(".")[0] == PACKAGE))


@functools.cache
def _files(name: str, root: Path) -> tuple[Path, ...]:
    """Return the files that importing a dotted name runs: its packages and itself."""
    parts = name.split(".")
    stems = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = [path for stem in stems for path in (stem / "__init__.py", stem.with_suffix(".py"))]
    return tuple(path for path in files if path.is_file())


def code_digest(script: Path, root: Path) -> str:
    """Return a digest of all the code that a stage runs; place and time of the files do not count.

    Comments do count: telling them apart would need a second definition of equal code.
    """
    digest = hashlib.sha256()
    for path in import_closure(script, root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    if (templates := root / PACKAGE / script.stem / "templates").is_dir():
        for path in sorted(templates.iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def version(root: Path | None = None) -> str:
    """Return lungfish's version: that of the clone at hand, else of the installed package."""
    project = (root or Path(__file__).parent.parent) / "pyproject.toml"
    if project.is_file():
        found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        return str(found)
    return importlib.metadata.version(PACKAGE)


def package_versions() -> dict[str, str]:
    """Return the installed version of each package that shapes results."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # one of the two TensorFlow packages is always absent
    return versions
