"""A store is on disk whole or not at all."""

import h5py
import numpy as np
import pytest

from lungfish import stores


def test_what_was_put_in_comes_out(tmp_path):
    with stores.new_store(tmp_path / "deep" / "a.h5") as store:
        store.create_dataset("x", data=np.arange(5))
        store.attrs["unit"] = "HU"
    with h5py.File(tmp_path / "deep" / "a.h5") as store:
        assert store["x"][:].tolist() == list(range(5))
        assert store.attrs["unit"] == "HU"


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), stores.new_store(path) as store:
        store.attrs["unit"] = "HU"
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]
