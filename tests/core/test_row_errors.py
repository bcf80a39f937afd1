"""What reading a row raises arrives as one line that names the row, however many processes read."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from zoo.data.loaders.dataset_loader import DatasetLoader
from zoo.data.loaders.row_errors import WorkerTraceback


class Own(Exception):
    """An error that cannot be made from a text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} {number}")


def make_error(kind: str) -> Exception:
    class Local(ValueError):
        """Cannot be named by another process."""

    return {
        "none": ValueError(),
        "value": ValueError("cannot read picture d/cut.bmp: truncated"),
        "file": FileNotFoundError(2, "No such file or directory", "d/a.jpg"),
        "key": KeyError("StoreType"),
        "own": Own(3, "own trouble"),
        "local": Local("local trouble"),
        "empty": RuntimeError(),
        "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        "memory": MemoryError("no room"),
    }[kind]


class Failing:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 12

    def __getitem__(self, key):
        if int(key) == 7 and self.kind != "none":
            raise make_error(self.kind)
        return np.float32(int(key)), int(key)


def error_of(loader: DatasetLoader) -> tuple[type, tuple, type, str, list[int]]:
    """Kind and arguments of what a pass raises, its cause, and the rows read before.

    The error is let go of: with its traceback it would hold the workers.
    """
    seen: list[int] = []
    try:
        for numbers, _ in loader:
            seen += numbers.tolist()
    except Exception as error:
        cause = error.__cause__
        return type(error), error.args, type(cause), str(cause), seen
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("value", ValueError, "cannot read picture d/cut.bmp: truncated (row 7)"),
        ("file", FileNotFoundError, "[Errno 2] No such file or directory: 'd/a.jpg' (row 7)"),
        ("key", KeyError, "StoreType (row 7)"),
        ("own", RuntimeError, "Own: own trouble 3 (row 7)"),
        ("empty", RuntimeError, "RuntimeError (row 7)"),
        ("memory", MemoryError, "no room (row 7)"),
    ],
)
def test_the_same_line_with_and_without_workers(kind, expected, text):
    for workers in (0, 2):
        found, args, *_, seen = error_of(DatasetLoader(Failing(kind), 3, num_workers=workers))
        assert (found, args, seen) == (expected, (text,), [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize("kind", ["local", "unicode"])
def test_kinds_that_cannot_be_made_anew(kind):
    for workers in (0, 1):
        found, (text,), *_ = error_of(DatasetLoader(Failing(kind), 3, num_workers=workers))
        assert issubclass(found, ValueError | RuntimeError)
        assert text.endswith("(row 7)")
        assert "\n" not in text


def test_the_place_in_the_code_is_the_cause():
    assert error_of(DatasetLoader(Failing("value"), 3, num_workers=0))[2] is ValueError
    _, _, cause, text, _ = error_of(DatasetLoader(Failing("value"), 3, num_workers=1))
    assert cause is WorkerTraceback
    assert "make_error(self.kind)" in text


def test_a_pass_after_an_error_begins_anew():
    loader = DatasetLoader(Failing("value"), 3, num_workers=1)
    for _ in range(2):
        assert error_of(loader)[-1] == [0, 1, 2, 3, 4, 5]


def test_workers_end_without_the_collector():
    gc.disable()
    try:
        loader = DatasetLoader(Failing("value"), 3, num_workers=1)
        error_of(loader)
        gone = weakref.ref(loader)
        del loader
        assert gone() is None
    finally:
        gc.enable()


def refuse(rows):
    raise TypeError(f"{len(rows)} rows that do not fit together")


def test_rows_that_make_no_batch():
    for workers in (0, 1):
        loader = DatasetLoader(Failing("value"), 3, num_workers=workers, collate_fn=refuse)
        assert error_of(loader)[:2] == (TypeError, ("3 rows that do not fit together",))
        assert loader.with_bs(2)._loader.collate_fn.collate_fn is refuse


def test_a_pass_begins_when_it_is_asked_for():
    loader = DatasetLoader(Failing("none"), 3, shuffle=True, seed=1)
    loader.set_epoch(1)
    batches = iter(loader)
    loader.set_epoch(2)
    orders = [torch.cat([rows for _, rows in batches_of]) for batches_of in (batches,)]
    loader.set_epoch(1)
    assert torch.equal(orders[0], loader.order)
