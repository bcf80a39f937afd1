"""Which output is meant: classes by value or name, targets by name, places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.tabular.known import known_learner
from zoo_tabular import ColumnarModelData
from zoo_tabular.reasons.answers import check_output


def learner(target: object, path: object, **options: object):
    df = pd.DataFrame({"x": np.arange(40.0) % 7})
    options = {"is_reg": False, **options}
    md = ColumnarModelData.from_data_frame(path, range(20, 40), df, target, [], 10, **options)
    return md.get_learner(szs=[2], progress=False, device="cpu")


def test_classes_that_are_numbers_go_by_value(tmp_path) -> None:
    learn = learner(np.arange(40) % 10 / 2 + 0.5, tmp_path)
    for output in (5.0, 5, "5", np.float32(5), np.int64(5)):
        assert check_output(learn, output, "here") == 9
    assert check_output(learn, 0.5, "here") == 0
    for output in (0, 9, 5.5, "5.5", -1):
        with pytest.raises(ValueError, match="here: there is no output"):
            check_output(learn, output, "here")
    whole = learner(np.arange(40) % 3 + 1, tmp_path)
    assert [check_output(whole, value, "here") for value in (1, 2, 3, 3.0)] == [0, 1, 2, 2]
    with pytest.raises(ValueError, match="there is no output 0; there are '1', '2', '3'"):
        check_output(whole, 0, "here")


def test_true_and_false_are_classes(tmp_path) -> None:
    for classes in (np.arange(40) % 2 == 1, np.arange(40) % 2):
        learn = learner(classes, tmp_path)
        for one in (True, np.bool_(True), 1, 1.0):
            assert check_output(learn, one, "here") == 1
            assert check_output(learn, type(one)(0), "here") == 0
        assert check_output(learn, None, "here") == 1


def test_names_and_places(tmp_path) -> None:
    learn = learner(np.array(list("abcd") * 10), tmp_path)
    assert [check_output(learn, output, "here") for output in ("b", 1, np.int64(3))] == [1, 1, 3]
    for output in (4, -1, True, 1.0, "e"):
        with pytest.raises(ValueError, match="there is no output"):
            check_output(learn, output, "here")
    two = known_learner(tmp_path, n_out=2)
    assert [check_output(two, output, "here") for output in ("one", "two", 0, 1)] == [0, 1, 0, 1]
    for output in (True, 2, "three"):
        with pytest.raises(ValueError, match="there is no output"):
            check_output(two, output, "here")
    labels = learner(np.arange(80).reshape(40, 2) % 2, tmp_path, is_multi=True)
    assert [check_output(labels, output, "here") for output in (0, "1")] == [0, 1]


def test_values_of_a_target_with_one_name_are_one_class(tmp_path):
    kinds = pd.Series([1, "1", "2"] * 8, dtype=object)
    df = pd.DataFrame({"x": range(24), "shop": ["a", "b"] * 12, "kind": kinds})
    data = ColumnarModelData.from_data_frame(tmp_path, [0, 1, 2], df, "kind", ["shop"], bs=8, is_reg=False)
    assert data.classes == ["1", "2"]
    assert data.valid_dl.tensors[-1].tolist() == [0, 0, 1]


def test_halves_of_surrogate_pairs_in_classes_are_replaced(tmp_path):
    kinds = pd.Series(["a" + chr(0xD83D), "b"] * 8, dtype=object)
    df = pd.DataFrame({"x": range(16), "shop": ["a", "b"] * 8, "kind": kinds})
    data = ColumnarModelData.from_data_frame(tmp_path, None, df, "kind", ["shop"], bs=8, is_reg=False)
    assert data.classes == ["a\ufffd", "b"]
