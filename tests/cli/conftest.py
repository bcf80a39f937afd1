"""Small data of every domain in files, and the command line called in this process."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_wine

from zoo.cli import main


@pytest.fixture
def zoo(monkeypatch, capsys, tmp_path):
    """Calls the command line; returns the exit code, what was answered and what was said."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("zoo")
    level = logger.level

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        logger.setLevel(level)
        return int(stop.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def asked(zoo):
    """The same with `--json`: the object that was answered."""

    def call(*words: Any) -> dict[str, Any]:
        code, out, err = zoo(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture(scope="session")
def wine(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("wine") / "wine.csv"
    load_wine(as_frame=True).frame.rename(columns={"target": "kind"}).to_csv(file, index=False)
    return file


@pytest.fixture(scope="session")
def ratings(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    users, films = rng.integers(1, 60, 2500), rng.integers(100, 180, 2500)
    good = 3 + ((users % 2 == films % 2) * 2 - 1) + rng.normal(0, 0.5, 2500)
    frame = pd.DataFrame({"userId": users, "movieId": films, "rating": good.round().clip(1, 5)})
    file = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    frame.drop_duplicates(["userId", "movieId"]).to_csv(file, index=False)
    return file


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Path:
    """A folder of text files for each class."""
    folder = tmp_path_factory.mktemp("reviews")
    rng = np.random.default_rng(0)
    words = {"good": ["fine", "lovely", "great"], "bad": ["dull", "awful", "poor"]}
    for name, own in words.items():
        (folder / name).mkdir()
        for number in range(40):
            text = " ".join(f"the film was {rng.choice(own)} and it is on" for _ in range(3))
            (folder / name / f"{number}.txt").write_text(text, encoding="utf8")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Tiny bright and dark pictures, a folder for each."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, middle in (("bright", 180), ("dark", 70)):
        (folder / name).mkdir()
        for number in range(30):
            pixels = rng.normal(middle, 30, (24, 24, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
