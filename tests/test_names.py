"""Twelve words, the same in every folder: a newcomer types one and finds all there is."""

import re

import yaml

STAGES = (
    "phantom", "index", "volumes", "lungs", "patches", "cohort", "gmcae", "features", "classifier",
    "evaluation", "model", "report",
)  # fmt: skip
ON_REQUEST = ("survey", "recheck", "segments", "surprise", "benchmarks")
NEED_NOTHING = ("rule phantom:", "rule benchmarks:")  # the second reads what there happens to be


def test_each_stage_stands_in_every_folder_under_its_word(clone):
    for stage in STAGES:
        assert (clone / "workflow/rules" / f"{stage}.smk").is_file(), stage
        assert (clone / "scripts" / f"{stage}.py").is_file(), stage
        assert (clone / "docs/stages" / f"{stage}.md").is_file(), stage
        module = clone / "lungfish" / stage
        assert module.is_dir() or module.with_suffix(".py").is_file(), stage
        assert list((clone / "tests").glob(f"test_{stage}*.py")), stage


def test_what_is_made_on_request_stands_beside_the_stages_under_its_word(clone):
    everything = (clone / "Snakefile").read_text().split("rule all:")[1]
    for word in ON_REQUEST:
        text = (clone / "workflow/rules" / f"{word}.smk").read_text()
        assert re.search(rf"^rule {word}:", text, re.M), word
        assert f"scripts/{word}.py" in text
        assert (clone / "scripts" / f"{word}.py").is_file(), word
        assert (clone / "docs/how-to" / f"{word}.md").is_file(), word
        assert (clone / "tests" / f"test_{word}.py").is_file(), word
        assert word not in everything


def test_each_module_or_room_has_a_test_of_its_name(clone):
    rooms = {path.stem for path in (clone / "lungfish").iterdir() if path.name[0] not in "_."}
    tests = {path.stem for path in (clone / "tests").glob("test_*.py")}
    missing = {f"test_{room}" for room in rooms - {"py"} if f"test_{room}" not in tests}
    assert not missing


def test_rules_scripts_and_config_sections_agree(clone):
    for stage in STAGES:
        text = (clone / "workflow/rules" / f"{stage}.smk").read_text()
        assert re.search(rf"^rule {stage}:", text, re.M), stage
        assert f"scripts/{stage}.py" in text
        assert f'code("{stage}")' in text
    schema = yaml.safe_load((clone / "workflow/schemas/config.schema.yaml").read_text())
    sections = {key for key, part in schema["properties"].items() if part.get("type") == "object"}
    assert sections == set(STAGES)


def test_snakefile_includes_the_stages_in_order_and_stays_short(clone):
    text = (clone / "Snakefile").read_text()
    assert re.findall(r'rules/(\w+)\.smk"', text) == ["common", "resources", *STAGES, "requests"]
    requests = (clone / "workflow/rules/requests.smk").read_text()
    assert re.findall(r'include: "(\w+)\.smk"', requests) == list(ON_REQUEST)
    assert len(text.splitlines()) < 40


def test_every_rule_is_documented_logged_measured_and_small(clone):
    for path in sorted((clone / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^ *(?=rule\b)", path.read_text(), flags=re.M)[1:]:
            name = rule.splitlines()[0]
            for part in ('"""', "input:", "output:", "resources:", "log:", "benchmark:", "conda:"):
                free = part == "input:" and name in NEED_NOTHING
                assert part in rule or free, (name, part)


def test_sizes_of_files(clone):
    for folder, limit in (("lungfish", 300), ("scripts", 80)):
        for path in sorted((clone / folder).rglob("*.py")):
            assert len(path.read_text().splitlines()) <= limit, path
