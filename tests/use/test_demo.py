"""The offline demo in a tiny mode: report, models, honest references."""

import base64
import html
import re

import numpy as np
import pandas as pd
import pytest

from zoo import get_cv_idxs, load_learner
from zoo.demo import run
from zoo.demo.docstrings import LIBRARIES, clean, collect
from zoo.demo.ratings import NOISE as RATING_NOISE
from zoo.demo.ratings import simulate as simulate_ratings
from zoo.demo.sales import HELD_OUT, NOISE
from zoo.demo.sales import simulate as simulate_sales
from zoo_tabular import last_days_split, read_table, rmspe


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    lines: list[str] = []
    out = tmp_path_factory.mktemp("demo")
    return run(out, seed=1, scale=0.05, echo=lines.append), lines, out


def test_the_report_is_one_file_with_every_domain(demo):
    result, _, out = demo
    page = result.report.read_text(encoding="utf8")
    assert result.report == out / "report.html"
    for heading in ("Images", "Tables", "Text", "Recommendations"):
        assert f"<h2>{heading}</h2>" in page
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 14
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)
    for caption in ("confusion matrix", "learning-rate finder", "least certain", "embedding of the weekday"):
        assert caption in page


def test_the_table_names_metric_reached_and_reference(demo):
    result, lines, _ = demo
    printed = "\n".join(lines)
    assert result.table() in printed
    assert "[4/4] ratings" in printed
    for section in result.sections:
        assert np.isfinite(section.reached)
        assert f"{section.reached:.3f}" in result.table()
        assert section.verdict.endswith((": reached", ": missed"))
        assert section.verdict in result.table()
        assert section.verdict in html.unescape(result.report.read_text(encoding="utf8"))


def numbers(reference: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d\.\d+", reference)]


def test_the_references_are_those_of_the_held_out_rows(demo):
    result, _, out = demo
    by_domain = {section.domain: section for section in result.sections}
    sales = read_table(out / "data" / "sales.feather").dropna(subset="Sales")
    held_out = sales.iloc[last_days_split(sales, "Date", HELD_OUT)]
    truth, simple = numbers(by_domain["Tables"].reference)
    assert by_domain["Tables"].reference.startswith("a model that knew the truth")
    assert truth == pytest.approx(rmspe(held_out["Expected"], held_out["Sales"]), abs=6e-4)
    assert truth < simple
    assert by_domain["Tables"].verdict.endswith(
        ": reached" if by_domain["Tables"].reached < simple else ": missed"
    )

    ratings, _ = simulate_ratings(60, 67, seed=1)
    rows = get_cv_idxs(len(ratings), seed=1)
    held_out, seen = ratings.iloc[rows], ratings.drop(ratings.index[rows])
    truth, mean = numbers(by_domain["Recommendations"].reference)
    assert truth == pytest.approx(((held_out["rating"] - held_out["expected"]) ** 2).mean() ** 0.5, abs=6e-4)
    assert mean == pytest.approx(((held_out["rating"] - seen["rating"].mean()) ** 2).mean() ** 0.5, abs=6e-4)
    for domain in ("Images", "Text"):
        majority, simple = numbers(by_domain[domain].reference)
        assert 0 < majority < simple <= 1


def test_the_report_says_what_can_be_used_and_how(demo):
    result, _, _ = demo
    page = html.unescape(result.report.read_text(encoding="utf8"))
    for path in result.models:
        assert f'zoo.load_learner("{path.as_posix()}")' in page
    assert "1 threads" not in page
    assert "words it does not know" in page
    assert "no model can" not in page


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
    residual = df["rating"] - df["expected"]
    assert residual.std() == pytest.approx(RATING_NOISE, rel=0.05)
    assert abs(residual.mean()) < 0.05
    assert df["expected"].std() > RATING_NOISE


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
