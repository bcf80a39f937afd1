"""Small corpora for the text tests: real reviews where they can be found, docstrings everywhere."""

from __future__ import annotations

import inspect
import json
import string
import textwrap

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def reviews(data_dir) -> pd.DataFrame:
    """400 film reviews, half of them positive, in a fixed random order."""
    frame = pd.read_parquet(data_dir("imdb.parquet"))
    some = frame[frame.split == "train"].groupby("label").head(200)
    return some.sample(frac=1, random_state=0).reset_index(drop=True)


def _docstrings(module) -> list[str]:
    members = (getattr(module, name) for name in sorted(dir(module)))
    found = {inspect.getdoc(member) or "" for member in members if callable(member)}
    return [" ".join(text.split())[:400] for text in sorted(found) if len(text.split()) >= 8]


@pytest.fixture(scope="session")
def docstrings() -> tuple[list[str], list[str]]:
    """Texts and the library they belong to."""
    texts, labels = [], []
    for name, module in (
        ("numpy", np),
        ("pandas", pd),
        ("python", string),
        ("python", json),
        ("python", textwrap),
    ):
        own = _docstrings(module)[:150]
        texts += own
        labels += [name] * len(own)
    return texts, labels
