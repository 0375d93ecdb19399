"""Nothing that names a patient is found in anything that a run leaves behind.

Every planted value is another one, so that a find tells which tag leaked. All files are searched
as bytes, unpacked where they are packed, in the encodings that the value could have taken.
"""

import base64
import gzip
import html
import io
import json
import re
import urllib.parse
import warnings
import zlib

import h5py
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedSRStorage

from lungfish import phantom
from lungfish.records import read_table
from tests.workflow_runner import copy_clone, snakemake

MARK = "Zqvxjk"  # long enough not to stand in compressed bytes by chance
SETTINGS = phantom.Settings(matrix=64, slices=40, slice_mm=7.5, thickness_mm=7.5)
TEXT_TAGS = (
    "PatientAddress", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientTelephoneNumbers", "Occupation", "EthnicGroup", "MilitaryRank",
    "AdditionalPatientHistory", "PatientComments", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "ReferringPhysicianName", "OperatorsName",
    "PerformingPhysicianName", "RequestingPhysician", "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy", "AccessionNumber", "StudyID", "StudyDescription",
    "SeriesDescription", "ProtocolName", "StationName", "DeviceSerialNumber",
    "ImageComments", "FilterType", "RequestedProcedureDescription", "AdmissionID",
    "ContentCreatorName", "ContrastBolusAgent",
)  # fmt: skip
TEXTS = {keyword: f"{MARK}{number}w{keyword[:6]}" for number, keyword in enumerate(TEXT_TAGS)}
UIDS = {
    keyword: f"1.2.826.0.1.47114711.{number}"
    for number, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                                      "FrameOfReferenceUID", "DeviceUID"))
}  # fmt: skip
DATES = {"PatientBirthDate": "19470413", "StudyDate": "19680229", "AcquisitionDate": "19680301"}
KANJI = "Yamada^Zqvxjktarou=山田^太郎"
HOSTILE = "../../../Zqvxjkescape\n\x1b[31mZqvxjkterminal\x07"
HIDDEN = {  # elsewhere than in an element of its own
    what: f"{MARK}{what.title().replace(' ', '')}"
    for what in (
        "private value", "sequence", "sequence in sequence", "file meta", "file name",
        "nested folder", "text file", "structured report", "behind the pixels",
    )
}  # fmt: skip
CREATOR = "ZQVXJKCREATOR"
PLANTED = {
    **TEXTS, **UIDS, **DATES, **HIDDEN, "private creator": CREATOR,
    "PatientName": "Zqvxjktarou", "PatientName, kanji": "山田",
    "PatientID": "Zqvxjkescape", "PatientID, second line": "Zqvxjkterminal",
    "every text": MARK, "every UID": "47114711",
}  # fmt: skip


def plant(dataset, number):
    """Put every identifier into a slice."""
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = KANJI
    dataset.PatientID = HOSTILE
    dataset.Manufacturer = "Maker\x1b[2J\nforged: line"  # read and told, but not as it stands
    for keyword, value in {**TEXTS, **DATES, **UIDS}.items():
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID += f".{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.SourceApplicationEntityTitle = HIDDEN["file meta"]
    block = dataset.private_block(0x0011, CREATOR, create=True)
    block.add_new(0x01, "LO", HIDDEN["private value"])
    inner, outer = Dataset(), Dataset()
    inner.PatientID = HIDDEN["sequence in sequence"]
    outer.ScheduledProcedureStepDescription = HIDDEN["sequence"]
    outer.ReferencedStudySequence = [inner]
    dataset.RequestAttributesSequence = [outer]
    dataset.DataSetTrailingPadding = HIDDEN["behind the pixels"].encode() + b" "


def write_scan(folder, *, missing=()):
    """Write a digital patient with every identifier planted."""
    source = folder.parent / f".{folder.name}"
    phantom.write_dicom(source, phantom.make_patient(folder.name, seed=0, settings=SETTINGS))
    nested = folder / HIDDEN["nested folder"]
    nested.mkdir(parents=True)
    for number, path in enumerate(sorted(source.glob("*.dcm"))):
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            plant(dataset, number)
            if number not in missing:
                dataset.save_as(nested / f"{HIDDEN['file name']}^Jane {number}.dcm")
    write_report(folder / "report", dataset)
    (folder / "notes.txt").write_text(HIDDEN["text file"])


def write_report(path, like):
    """Write a file of another kind beside the slices."""
    report = Dataset()
    report.file_meta = like.file_meta
    report.SOPClassUID, report.SOPInstanceUID = EnhancedSRStorage, UIDS["SOPInstanceUID"]
    report.Modality, report.PatientName = "SR", HIDDEN["structured report"]
    report.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run as far as cohort table, patches, survey, recheck and segments."""
    place = tmp_path_factory.mktemp("privacy")
    write_scan(place / "one")  # accepted
    write_scan(place / "two", missing=(20, 21))  # refused by the index stage
    (place / "three").mkdir()
    (place / "three/notes").write_text(HIDDEN["text file"])
    rows = "".join(f"p{name}\t{name}\t\n" for name in ("one", "two", "three"))
    (place / "samples.tsv").write_text("patient\tdicom\tlabel\n" + rows)
    copy_clone(place / "clone")
    targets = ["results/cohort/cohort.tsv", "results/patches/pone.h5", "survey"]
    said = work(place, *targets) + work(place, "recheck") + work(place, "segments")
    middle = sorted((place / "one").rglob("*.dcm"))[20]
    rewrite(middle)
    said += work(place, "recheck")
    (place / "run/terminal").write_text(said)
    return place


def rewrite(path):
    dataset = pydicom.dcmread(path)
    pixels = np.frombuffer(dataset.PixelData, np.uint16).copy()
    pixels[pixels.size // 2] += 1
    dataset.PixelData = pixels.tobytes()
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path)


def work(place, *targets):
    found = snakemake(
        place / "clone", place / "run", *targets, "--config", f"samples={place / 'samples.tsv'}"
    )
    assert found.returncode == 0, found.stdout
    return found.stdout


def contents(path):
    """Yield what a file holds: its bytes, and what is packed in them."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".gz":
        yield gzip.decompress(data)
    if path.suffix == ".h5":
        with h5py.File(path) as store:
            found = [repr(dict(store.attrs))]
            store.visititems(lambda name, item: found.append(name + repr(dict(item.attrs))))
            yield "".join(found).encode()
    if path.suffix == ".png":
        yield repr(PIL.Image.open(io.BytesIO(data)).info).encode()
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
        picture = base64.b64decode(packed)
        yield picture
        if picture.startswith(b"\x89PNG"):
            yield repr(PIL.Image.open(io.BytesIO(picture)).info).encode()
    if ".snakemake" in path.parts:
        yield from unpacked_names(path)


def unpacked_names(path):
    """Yield Snakemake's own records: it names them in base64 and packs some."""
    padded = path.name + "=" * (-len(path.name) % 4)
    try:
        yield base64.b64decode(padded, validate=True)
    except ValueError:
        yield path.name.encode()
    try:
        yield zlib.decompress(path.read_bytes())
    except zlib.error:
        yield b""


def spellings(value):
    """Return the bytes that a value may have become."""
    texts = {value, html.escape(value), urllib.parse.quote(value), json.dumps(value)[1:-1]}
    found = set()
    for text in texts:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "iso2022_jp", "shift_jis", "euc_jp"):
            found.add(text.encode(encoding).lower())
    return found


def leaks(place):
    """Return which planted value stands in which file of a run, names of files included.

    A DICOM SEG repeats the patient's data by design; what lies beside it may not.
    """
    needles = {(what, spelling) for what, value in PLANTED.items() for spelling in spellings(value)}
    found = set()
    for path in sorted((place / "run").rglob("*")):
        name = path.relative_to(place).as_posix()
        exported = path.suffix == ".dcm" and "exports" in path.parts
        texts = [name.encode(), *(contents(path) if path.is_file() and not exported else ())]
        for text in map(bytes.lower, texts):
            found |= {(what, name) for what, spelling in needles if spelling in text}
    return found


def test_the_search_finds_what_is_there(tmp_path):
    secret = PLANTED["PatientAddress"]
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    (run / "a.nii.gz").write_bytes(gzip.compress(secret.encode("utf-16-le")))
    (run / "logs" / f"x{PLANTED['file name']}").touch()
    (run / "b.html").write_text(
        "data:image/png;base64," + base64.b64encode(secret.encode()).decode()
    )
    (run / "c").write_bytes("山田".encode("iso2022_jp"))
    with h5py.File(run / "d.h5", "w") as store:
        store.create_group("g").attrs["of"] = secret
    found = leaks(tmp_path)
    names = {"run/a.nii.gz", "run/b.html", "run/d.h5"}
    assert {name for what, name in found if what == "PatientAddress"} == names
    assert ("PatientName, kanji", "run/c") in found
    assert "file name" in {what for what, _ in found}


def test_the_planted_scans_are_read_and_one_is_used(place):
    rows = {row["patient"]: row for row in read_table(place / "run/results/cohort/cohort.tsv")}
    assert {name: row["code"] for name, row in rows.items()} == {
        "pone": "", "ptwo": "missing-slices", "pthree": "no-ct",
    }  # fmt: skip
    assert len(PLANTED) >= 30 + 10
    survey = read_table(place / "run/results/survey/series.tsv")
    assert {row["patient"]: row["slices"] for row in survey} == {"pone": "40", "ptwo": "38"}
    recheck = read_table(place / "run/results/recheck/recheck.tsv")
    assert {row["patient"]: row["status"] for row in recheck}["pone"] == "rewritten"


def test_no_planted_identifier_is_found_in_what_a_run_leaves_or_says(place):
    assert leaks(place) == set()


def test_no_control_character_of_a_header_reaches_a_text(place):
    for path in sorted((place / "run").rglob("*")):
        if path.suffix in (".json", ".tsv", ".log", ".txt", ".html") or path.name == "terminal":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), path
            assert "\nforged" not in text, path


def test_nothing_is_written_outside_the_run(place):
    assert {path.name for path in place.iterdir()} == {
        "one", ".one", "two", ".two", "three", "samples.tsv", "clone", "run",
    }  # fmt: skip
    assert not list(place.parent.glob(f"*{MARK}*"))


@pytest.mark.slow
def test_no_planted_identifier_is_found_after_the_whole_job(place):
    work(place)
    assert (place / "run/results/report/patients/pone.html").is_file()
    assert leaks(place) == set()


@pytest.fixture(scope="module")
def named_folder(place, tmp_path_factory):
    """What holds the name of a scan's folder after a run."""
    here = tmp_path_factory.mktemp("named")
    (here / f"{MARK}folder Jane").mkdir()
    (here / "s.tsv").write_text(f"patient\tdicom\tlabel\np\t{MARK}folder Jane\t\n")
    target, sheet = "results/volumes/p.json", f"samples={here / 's.tsv'}"
    found = snakemake(place / "clone", here / "run", target, "--config", sheet)
    assert found.returncode == 0, found.stdout
    return {name.split("/")[1] for _, name in leaks(here)}


def test_no_folder_of_the_sheet_is_named_in_results_and_logs(named_folder):
    """A folder is often called by the patient's name; only its owner's sheet may say it."""
    assert not named_folder & {"results", "logs"}


def test_no_folder_of_the_sheet_is_named_by_snakemake_itself(named_folder):
    assert ".snakemake" not in named_folder
