"""What the docs point to exists."""

import re

import pytest

PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "config/README.md", "docs/method.md")


def pages(clone):
    return [clone / name for name in PAGES] + sorted((clone / "docs").rglob("*.md"))


def test_every_test_that_the_method_names_exists(clone):
    text = (clone / "docs/method.md").read_text()
    for row in text.splitlines():
        file = None
        for name, function in re.findall(r"`(test_\w+\.py)?::(test_\w+)`", row):
            file = name or file
            assert f"def {function}(" in (clone / "tests" / file).read_text(), (file, function)
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.M)] == list(range(1, 34))


def test_links_lead_somewhere(clone):
    for page in pages(clone):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_commands_name_scripts_and_options_that_exist(clone):
    for page in pages(clone):
        text = page.read_text().replace("\\\n", " ")
        for script, options in re.findall(r"scripts/(\w+\.py)((?: +[^\n|`]+)?)", text):
            source = clone / "scripts" / script
            if "<" in script:
                continue
            assert source.is_file(), (page.name, script)
            for option in re.findall(r"--([a-z-]+)", options):
                known = source.read_text()
                words = (f'"--{option}"', f"{option.replace('-', '_')}=", f'"{option}"')
                stated = any(word in known for word in words) or "-settings" in option
                assert stated, (page.name, script, option)


def test_each_stage_page_tells_what_a_newcomer_needs(clone):
    for page in sorted((clone / "docs/stages").glob("*.md")):
        text = page.read_text().lower()
        for part in ("by hand", "limits", "wrong"):
            assert part in text, (page.name, part)


@pytest.mark.parametrize("page", PAGES)
def test_no_path_of_a_machine(clone, page):
    assert not re.search(r"(/home/|/root/|/work/|/tmp/)", (clone / page).read_text())
