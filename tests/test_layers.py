"""Each room knows only what stands above it."""

import ast
import re

import pytest

# From the ground up; a module may import from its own room and from rooms above it in this list.
ROOMS = (
    "errors", "records", "randomness", "provenance", "settings", "usage", "command", "queues",
    "processes", "runs", "machine", "resources", "samples", "patients", "intensity", "volume",
    "resampling", "nifti", "stores", "symmetry", "phantom", "dicom", "index", "volumes",
    "lungs", "patches", "cohort", "gmcae", "features", "classifier", "evaluation", "model",
    "predict", "report", "survey", "benchmarks", "recheck", "segments",
)  # fmt: skip
KERAS = {"gmcae", "features", "classifier", "model", "predict"}
FOUNDATION = {
    "errors", "records", "randomness", "provenance", "settings", "usage", "command", "intensity",
    "volume", "nifti", "stores", "symmetry",
}  # fmt: skip


def modules(clone):
    for path in sorted((clone / "lungfish").rglob("*.py")):
        parts = path.relative_to(clone / "lungfish").with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imported(path):
    """Yield the dotted names that a file imports, with what it takes from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path):
    return {name.split(".")[1] for name in imported(path) if name.startswith("lungfish.")}


def packages_of(path):
    return {name.split(".")[0] for name in imported(path)}


def test_every_room_is_on_the_list_and_stands(clone):
    assert {room for room, _ in modules(clone)} == set(ROOMS)


def test_imports_go_upwards_only(clone):
    for room, path in modules(clone):
        below = {other for other in rooms_of(path) if ROOMS.index(other) > ROOMS.index(room)}
        assert not below, f"{path.relative_to(clone)} imports {below}"


def test_the_phantom_knows_nothing_of_how_the_stages_solve_it(clone):
    for room, path in modules(clone):
        if room == "phantom":
            assert rooms_of(path) <= FOUNDATION | {"phantom"}, path


def test_the_report_reads_results_and_no_stage(clone):
    for room, path in modules(clone):
        if room == "report":
            assert rooms_of(path) <= FOUNDATION | {"report"}, path


def of_unet(path):
    """Whether a file belongs to the lungs' learned alternative."""
    return path.parent.name == "unet" and path.parent.parent.name == "lungs"


def test_only_network_rooms_know_keras(clone):
    for room, path in modules(clone):
        if packages_of(path) & {"keras", "tensorflow"}:
            assert room in KERAS or of_unet(path), path


def test_the_lungs_know_their_network_only_when_asked_for_it(clone):
    heavy = ("lungfish.lungs.unet.network", "lungfish.lungs.unet.training")
    for room, path in modules(clone):
        if room == "lungs" and not (of_unet(path) and path.stem in {"network", "training"}):
            assert not packages_of(path) & {"keras", "tensorflow"}, path
            assert not any(name.startswith(heavy) for name in imported(path)), path


def test_only_dicom_rooms_know_pydicom_and_nobody_snakemake(clone):
    for room, path in modules(clone):
        assert "snakemake" not in packages_of(path), path
        if "pydicom" in packages_of(path):
            assert room in {"dicom", "phantom", "segments"}, path
        if "highdicom" in packages_of(path):
            assert room == "segments", path


def test_masks_are_arrays_only(clone):
    for room, path in modules(clone):
        edge = of_unet(path) and path.stem in {"store", "network", "training"}
        if room == "lungs" and not edge:
            assert not packages_of(path) & {"SimpleITK", "h5py", "keras", "tensorflow"}, path


def test_evaluation_never_touches_a_network(clone):
    for room, path in modules(clone):
        if room == "evaluation":
            assert not rooms_of(path) & KERAS, path


@pytest.mark.parametrize("folder", ["lungfish"])
def test_only_scripts_and_workflow_know_where_results_lie(clone, folder):
    for path in sorted((clone / folder).rglob("*.py")):
        text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert "results/" not in text, path
