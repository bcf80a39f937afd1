"""Labels that are probably wrong, and which texts to label next."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from zoo_text import Field, TextData
from zoo_text.labelling import _margins, _outputs_and_features, _varied
from zoo_text.model.document import DocumentVectors

SIZES = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "hidden": 8, "device": "cpu", "progress": False, "seed": 0}


def words() -> Field:
    return Field(tokenize="whitespace")


def opinions(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = rng.choice(["neg", "pos"], n)
    own = {"neg": ["dull", "poor", "flat"], "pos": ["fine", "warm", "rich"]}
    texts = [
        " ".join(rng.permutation([*rng.choice(list("abcdefgh"), 6), *rng.choice(own[one], 2)]))
        for one in label
    ]
    return pd.DataFrame({"text": texts, "label": label}, index=range(5000, 5000 + n))


def learner(frame: pd.DataFrame, **options):
    options = {"val_idxs": range(0, len(frame), 3), "min_freq": 1, "seed": 0, "bs": 16, **options}
    return TextData.from_df(None, words(), frame, **options).get_model(**SIZES)


def test_planted_labels_are_found_on_both_sides_of_the_split_and_told_by_the_users_index() -> None:
    frame = opinions()
    wrong = [5001, 5003, 5010, 5060, 5063, 5123, 5126, 5201]
    frame.loc[wrong, "label"] = ["neg" if one == "pos" else "pos" for one in frame.loc[wrong, "label"]]
    learn = learner(frame)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    found = learn.suspicious_labels()
    assert set(found["index"]) <= set(wrong)
    assert len(found) >= 4  # the rule takes those that it is surer of than of the average text
    assert set(found["part"]) == {"train", "valid"}
    for one in found.to_dict("records"):
        assert frame.loc[one["index"], "text"] == one["text"]
        assert frame.loc[one["index"], "label"] == one["label"] != one["suggested"]
        assert one["probability"] < 0.5 < one["suggested_probability"]
    of_valid = found[found["part"] == "valid"]
    assert of_valid["row"].tolist() == ((of_valid["index"] - 5000) // 3).tolist()
    assert learn.suspicious_labels(2).equals(found.head(2))
    assert all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())


def test_planted_labels_among_several() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["red", "green"])
    marks = rng.random((300, 2)) < 0.5
    texts = [" ".join(["so", *names[row], "it", "is", str(i % 7)]) for i, row in enumerate(marks)]
    frame = pd.DataFrame({"text": texts, "red": marks[:, 0].astype(int), "green": marks[:, 1].astype(int)})
    frame.loc[11, "red"] = 1 - frame.loc[11, "red"]
    frame.loc[30, "green"] = 1 - frame.loc[30, "green"]
    found = learner(frame, label=["red", "green"]).suspicious_labels()
    signs = {index: "+" if marks[index, column] else "-" for index, column in ((11, 0), (30, 1))}
    told = dict(zip(found["index"], found["suggested"], strict=True))
    assert told == {11: f"{signs[11]}red", 30: f"{signs[30]}green"}


def test_no_labels_to_doubt() -> None:
    frame = opinions(30).assign(label=np.arange(30.0))
    learn = learner(frame, task="regression")
    with pytest.raises(ValueError, match=r"these data are for regression: .*largest errors"):
        learn.suspicious_labels()
    with pytest.raises(ValueError, match="these data are for regression"):
        learn.suggest(["a"], 1)
    learn = learner(opinions())
    with pytest.raises(ValueError, match="n must be a whole number"):
        learn.suspicious_labels(0)
    with pytest.raises(ValueError, match="n must be a whole number"):
        learn.suggest(["a"], 0)
    with pytest.raises(TypeError, match="give a list of texts"):
        learn.suggest("a", 1)


@pytest.fixture(scope="module")
def taught():
    learn = learner(opinions())
    learn.fit_one_cycle(3, 3e-2)
    return learn


def test_unsure_texts_are_suggested_as_the_learner_answers_them(taught) -> None:
    clear, mixed = opinions(200)["text"].tolist(), ["dull fine a b c d e f", "warm poor g h a b c d"]
    pool = pd.Series([*clear[:100], *mixed, *clear[100:]], index=[f"r{i}" for i in range(202)])
    state = torch.get_rng_state()
    found = taught.suggest(pool, 4, random=0)
    assert torch.equal(state, torch.get_rng_state())
    assert found["margin"].is_monotonic_increasing
    assert found["index"].tolist() == [f"r{row}" for row in found["row"]]
    answers = taught.predict_batch(pool)
    for one in found.to_dict("records"):
        answer = answers[one["row"]]
        assert (one["text"], one["label"]) == (pool.iloc[one["row"]], answer.label)
        first, second = sorted(answer.probabilities.values(), reverse=True)
        assert one["margin"] == pytest.approx(first - second, abs=1e-5)
    margins = np.array([abs(one.probabilities["pos"] - one.probabilities["neg"]) for one in answers])
    assert found["margin"].max() <= np.sort(margins)[40] + 1e-5
    assert taught.suggest(pool, 4, random=0).equals(found)
    assert not taught.model.head._forward_hooks


def test_suggested_texts_differ_from_each_other(taught) -> None:
    """Forty copies of the least sure text are asked for once or twice, not forty times."""
    pool = opinions(200)["text"].tolist()
    least = taught.suggest(pool, 1, seed=0)["text"].iloc[0]
    found = taught.suggest([*[least] * 40, *pool], 10, random=0)
    assert (found["text"] == least).sum() <= 2
    assert found["row"].is_unique
    drawn = taught.suggest([*[least] * 200, *pool], 20)  # half of them at random
    assert (drawn["text"] == least).sum() <= 2
    assert len(taught.suggest([least] * 20, 10)) == 10


def test_half_of_the_suggestions_are_drawn_at_random(taught) -> None:
    pool = opinions(300)["text"].tolist()
    unsure = set(taught.suggest(pool, 10, random=0)["row"])
    found = taught.suggest(pool, 20)
    assert found["row"].is_unique
    assert found["margin"].is_monotonic_increasing
    assert unsure <= set(found["row"])
    others = set(found["row"]) - unsure
    assert len(others) == 10
    assert max(others) - min(others) > 100
    assert others != set(taught.suggest(pool, 20, seed=1)["row"])
    least = taught.suggest(pool, 1)["row"].tolist()
    assert least == taught.suggest(pool, 1, random=0)["row"].tolist()
    assert sorted(taught.suggest(pool, 300, random=1)["row"]) == list(range(300))
    with pytest.raises(ValueError, match=r"0 to 1, not 50"):
        taught.suggest(pool, 20, random=50)


def test_texts_lie_as_far_apart_as_their_vectors_where_the_model_has_some(taught) -> None:
    """The pooled features tell little before a fit; the vectors are what a new classifier goes by."""
    data = taught.data
    learn = data.get_model(**SIZES)
    learn.model.document = vectors = DocumentVectors(data.nt, 3)
    vectors.weight.normal_(generator=torch.Generator().manual_seed(0))
    texts = opinions(7)["text"].tolist()
    outputs, features = _outputs_and_features(learn, texts)
    assert outputs.shape == (7, 2)
    own = [vectors(torch.tensor(ids.tolist())[None])[0] for ids in data.field.encode(texts)]
    assert np.allclose(features, torch.stack(own), atol=1e-6)
    assert not vectors._forward_hooks
    assert _outputs_and_features(taught, texts)[1].shape == (7, 24)


class Mean(torch.nn.Module):
    """A network of one's own: the mean of the words, then `head`."""

    def __init__(self, words: int, head: str) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(words, 4)
        self.add_module(head, torch.nn.Linear(4, 2))
        self.last = head

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.last)(self.embed(ids).mean(1))


def test_suggestions_of_networks_of_ones_own(taught) -> None:
    pool = opinions(30)["text"].tolist()
    torch.manual_seed(0)
    learn = type(taught)(taught.data, Mean(taught.data.nt, "head"), device="cpu", progress=False)
    assert learn.suggest(pool, 4)["row"].is_unique
    learn = type(taught)(taught.data, Mean(taught.data.nt, "out"), device="cpu", progress=False)
    with pytest.raises(TypeError, match="a Mean has no part that is called head"):
        learn.suggest(pool, 4)


def test_options_of_suggestions_are_checked_by_name(taught) -> None:
    for share in (-0.1, 1.5, float("nan"), "half", None, True):
        with pytest.raises(ValueError, match="random is the share of texts drawn at random, 0 to 1"):
            taught.suggest(["a b", "c d"], 1, random=share)
    for seed in (-1, 1.5, "x", None, 1 << 40):
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            taught.suggest(["a b", "c d"], 1, seed=seed)


def test_more_suggestions_than_texts_and_frames(taught, caplog) -> None:
    frame = opinions(5)
    found = taught.suggest(frame, 9)
    assert sorted(found["index"]) == frame.index.tolist()
    assert "9 asked for, there are 5 texts in the pool" in caplog.text
    with pytest.raises(ValueError, match="empty text in row 1"):
        taught.suggest(["a", ""], 1)
    texts = frame["text"].tolist()
    assert taught.suggest(iter(texts), 2).equals(taught.suggest(texts, 2))


def test_margins_of_several_labels_go_by_their_thresholds() -> None:
    class Found:
        thresholds = (0.2, 0.5)

    probs = np.array([[0.2, 0.9], [0.6, 0.5], [0.05, 0.99]])
    assert _margins(probs, True, None) == pytest.approx([0.6, 0.0, 0.9])
    assert _margins(probs, True, Found) == pytest.approx([0.0, 0.0, 0.75])
    assert _margins(np.array([[0.2, 0.5, 0.3]]), False, None) == pytest.approx([0.2])


def test_clusters_of_equal_rows_give_as_many_rows_as_asked_for() -> None:
    for values in (np.ones((20, 3)), np.arange(20)[:, None] % 2 * np.ones((20, 3))):
        rows = _varied(values, np.ones(20), 4, 0)
        assert len(set(rows.tolist())) == 4
