"""The offline demo in a tiny mode: report, models, honest references."""

import base64
import re

import numpy as np
import pandas as pd
import pytest

from zoo import load_learner
from zoo.demo import run
from zoo.demo.docstrings import LIBRARIES, clean, collect
from zoo.demo.ratings import NOISE as RATING_NOISE
from zoo.demo.ratings import simulate as simulate_ratings
from zoo.demo.sales import HELD_OUT, NOISE
from zoo.demo.sales import simulate as simulate_sales
from zoo_tabular import last_days_split


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    lines: list[str] = []
    out = tmp_path_factory.mktemp("demo")
    return run(out, seed=1, scale=0.05, echo=lines.append), lines, out


def test_the_report_is_one_file_with_every_domain(demo):
    result, _, out = demo
    html = result.report.read_text(encoding="utf8")
    assert result.report == out / "report.html"
    for heading in ("Images", "Tables", "Text", "Recommendations"):
        assert f"<h2>{heading}</h2>" in html
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) >= 14
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.search(r'(src|href)="(?!data:)', html)
    for caption in ("confusion matrix", "learning-rate finder", "least certain", "embedding of the weekday"):
        assert caption in html


def test_the_table_names_metric_reached_and_reference(demo):
    result, lines, _ = demo
    printed = "\n".join(lines)
    assert result.table() in printed
    assert "[4/4] ratings" in printed
    for section in result.sections:
        assert np.isfinite(section.reached)
        assert any(character.isdigit() for character in section.reference)
        assert f"{section.reached:.3f}" in result.table()


def test_every_exported_model_opens_and_predicts(demo):
    result, _, out = demo
    assert len(result.models) == 4
    by_name = {path.name: load_learner(path, device="cpu") for path in result.models}
    picture = next(iter((out / "data").glob("digits-*/valid/*/*.png")))
    assert by_name["digits"].predict_one(picture).label in by_name["digits"].data.classes
    assert by_name["docstrings"].predict_one("Returns the mean of an array along an axis").label in LIBRARIES
    assert len(by_name["ratings"].recommend("user 0", n=3)) == 3
    assert type(by_name["sales"]).__name__ == "TabularLearner"


def test_sales_noise_is_what_the_report_says():
    df = simulate_sales(6, seed=3).dropna(subset="Sales")
    residual = np.log(df["Sales"] / df["Expected"])
    assert residual.std() == pytest.approx(NOISE, rel=0.03)
    assert abs(residual.mean()) < 0.005
    assert len(last_days_split(df, "Date", HELD_OUT)) == 6 * HELD_OUT
    pd.testing.assert_frame_equal(df, simulate_sales(6, seed=3).dropna(subset="Sales"))


def test_ratings_noise_is_what_the_report_says():
    df, titles = simulate_ratings(200, 60, seed=3)
    assert not df.duplicated(["user", "film"]).any()
    assert set(df["film"]) <= set(titles)
    same, _ = simulate_ratings(200, 60, seed=3)
    pd.testing.assert_frame_equal(df, same)
    assert df["rating"].std() > 2 * RATING_NOISE


def test_docstrings_do_not_give_their_library_away():
    assert clean("Call `torch.nn` on a Tensor.\n\n>>> import torch\n\nSee pandas.") == "Call .nn on a . See ."
    found = collect(30, seed=0)
    assert len(found) >= 5
    for library, texts in found.items():
        assert len(texts) == len(set(texts)) <= 30
        assert not any(library in text.lower().split() for text in texts)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no demo 'image' \(did you mean 'images'\?\)"):
        run(tmp_path, only="image")
    with pytest.raises(ValueError, match="more than 0 and at most 4, got 0"):
        run(tmp_path, scale=0)
