"""What labels of texts mean: classes and their weights, several labels and their thresholds, values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo import load_learner
from zoo.losses import CrossEntropyFlat
from zoo_text import Field, TextData

SIZES = {"emb_sz": 8, "n_hid": 8, "n_layers": 1, "hidden": 8, "device": "cpu", "progress": False, "seed": 0}


def words() -> Field:
    return Field(tokenize="whitespace")


def graded(n: int = 240) -> pd.DataFrame:
    """Texts whose values are the number of good words, and of all words."""
    rng = np.random.default_rng(0)
    good, all_words = rng.integers(0, 5, n), rng.integers(5, 9, n)
    counts = zip(good, all_words, strict=True)
    texts = [" ".join(rng.permutation(["good"] * g + ["so"] * (n - g))) for g, n in counts]
    return pd.DataFrame({"text": texts, "stars": 100.0 + 25.0 * good, "size": all_words / 10})


def regression(label: str | list[str] = "stars", **options) -> TextData:
    options = {"val_idxs": range(0, 240, 4), "min_freq": 1, "seed": 0, "bs": 16, **options}
    return TextData.from_df(None, words(), graded(), label=label, task="regression", **options)


def test_values_are_learned_on_their_own_scale_and_told_in_their_units(tmp_path: Path) -> None:
    data = regression()
    assert (data.task, data.classes, data.scale.names) == ("regression", None, ["stars"])
    assert data.train_dl.targets.mean().item() == pytest.approx(0, abs=1e-5)
    learn = data.get_model(**SIZES)
    history = learn.fit_one_cycle(6, 2e-2)
    assert history[-1]["rmse"] < 15 < 30 < np.std(graded()["stars"])
    predictions, targets = learn.predict_with_targs()
    truth = graded()["stars"].to_numpy()[::4]
    assert targets[:, 0] == pytest.approx(truth, rel=1e-5)
    assert history[-1]["rmse"] == pytest.approx(np.sqrt(np.mean((predictions - targets) ** 2)), rel=1e-4)
    mean = np.abs(predictions - targets).mean()
    assert learn.evaluate(metrics=["mae"])["mae"] == pytest.approx(mean, rel=1e-4)
    texts = graded()["text"].tolist()[::4]
    assert learn.predict_batch(texts) == pytest.approx(predictions, rel=1e-4)
    learn.export(tmp_path / "values.zip")
    again = load_learner(tmp_path / "values.zip", device="cpu")
    assert again.predict_batch(texts) == pytest.approx(predictions, rel=1e-4)
    data.save(tmp_path / "kept")
    assert zoo.load_data(tmp_path / "kept").mapping() == data.mapping()
    assert data.show_batch(2)["target"].iloc[0] in set(truth) | set(graded()["stars"])


def test_several_values_and_the_ridge_beside_them() -> None:
    data = regression(["stars", "size"])
    learn = data.get_model(**SIZES)
    found = learn.baseline()
    assert found.name == "TF-IDF + ridge regression"
    assert found.predictions.shape == learn.predict().shape == (60, 2)
    assert found.metrics["rmse"] < 0.7 * found.reference.metrics["rmse"]
    constant = graded()[["stars", "size"]].drop(range(0, 240, 4)).mean().to_numpy()
    rows = graded()[["stars", "size"]].to_numpy()[::4]
    expected = np.sqrt(((rows - constant) ** 2).mean())
    assert found.reference.metrics["rmse"] == pytest.approx(expected, rel=1e-4)
    assert isinstance(learn.predict_one("good so so"), np.ndarray)


def test_values_of_lists_arrays_files_and_folders(tmp_path: Path) -> None:
    texts = ["a b", "a c", "b c", "c d"]
    plain = [1, 2, 3, 4.5]
    for values in (plain, np.array(plain), torch.tensor(plain), pd.Series(plain), list(map(str, plain))):
        data = TextData.from_texts(words(), (texts, values), min_freq=1, task="regression")
        told = data.invert_target(data.train_dl.targets.numpy())[:, 0]
        assert told == pytest.approx(plain, rel=1e-6)
    pairs = [[1, 2], [3, 4], [5, 6], [7, 8]]
    data = TextData.from_texts(words(), (texts, np.array(pairs)), min_freq=1, task="regression")
    assert data.scale.names == ["value 0", "value 1"]
    pd.DataFrame({"text": texts, "label": [1, 2, 3, 4.5]}).to_csv(tmp_path / "a.csv", index=False)
    data = TextData.from_csv(tmp_path, words(), "a.csv", min_freq=1, task="regression", val_idxs=[0])
    assert data.scale.names == ["label"]
    for folder, text in (("1", "a b"), ("10", "c d")):
        (tmp_path / "train" / folder).mkdir(parents=True)
        (tmp_path / "train" / folder / "x.txt").write_text(text)
    data = TextData.from_folder(tmp_path, words(), validation=None, min_freq=1, task="regression")
    assert data.invert_target(data.train_dl.targets.numpy())[:, 0] == pytest.approx([1, 10])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None, 2.0], "row 'b' .*the value is missing"),
        ([1.0, float("nan"), 2.0], "row 'b' .*the value is missing"),
        ([1.0, float("inf"), 2.0], "row 'b' .*is not finite"),
        (["1", "much", "2"], "row 'b' .*'much' is not a number"),
    ],
)
def test_values_that_are_none_are_named(values: list, message: str) -> None:
    frame = pd.DataFrame({"text": ["a b", "a c", "b c"], "label": values}, index=list("abc"))
    with pytest.raises(ValueError, match=message):
        TextData.from_df(None, words(), frame, min_freq=1, task="regression")


def test_options_that_do_not_fit_the_task_are_refused() -> None:
    pair = (["a b", "a c", "b c"], [1.0, 2.0, 3.5])
    with pytest.raises(ValueError, match=r"task='regresion' is not known \(did you mean 'regression'\?\)"):
        TextData.from_texts(words(), pair, task="regresion")
    with pytest.raises(ValueError, match="classes= names labels"):
        TextData.from_texts(words(), pair, task="regression", classes=["x"])
    with pytest.raises(ValueError, match="label_delim splits labels"):
        regression(label_delim=";")
    with pytest.raises(ValueError, match="valid: 2 values a text"):
        TextData.from_texts(words(), pair, (["a"], np.array([[1.0, 2.0]])), task="regression", min_freq=1)
    with pytest.raises(ValueError, match="row 0: a list of labels"):
        TextData.from_texts(words(), (pair[0], [["x"], ["y"], ["x"]]), task="classification", min_freq=1)
    with pytest.raises(ValueError, match="calibrate"):
        regression().get_model(**SIZES).calibrate()


def test_many_fractions_are_no_classes_in_silence() -> None:
    frame = graded().assign(label=np.arange(240) / 7)
    with pytest.raises(ValueError, match="give task='regression'"):
        TextData.from_df(None, words(), frame, min_freq=1)
    few = TextData.from_df(None, words(), frame, min_freq=1, task="classification")
    assert len(few.classes) == 240


def test_single_labels_as_multi_label_data_when_asked() -> None:
    data = TextData.from_texts(words(), (["a b", "c d"], ["x", "y"]), min_freq=1, task="multilabel")
    assert data.train_dl.targets.tolist() == [[1, 0], [0, 1]]


def test_weights_of_classes() -> None:
    pair = (["a b", "a c", "b c", "c d"] * 2, ["x", "x", "x", "y"] * 2)
    data = TextData.from_texts(words(), pair, min_freq=1)
    assert data.class_weights().tolist() == pytest.approx([8 / 12, 2.0])
    assert data.class_weights({"y": 3}).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"no class 'z'"):
        data.class_weights({"z": 1})
    with pytest.raises(ValueError, match="expected 'balanced'"):
        data.class_weights("balance")
    with pytest.raises(ValueError, match="no training text is of the class 'q'"):
        TextData.from_texts(words(), pair, min_freq=1, classes=["q", "x", "y"]).class_weights()
    with pytest.raises(ValueError, match="these data are for regression"):
        regression().class_weights()
    learn = data.get_model(**SIZES, loss_fn=CrossEntropyFlat(weight=data.class_weights()))
    assert np.isfinite(learn.fit(1e-3, 1)[0]["train_loss"])


def test_thresholds_of_several_labels_go_into_the_answers_and_the_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = np.array(["red", "green", "blue"])
    marks = rng.random((400, 3)) < [0.5, 0.2, 0.1]
    texts = [" ".join(["so", *names[row], "it", "is"]) for row in marks]
    labels = [list(names[row & (rng.random(3) < 0.7)]) for row in marks]  # some are lacking
    frame = pd.DataFrame({"text": texts, "label": labels})
    data = TextData.from_df(None, words(), frame, val_idxs=range(200), min_freq=1, seed=0, bs=16)
    learn = data.get_model(**SIZES)
    learn.fit_one_cycle(6, 2e-2)
    found = learn.calibrate()
    assert found.after.nll <= found.before.nll
    assert len(found.thresholds) == 3
    answers = learn.predict_batch(texts[:50])
    for answer in answers:
        chosen = zip(answer.probabilities.items(), found.thresholds, strict=True)
        assert answer.label == tuple(name for (name, p), least in chosen if p >= least)
    learn.export(tmp_path / "a.zip")
    assert load_learner(tmp_path / "a.zip", device="cpu").predict_batch(texts[:50]) == answers


def test_values_beyond_float32_are_named() -> None:
    texts = ["a b", "c d"] * 20
    with pytest.raises(ValueError, match=r"train, row 1: 1e\+300 is beyond what float32 holds"):
        TextData.from_texts(words(), (texts, [1.0, 1e300] * 20), task="regression", min_freq=1)
