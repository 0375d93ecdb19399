"""What a reader of the pages can rely on, checked on made-up results."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.image import imsave

from lungfish import records, report
from lungfish.errors import InputError, Refusal
from lungfish.report import figures, methods, wording
from lungfish.report.inputs import read_times
from scripts import report as script

HOSTILE = '<script>alert("x")</script>'
COLUMNS = ("patient", "status", "code", "reason", "label", "fold", "split", "verdict", "kernel")
PREDICTED = ("patient", "label", "fold", "head", "probability", "calibrated")
GAP = "5.00 mm between slices 48 and 49 where slices are 2.50 mm apart: find the missing slices"
NO_LUNGS = "both lungs together have 0.31 litres, at least 1.00 are expected"
CONFIG = {
    "samples": "/secret/place/sheet.tsv",
    "seed": 7,
    "index": {"minimum_slices": 5, "salt": "pepper"},
    "volumes": {"spacing_mm": 1.5, "interpolation": "cubic"},
    "patches": {"per_patient": 128, "minimum_lung": 0.25},
    "gmcae": {"components": 4, "filters": [8, 16, 32], "learning_rate": 0.001},
    "evaluation": {"minimum_per_class": 30},
}
VOID = {"meta", "img", "br", "link", "hr", "input"}


def make_results(root: Path, *, conclusion: str = "inconclusive", labelled: bool = True) -> Path:
    """Write results of 16 patients by the contracts: two refused, one to review, one unlabelled."""
    rng = np.random.default_rng(1)
    rows = [make_patient(root, f"d{number:03d}", number, rng) for number in range(1, 17)]
    for row in rows:
        if row["status"] == "refused" or row["patient"] == "d005" or not labelled:
            row |= {"fold": None}
        if row["patient"] == "d005" or not labelled:
            row |= {"label": None}
    records.write_table(root / "cohort/cohort.tsv", COLUMNS, rows)
    make_evaluation(root, rows, rng, conclusion=conclusion, labelled=labelled)
    make_autoencoder(root / "gmcae/cohort", rng)
    make_benchmarks(root / "logs")
    return root


def make_patient(root: Path, patient: str, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Write the records of one patient and return its row of the cohort table."""
    status: dict[str, Any] = records.accepted()
    if number == 3:
        status = records.refused(Refusal("missing-slices", GAP))
    kernel = HOSTILE if number == 4 else ("B31f", "B70f")[number % 2]
    acquisition = None
    if number != 3:
        acquisition = {"manufacturer": "SCANNER & SONS", "model": "A1", "kernel": kernel}
        acquisition |= {"thickness_mm": 2.5, "kvp": 120.0, "mas": None, "slices": 120}
    fates = ["used"] * 120 + ["not DICOM", "duplicate of 4"]
    files = [{"number": at, "fate": fate} for at, fate in enumerate(fates, start=1)]
    geometry: dict[str, Any] | None = {
        "spacing_mm": [2.5, 0.7, 0.7],
        "size": [120, 256, 256],
        "largest_gap_mm": 2.5,
    }
    geometry = geometry if number != 3 else None
    index = status | {"files": files, "geometry": geometry, "acquisition": acquisition}
    records.write_json(root / f"index/{patient}.json", "index/1", index)
    grid = {"spacing_mm": [1.5] * 3, "size": [200, 119, 119], "content_hash": "ab" * 32}
    volume = status | (grid if number != 3 else {})
    records.write_json(root / f"volumes/{patient}.json", "volumes/1", volume)
    lungs = status | (make_lungs(number, rng) if number != 3 else {})
    records.write_json(root / f"lungs/{patient}.json", "lungs/1", lungs)
    imsave(root / f"lungs/{patient}.png", rng.integers(0, 255, (40, 70, 3)).astype(np.uint8))
    row = {"patient": patient, "label": number % 2, "fold": number % 3, "kernel": kernel}
    return row | {key: lungs.get(key) for key in ("status", "code", "reason", "verdict")}


def make_lungs(number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the measures of one pair of lungs; patient 2 to review, patient 6 rejected."""
    right, left = rng.uniform(2, 3, 2)
    measures: dict[str, Any] = records.accepted() | {"verdict": "ok", "reasons": []}
    if number == 2:
        measures |= {"verdict": "review", "reasons": ["the mean inside is -650 HU, above -700"]}
    if number == 6:
        measures |= records.refused(Refusal("lungs-rejected", NO_LUNGS))
        measures |= {"verdict": "reject", "reasons": [NO_LUNGS]}
    return measures | {
        "method": "threshold", "right_litre": right, "left_litre": left,
        "volume_litre": right + left, "ratio": right / left, "mean_hu": -812.4, "p05_hu": -930.0,
        "p95_hu": -610.0, "emphysema_index": 0.0123, "slices_with_lung": 0.8, "height_mm": 240.0,
        "border_contact": 0.0, "components": 2, "airway_leak_litre": 0.001,
        "spacing_mm": [1.5] * 3,
    }  # fmt: skip


def make_evaluation(
    root: Path,
    rows: list[dict[str, Any]],
    rng: np.random.Generator,
    *,
    conclusion: str,
    labelled: bool,
) -> None:
    """Write predictions and metrics, or the refusal where no label allows any."""
    used = [row for row in rows if row.get("fold") is not None]
    scores = [
        row | {"head": "spp", "probability": rng.uniform(), "calibrated": rng.uniform(0.3, 0.6)}
        for row in used
    ]
    records.write_table(root / "evaluation/predictions.tsv", PREDICTED, scores)
    if not labelled:
        why = "no classifier was trained: 0 patients have label 1 and 0 have label 0"
        empty = {"n": 0, "events": 0, "folds": 0, "heads": {}, "baselines": {}}
        record = records.refused(Refusal("one-class", why)) | empty
        record |= {"conclusion": "inconclusive"}
        records.write_json(root / "evaluation/metrics.json", "evaluation/1", record)
        return
    score = {
        "auc": {"value": 0.61, "low": 0.25, "high": 0.89},
        "log_loss": {"value": 0.702, "low": 0.6, "high": 0.83},
        "brier": {"value": 0.251, "low": None, "high": None},
    }
    difference = {"value": 0.01, "low": -0.08, "high": 0.11}
    names = ("constant", "lung_volume", "acquisition")
    heads = {"spp": score | {"differences": dict.fromkeys(names, difference)}}
    events = sum(row["label"] for row in used)
    reason = (
        f"nothing can be concluded from {events} patients with label 1 and {len(used) - events} "
        "with label 0: at least 30 of each are needed, and these scores may be chance"
    )
    record = records.accepted() | {
        "n": len(used), "events": events, "folds": 3, "heads": heads, "head": "spp",
        "baselines": dict.fromkeys(names, score), "conclusion": conclusion, "reason": reason,
    }  # fmt: skip
    records.write_json(root / "evaluation/metrics.json", "evaluation/1", record)


def make_autoencoder(folder: Path, rng: np.random.Generator) -> None:
    """Write 20 epochs and 12 examples; the last epoch has no validation value."""
    epochs = [
        {"epoch": epoch, "loss": 3 / epoch - 1.2, "val_loss": 3 / epoch - 1.1,
         "val_nats_per_voxel": 3 / epoch - 1.1, "val_rmse_hu": 90 + 200 / epoch,
         "learning_rate": 1e-3}
        for epoch in range(1, 20)
    ]  # fmt: skip
    epochs.append({"epoch": 20, "loss": 3.0})
    columns = ("epoch", "loss", "val_loss", "val_nats_per_voxel", "val_rmse_hu", "learning_rate")
    records.write_table(folder / "epochs.tsv", columns, epochs)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij")
    centres = rng.uniform(-0.7, 0.7, (12, 3, 1, 1, 1))
    smooth = np.stack([-850 + 700 * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) * 6)
                       for a, b, c in centres])  # fmt: skip
    noisy = smooth + rng.normal(0, 40, smooth.shape)
    with h5py.File(folder / "examples.h5", "w") as store:
        store["input"] = noisy.astype(np.int16)
        store["reconstruction"] = smooth.astype(np.int16)
        store["component"] = np.array([0, 2] * 6)


def make_benchmarks(folder: Path) -> None:
    """Write benchmark files as Snakemake does, two of one stage, and a table that is none."""
    columns = ("s", "h:m:s", "max_rss", "max_vms", "io_in", "mean_load", "cpu_time")
    stages = (("volumes/d001", 2.5), ("volumes/d002", 3.5), ("lungs/d001", 8.0),
              ("gmcae/cohort", 110.0), ("features/cohort/0", 21.0))  # fmt: skip
    for name, seconds in stages:
        row = {"s": seconds, "h:m:s": "0:00:02", "max_rss": 310.5, "cpu_time": 2 * seconds}
        records.write_table(folder / f"{name}.tsv", columns, [row | {"io_in": "NA"}])
    records.write_table(folder / "gmcae/other.tsv", ("epoch",), [{"epoch": 1}])


def arguments(root: Path, kind: str) -> list[str]:
    """Return the command line of the script for these results."""

    def all_of(pattern: str) -> list[str]:
        return [str(path) for path in sorted(root.glob(pattern))]

    line = [kind, "--cohort", str(root / "cohort/cohort.tsv")]
    line += ["--index", *all_of("index/*.json"), "--lungs", *all_of("lungs/*.json")]
    line += ["--predictions", str(root / "evaluation/predictions.tsv")]
    if kind == "patients":
        line += ["--volumes", *all_of("volumes/*.json"), "--mosaics", *all_of("lungs/*.png")]
        return [*line, "--output", str(root / "report/patients")]
    line += ["--metrics", str(root / "evaluation/metrics.json"), "--gmcae", *all_of("gmcae/*")]
    line += ["--logs", str(root / "logs"), "--config", json.dumps(CONFIG)]
    return [*line, "--output", str(root / "report/index.html"),
            "--summary", str(root / "report/summary.txt")]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_results(tmp_path_factory.mktemp("results"))
    assert script.main(arguments(root, "cohort")) == 0
    assert script.main(arguments(root, "patients")) == 0
    return root


@pytest.fixture(scope="module")
def index(results: Path) -> str:
    return (results / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(results: Path) -> dict[str, str]:
    found = [results / "report/index.html", *(results / "report/patients").iterdir()]
    return {path.stem: path.read_text(encoding="utf-8") for path in found}


class Page(HTMLParser):
    """Collects tags, ids and text, and complains where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_pages_are_whole_html_with_unique_ids(pages: dict[str, str]) -> None:
    assert len(pages) == 17
    for page in pages.values():
        ids = [attrs["id"] for _, attrs in Page(page).tags if "id" in attrs]
        assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_no_script_runs(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "url(http" not in page
        assert "@import" not in page
        for tag, attrs in Page(page).tags:
            assert tag not in ("script", "iframe", "object", "link")
            for key in ("src", "href", "xlink:href"):
                if key in attrs:
                    assert re.match(r"data:image/png;base64,|#|patients/d|\.\./index", attrs[key])


def test_links_between_pages_lead_somewhere(results: Path, pages: dict[str, str]) -> None:
    for name, page in pages.items():
        folder = results / "report" / ("" if name == "index" else "patients")
        tags = Page(page).tags
        ids = {attrs.get("id") for _, attrs in tags}
        for tag, attrs in tags:
            if tag == "a" and attrs["href"].startswith("#"):
                assert attrs["href"][1:] in ids
            elif tag == "a":
                assert (folder / attrs["href"]).is_file()


def test_every_picture_says_in_words_what_it_shows(pages: dict[str, str]) -> None:
    pictures = 0
    for page in pages.values():
        for tag, attrs in Page(page).tags:
            if tag in ("img", "svg"):
                pictures += 1
                assert len(attrs["alt" if tag == "img" else "aria-label"]) > 10
    assert pictures == 15 + 18 + 4  # mosaics, patches, drawings


def test_every_patient_is_on_the_cohort_page_and_refusals_say_why(index: str) -> None:
    text = Page(index).text
    for number in range(1, 17):
        assert f"d{number:03d}" in text
    assert GAP in text
    assert NO_LUNGS.replace("both", "Both") in text
    assert "Look at the lungs: the mean inside is \N{MINUS SIGN}650 HU" in text


def test_nothing_to_conclude_is_said_before_any_number(index: str) -> None:
    text = Page(index).text
    said = text.index("Nothing can be concluded: 13 patients, 6 events")
    assert "inconclusive" in text[:said]
    assert "There are 6 patients with label 1 and 7 with label 0: at least 30" in text
    assert said < text.index("patients in the sheet") < text.index("0.61")
    assert 'class="banner caution"' in index
    assert 'class="wide muted"' in index
    assert "Inconclusive: these values are shown so that they can be checked" in text


def test_each_score_stands_beside_the_three_baselines_with_its_interval(index: str) -> None:
    text = Page(index).text
    for name in ("Head “spp”", "A constant", "Lung volume alone", "Acquisition alone"):
        assert name in text
    assert text.count("0.25 to 0.89") == 4
    assert "higher is better; a constant scores 0.61" in text
    assert "lower is better; a constant scores 0.702" in text
    assert "no interval" in text  # an interval that could not be had is not made up


@pytest.mark.parametrize("word", ["no better than lung_volume", "better than every baseline"])
def test_a_conclusion_is_told_in_the_evaluations_words(tmp_path: Path, word: str) -> None:
    make_results(tmp_path, conclusion=word)
    assert script.main(arguments(tmp_path, "cohort")) == 0
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert word.replace("lung_volume", "lung volume alone") in Page(page).text
    assert 'muted"' not in page
    assert "caution" not in page.split("</style>")[1].split("<section")[0]


def test_a_word_that_is_not_known_counts_as_inconclusive(tmp_path: Path) -> None:
    make_results(tmp_path, conclusion="splendid")
    assert script.main(arguments(tmp_path, "cohort")) == 0
    text = Page((tmp_path / "report/index.html").read_text(encoding="utf-8")).text
    assert "Conclusion: inconclusive" in text
    assert "splendid" not in text


def test_without_a_classifier_one_sentence_says_why(tmp_path: Path) -> None:
    make_results(tmp_path, labelled=False)
    assert script.main(arguments(tmp_path, "cohort")) == 0
    text = Page((tmp_path / "report/index.html").read_text(encoding="utf-8")).text
    assert "No classifier was trained: 0 patients have label 1 and 0 have label 0." in text
    assert "AUC" not in text
    assert "One dot" not in text
    assert "16 patients" in (tmp_path / "report/summary.txt").read_text(encoding="utf-8")


def test_a_cohort_table_alone_is_enough_for_a_page(results: Path) -> None:
    inputs = report.read_cohort(results / "cohort/cohort.tsv")
    text = Page(report.build_cohort_page(inputs)).text
    assert "No classifier was evaluated: of 14 accepted patients 6 have label 1" in text
    assert "Where the time went" not in text


def test_summary_is_three_lines(results: Path) -> None:
    text = (results / "report/summary.txt").read_text(encoding="utf-8")
    first, second, third = text.splitlines()
    assert first.endswith("report/index.html")
    assert "16 patients, 14 in, 2 refused (lungs-rejected 1, missing-slices 1)" in second
    assert "1 to review" in second
    assert third.startswith("Result: inconclusive. Nothing can be concluded: 13 patients")


def test_text_from_headers_is_escaped(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert HOSTILE not in page
    assert HOSTILE in Page(pages["index"]).text
    assert HOSTILE in Page(pages["d004"]).text
    assert "SCANNER & SONS" in Page(pages["d001"]).text


def test_text_in_a_drawing_is_escaped() -> None:
    groups = {HOSTILE: np.array([0.5]), "$x^2$": np.array([0.1])}
    drawing = figures.draw_dots(groups, constant=None, name="d", alt='"><b>')
    page = Page(drawing)
    assert HOSTILE in page.text
    assert "$x^2$" in page.text
    assert page.tags[0][1]["aria-label"] == '"><b>'


def test_no_secret_path_or_missing_number_is_printed(results: Path, pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "pepper" not in page
        assert "/secret/place" not in page
        assert str(results) not in page
        assert not re.search(r"\b(nan|None|inf)\b", Page(page).text)
    assert "sheet.tsv" in pages["index"]


def test_seconds_stand_only_where_the_time_went(index: str) -> None:
    before, rest = index.split('<section id="times">')
    times, after = rest.split("</section>", 1)
    assert "110.0" in Page(times.removeprefix("\n")).text
    assert "110.0" not in before + after


def test_equal_results_give_equal_pages(results: Path, index: str) -> None:
    assert script.main(arguments(results, "cohort")) == 0
    assert (results / "report/index.html").read_text(encoding="utf-8") == index


def test_times_are_summed_by_stage_in_the_order_of_the_stages(results: Path) -> None:
    times = read_times(results / "logs")
    assert [each.stage for each in times] == ["volumes", "lungs", "gmcae", "features"]
    assert (times[0].jobs, times[0].wall_seconds, times[0].cpu_seconds) == (2, 6.0, 12.0)
    assert times[0].memory_mib == 310.5
    assert read_times(results / "nowhere") == ()


def test_reconstruction_error_is_that_of_the_stored_patches(results: Path, index: str) -> None:
    with h5py.File(results / "gmcae/cohort/examples.h5") as store:
        error = store["input"][:].astype(float) - store["reconstruction"][:]
    expected = np.sqrt(np.mean(error**2))
    text = Page(index).text
    assert f"root-mean-square error is {expected:.1f} HU" in text
    assert "component 1 in 6 of them, component 3 in 6 of them." in text


def test_a_refused_autoencoder_is_left_out(tmp_path: Path, results: Path) -> None:
    folder = tmp_path / "fold-0"
    records.write_table(folder / "epochs.tsv", ("epoch", "loss"), [])
    with h5py.File(folder / "examples.h5", "w") as store:
        store.attrs["status"] = "refused"
    inputs = report.read_cohort(results / "cohort/cohort.tsv", gmcae=[folder])
    text = Page(report.build_cohort_page(inputs)).text
    assert "How the autoencoder learned" not in text
    assert "One autoencoder was trained for each fold" not in text


def test_the_autoencoder_that_saw_held_out_scans_is_said_to(results: Path, index: str) -> None:
    assert "has seen the scans of the held-out patients, without their labels" in Page(index).text


def test_the_mosaics_caption_teaches_left_and_right(pages: dict[str, str]) -> None:
    text = Page(pages["d001"]).text
    assert "the patient's right (R) is at the picture's left" in text
    assert "the patient's left (L) at the picture's right" in text


def test_measures_have_a_unit_and_a_meaning(pages: dict[str, str]) -> None:
    text = Page(pages["d001"]).text
    assert "Mean density \N{MINUS SIGN}812 HU" in text
    assert "Emphysema index 1.2 % of the lung" in text
    assert all(each.unit and each.meaning for each in wording.LUNG_MEASURES)


def test_a_refused_patients_page_says_why_and_what_to_do(pages: dict[str, str]) -> None:
    text = Page(pages["d003"]).text
    assert GAP in text
    assert "What to do." in text
    assert "Refused before anything of the headers could be used." in text
    assert "<img" not in pages["d003"]
    rejected = Page(pages["d006"]).text
    assert "mask column of the samples sheet" in rejected
    assert "<img" in pages["d006"]


def test_a_patients_prediction_is_the_one_out_of_fold(results: Path, pages: dict[str, str]) -> None:
    rows = records.read_table(results / "evaluation/predictions.tsv")
    row = next(row for row in rows if row["patient"] == "d002")
    assert f"{float(row['calibrated']):.3f}" in Page(pages["d002"]).text
    assert "Prediction out of fold" not in Page(pages["d005"]).text


def test_the_methods_use_the_settings_of_the_run(index: str) -> None:
    text = Page(index).text
    assert "isotropic voxels of 1.5 mm (cubic interpolation)" in text
    assert "up to 128 patches of 32 \N{MULTIPLICATION SIGN} 32" in text
    assert "2 of 16 patients were refused" in text
    assert "{" not in text


def test_a_renamed_setting_costs_a_number_and_not_the_paragraph() -> None:
    assert "resampled to isotropic voxels." in methods.write_methods({})


@pytest.mark.parametrize(
    ("value", "text"),
    [("/data/private/x.tsv", "x.tsv"), ("C:\\scans\\x.tsv", "x.tsv"), ("a/b.tsv", "a/b.tsv"),
     ([1, 2], "1, 2"), (True, "yes"), (None, "(empty)"), (0.5, "0.5")],
)  # fmt: skip
def test_settings_are_shown_without_the_machines_folders(value: Any, text: str) -> None:
    assert methods.flatten({"a": {"b": value}}) == {"a.b": text}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), ("", "n/a"), (float("nan"), "n/a"), ("1.005", "1.00"), (-0.001, "0.00"),
     (-1.5, "\N{MINUS SIGN}1.50")],
)  # fmt: skip
def test_numbers_are_printed_or_said_to_be_absent(value: Any, text: str) -> None:
    assert wording.number(value, 2) == text


def test_wrong_inputs_are_named(results: Path) -> None:
    cohort = results / "cohort/cohort.tsv"
    with pytest.raises(InputError, match="--config is not JSON"):
        report.read_cohort(cohort, config="{")
    with pytest.raises(InputError, match="found list"):
        report.read_cohort(cohort, config="[]")
    with pytest.raises(InputError, match="d999 is not in cohort"):
        stranger = results / "other/d999.json"
        records.write_json(stranger, "lungs/1", records.accepted())
        report.read_patients(cohort, index=[], volumes=[], lungs=[stranger], mosaics=[])
    broken = results / "other/fold-1"
    records.write_table(broken / "epochs.tsv", ("epoch",), [])
    (broken / "examples.h5").write_text("not HDF5")
    with pytest.raises(InputError, match=r"examples\.h5 cannot be read: rerun the gmcae stage"):
        report.read_cohort(cohort, gmcae=[broken])


def test_the_methods_do_not_claim_to_have_trained_somebody_elses_encoder() -> None:
    text = methods.write_methods({"pretrained.sentence": "An encoder from elsewhere was taken."})
    assert "An encoder from elsewhere was taken." in text
    assert "was trained on them without labels" not in text
