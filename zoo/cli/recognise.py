"""What lies at a path: pictures, a table, texts or ratings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zoo.cli.frames import kind_of, read_frame
from zoo.cli.plans import DOMAINS, Mendable, Wishes
from zoo.cli.recipes.pictures import ENDINGS, is_picture_table
from zoo.cli.recipes.ratings import columns_of
from zoo.cli.recipes.texts import text_column_of
from zoo.errors import did_you_mean, some

_MOST_FILES = 20_000


def recognise(path: Path, wishes: Wishes) -> tuple[Path, str, str]:
    """What lies at a path.

    Returns:
        The path (of the table, where a folder holds one), the domain, and why.

    Raises:
        Mendable: where nothing of the kind lies there, or several things do.
    """
    if not path.exists():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise Mendable(f"there is nothing at {path}{did_you_mean(path.name, there)}")
    if wishes.domain is not None and wishes.domain not in DOMAINS:
        raise Mendable(
            f"--domain is one of {', '.join(DOMAINS)}, not {wishes.domain!r}"
            f"{did_you_mean(wishes.domain, DOMAINS)}"
        )
    if path.is_dir():
        return _folder(path, wishes)
    if wishes.domain is not None:
        return path, wishes.domain, "as you said"
    domain, why = _table(path, wishes)
    return path, domain, why


def _folder(path: Path, wishes: Wishes) -> tuple[Path, str, str]:
    pictures = texts = 0
    for number, file in enumerate(path.glob("*/**/*")):
        pictures += file.suffix.lower() in ENDINGS
        texts += file.suffix.lower() == ".txt"
        if number > _MOST_FILES:
            break
    tables = sorted(file for file in path.iterdir() if file.is_file() and kind_of(file) not in (None, ".txt"))
    of_pictures = [file for file in tables if pictures and is_picture_table(file)]
    if wishes.domain in (None, "image") and len(of_pictures) == 1:
        return of_pictures[0], "image", f"{of_pictures[0].name} names pictures"
    if wishes.domain in (None, "image", "text") and (pictures or texts):
        domain = wishes.domain or ("image" if pictures >= texts else "text")
        counted = f"{pictures:,} pictures" if domain == "image" else f"{texts:,} text files"
        return path, domain, f"{counted} in folders"
    if len(tables) == 1:
        if wishes.domain is not None:
            return tables[0], wishes.domain, "as you said"
        domain, why = _table(tables[0], wishes)
        return tables[0], domain, why
    if tables:
        raise Mendable(
            f"{path} holds {len(tables)} tables: name one of {some((one.name for one in tables), 12)}"
        )
    raise Mendable(
        f"{path} holds nothing to learn from: no table, and no pictures or .txt files in folders that are "
        "their classes"
    )


def _table(path: Path, wishes: Wishes) -> tuple[str, str]:
    df = read_frame(path)
    if wishes.user or wishes.item or wishes.rating:
        return "ratings", "users and items are named"
    if wishes.text:
        return "text", f"its column {wishes.text!r} holds texts"
    if wishes.categories or wishes.numbers or wishes.dates or wishes.join:
        return "table", "columns of a table are named"
    if is_picture_table(path):
        return "image", "a column names pictures"
    found, text = columns_of(df.columns), text_column_of(df)
    asked = wishes.target in (None, found.get("rating"))
    if {"user", "item"} <= found.keys() and asked and text is None and df.shape[1] <= len(found) + 2:
        return "ratings", f"columns {some(map(repr, found.values()))}"
    if text is not None and text != wishes.target and _is_about(df, text, wishes.target):
        return "text", f"its column {text!r} holds texts, and little else tells anything"
    return "table", f"{df.shape[1]} columns"


def _is_about(df: pd.DataFrame, text: str, target: str | None) -> bool:
    """Whether a table is about its texts: beside them and the target there are names, and nothing more."""
    others = [name for name in df.columns if name not in (text, target)]
    telling = [name for name in others if 1 < df[name].nunique() < 0.5 * len(df)]
    return len(telling) <= (1 if target is None else 2)
