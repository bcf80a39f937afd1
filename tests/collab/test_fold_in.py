"""Vectors from ratings against a general optimiser, and against training with the same rows on MovieLens."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from zoo_collab import CollabFilterDataset, EmbeddingDotBias, EmbeddingNet, by_user
from zoo_collab.model.als import implicit_factors
from zoo_collab.model.carried import carried
from zoo_collab.model.fold_in import Folding, Pairs, Prior, fold_in, with_people
from zoo_collab.model.vector_scores import scores_of
from zoo_collab.pairs.seen import SeenPairs


def model_of(kind: str, y_range=(0.5, 5.5)) -> nn.Module:
    torch.manual_seed(3)
    if kind == "net":
        model = EmbeddingNet(30, 40, (5, 4), hidden=[8, 6], dropouts=0.2, y_range=y_range)
    else:
        model = EmbeddingDotBias(30, 40, 6, y_range=y_range, mean=3.4)
    for table in model.modules():
        if isinstance(table, nn.Embedding):
            table.weight.data[1:] = torch.randn(len(table.weight) - 1, table.embedding_dim) * 0.5
    return model


def some_pairs(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with none, one, few and many pairs."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(n_rows), rng.permutation([0, 1, 3, 9, 20, 28] * n_rows)[:n_rows])
    items = np.concatenate([rng.permutation(29)[:n] + 1 for n in np.bincount(rows, minlength=n_rows)])
    mixed = rng.permutation(len(rows))
    return rows[mixed], items[mixed], rng.uniform(1, 5, len(rows))


def loss(model: nn.Module, side: str, vector: np.ndarray, others: np.ndarray, ratings, noise: float) -> float:
    """What a vector is judged by, with the model itself in float64."""
    table = getattr(model, f"{side}_factors")
    vectors = table.weight[1:].detach()
    if isinstance(model, EmbeddingDotBias):
        vectors = torch.cat([vectors, getattr(model, f"{side}_bias").weight[1:].detach()], 1)
    prior = Prior.of(vectors)
    placed = torch.as_tensor(vector) - prior.mean
    held = float(placed @ torch.linalg.inv(prior.root @ prior.root.T) @ placed)
    own = EmbeddingNet.forward if isinstance(model, EmbeddingNet) else EmbeddingDotBias.forward
    double = type(model)(**model.model_spec.args).double().eval()
    double.load_state_dict(model.state_dict())
    width = table.embedding_dim
    getattr(double, f"{side}_factors").weight.data[1] = torch.as_tensor(vector[:width])
    if isinstance(model, EmbeddingDotBias):
        getattr(double, f"{side}_bias").weight.data[1] = float(vector[width])
    others = torch.as_tensor(others)
    pair = (torch.ones_like(others), others) if side == "user" else (others, torch.ones_like(others))
    with torch.no_grad():
        answers = own(double, *pair).numpy()
    return float(np.square(ratings - answers).sum() + noise * held)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize(("kind", "y_range"), [("dot", (0.5, 5.5)), ("dot", None), ("net", (0.5, 5.5))])
def test_no_vector_near_is_better_and_each_row_is_its_own(kind, y_range, side) -> None:
    model, n_rows = model_of(kind, y_range), 12
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows, others, ratings = some_pairs(n_rows)
    found = fold_in(model, Pairs.of(rows, others, ratings, n_rows), Folding(0.7), side)
    mean = Prior.learned(scores_of(model, side)).mean
    for row in range(n_rows):
        own = rows == row
        alone = Pairs.of(np.zeros(own.sum(), dtype=int), others[own], ratings[own], 1)
        torch.testing.assert_close(
            fold_in(model, alone, Folding(0.7), side)[0], found[row], rtol=1e-3, atol=1e-4
        )
        if not own.any():
            torch.testing.assert_close(found[row], mean)
            continue
        mine = (model, side)
        own_loss = loss(*mine, found[row].numpy(), others[own], ratings[own], 0.7)
        better = minimize(
            lambda vector, own=own, mine=mine: loss(*mine, vector, others[own], ratings[own], 0.7),
            found[row].numpy(), method="Nelder-Mead", options={"maxiter": 150},
        )  # fmt: skip
        near = 5e-3 if kind == "net" else 1e-5  # its layers have kinks, where a search may end
        assert better.fun > own_loss * (1 - near)
        assert own_loss <= loss(*mine, mean.numpy(), others[own], ratings[own], 0.7)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_extreme_ratings_do_not_diverge() -> None:
    model = model_of("dot", (1.0, 5.0))  # the sigmoid reaches 1 and 5 only at infinity
    with torch.no_grad():
        model.item_factors.weight[1:] *= 20
    rows = np.repeat(np.arange(40), 30)
    items = np.tile(np.arange(1, 31), 40)
    ratings = np.random.default_rng(0).choice([1.0, 5.0], len(rows))
    for noise in (1e-4, 1.0, 100.0):
        found = fold_in(model, Pairs.of(rows, items, ratings, 40), Folding(noise))
        assert torch.isfinite(found).all()
        guests = with_people(model, found)
        error = guests(torch.from_numpy(rows + 1), torch.from_numpy(items)).detach().numpy() - ratings
        start = with_people(model, Prior.learned(scores_of(model, "user")).mean.repeat(40, 1))
        first = start(torch.from_numpy(rows + 1), torch.from_numpy(items)).detach().numpy() - ratings
        assert np.square(error).mean() < np.square(first).mean()


def test_factors_of_which_pairs_exist_are_found_again() -> None:
    rng = np.random.default_rng(1)
    users, items = rng.integers(1, 81, 2500), rng.integers(1, 51, 2500)
    alike = (users + items) % 2 == 0
    seen = SeenPairs.from_pairs(users[alike], items[alike], 81)
    own, other = implicit_factors(seen, 51, 8, unobserved=0.2, wd=0.1, iterations=40)
    model = EmbeddingDotBias(81, 51, 8)
    for table, found in ((model.user_factors, own), (model.item_factors, other)):
        table.weight.data.copy_(found)
    for table in (model.user_bias, model.item_bias):
        nn.init.zeros_(table.weight)
    rows, columns = seen.places(torch.arange(1, 81))
    given = Pairs.of(rows.numpy(), columns.numpy(), np.ones(len(rows)), 80)
    folding = Folding(unobserved=0.2, wd=0.1)
    found = fold_in(model, given, folding)
    torch.testing.assert_close(found[:, :-1].float(), own[1:], rtol=0.01, atol=0.002)
    assert not found[:, -1].any()
    mine = columns[rows == 4].numpy()
    why = carried(model, mine, np.ones(len(mine)), folding, 7)
    assert why.start == pytest.approx(0, abs=1e-6)
    assert why.score == pytest.approx(float(found[4, :-1] @ other[7].double()), rel=1e-9)


@pytest.mark.parametrize(("kind", "exact"), [("dot", True), ("net", False)])
def test_a_score_is_the_sum_of_what_the_ratings_carried(kind, exact) -> None:
    model = model_of(kind)
    rows, items, ratings = some_pairs(12)
    own = rows == np.bincount(rows).argmax()
    items, ratings = items[own], ratings[own]
    for item in (3, 35):
        found = carried(model, items, ratings, Folding(0.7), item)
        rest = found.score - found.start - found.generosity - found.parts.sum()
        assert len(found.parts) == len(items)
        assert np.abs(found.parts).max() > (0.05 if exact else 0.01)
        assert abs(rest) < (1e-5 if exact else 1.0)
        if exact:  # leaving one rating out moves the score the way its part says
            big = np.argsort(-np.abs(found.parts))[:5]
            without = [
                carried(model, np.delete(items, i), np.delete(ratings, i), Folding(0.7), item) for i in big
            ]
            moved = np.array([found.score - other.score for other in without])
            moved -= [found.generosity - other.generosity for other in without]
            assert np.corrcoef(moved, found.parts[big])[0, 1] > 0.7


def test_other_models_say_what_to_do() -> None:
    class Own(EmbeddingDotBias):
        def forward(self, users, items):
            return super().forward(users, items) * 2

    given = Pairs.of(np.array([0]), np.array([1]), np.array([3.0]), 1)
    for model in (Own(5, 5, 2), nn.Linear(2, 1)):
        with pytest.raises(TypeError, match="add them to the table and fit again"):
            fold_in(model, given, Folding())
    with pytest.raises(TypeError, match="pairs without ratings"):
        fold_in(model_of("net"), given, Folding(unobserved=0.1))
    with pytest.raises(ValueError, match="side is 'user' or 'item'"):
        scores_of(model_of("dot"), "film")


def test_twenty_ratings_folded_in_are_as_good_as_training_with_them(data_dir, caplog) -> None:
    """On MovieLens: whole users held out, 20 of their ratings given, the others asked."""
    caplog.set_level(logging.ERROR)
    df = pd.read_csv(data_dir("ml-latest-small") / "ratings.csv")
    table = CollabFilterDataset(".", df, "userId", "movieId", "rating", rating_range=(0.5, 5))
    held = df.iloc[by_user(0.1, seed=4)(table)].sample(frac=1, random_state=4)
    held = held[held.groupby("userId")["userId"].transform("size") >= 40]
    place = held.groupby("userId").cumcount()
    given, rest, others = held[place < 20], held[place >= 20], df[~df["userId"].isin(held["userId"])]
    learners = []
    for rows in (others, pd.concat([others, given])):
        rows = rows.reset_index(drop=True)
        table = CollabFilterDataset(".", rows, "userId", "movieId", "rating", rating_range=(0.5, 5))
        learners.append(table.get_learner(50, bs=256, seed=0, progress=False, device="cpu"))
        learners[-1].fit_one_cycle(5, 5e-3)
    learn, refit = learners
    rest = rest[rest["movieId"].isin(learn.data.items.ids)]
    truth = rest["rating"].to_numpy()

    def error(answers: np.ndarray) -> float:
        return float(np.sqrt(np.mean((np.ravel(answers) - truth) ** 2)))

    folded, trained = error(learn.predict_for(given, rest)), error(refit.predict_batch(rest))
    assert folded < 1.02 * trained
    assert folded < 0.97 * error(learn.predict_batch(rest))  # of whom nothing is known
