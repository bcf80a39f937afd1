"""The one idea of classes: names and numbers, their order, and the labels that are refused."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.data.classes import (
    Classes,
    are_marks,
    are_numbers,
    check_enough,
    class_name,
    class_place,
    label_rows,
    marked,
    names_with_rows,
    names_without_rows,
    split_label,
)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.float32(2), "2"),
        (np.float32(0.1), "0.1"),
        (Decimal("3.0"), "3"),
        (0.5, "0.5"),
        ("1.0", "1.0"),
        (" a", " a"),
        (True, "True"),
        (np.bool_(False), "False"),
        (b"cat", "cat"),
    ],
)
def test_a_class_has_one_name_and_is_found_by_value_and_by_name(value, name) -> None:
    assert class_name(value) == name
    classes = Classes(["other", name])
    assert classes.place(value) == classes.place(name) == class_place(value, classes.names) == 1


def test_true_and_one_are_the_same_class_where_only_one_of_them_is_there() -> None:
    assert [class_place(value, ["0", "1"]) for value in (True, np.True_, 1.0, "1")] == [1] * 4
    assert [class_place(value, ["False", "True"]) for value in (True, 1, np.int8(0))] == [1, 1, 0]
    assert [class_place(value, ["0", "1", "False", "True"]) for value in (True, 1)] == [3, 1]
    assert class_place(2, ["0", "1"]) is None


def test_the_order_is_alphabetical_or_by_value() -> None:
    assert Classes.found([10, 9.0, 2, None]).names == ["10", "2", "9"]
    assert Classes.found([10, 9.0, 2], by_value=True).names == ["2", "9", "10"]
    assert Classes.found([["b", "a"], "c", []], several=True).names == ["a", "b", "c"]
    assert are_numbers([1, np.float32(2), None])
    assert not any(map(are_numbers, ([1, "2"], [True], [None], [])))


def test_numbers_and_marks() -> None:
    classes = Classes.given(["y", "x"])
    numbers = classes.numbers(["x", "y", "x"], "train")
    assert (numbers.dtype, numbers.tolist()) == (np.int64, [1, 0, 1])
    marks = classes.marks([["x", "y"], "x", [], {"y"}], "train")
    assert marks.dtype == np.float32
    assert marks.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert classes.numbers([], "train").shape == (0,)
    assert classes.marks([], "train").shape == (0, 2)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ("neg", TypeError, "classes is one string, 'neg': give a list"),
        (["a", "b", "a"], ValueError, "classes holds a more than once"),
        ([1, "1"], ValueError, "classes holds 1 more than once"),
        ([1.0, 1], ValueError, "classes holds 1 more than once"),
        (["a", None], ValueError, "classes holds None, which is no name"),
        (["a", " "], ValueError, "classes holds ' ', which is no name"),
    ],
)
def test_bad_names_are_refused(classes, error, message) -> None:
    with pytest.raises(error, match=message):
        Classes.given(classes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["x", None, "x", np.nan],
            "valid: 2 labels are missing, in row 1, 3",
        ),
        (["x", pd.NA], "valid, row 1: the label is missing"),
        (["x", " "], "valid, row 1: the label is missing"),
        (
            ["x", "yy", "z"],
            r"valid, row 1: class 'yy', 'z' does not occur in training .*the classes are x, y",
        ),
        (["x", ["y"]], "valid, row 1: a list of labels, but the training labels are single ones"),
    ],
)
def test_bad_single_labels_are_refused(labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        Classes.found(["x", "y"]).numbers(labels, "valid")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["x"], None], "valid, row 1: the label is missing"),
        ([["x", None]], "valid: row 0 holds None, which is no label"),
        ([["x", ["y"]]], r"valid: row 0 holds \['y'\], which is no label"),
        ([["x"], ["y", "q"]], "valid, row 1: label 'q' is not among the classes x, y"),
    ],
)
def test_bad_lists_of_labels_are_refused(labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        Classes.given(["x", "y"]).marks(labels, "valid")


def test_one_class_is_nothing_to_learn() -> None:
    check_enough(["a", "b"], "the target has")
    check_enough(["a"], "there are", least=1)
    with pytest.raises(ValueError, match="the target has only one class, 'a': there is nothing to learn"):
        check_enough(["a"], "the target has")
    with pytest.raises(ValueError, match="there are no labels: a classifier needs at least one label"):
        check_enough([], "there are", least=1)


def test_rows_of_labels_of_any_kind() -> None:
    for labels in (["a", b"b"], ("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"], index=[7, 8])):
        assert label_rows(labels, "train") == ["a", "b"]
    for column in (np.array([[5], [7]]), torch.tensor([5, 7]), torch.tensor([[5], [7]]), iter([5, 7])):
        assert label_rows(column, "train") == [5, 7]
    assert label_rows([np.array(["a"]), torch.tensor([1])], "train") == [["a"], [1]]
    assert label_rows(torch.eye(2, dtype=torch.bool), "train") == [[True, False], [False, True]]
    for bad, error in (
        ("ab", TypeError),
        (3, TypeError),
        ({"a": 1}, TypeError),
        (np.zeros((1, 1, 1)), ValueError),
    ):
        with pytest.raises(error, match="train: expected"):
            label_rows(bad, "train")
    with pytest.raises(TypeError, match=r"train: .* a data frame with the columns x: pass frame\[column\]"):
        label_rows(pd.DataFrame({"x": [1]}), "train")
    for matrix in (np.array([[1, 2]]), np.array([["0", "1"]])):
        with pytest.raises(ValueError, match="must hold only 0 and 1"):
            label_rows(matrix, "train")


def test_marks_and_their_names() -> None:
    assert are_marks(np.array([[True, False]]))
    assert are_marks(np.array([[1, False]], dtype=object))
    assert not are_marks(np.array([[1.0, np.nan]]))
    assert marked(np.eye(2), ["a", "b"], "train") == [["a"], ["b"]]
    with pytest.raises(ValueError, match="train: 2 label columns but 3 class names"):
        marked(np.eye(2), ["a", "b", "c"], "train")


def test_cells_with_several_labels() -> None:
    assert [split_label(cell, ";") for cell in ("a; b", "b;", " a", None, 1.0)] == [
        ["a", "b"],
        ["b"],
        ["a"],
        [],
        ["1"],
    ]


def test_classes_that_some_rows_lack() -> None:
    y, marks = np.array([0, 2, 2, 1]), np.array([[1, 0, 0], [0, 0, 1]])
    assert names_without_rows(y, ["a", "b", "c"], np.array([0, 1])) == ["b"]
    assert names_with_rows(y, ["a", "b", "c"], np.array([1])) == ["c"]
    assert names_without_rows(marks, ["a", "b", "c"]) == ["b"]


def test_classes_need_no_torch() -> None:
    code = "import sys, zoo.data.classes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, "1", 2.0], ["1", "2"]),
        ([True, 1, 0], ["0", "1"]),
        ([True, "False"], ["False", "True"]),
        ([b"r\xe9d", b"r\xe8d"], [r"r\xe8d", r"r\xe9d"]),
        (
            [Decimal("9007199254740993"), Decimal("9007199254740992")],
            ["9007199254740992", "9007199254740993"],
        ),
        ([Decimal("2.50"), 2.5], ["2.5"]),
    ],
    ids=["number and text", "true and number", "true and text", "bytes", "large", "decimal"],
)
def test_values_are_one_class_if_they_are_equal_and_only_then(labels, names):
    classes = Classes.found(labels)
    assert sorted(classes.names) == names
    again = classes.numbers(labels, "valid").tolist()
    assert [names.index(classes.names[number]) for number in again] == [
        names.index(next(name for name in names if classes.place(label) == classes.names.index(name)))
        for label in labels
    ]


def test_texts_that_no_file_tells_apart_are_refused():
    with pytest.raises(ValueError, match=r"'a\\ud800', 'a\\ud801' differ only in halves of surrogate pairs"):
        Classes.found(["a\ud800", "a\ud801", "b"])


def test_many_classes_are_taken_in_time():
    names = [f"class {number}" for number in range(50_000)]
    assert len(Classes.given(names)) == 50_000
    with pytest.raises(ValueError, match="class 7 more than once"):
        Classes.given([*names, "class 7"])
