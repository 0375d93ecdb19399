"""A methods paragraph that says what this run did, with the numbers that it used."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath, PureWindowsPath
from platform import python_version
from typing import Any

PACKAGES = (
    "lungfish",
    "numpy",
    "scipy",
    "pydicom",
    "SimpleITK",
    "scikit-image",
    "scikit-learn",
    "h5py",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "matplotlib",
    "jinja2",
    "snakemake",
)
SECRET = ("salt",)

# Each entry is a list of wordings, the most precise first; the first one all of whose settings
# are known is used, so that a setting that was renamed loses a number and never the paragraph.
SENTENCES: tuple[tuple[str, ...], ...] = (
    (
        "Chest CT of {count.patients} patients was read from DICOM with pydicom "
        "{version.pydicom}; a series with missing or unevenly spaced slices, a tilted gantry or "
        "mixed geometry was refused and not repaired. {count.refused} of {count.patients} "
        "patients were refused.",
    ),
    (
        "Hounsfield units (HU) were resampled to isotropic voxels of {volumes.spacing_mm} mm "
        "({volumes.interpolation} interpolation).",
        "Hounsfield units (HU) were resampled to isotropic voxels.",
    ),
    (
        "Lungs were segmented by threshold and morphology, told apart as right and left, "
        "measured, and given a verdict (ok, review or reject); masks with verdict reject were "
        "excluded.",
    ),
    (
        "From each patient up to {patches.per_patient} patches of 32 x 32 x 32 voxels were drawn "
        "at random, each with a share of lung of at least {patches.minimum_lung}.",
        "From each patient patches of 32 x 32 x 32 voxels within the lungs were drawn at random.",
    ),
    (
        "{pretrained.sentence}",
        "A Gaussian mixture convolutional autoencoder (design {gmcae.design}, head {gmcae.head}) "
        "with {gmcae.components} components and ({gmcae.filters}) filters was trained on them "
        "without labels (Adam, learning rate {gmcae.learning_rate}, batches of "
        "{gmcae.batch_size}, at most {gmcae.epochs} epochs, early stopping on the validation "
        "loss), with symmetries of the cube ({gmcae.symmetries}), blur of up to "
        "{gmcae.blur_voxel} voxels and noise of up to {gmcae.noise_hu} HU as augmentation.",
        "A Gaussian mixture convolutional autoencoder was trained on them without labels, with "
        "symmetries of the cube as augmentation.",
    ),
    ("{scope.sentence}",),
    (
        "Its encoder was run over the whole lungs; a head ({classifier.head}: pyramid levels "
        "{classifier.levels}, dense layers of {classifier.units} units, dropout "
        "{classifier.dropout}, Adam with learning rate {classifier.learning_rate}) was trained "
        "on these features.",
        "Its encoder was run over the whole lungs, and a head was trained on these features.",
    ),
    (
        "Performance was estimated on {count.scored} labelled patients ({count.events} with "
        "label 1) by {count.design}, from predictions out of "
        "fold, with 95 % intervals, beside a constant, the volume of the lungs alone and the "
        "acquisition alone on the same folds. The rule for a conclusion was fixed before: at "
        "least {evaluation.minimum_per_class} patients of each label, and an interval of the "
        "difference in log loss from every baseline that lies below 0.",
        "Performance was estimated on {count.scored} labelled patients ({count.events} with "
        "label 1) by {count.design}, from predictions out of "
        "fold, with 95 % intervals, beside a constant, the volume of the lungs alone and the "
        "acquisition alone on the same folds.",
        "No classifier was evaluated.",
    ),
    (
        "The work was done with lungfish {version.lungfish} on Python {version.Python} with "
        "Keras {version.keras}, NumPy {version.numpy} and scikit-learn {version.scikit-learn}; "
        "the seed was {seed}.",
        "The work was done with lungfish on Python {version.Python} with Keras {version.keras}, "
        "NumPy {version.numpy} and scikit-learn {version.scikit-learn}; the seed was {seed}.",
        "The work was done with lungfish on Python {version.Python}.",
    ),
)


def installed_versions() -> dict[str, str]:
    """Return the version of Python and of each package used that is installed here."""
    found = {"Python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings as text under dotted names, fit to be shown to anybody.

    The salt of the UID hashes is replaced by whether there is one, and of an absolute path only
    the last part is kept.
    """
    flat: dict[str, str] = {}
    for key, value in sorted(config.items()):
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif key in SECRET:
            flat[name] = "(set, not shown)" if value else "(empty)"
        else:
            flat[name] = _plain(value)
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "(empty)"
    text = str(value)
    windows, posix = PureWindowsPath(text), PurePosixPath(text)
    if posix.is_absolute() or text.startswith("~"):
        return posix.name
    return windows.name if windows.drive else text


def write_methods(values: Mapping[str, str]) -> str:
    """Return the methods paragraph.

    Parameters
    ----------
    values : mapping of str to str
        Settings as `flatten` gives them, and ``count.*``, ``version.*`` ``scope.sentence`` and
        ``pretrained.sentence``.
    """
    return " ".join(filter(None, (_first_known(wordings, values) for wordings in SENTENCES)))


def _first_known(wordings: tuple[str, ...], values: Mapping[str, str]) -> str:
    for wording in wordings:
        names = re.findall(r"\{([^}]+)\}", wording)
        if all(name in values for name in names):
            return re.sub(r"\{([^}]+)\}", lambda match: values[match[1]], wording)
    return ""
