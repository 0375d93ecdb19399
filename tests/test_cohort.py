"""Nobody is lost from the table, and no fold sees a patient twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungfish import cohort
from lungfish.errors import InputError, Refusal
from lungfish.records import accepted, refused


def member(patient, label=None, *, split="", refusal=None, truth=None):
    record = refused(refusal) if refusal else accepted()
    index = record | {"acquisition": {"manufacturer": "A", "kernel": "B", "thickness_mm": 2.5}}
    lungs = record | ({} if refusal else {"verdict": "ok", "volume_litre": 4.5})
    return cohort.Member(
        patient=patient, label=label, split=split, index=index, volumes=record, lungs=lungs,
        truth=truth,
    )  # fmt: skip


LABELS = st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=60)


@given(labels=LABELS, wanted=st.integers(2, 10), seed=st.integers(0, 99))
def test_folds_are_stratified_and_everybody_is_in_one(labels, wanted, seed):
    folds = cohort.number_of_folds(labels, wanted)
    named = {f"p{k}": label for k, label in enumerate(labels) if label is not None}
    dealt = cohort.assign_folds(named, folds, seed=seed)
    assert folds == 0 or folds == min(wanted, labels.count(0), labels.count(1))
    assert (set(dealt) == set(named)) if folds else (dealt == {})
    for label in (0, 1):
        sizes = [
            sum(named[p] == label for p, fold in dealt.items() if fold == k) for k in range(folds)
        ]
        assert not sizes or (max(sizes) - min(sizes) <= 1 and min(sizes) >= 1)
    sizes = [list(dealt.values()).count(k) for k in range(folds)]
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_folds_bend_to_the_smaller_class():
    assert cohort.number_of_folds([1, 1, 1, 0, 0, None], 5) == 2
    assert cohort.number_of_folds([1, 0, 0, 0], 5) == 0
    assert "1 patients have label 1 and 3 have label 0" in cohort.why_no_classifier([1, 0, 0, 0])
    assert cohort.why_no_classifier([1, 1, 0, 0]) == ""


def test_every_patient_has_a_row_and_the_first_refusal_is_the_reason():
    refusal = Refusal("missing-slices", "5 mm between files 3 and 4")
    rows = cohort.build_cohort(
        [
            member("b", 1), member("a", 0), member("c", 0, refusal=refusal), member("d"),
            member("e", 0), member("f", 1),
        ],
        folds=2, seed=0,
    )  # fmt: skip
    assert [row["patient"] for row in rows] == list("abcdef")
    assert (rows[2]["status"], rows[2]["code"]) == ("refused", "missing-slices")
    assert rows[2]["reason"] == "5 mm between files 3 and 4"
    assert [row["fold"] is not None for row in rows] == [True, True, False, False, True, True]
    assert rows[0]["volume_litre"] == 4.5
    counts = cohort.summarise(rows)
    assert counts["refused"] == {"missing-slices": 1}
    assert counts["labels"] == {"0": 2, "1": 2, "unknown": 1}


def test_split_column_fixes_folds():
    numbered = [member(f"p{k}", k % 2, split=str(k // 2)) for k in range(6)]
    labels = [one.label for one in numbered]
    splits = [one.split for one in numbered]
    folds = cohort.number_of_folds(labels, 5, splits=splits)
    assert folds == 3
    rows = cohort.build_cohort(numbered, folds=folds, seed=7)
    assert [row["fold"] for row in rows] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(InputError, match="fold 2 in the split column, but there are 2 folds"):
        cohort.build_cohort(numbered, folds=2, seed=7)


def test_words_hold_out_the_test_patients_once():
    members = [member(f"p{k}", k % 2, split="test" if k < 4 else "train") for k in range(8)]
    labels = [one.label for one in members]
    assert cohort.number_of_folds(labels, 5, splits=[one.split for one in members]) == 1
    rows = cohort.build_cohort(members, folds=1, seed=0)
    assert [row["fold"] for row in rows] == [0] * 4 + [None] * 4


def test_a_label_that_the_truth_contradicts_is_wrong_input():
    with pytest.raises(InputError, match="label 0 in the sheet, but its truth says 1"):
        cohort.build_cohort([member("a", 0, truth={"malignant": True})], folds=0, seed=0)


def test_once_the_split_column_is_used_who_has_none_only_trains():
    splits = ["test", "test", "", "train", "", "test"]
    members = [member(f"p{k}", k % 2, split=split) for k, split in enumerate(splits)]
    rows = cohort.build_cohort(members, folds=1, seed=0)
    assert [row["fold"] for row in rows] == [0, 0, None, None, None, 0]


def test_refusals_bend_the_folds_again():
    refusal = Refusal("no-ct", "nothing here")
    members = [member(f"p{k}", int(k < 5), refusal=refusal if k < 3 else None) for k in range(10)]
    rows = cohort.build_cohort(members, folds=5, seed=0)
    assert {row["fold"] for row in rows if row["fold"] is not None} == {0, 1}
    members = [member(f"p{k}", int(k < 5), refusal=refusal if k < 4 else None) for k in range(10)]
    rows = cohort.build_cohort(members, folds=5, seed=0)
    assert {row["fold"] for row in rows} == {None}


def with_hash(one, content_hash):
    one.volumes["content_hash"] = content_hash
    return one


def test_the_same_scan_under_two_names_is_used_once():
    def twins(labels):
        return [with_hash(member(f"p{k}", label), "abc") for k, label in enumerate(labels)]

    rows = cohort.build_cohort([*twins([1, 1]), with_hash(member("q", 0), "def")], folds=0, seed=0)
    assert [row["code"] for row in rows] == ["", "duplicate-scan", ""]
    assert "same scan as patient p0" in rows[1]["reason"]
    with pytest.raises(InputError, match="p0 and p1 are the same scan with labels 1 and 0"):
        cohort.build_cohort(twins([1, 0]), folds=0, seed=0)


def test_a_split_column_that_holds_no_labelled_patient_out_makes_no_fold():
    labels = [0, 1, 0, 1, None]
    assert cohort.number_of_folds(labels, 5, splits=["train"] * 4 + ["test"]) == 0
    assert cohort.number_of_folds(labels, 5, splits=["train"] * 4 + [""]) == 0
