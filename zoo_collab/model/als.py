"""Factors by alternating least squares: one side is solved exactly while the other stands still."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.allocator import return_freed_memory, reuse_freed_memory
from zoo_collab.pairs.seen import SeenPairs

UNOBSERVED = 0.3
"""Weight of a pair that was not taken, beside 1 of one that was; chosen on earlier ratings of MovieLens
small."""
_CELLS = 1 << 22  # numbers of gathered factors at a time


def solve_rows(
    table: Tensor,
    pairs: SeenPairs,
    rows: Tensor,
    *,
    ridge: Tensor,
    unobserved: float = 0.0,
    weights: Tensor | None = None,
    targets: Tensor | None = None,
) -> Tensor:
    """The factors x of each row that make least

        sum over the row's pairs of weight (x . other - target)^2 + unobserved x sum over all others of
        (x . other)^2 + ridge |x|^2

    in closed form (Hu, Koren & Volinsky 2008), for many rows at once by Cholesky. What rows have in common
    is diagonal in the basis of its eigenvectors; in that basis a row needs as many equations as it has pairs,
    or as there are factors, whichever are fewer (the identity of Woodbury). Rows of about the same number of
    pairs go together, so that little is padded.

    Args:
        table: factors of the other side, (others, factors); row 0 is nobody, and zero.
        pairs: of rows and others.
        rows: which rows, (n,).
        ridge: of each row, (n,), above 0.
        unobserved: weight of all pairs, those of the row among them, with the target 0.
        weights: of each pair, in the order of `pairs.items`; 1 by default.
        targets: likewise; 1 by default. Several columns, (pairs, k), are solved together.

    Returns:
        (n, factors), or (n, factors, k); zero for rows without pairs.

    Example:
        >>> table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> pairs = SeenPairs(torch.tensor([0, 2]), torch.tensor([1, 2], dtype=torch.int32))
        >>> found = solve_rows(table, pairs, torch.tensor([0]), ridge=torch.tensor([1e-6]))
        >>> [round(x, 3) for x in found[0].tolist()]
        [1.0, 0.0]
    """
    factors = table.shape[1]
    if bool(table[0].any()):
        raise ValueError("row 0 of the table is nobody, and must hold zeros")
    columns = 1 if targets is None or targets.dim() == 1 else targets.shape[1]
    found = table.new_zeros(len(rows), factors, columns)
    basis = None
    common, moved = table.new_zeros(factors), table
    if unobserved:
        common, basis = torch.linalg.eigh(unobserved * (table.T @ table))
        common, moved = common.clamp(min=0), table @ basis
    for places in alike(pairs.starts.diff()[rows], factors):
        own = rows[places]
        counts = pairs.starts[own + 1] - pairs.starts[own]
        steps = torch.arange(int(counts.max()), device=table.device)
        real = steps < counts[:, None]
        at = (pairs.starts[own][:, None] + steps).clamp(max=len(pairs.items) - 1)
        # what pads a row is nobody, whose zeros change no sum
        others = moved[pairs.items[at].long().masked_fill_(~real, 0)]
        wanted = real.to(table.dtype)[..., None]
        if targets is not None:
            wanted = wanted * targets[at].reshape(*at.shape, columns)
        hold = common + ridge[places][:, None]  # the common part, diagonal
        worth = None if weights is None else weights[at]
        solve = _by_pairs if len(steps) < factors else _by_factors
        found[places] = solve(others, hold, wanted, worth)
    found = found if basis is None else basis @ found
    return found if targets is not None and targets.dim() == 2 else found.squeeze(2)


def _by_factors(others: Tensor, hold: Tensor, wanted: Tensor, worth: Tensor | None) -> Tensor:
    """(rows, factors, columns) from systems of `factors` equations."""
    weighed = others if worth is None else others * worth[..., None]
    system = weighed.transpose(1, 2) @ others
    system.diagonal(dim1=1, dim2=2).add_(hold)
    return torch.cholesky_solve(weighed.transpose(1, 2) @ wanted, torch.linalg.cholesky(system))


def _by_pairs(others: Tensor, hold: Tensor, wanted: Tensor, worth: Tensor | None) -> Tensor:
    """The same from systems of as many equations as there are pairs."""
    held = others / hold[:, None]
    system = held @ others.transpose(1, 2)
    system.diagonal(dim1=1, dim2=2).add_(1.0 if worth is None else 1 / worth)
    return held.transpose(1, 2) @ torch.cholesky_solve(wanted, torch.linalg.cholesky(system))


def alike(counts: Tensor, factors: int) -> Iterator[Tensor]:
    """Places of rows with about the same number of pairs, as many at a time as fit; rows without are in
    none."""
    order = counts.argsort()
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        least = int(counts[order[start]])
        end = int(torch.searchsorted(counts[order], max(least + 8, least * 5 // 4), right=True))
        most = int(counts[order[end - 1]])
        end = min(end, start + max(1, _CELLS // (factors * max(most, factors))))
        yield order[start:end]
        start = end


def implicit_factors(
    seen: SeenPairs,
    n_items: int,
    factors: int = 64,
    *,
    iterations: int = 8,
    unobserved: float = UNOBSERVED,
    wd: float = 0.01,
    exponent: float = 1.0,
    weights: Tensor | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Factors of users and items from which of them belong together (Hu, Koren & Volinsky 2008), with the
    regularisation and the start of "Revisiting the Performance of iALS on Item Recommendation Benchmarks"
    (Rendle, Krichene, Zhang & Koren 2022). The defaults were chosen on earlier ratings of MovieLens small.

    Args:
        seen: the pairs; index 0 on either side is nobody and keeps zeros.
        n_items: items, nobody included.
        factors: numbers a user and an item.
        iterations: times that both sides are solved.
        unobserved: weight of a pair that has not been seen, beside 1 of those that have.
        wd: regularisation; a row's is `wd x (pairs + unobserved x others) ** exponent`.
        exponent: 0 holds all rows back alike, 1 those with many pairs more.
        weights: of each pair, beside 1; for counts.
        seed: of the start.

    Returns:
        (users, factors) and (items, factors).
    """
    reuse_freed_memory()
    n_users = len(seen.starts) - 1
    draw = torch.Generator().manual_seed(seed)
    device = seen.starts.device
    users = torch.zeros(n_users, factors, device=device)
    items = (torch.randn(n_items, factors, generator=draw) * (0.1 / factors**0.5)).to(device)
    items[0] = 0
    by_item, order = turned(seen, n_items)
    of_item = None if weights is None else weights[order]
    ridges = [
        (wd * (pairs.starts.diff() + unobserved * others) ** exponent).float()
        for pairs, others in ((seen, n_items - 1), (by_item, n_users - 1))
    ]
    everyone, everything = (torch.arange(n, device=items.device) for n in (n_users, n_items))
    for _ in range(iterations):
        users = solve_rows(items, seen, everyone, ridge=ridges[0], unobserved=unobserved, weights=weights)
        items = solve_rows(
            users, by_item, everything, ridge=ridges[1], unobserved=unobserved, weights=of_item
        )
    return_freed_memory()
    return users, items


def turned(pairs: SeenPairs, n_items: int) -> tuple[SeenPairs, Tensor]:
    """The users of each item, and where each of these pairs stood."""
    rows, items = pairs.places(torch.arange(len(pairs.starts) - 1, device=pairs.starts.device))
    order = items.argsort(stable=True)
    starts = torch.bincount(items, minlength=n_items).cumsum(0)
    starts = torch.cat([starts.new_zeros(1), starts])
    return SeenPairs(starts, rows[order].int()), order
