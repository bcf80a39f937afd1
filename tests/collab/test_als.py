"""Alternating least squares against normal equations written out."""

import numpy as np
import pytest
import torch

from zoo_collab.model.als import implicit_factors, solve_rows, turned
from zoo_collab.pairs.seen import SeenPairs


def pairs(n: int = 900, users: int = 60, items: int = 40, seed: int = 0) -> SeenPairs:
    rng = np.random.default_rng(seed)
    popular = (rng.random(n) ** 2 * items).astype(int)
    return SeenPairs.from_pairs(rng.integers(0, users, n), popular, users)


def one(table, items, ridge, unobserved=0.0, weights=None, targets=None) -> torch.Tensor:
    """The solution for one row, in float64 and with all other rows in full."""
    table = table.double()
    weight, target = torch.zeros(len(table)).double(), torch.zeros(len(table)).double()
    weight[items] = 1.0 if weights is None else weights.double()
    target[items] = 1.0 if targets is None else targets.double()
    left = (table * (weight + unobserved)[:, None]).T @ table + ridge * torch.eye(table.shape[1])
    return torch.linalg.solve(left, (table * (weight * target)[:, None]).sum(0)).float()


@pytest.mark.parametrize("factors", [5, 30])
@pytest.mark.parametrize("cells", [1 << 24, 500])
@pytest.mark.parametrize(("unobserved", "several"), [(0.0, False), (0.3, False), (0.1, True)])
def test_each_row_solves_its_own_equations(cells, unobserved, several, factors, monkeypatch) -> None:
    monkeypatch.setattr("zoo_collab.model.als._CELLS", cells)
    draw = torch.Generator().manual_seed(0)
    seen, table = pairs(), torch.randn(40, factors, generator=draw)
    table[0] = 0
    weights = torch.rand(len(seen), generator=draw) + 0.5 if several else None
    targets = torch.randn(len(seen), generator=draw) if several else None
    rows = torch.tensor([7, 3, 0, 59, 12, 12])
    ridge = torch.tensor([0.5, 1.0, 1.0, 2.0, 0.7, 0.1])
    found = solve_rows(
        table, seen, rows, ridge=ridge, unobserved=unobserved, weights=weights, targets=targets
    )
    assert not found[2].any()
    for place in (0, 1, 3, 4, 5):
        row = int(rows[place])
        part = slice(int(seen.starts[row]), int(seen.starts[row + 1]))
        own = [None if given is None else given[part] for given in (weights, targets)]
        expected = one(table, seen.of(row).long(), float(ridge[place]), unobserved, *own)
        torch.testing.assert_close(found[place], expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="row 0 of the table is nobody"):
        solve_rows(table + 1, seen, rows, ridge=ridge)


def test_pairs_turned_round() -> None:
    seen = pairs()
    by_item, order = turned(seen, 40)
    users, items = seen.places(torch.arange(60))
    assert sorted(zip(items.tolist(), users.tolist(), strict=True)) == [
        (item, user) for item in range(40) for user in by_item.of(item).tolist()
    ]
    assert torch.equal(users[order].int(), by_item.items)


def test_the_loss_falls_with_every_iteration_and_tastes_are_found() -> None:
    rng = np.random.default_rng(1)
    users, items = rng.integers(1, 81, 2500), rng.integers(1, 51, 2500)
    alike = (users + items) % 2 == 0
    seen = SeenPairs.from_pairs(users[alike], items[alike], 81)

    def loss(n: int) -> float:
        own, other = implicit_factors(seen, 51, 4, iterations=n, unobserved=0.2, wd=0.01)
        scores = own @ other.T
        hit = seen.mask(torch.arange(81), 51)
        counts = hit.sum(1), hit.sum(0)
        ridges = [0.01 * (one + 0.2 * n) for one, n in zip(counts, (50, 80), strict=True)]
        hold = sum(float((r * f.square().sum(1)).sum()) for r, f in zip(ridges, (own, other), strict=True))
        return float((scores - 1)[hit].square().sum() + 0.2 * scores.square().sum()) + hold

    losses = [loss(n) for n in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)
    own, other = implicit_factors(seen, 51, 4)
    assert own[0].tolist() == other[0].tolist() == [0] * 4
    scores = (own @ other.T)[1:, 1:]
    kind = (torch.arange(1, 81)[:, None] + torch.arange(1, 51)) % 2 == 0
    assert scores[kind].mean() > scores[~kind].mean() + 0.5
    again = implicit_factors(seen, 51, 4)
    assert torch.equal(again[0], own)
    assert not torch.equal(implicit_factors(seen, 51, 4, seed=1)[0], own)


def test_counts_weigh() -> None:
    seen = pairs()
    plain, weighed = (
        implicit_factors(seen, 40, 4, iterations=2, weights=weights)
        for weights in (torch.ones(len(seen)), torch.where(seen.items == 3, 20.0, 1.0))
    )
    torch.testing.assert_close(plain, implicit_factors(seen, 40, 4, iterations=2))
    hit = seen.mask(torch.arange(60), 40)[:, 3]
    assert (weighed[0] @ weighed[1].T)[hit, 3].mean() > (plain[0] @ plain[1].T)[hit, 3].mean() + 0.05
