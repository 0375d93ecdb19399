"""A refusal carries its code and its sentence; one root catches all that is raised on purpose."""

import pytest

from lungfish.errors import InputError, LungfishError, Refusal


def test_one_root_catches_both():
    for error in (InputError("no such folder"), Refusal("no-ct", "no slice here")):
        with pytest.raises(LungfishError, match="no s"):
            raise error


def test_a_refusal_keeps_code_and_reason_apart():
    refusal = Refusal("missing-slices", "5 mm between files 3 and 4")
    assert (refusal.code, refusal.reason) == ("missing-slices", "5 mm between files 3 and 4")
    assert str(refusal) == "missing-slices: 5 mm between files 3 and 4"
