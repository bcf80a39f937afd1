"""The keywords that several constructors of `ImageClassifierData` share: names, types, texts and defaults."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

OnMissing = Literal["raise", "skip"]


class RowOptions(TypedDict, total=False):
    """Of every constructor that reads rows of file names and labels; `TableOptions` says what they mean."""

    test_name: str | None
    num_workers: int | None
    cat_separator: str | None
    on_missing: OnMissing
    seed: int | None


class TableOptions(RowOptions, total=False):
    """Also of those that find file names and labels in a table.

    Args:
        test_name: folder of unlabelled pictures, below `path`.
        num_workers: decoding processes; None chooses.
        cat_separator: what separates several labels in one text; None: nothing does.
        on_missing: "raise" names rows whose picture does not exist; "skip" leaves them out and logs how
            many.
        seed: of the order and the augmentation.
        suffix: appended to each name, e.g. ".jpg".
        id_col: column of the file names, by name or position.
        label_col: column of the labels, by name or position.
    """

    suffix: str
    id_col: str | int
    label_col: str | int


ROW_DEFAULTS: dict[str, Any] = {
    "test_name": None,
    "num_workers": None,
    "cat_separator": " ",
    "on_missing": "raise",
    "seed": None,
}
COLUMN_DEFAULTS: dict[str, Any] = {"suffix": "", "id_col": 0, "label_col": 1}
TABLE_DEFAULTS: dict[str, Any] = {**ROW_DEFAULTS, **COLUMN_DEFAULTS}
