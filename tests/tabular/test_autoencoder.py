"""Autoencoders of tables: noise, loss, features that help other models, odd rows, files."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from zoo import load_learner
from zoo_tabular import AutoencoderData, AutoencoderLearner, TabularAutoencoder, TabularRegressor
from zoo_tabular.model.autoencoder import AutoencoderModel, ReconstructionLoss, SwapNoise


@parametrize_with_checks([TabularAutoencoder(width=2, szs=(8,), epochs=2, device="cpu")])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def linked(n: int = 600) -> pd.DataFrame:
    """Columns that say the same thing: the kind decides on the size, the size on the price."""
    rng = np.random.default_rng(0)
    kind = rng.choice(list("abcd"), n)
    size = pd.Series(kind).map({"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}) + rng.normal(0, 0.1, n)
    return pd.DataFrame({"kind": kind, "size": size, "price": 100 - 10 * size})


@pytest.fixture(scope="module")
def trained() -> AutoencoderLearner:
    data = AutoencoderData.from_frame(".", range(500, 600), linked(), ["kind"], 50, seed=0)
    torch.manual_seed(0)
    learn = data.get_autoencoder(2, [32], seed=0, device="cpu", progress=False)
    learn.fit_one_cycle(20, 0.01)
    return learn


def test_rows_are_repaired(trained: AutoencoderLearner) -> None:
    df = linked()[500:]
    assert trained.history[-1]["valid_loss"] < 0.1 < trained.history[0]["valid_loss"]
    assert trained.evaluate()["valid_loss"] == pytest.approx(trained.errors(df).to_numpy().mean(), rel=1e-4)
    rebuilt = pd.DataFrame(trained.predict_batch(df))
    assert (rebuilt["kind"].to_numpy() == df["kind"].to_numpy()).mean() > 0.95
    assert np.corrcoef(rebuilt["price"], df["price"])[0, 1] > 0.97
    one = trained.predict_one(df.iloc[0].to_dict())
    assert one["kind"] == rebuilt["kind"][0]
    assert one["size"] == pytest.approx(rebuilt["size"][0], rel=1e-4)


def test_odd_rows_are_told_from_usual_ones(trained: AutoencoderLearner) -> None:
    usual = linked()[500:]
    odd = usual.assign(price=usual["price"].to_numpy()[::-1])
    odd = odd[(odd["price"] - usual["price"]).abs() > 5]
    errors = [trained.errors(rows).mean(axis=1) for rows in (usual, odd)]
    truth = np.repeat([0, 1], [len(usual), len(odd)])
    assert roc_auc_score(truth, np.concatenate(errors)) > 0.9
    assert trained.errors(odd).columns.tolist() == ["size", "price", "kind"]
    assert trained.errors(odd).index.equals(odd.index)


def test_a_loaded_file_gives_the_same_features(trained: AutoencoderLearner, tmp_path: Path) -> None:
    df = linked()[500:]
    learn = load_learner(trained.export(tmp_path / "rows.zip"), device="cpu")
    assert isinstance(learn, AutoencoderLearner)
    pd.testing.assert_frame_equal(learn.features(df), trained.features(df))
    assert learn.features(df).index.equals(df.index)
    assert learn.features([{"kind": "never seen", "size": None, "price": 3}]).shape == (1, 2)
    assert learn.errors(df).to_numpy().mean() == pytest.approx(trained.errors(df).to_numpy().mean())


def test_swap_noise_takes_values_of_the_same_column_and_leaves_targets() -> None:
    codes, numbers = torch.arange(4000).view(1000, 4) % 4, torch.arange(2000.0).view(1000, 2)
    target = torch.cat([numbers, codes.float()], 1)
    generator = torch.Generator().manual_seed(0)
    noisy_codes, noisy, kept = SwapNoise(0.15)((codes, numbers, target), True, generator)
    assert kept is target
    assert (noisy != numbers).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(noisy % 2, numbers % 2), (
        "even numbers live in the first column, odd ones in the second"
    )
    assert torch.equal(noisy_codes, codes), "every column of codes is constant here"
    assert SwapNoise(0.5)((codes, numbers, target), False, generator)[1] is numbers
    with pytest.raises(ValueError, match="swap_noise is a share of cells"):
        SwapNoise(1.0)


def test_the_loss_is_about_one_where_nothing_is_known() -> None:
    loss = ReconstructionLoss(1, [4, 10])
    target = torch.tensor([[1.0, 3, 9], [-1.0, 0, 0]])
    assert loss(torch.zeros(2, 15), target).item() == pytest.approx(1.0)
    scores = torch.full((2, 15), -50.0)
    scores[:, 0] = target[:, 0]
    for row, (a, b) in enumerate([(3, 9), (0, 0)]):
        scores[row, 1 + a] = scores[row, 5 + b] = 50.0
    assert loss(scores, target).item() == pytest.approx(0.0, abs=1e-6)
    scores[0, 5:] = 0
    assert loss(scores, target).item() == pytest.approx(math.log(10) / math.log(10) / 6, rel=1e-5)


def test_features_of_digits_beat_as_many_principal_components_with_few_labels() -> None:
    width = 8
    X, y = load_digits(return_X_y=True)
    seen, new, y_seen, y_new = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    maker = TabularAutoencoder(width=width, epochs=20, random_state=0, device="cpu").fit(seen)
    pca = make_pipeline(StandardScaler(), PCA(width, random_state=0)).fit(seen)
    for model in (LogisticRegression(max_iter=500), KNeighborsClassifier(10)):
        scores = []
        for maps in (maker, pca):
            known = make_pipeline(StandardScaler(), model).fit(maps.transform(seen[:200]), y_seen[:200])
            scores.append(known.score(maps.transform(new), y_new))
        assert scores[0] > scores[1] + 0.01, f"{type(model).__name__}: {scores}"


def test_it_works_in_pipelines_with_names_and_in_pickles() -> None:
    df = linked(200)
    maker = TabularAutoencoder(width=3, szs=(16,), epochs=5, random_state=0, device="cpu")
    before = df.copy(deep=True)
    named = maker.set_output(transform="pandas").fit_transform(df)
    pd.testing.assert_frame_equal(df, before)
    assert named.columns.tolist() == [f"tabularautoencoder{i}" for i in range(3)]
    twin = pickle.loads(pickle.dumps(maker))
    pd.testing.assert_frame_equal(twin.transform(df), named)
    assert twin.learner_.data.train_dl is None
    pipe = make_pipeline(maker, TabularRegressor(epochs=2, random_state=0, device="cpu"))
    search = GridSearchCV(pipe, {"tabularautoencoder__width": [1, 2]}, cv=2).fit(df, df["price"])
    assert search.predict(df).shape == (200,)


def test_one_kind_of_column_is_enough() -> None:
    df = linked(64)
    for columns in (["kind"], ["size"]):
        maker = TabularAutoencoder(width=2, szs=(), epochs=2, random_state=0, device="cpu")
        assert np.isfinite(maker.fit_transform(df[columns])).all()


def test_wrong_arguments_are_named() -> None:
    df = linked(20)
    with pytest.raises(ValueError, match="width and szs must be positive, got 0"):
        AutoencoderModel([], 3, 0)
    with pytest.raises(ValueError, match="bs is the number of rows per batch and must be at least 2, got 1"):
        AutoencoderData.from_frame(".", None, df, ["kind"], 1)
    with pytest.raises(ValueError, match="no column 'kid'"):
        AutoencoderData.from_frame(".", None, df, ["kid"])


def test_reasons_are_of_answers_that_an_autoencoder_has_not(tmp_path) -> None:
    df = pd.DataFrame({"kind": list("ab") * 20, "size": np.arange(40.0)})
    learn = AutoencoderData.from_frame(tmp_path, [1, 2], df, ["kind"]).get_autoencoder(
        2, [4], device="cpu", progress=False
    )
    for ask in (
        lambda: learn.partial_dependence("size"),
        lambda: learn.what_if({"kind": "a", "size": 1.0}, "size", [2.0]),
        lambda: learn.importance(),
    ):
        with pytest.raises(TypeError, match=r"an autoencoder has no answers to explain: .*errors\(df\)"):
            ask()
