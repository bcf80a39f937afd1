"""The keywords that several constructors of `ImageClassifierData` share: names, types, texts and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from zoo.vision.files.checking import OnBroken

OnMissing = Literal["raise", "skip"]


class RowOptions(TypedDict, total=False):
    """Of every constructor that reads rows of file names and labels; `TableOptions` says what they mean."""

    cat_separator: str | None
    classes: Sequence[str] | None
    on_missing: OnMissing
    on_broken: OnBroken
    test_name: str | None
    num_workers: int | None
    seed: int | None
    balance: bool


class ColumnOptions(TypedDict, total=False):
    """Where the names and labels stand in a table; `TableOptions` says what they mean."""

    suffix: str
    id_col: str | int
    label_col: str | int
    valid_col: str | int | None


class TableOptions(ColumnOptions, RowOptions, total=False):
    """Of the constructors that read a table.

    Args:
        suffix: appended to each name, e.g. ".jpg".
        id_col: column of the file names, by name or position.
        label_col: column of the labels, by name or position.
        valid_col: column that says which pictures validate (true, 1 or "valid"), instead of `val_idxs`.
        cat_separator: what separates several labels in one text; None: nothing does.
        classes: class names in the order wanted; default: those seen, in alphabetical order or that of their
            values.
        on_missing: "raise" names rows whose picture does not exist; "skip" leaves them out and logs how
            many.
        on_broken: "raise" names pictures that cannot be read before a training begins; "skip" leaves them out
            now, as far as their headers tell, and logs how many.
        test_name: folder of unlabelled pictures, below `path`.
        num_workers: decoding processes; None chooses.
        seed: of the order and the augmentation.
        balance: draw training pictures of rare classes more often.
    """


COLUMN_DEFAULTS: dict[str, Any] = {"suffix": "", "id_col": 0, "label_col": 1, "valid_col": None}
ROW_DEFAULTS: dict[str, Any] = {
    "cat_separator": " ",
    "classes": None,
    "on_missing": "raise",
    "on_broken": "raise",
    "test_name": None,
    "num_workers": None,
    "seed": None,
    "balance": False,
}
TABLE_DEFAULTS: dict[str, Any] = {**COLUMN_DEFAULTS, **ROW_DEFAULTS}
