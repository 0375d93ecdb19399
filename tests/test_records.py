"""Files are whole or absent, and hold what was put in."""

import json
import subprocess

import pytest

from lungfish import records
from lungfish.errors import InputError, Refusal


def test_json_round_trip_with_sorted_keys(tmp_path):
    path = tmp_path / "deep" / "a.json"
    records.write_json(path, "test/1", {"b": (1, 2.5), "a": None})
    assert records.read_json(path, "test/1") == {"a": None, "b": [1, 2.5], "schema": "test/1"}
    assert list(json.loads(path.read_text())) == ["a", "b", "schema"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half"), records.atomic(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError("half way")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_what_a_killed_writer_of_a_file_left_goes_when_the_file_is_written(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tmp_path / "a.nii.gz"
    left = tmp_path / f".{dead.pid}.a.nii.gz"
    others = [
        tmp_path / f".{dead.pid}.b.a.nii.gz",
        tmp_path / ".1.a.nii.gz",
        tmp_path / ".x.a.nii.gz",
    ]
    for file in [left, *others]:
        file.touch()
    with records.atomic(path) as temporary:
        temporary.touch()
    assert path.exists()
    assert not left.exists()
    assert all(other.exists() for other in others), "other files', or of a living writer"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_word_for_what_is_no_number(tmp_path, number):
    with pytest.raises(InputError, match="finite"):
        records.write_json(tmp_path / "a.json", "test/1", {"x": [number]})
    assert not list(tmp_path.iterdir())


def test_wrong_kind_of_record_is_named(tmp_path):
    path = tmp_path / "a.json"
    records.write_json(path, "lungs/1", {})
    with pytest.raises(InputError, match=r"expected schema 'index/1', found 'lungs/1'"):
        records.read_json(path, "index/1")
    path.write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        records.read_json(path, "index/1")
    with pytest.raises(InputError, match="missing"):
        records.read_json(tmp_path / "b.json", "index/1")


def test_table_round_trip(tmp_path):
    path = tmp_path / "a.tsv"
    rows = [{"a": 1, "b": "two\twords\n", "c": None}, {"a": 1 / 3, "b": True}]
    records.write_table(path, ("a", "b", "c"), rows)
    assert path.read_text() == "a\tb\tc\n1\ttwo words\t\n0.333333\tyes\t\n"
    assert records.read_table(path)[0] == {"a": "1", "b": "two words", "c": ""}


def test_table_ignores_comments_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeff# a comment\npatient\tlabel\n\np1\t1\n", encoding="utf-8")
    assert records.read_table(path) == [{"patient": "p1", "label": "1"}]


def test_refusal_travels():
    refusal = Refusal("missing-slices", "10 mm between files 3 and 4")
    with pytest.raises(Refusal, match="10 mm between") as caught:
        records.require_ok(records.refused(refusal))
    assert caught.value.code == "missing-slices"
    records.require_ok(records.accepted())
