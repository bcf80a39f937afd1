"""Simple models of lists, against their definitions."""

import numpy as np
import pytest
import torch

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


def test_scores_are_sums_of_weights(seen) -> None:
    weights = torch.randn(20, 20)
    users = torch.tensor([5, 0, 29, 5])
    expected = torch.from_numpy(matrix(seen)).float()[users] @ weights
    torch.testing.assert_close(ItemWeights(weights, seen).all_scores(users), expected)
    assert ItemWeights(weights, seen).all_scores(users)[1].tolist() == [0] * 20


def test_neighbours_by_cosine(seen) -> None:
    held = matrix(seen)
    length = np.linalg.norm(held, axis=0).clip(1)
    alike = held.T @ held / (length * length[:, None] + 4)
    np.fill_diagonal(alike, 0)
    full = item_neighbours(seen, 20, shrink=4).weights.numpy()
    np.testing.assert_allclose(full, alike, atol=1e-6)
    few = item_neighbours(seen, 20, 3, shrink=4).weights.numpy()
    assert ((few > 0).sum(0) <= 3).all()
    for item in range(1, 20):
        kept = np.sort(few[:, item])[-3:]
        np.testing.assert_allclose(kept, np.sort(alike[:, item])[-3:], atol=1e-6)


def test_ease_is_the_constrained_least_squares_solution(seen) -> None:
    """Each column solves ridge regression of its item on all others."""
    held, wd = matrix(seen), 5.0
    found = ease(seen, 20, wd).weights.numpy()
    for item in (1, 4, 13):
        others = np.setdiff1d(np.arange(20), [item])
        x, y = held[:, others], held[:, item]
        expected = np.linalg.solve(x.T @ x + wd * np.eye(19), x.T @ y)
        np.testing.assert_allclose(found[others, item], expected, atol=1e-4)
        assert found[item, item] == 0


def test_catalogues_that_are_too_large_are_told(seen) -> None:
    with pytest.raises(ValueError, match=r"80,000 items make a table of 26 GB: .* 30,000 items at most"):
        ease(seen, 80_000)
