"""Metrics with intervals, and model cards from archives alone."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import Learner, ModelData, TensorLoader, load_learner
from zoo.inspect.card import card_of
from zoo.metrics import accuracy
from zoo_tabular import ColumnarModelData


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    rng = np.random.default_rng(0)
    size = rng.normal(5, 2, 600)
    kind = np.where(rng.random(600) < 0.8, np.where(size > 5, "big | large", "small"), "other")
    frame = pd.DataFrame({"size": size, "town": rng.choice(["a<b>", "c"], 600), "kind": kind})
    data = ColumnarModelData.from_frame(
        frame, "kind", path=tmp_path_factory.mktemp("card"), seed=0, show=False
    )
    learn = data.get_learner(seed=0, progress=False, metrics=[accuracy])
    learn.fit_one_cycle(4, 1e-2)
    return learn


def test_intervals_are_those_of_the_binomial(learn) -> None:
    found = learn.measure()
    value, low, high = found.metrics["accuracy"]
    assert value == pytest.approx(learn.evaluate()["accuracy"])
    spread = 1.96 * math.sqrt(value * (1 - value) / found.rows)
    assert high - value == pytest.approx(spread, rel=0.25)
    assert value - low == pytest.approx(spread, rel=0.25)
    assert learn.measure().metrics == found.metrics
    assert "95% intervals" in repr(found)


def test_a_card_tells_what_the_file_knows(learn, tmp_path) -> None:
    learn.measure()
    card = card_of(learn.export(tmp_path / "kinds.zip"))
    told = {what: value for _, rows in card.sections for what, value in rows}
    assert (
        told["rows"]
        == f"train {len(learn.data.train_dl.tensors[0])}, valid {len(learn.data.valid_dl.tensors[0])}"
    )
    assert told["optimizer"] == "AdamW"
    assert told["epochs"] == "4"
    assert re.match(r"0\.\d{4} \(95% interval", told["accuracy"])
    assert told["category 'town'"] == "2 levels: a<b>, c"
    assert told["probabilities"].startswith("not calibrated")
    page, text = card.html(), card.markdown()
    assert "a&lt;b&gt;" in page
    assert "<b>" not in page
    assert "big \\| large" in text
    assert text == repr(card)


def test_what_a_file_tells_travels_on_until_weights_change(learn, tmp_path) -> None:
    learn.measure()
    again = load_learner(learn.export(tmp_path / "a.zip"), device="cpu")
    first, second = card_of(tmp_path / "a.zip"), card_of(again.export(tmp_path / "b.zip"))
    assert first.sections[2:] == second.sections[2:]
    learn.save("weights")
    learn.load("weights")
    assert learn.measured is None
    again.path = learn.path
    again.load("weights")
    told = dict(card_of(again.export(tmp_path / "c.zip")).sections)
    assert told["Training"][0][0] == "record"


def test_what_cannot_be_measured_is_told() -> None:
    x = torch.randn(20, 3)
    learn = Learner(
        ModelData(TensorLoader(x, x.sum(1, keepdim=True), bs=4)), torch.nn.Linear(3, 1), device="cpu"
    )
    with pytest.raises(ValueError, match="valid"):
        learn.measure()
