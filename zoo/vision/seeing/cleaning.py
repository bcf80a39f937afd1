"""Cleaning: a page to look through, whose corrections come back as a table."""

from __future__ import annotations

import html
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoo.data.asked import checked_n
from zoo.errors import did_you_mean, some
from zoo.storage.files import atomic_write
from zoo.vision.files.depths import ValueRange
from zoo.vision.seeing.cleaning_script import SCRIPT, STYLE
from zoo.vision.seeing.duplicates import (
    across_split,
    contradicting,
    has_features,
    table_of_both,
)
from zoo.vision.seeing.features import compared, raw_features
from zoo.vision.seeing.label_errors import has_labels, suspicious_table
from zoo.vision.seeing.looks import look_at, range_of
from zoo.vision.seeing.oddities import odd_table
from zoo.vision.seeing.page import Part, card, grid_part, write_page
from zoo.vision.seeing.sets import PictureSet, data_of, picture_set

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

COLUMNS = ("file", "label", "part", "row", "action")
ACTIONS = ("keep", "relabel", "delete")
_SELECT = 40  # classes up to which labels are chosen from a list


def cleaning_page(source: Any, path: str | Path, *, n: int = 60) -> Path:
    """Write a page on which a person looks through pictures that are probably wrong, and marks corrections.

    It shows labels that are probably wrong (of a learner, by cross-validation on its features), pictures that
    are there twice with different labels, on both sides of the split or on one, and pictures unlike the rest.
    Each can be given another label or be left out; a button downloads `corrections.csv`, which
    `apply_corrections` turns into a table for `ImageClassifierData.from_csv`. The page holds all it needs,
    pictures included, and sends nothing anywhere. No file of yours is changed.

    Args:
        source: a learner, or picture data (then without suspicious labels).
        path: the page, such as "clean.html".
        n: pictures (or pairs) shown in each section.

    Returns:
        The page.

    Raises:
        TypeError: for anything but a learner or picture data.
    """
    if data_of(source) is None:
        raise TypeError(f"cleaning_page needs a learner or picture data, got {type(source).__name__}")
    n = checked_n(n)
    pictures = picture_set(source)
    looks = look_at(pictures.items, value_range=range_of(source))
    raw: np.ndarray | None = raw_features(source) if hasattr(source, "model") else None
    features = compared(raw) if raw is not None and has_features(source, pictures) else None
    separator = label_separator(pictures)
    names = [_below(name, pictures.base) for name in pictures.names]
    for name in names:
        if not name.isascii():
            _check_name(name)
    index = {
        (str(part), int(row)): i
        for i, (part, row) in enumerate(zip(pictures.parts, pictures.rows, strict=True))
    }
    cards = _Cards(pictures, names, separator, range_of(source))

    sections: list[Part] = []
    if raw is not None and has_labels(source):
        doubts = suspicious_table(pictures, raw[: pictures.n_labelled], None)
        shown = [cards.one(index[one["part"], one["row"]], _doubt(one)) for one in _first(doubts, n)]
        sections.append(grid_part("Labels that are probably wrong", _of(len(shown), len(doubts)), shown))
    twins = table_of_both(pictures, looks, features)
    twisted = contradicting(twins)
    split = across_split(twins).drop(twisted.index, errors="ignore")
    inside = twins.drop(twisted.index.union(split.index))
    for title, table in (
        ("Alike, but labelled differently", twisted),
        ("Alike, on both sides of the split", split),
        ("Alike", inside),
    ):
        shown = [
            cards.pair(index[one["part"], one["row"]], index[one["twin_part"], one["twin_row"]], one)
            for one in _first(table, n)
        ]
        sections.append(grid_part(title, _of(len(shown), len(table)), shown))
    odd = odd_table(pictures, looks, features)
    shown = [cards.one(index[one["part"], one["row"]], one["why"]) for one in _first(odd, n)]
    sections.append(grid_part("Unlike the rest", _of(len(shown), len(odd)), shown))
    return write_page(path, "Look through these pictures", sections, head=_head(separator), foot=cards.foot())


def apply_corrections(csv: str | Path, out: str | Path | None = None) -> pd.DataFrame:
    """The table of a data set after corrections: rows marked "delete" are gone, labels are the new ones.

    Args:
        csv: `corrections.csv`, as the page of `cleaning_page` downloads it.
        out: also write the table to this CSV file, for
            `ImageClassifierData.from_csv(path, "", out, val_idxs=numpy.flatnonzero(table.part == "valid"))`;
            with `cat_separator=None` where pictures have one label each.

    Returns:
        `file` (relative to the folder of the data), `label`, `part` of the split it was in.

    Raises:
        FileNotFoundError: no such file.
        ValueError: if it is no such table.

    A label that only corrected rows have, as a typing error is, is told in the log.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "corrections.csv"
        >>> rows = ["file,label,part,row,action", "1.jpg,cat,train,0,keep", "2.jpg,dog,train,1,delete"]
        >>> _ = file.write_text("\\n".join(rows))
        >>> apply_corrections(file).values.tolist()
        [['1.jpg', 'cat', 'train']]
    """
    file = Path(csv)
    if not file.is_file():
        raise FileNotFoundError(f"there are no corrections at {file}: download them from the cleaning page")
    table = _read_corrections(file)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(
            f"{file} has no column {some(map(repr, missing))}; the page writes {', '.join(COLUMNS)}, the "
            f"file has {some(table.columns, 10)}"
        )
    unknown = [value for value in table.action.unique() if value not in ACTIONS]
    if unknown:
        hint = did_you_mean(unknown[0], ACTIONS)
        raise ValueError(f"{file}: action {unknown[0]!r} is not one of {', '.join(ACTIONS)}{hint}")
    unnamed = table.index[(table.label == "") & (table.action == "relabel")]
    if len(unnamed):
        raise ValueError(
            f"{file}: no new label for {some(table.file[unnamed].map(repr), 3)}: give one, or 'delete' it"
        )
    twice = table.file[table.file.duplicated()]
    if len(twice):
        raise ValueError(f"{file}: {some(twice.map(repr), 3)} is there more than once: keep one row each")
    _tell_new_labels(table, file)
    kept = table.loc[table.action != "delete", ["file", "label", "part"]].reset_index(drop=True)
    if out is not None:
        with atomic_write(out) as temporary:
            kept.to_csv(temporary, index=False, encoding="utf8")
    return kept


def _read_corrections(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        why = "it is empty"
    except UnicodeDecodeError:
        why = "its text is not UTF-8 (in a spreadsheet, save it as 'CSV UTF-8')"
    except (pd.errors.ParserError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise ValueError(f"{file} cannot be read as a table: {why}; the cleaning page writes it") from None


def _tell_new_labels(table: pd.DataFrame, file: Path) -> None:
    """Log a warning for labels that only corrected rows have: of one row, or much like one of the others."""
    cells = table.label[table.action != "relabel"].unique().tolist()
    known = {name for cell in cells for name in (cell, *cell.split(";"), *cell.split())} - {""}
    told = []
    for label, rows in Counter(table.label[table.action == "relabel"].tolist()).items():
        several = ([label], label.split(";"), label.split())
        if any(known.issuperset(names) for names in several):
            continue
        near = did_you_mean(label, sorted({*cells, *known} - {""}))
        if rows == 1 or near:
            told.append(f"{label!r} of {rows} picture{'s' if rows > 1 else ''}{near}")
    if told:
        log.warning("%s: no other row has the label %s: it becomes a class of its own", file, some(told, 3))


def label_separator(pictures: PictureSet) -> str | None:
    """What stands between several labels in a cell: a blank, or a semicolon where names have blanks; `None`
    for pictures with one label each."""
    if not pictures.is_multi:
        return None
    return ";" if any(" " in str(name) for name in pictures.classes or []) else " "


class _Cards:
    """Pictures with what a person can do about them."""

    def __init__(
        self,
        pictures: PictureSet,
        names: list[str],
        separator: str | None,
        value_range: ValueRange | None = None,
    ) -> None:
        self.pictures, self.names, self.separator = pictures, names, separator
        self.value_range = value_range
        self.classes = [str(name) for name in pictures.classes or []]

    def label(self, row: int) -> str:
        if self.separator in (None, " ") or row >= self.pictures.n_labelled or self.pictures.y is None:
            return self.pictures.label(row)
        return (self.separator or " ").join(
            name for name, on in zip(self.classes, self.pictures.y[row], strict=True) if on > 0.5
        )

    def one(self, row: int, caption: str) -> str:
        part = str(self.pictures.parts[row])
        told = (
            f"{caption}\n{part}: {self.label(row) or '(no label)'}"
            if caption
            else f"{part}: {self.label(row)}"
        )
        return card(
            self.pictures.items[row],
            told,
            name=self.names[row],
            inner=self._controls(row),
            value_range=self.value_range,
        )

    def pair(self, row: int, twin: int, found: dict[str, Any]) -> str:
        how = "equal content" if found["kind"] == "exact" else f"distance {found['distance']:.3f}"
        return f'<div class="pair">{self.one(row, how)}{self.one(twin, how)}</div>'

    def _controls(self, row: int) -> str:
        if row >= self.pictures.n_labelled:
            return ""
        own = html.escape(self.label(row))
        if self.separator is None and len(self.classes) <= _SELECT:
            options = "".join(
                f"<option{' selected' if name == self.label(row) else ''}>{html.escape(name)}</option>"
                for name in self.classes
            )
            field = f'<select data-row="{row}" aria-label="label">{options}</select>'
        else:
            listed = ' list="labels"' if self.separator is None else ""
            field = f'<input data-row="{row}"{listed} value="{own}" aria-label="label">'
        return (
            f'<span class="do">{field}<label><input type="checkbox" data-drop="{row}"> delete</label></span>'
        )

    def foot(self) -> str:
        """The whole table, the names to choose from, and the script that writes the corrections."""
        n = self.pictures.n_labelled
        rows = [
            [self.names[i], self.label(i), str(self.pictures.parts[i]), int(self.pictures.rows[i])]
            for i in range(n)
        ]
        options = "".join(f'<option value="{html.escape(name)}">' for name in self.classes)
        return (
            f'<datalist id="labels">{options}</datalist>'
            f'<script type="application/json" id="table">{_json(rows)}</script>'
            f"<script>{SCRIPT}</script>"
        )


def _json(value: Any) -> str:
    """JSON that can stand inside a script element whatever its texts hold."""
    return (
        json.dumps(value, ensure_ascii=True)
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    )


def _head(separator: str | None) -> str:
    how = (
        "cat_separator=None"
        if separator is None
        else f"several labels are separated by {'a blank' if separator == ' ' else repr(separator)}"
    )
    told = (
        "Choose another label, or mark what should be left out; a picture that is shown more than once is "
        "marked everywhere. Nothing is changed until you use the file that the button downloads:"
    )
    first = "table = zoo.vision.apply_corrections('corrections.csv', 'clean.csv')"
    second = "ImageClassifierData.from_csv(path, '', 'clean.csv', ...)"
    return (
        f"<style>{STYLE}</style><p>{told} <code>{first}</code>, then <code>{second}</code> "
        f"({html.escape(how)}).</p>"
        '<p class="bar"><button id="save">Download corrections.csv</button> '
        '<span id="count">nothing marked</span></p>'
    )


def _doubt(one: dict[str, Any]) -> str:
    chances = one["suggested_probability"], one["probability"]
    return f"rather {one['suggested']}: {chances[0]:.2f}\n{one['label']}: {chances[1]:.2f}"


def _first(table: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    """The first rows of a table, each as a dict."""
    return [{str(name): value for name, value in row.items()} for row in table.head(n).to_dict("records")]


def _of(shown: int, total: int) -> str:
    return f"{shown} of {total} shown" if total > shown else ""


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        told = os.fsencode(name)
        raise ValueError(
            f"cleaning_page: the file name {told!r} is not UTF-8, so no table can hold it: rename the file"
        ) from None


def _below(name: str, base: Path) -> str:
    """A file as it is called from the folder of the data; one that lies elsewhere by its whole path."""
    if not os.path.isabs(name) and not Path(name).exists():
        return name  # pictures in memory have no file
    file, root = os.path.abspath(name), os.path.abspath(base)
    return os.path.relpath(file, root) if Path(file).is_relative_to(root) else file
