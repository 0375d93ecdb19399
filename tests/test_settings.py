"""Settings are typed, and a wrong one is named."""

import dataclasses
import json
from typing import Literal

import pytest

from lungfish import settings
from lungfish.errors import InputError


@dataclasses.dataclass(frozen=True)
class Section:
    size_mm: float | Literal["native"] = 1.0
    count: int = 3
    filters: tuple[int, ...] = (8, 16)
    method: Literal["cubic", "linear"] = "cubic"
    wanted: bool = True
    name: str | None = None


def test_absent_keys_take_their_default():
    assert settings.parse(Section, {}) == Section()


def test_numbers_lists_and_words_become_the_declared_types():
    found = settings.parse(Section, {"size_mm": 2, "filters": [4, 8, 16], "name": None})
    assert found == Section(size_mm=2.0, filters=(4, 8, 16))
    assert isinstance(found.size_mm, float)
    assert settings.parse(Section, {"size_mm": "native"}).size_mm == "native"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"coutn": 1}, "unknown setting coutn"),
        ({"count": 1.5}, "count: expected int, found 1.5"),
        ({"count": True}, "count: expected int, found True"),
        ({"method": "nearest"}, "method: expected .*cubic.*, found 'nearest'"),
        ({"filters": "8"}, "filters: expected"),
        ({"wanted": 1}, "wanted: expected bool, found 1"),
    ],
)
def test_wrong_settings_are_named_with_what_was_expected(values, words):
    with pytest.raises(InputError, match=words):
        settings.parse(Section, values)


def test_settings_come_as_json_or_as_a_file(tmp_path):
    path = tmp_path / "section.yaml"
    path.write_text("count: 7\n")
    assert settings.load(Section, str(path)).count == 7
    assert settings.load(Section, '{"count": 8}').count == 8
    assert settings.load(Section, None) == Section()
    assert settings.load(Section, settings.dump(Section(count=9))).count == 9
    assert json.loads(settings.dump(Section()))["filters"] == [8, 16]
    with pytest.raises(InputError, match="expected JSON or the path"):
        settings.load(Section, "nowhere.yaml")
