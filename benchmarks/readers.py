"""Readers of DICOM folders, each called as its own documentation calls it.

Run by `gauntlet.py` as a process of its own, with an interpreter that has the reader:
``python benchmarks/readers.py READER OUTPUT FOLDER [FOLDER ...]`` reads folder after folder and
writes for each ``OUTPUT/NAME.npz`` (volumes and their affines, index order x, y, z, LPS mm) and
``OUTPUT/NAME.json`` (what was said, and the error). ``--present`` says which readers are installed.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def lungfish(place):
    """Read as this project does, at the acquired spacing."""
    from lungfish import index, volumes

    record = index.index_folder(place, settings=index.Settings())
    settings = volumes.Settings(spacing_mm="native")
    volume, _ = volumes.build_volume(place, record, settings=settings)
    for finding in record["findings"]:
        print("warning:", finding)
    yield volume.hu, volume.affine


def each(items, read):
    """Yield what can be read of several series; raise the last error when all were tried."""
    failed = None
    for item in items:
        try:
            yield read(item)
        except Exception as error:
            traceback.print_exc()
            failed = error
    if failed is not None:
        raise failed


def simpleitk(place):
    """Every series that GDCM finds in the folder, by SimpleITK's series reader."""
    import SimpleITK as sitk

    def read(series):
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(place), series))
        image = reader.Execute()
        if image.GetDimension() == 4:  # a multi-frame file as a series of one
            image = image[..., 0]
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        return sitk.GetArrayFromImage(image), affine

    yield from each(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(place)), read)


def nifti_files(folder):
    """Yield the volumes of a folder's NIfTI files, phases one by one."""
    import nibabel

    for path in sorted(folder.glob("*.nii*")):
        image = nibabel.load(path)
        hu = np.asarray(image.dataobj).transpose()
        for phase in hu if hu.ndim == 4 else [hu]:
            yield phase, TO_LPS @ image.affine


def dcm2niix(place):
    """Run the program with its defaults, uncompressed."""
    program = Path(sys.executable).with_name("dcm2niix")
    with tempfile.TemporaryDirectory() as output:
        command = [program, "-z", "n", "-b", "n", "-f", "%s", "-o", output, place]
        subprocess.run(command, check=False)
        yield from nifti_files(Path(output))


def dicom2nifti(place):
    """Convert the folder with the defaults."""
    import dicom2nifti

    with tempfile.TemporaryDirectory() as output:
        dicom2nifti.convert_directory(str(place), output)
        yield from nifti_files(Path(output))


def monai(place, reader):
    """Load the folder as one image."""
    from monai.transforms import LoadImage

    image = LoadImage(reader=reader, image_only=True)(str(place))
    yield np.asarray(image).transpose(), TO_LPS @ np.asarray(image.affine)


def monai_pydicom(place):
    """Load with PydicomReader."""
    yield from monai(place, "PydicomReader")


def monai_itk(place):
    """Load with ITKReader."""
    yield from monai(place, "ITKReader")


def datasets_by_series(place):
    """Return the data sets of what pydicom takes for DICOM, by series."""
    import pydicom

    series = defaultdict(list)
    for path in sorted(place.rglob("*")):
        if path.is_file():
            try:
                dataset = pydicom.dcmread(path)
            except pydicom.errors.InvalidDicomError:
                continue
            if "SeriesInstanceUID" in dataset:
                series[dataset.SeriesInstanceUID].append(dataset)
    return series


def highdicom(place):
    """Read every series as a volume, multi-frame files as images."""
    import highdicom

    def read(datasets):
        if "NumberOfFrames" in datasets[0]:
            volume = highdicom.Image.from_dataset(datasets[0]).get_volume()
        else:
            volume = highdicom.get_volume_from_series(datasets)
        return volume.array.transpose(), volume.affine

    yield from each(datasets_by_series(place).values(), read)


def kdsb17(place):
    """Read as the 2017 recipe did: sorted by z, stacked, axes taken as the patient's."""
    slices = [one for series in datasets_by_series(place).values() for one in series]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    planes = []
    for one in slices:
        plane = one.pixel_array.astype(np.float64)
        plane[plane == -2000] = 0
        planes.append((plane * one.RescaleSlope + one.RescaleIntercept).astype(np.int16))
    down, across = (float(step) for step in slices[0].PixelSpacing)
    places = [float(one.ImagePositionPatient[2]) for one in slices]
    affine = np.diag([across, down, places[1] - places[0], 1.0])
    affine[:3, 3] = [float(value) for value in slices[0].ImagePositionPatient]
    yield np.stack(planes), affine


# Name: what reads, and the distribution whose version is told.
READERS = {
    "lungfish": (lungfish, "pydicom"),
    "SimpleITK": (simpleitk, "SimpleITK"),
    "dcm2niix": (dcm2niix, "dcm2niix"),
    "MONAI Pydicom": (monai_pydicom, "monai"),
    "MONAI ITK": (monai_itk, "monai"),
    "highdicom": (highdicom, "highdicom"),
    "dicom2nifti": (dicom2nifti, "dicom2nifti"),
    "kdsb17": (kdsb17, "pydicom"),
}
ALSO_NEEDED = {"MONAI ITK": ["itk"], "dcm2niix": ["nibabel"]}


def present():
    """Return the versions of the readers that this interpreter has."""
    found = {}
    for name, (_, distribution) in READERS.items():
        try:
            versions = [importlib.metadata.version(distribution)]
            versions += [importlib.metadata.version(other) for other in ALSO_NEEDED.get(name, ())]
            found[name] = versions[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def run_one(read, place, output):
    """Read one folder; all that is printed by whatever language goes into the record."""
    volumes, error = {}, ""
    spoken = output / f"{place.name}.txt"
    kept = os.dup(1), os.dup(2)
    with spoken.open("wb") as stream, warnings.catch_warnings():
        warnings.simplefilter("always")
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            given = place / "patient.zip"
            given = given if read is lungfish and given.exists() else place
            for k, (hu, affine) in enumerate(read(given)):
                volumes |= {f"hu{k}": np.asarray(hu), f"affine{k}": np.asarray(affine, float)}
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
    np.savez(output / f"{place.name}.npz", **volumes)
    record = {"said": spoken.read_text(errors="replace"), "error": error}
    spoken.unlink()
    partial = output / f"{place.name}.partial"
    partial.write_text(json.dumps(record))
    shutil.move(partial, output / f"{place.name}.json")


def main(arguments):
    """Read every folder given, or say what is installed."""
    if arguments == ["--present"]:
        print(json.dumps(present()))
        return
    name, output, *folders = arguments
    for folder in folders:
        run_one(READERS[name][0], Path(folder), Path(output))


if __name__ == "__main__":
    main(sys.argv[1:])
