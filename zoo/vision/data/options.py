"""The keywords that several constructors of `ImageClassifierData` share: names, types, texts and defaults."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

OnMissing = Literal["raise", "skip"]


class RowOptions(TypedDict, total=False):
    """Of every constructor that reads rows of file names and labels; `TableOptions` says what they mean."""

    cat_separator: str | None
    on_missing: OnMissing
    test_name: str | None
    num_workers: int | None
    seed: int | None
    balance: bool


class ColumnOptions(TypedDict, total=False):
    """Where the names and labels stand in a table; `TableOptions` says what they mean."""

    suffix: str
    id_col: str | int
    label_col: str | int


class TableOptions(ColumnOptions, RowOptions, total=False):
    """Of the constructors that read a table.

    Args:
        suffix: appended to each name, e.g. ".jpg".
        id_col: column of the file names, by name or position.
        label_col: column of the labels, by name or position.
        cat_separator: what separates several labels in one text; None: nothing does.
        on_missing: "raise" names rows whose picture does not exist; "skip" leaves them out and logs how
            many.
        test_name: folder of unlabelled pictures, below `path`.
        num_workers: decoding processes; None chooses.
        seed: of the order and the augmentation.
        balance: draw training pictures of rare classes more often.
    """


COLUMN_DEFAULTS: dict[str, Any] = {"suffix": "", "id_col": 0, "label_col": 1}
ROW_DEFAULTS: dict[str, Any] = {
    "cat_separator": " ",
    "on_missing": "raise",
    "test_name": None,
    "num_workers": None,
    "seed": None,
    "balance": False,
}
TABLE_DEFAULTS: dict[str, Any] = {**COLUMN_DEFAULTS, **ROW_DEFAULTS}
