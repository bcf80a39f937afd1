"""Simple models of lists, against their definitions."""

import numpy as np
import pytest
import torch

from zoo_collab.lists.penalty import PENALTIES, best_penalty
from zoo_collab.lists.ranking import rank
from zoo_collab.model.scorers import ItemWeights, Popularity, ease, item_neighbours
from zoo_collab.pairs.seen import SeenPairs


@pytest.fixture(scope="module")
def seen() -> SeenPairs:
    rng = np.random.default_rng(0)
    return SeenPairs.from_pairs(rng.integers(0, 30, 400), (rng.random(400) ** 2 * 20).astype(int), 30)


def matrix(seen: SeenPairs) -> np.ndarray:
    return seen.mask(torch.arange(30), 20).numpy().astype(np.float64)


def test_popularity(seen) -> None:
    counts = matrix(seen).sum(0)
    found = rank(Popularity(seen, 20), torch.tensor([3, 4]), 19, 20).items
    assert found[0].tolist() == found[1].tolist()
    assert np.diff(counts[found[0]]).max() <= 0


def test_scores_are_sums_of_weights(seen, monkeypatch) -> None:
    weights = torch.randn(20, 20)
    users = torch.tensor([5, 0, 29, 5])
    expected = torch.from_numpy(matrix(seen)).float()[users] @ weights
    torch.testing.assert_close(ItemWeights(weights, seen).all_scores(users), expected)
    monkeypatch.setattr("zoo_collab.model.scorers._FULL", 1.0)  # the other way
    torch.testing.assert_close(ItemWeights(weights, seen).all_scores(users), expected)
    assert ItemWeights(weights, seen).all_scores(users)[1].tolist() == [0] * 20


def test_neighbours_by_cosine(seen, monkeypatch) -> None:
    held = matrix(seen)
    length = np.linalg.norm(held, axis=0).clip(1)
    alike = held.T @ held / (length * length[:, None] + 4)
    np.fill_diagonal(alike, 0)
    users = torch.tensor([5, 0, 29])
    full = item_neighbours(seen, 20, shrink=4)
    np.testing.assert_allclose(full.all_scores(users), (held @ alike)[users], atol=1e-5)
    monkeypatch.setattr("zoo_collab.model.scorers._CELLS", 50)  # several blocks of items
    few = item_neighbours(seen, 20, 3, shrink=4)
    assert few.near.shape == (20, 3)
    for item in range(1, 20):
        weights = few.weights[item].numpy()
        np.testing.assert_allclose(weights, np.sort(alike[:, item])[:-4:-1], atol=1e-6)
        np.testing.assert_allclose(weights, alike[few.near[item], item], atol=1e-6)
    kept = np.zeros((20, 20))
    np.put_along_axis(kept, few.near.numpy().T, few.weights.numpy().T, axis=0)
    np.testing.assert_allclose(few.all_scores(users), (held @ kept)[users], atol=1e-5)


def by_column(held: np.ndarray, wd: float) -> np.ndarray:
    """Ridge regression of each item on all others."""
    weights = np.zeros((held.shape[1],) * 2)
    for item in range(held.shape[1]):
        others = np.setdiff1d(np.arange(held.shape[1]), [item])
        x, y = held[:, others], held[:, item]
        weights[others, item] = np.linalg.solve(x.T @ x + wd * np.eye(len(others)), x.T @ y)
    return weights


def test_ease_is_the_constrained_least_squares_solution(seen) -> None:
    found = ease(seen, 20, 5.0)  # of 30 users
    assert isinstance(found, ItemWeights)
    np.testing.assert_allclose(found.weights, by_column(matrix(seen), 5.0), atol=1e-4)


def test_ease_of_few_users_is_the_same(seen) -> None:
    some = SeenPairs(seen.starts[:9], seen.items[: int(seen.starts[8])])
    held = matrix(seen)[:8]
    expected = held @ by_column(held, 5.0)
    np.testing.assert_allclose(ease(some, 20, 5.0).all_scores(torch.arange(8)), expected, atol=1e-4)


@pytest.mark.parametrize("n_users", [30, 8])
def test_settings_without_a_solution_are_refused(seen, n_users) -> None:
    some = SeenPairs(seen.starts[: n_users + 1], seen.items[: int(seen.starts[n_users])])
    for wd in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="wd is a ridge penalty, a number above 0"):
            ease(some, 20, wd)
    for neighbours in (0, -3, 2.5, True):
        with pytest.raises(ValueError, match="neighbours is how many items count for each, 1 or more"):
            item_neighbours(some, 20, neighbours)
    for shrink in (-5, float("nan")):
        with pytest.raises(ValueError, match="shrink holds back items with few users"):
            item_neighbours(some, 20, 5, shrink)


def test_pairs_of_nobody_say_nothing() -> None:
    for n_items in (1, 2, 5):
        for make in (item_neighbours, ease, Popularity):
            assert not make(SeenPairs.none(4), n_items).all_scores(torch.tensor([0, 3])).any()


def test_catalogues_that_are_too_large_are_told(seen) -> None:
    many = SeenPairs.from_pairs(np.array([1]), np.array([1]), 90_000)
    with pytest.raises(ValueError, match=r"80,000 items by 80,000 items are .* 26 GB, above .* 30,000"):
        ease(many, 80_000)
    assert item_neighbours(seen, 80_000, 5).near.shape == (80_000, 5)


def test_the_penalty_is_one_that_helps_on_pairs_left_out() -> None:
    """Users of two tastes: a tiny penalty fits the noise, a huge one knows popularity alone."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 301), 12)
    items = np.where(users % 2, rng.integers(1, 41, len(users)), rng.integers(41, 81, len(users)))
    seen = SeenPairs.from_pairs(users, items, 301)
    found = best_penalty(seen, 81)
    assert found in PENALTIES
    assert found < 200, "where the search begins"
    assert best_penalty(SeenPairs.none(5), 81) == 200
    rows, asked = seen.places(torch.arange(301))
    held = torch.from_numpy(np.random.default_rng(1).random(len(rows)) < 0.2)
    kept = SeenPairs.from_pairs(rows[~held].numpy(), asked[~held].numpy(), 301)

    def hits(wd: float) -> int:
        lists = rank(ease(kept, 81, wd), torch.arange(301), 10, 81, seen=[kept]).items
        return int((lists[rows[held]] == asked[held][:, None]).sum())

    assert hits(found) >= 0.9 * max(hits(wd) for wd in PENALTIES)
