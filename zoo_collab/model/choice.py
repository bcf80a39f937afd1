"""Which model a ratings table gets, and whether its tables are trained row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zoo.data.loaders.device import resolve_device
from zoo.engine.make_optimizer import unwrapped
from zoo.engine.row_adamw import RowAdamW
from zoo_collab.model.models import EmbeddingDotBias, EmbeddingNet

MANY_NUMBERS = {"cpu": 1 << 22}
"""From how many numbers in tables on it pays to train them row by row, by type of device: an ordinary step
goes over all of them (measured by `benchmarks/ratings_scale.py --steps`)."""
MANY_ON_OTHERS = 1 << 27
MANY_BATCHES = 8
"""And tables must have so many times the rows that a batch reads."""


def by_rows(
    sparse: bool | None,
    model: nn.Module | None,
    opt_fn: Callable[..., Any] | None,
    n_rows: int,
    n_factors: int | Sequence[int],
    n_read: int,
    device: Any,
) -> bool:
    """Whether tables get sparse gradients: as was said, or where it pays and the optimizer knows them.

    Args:
        sparse: what was said.
        model: one of the user's own.
        opt_fn: what makes the optimizer; None leaves it to us.
        n_rows: rows of both tables, and of those of their features.
        n_factors: their width, or widths.
        n_read: rows that a batch reads.
        device: as of a learner.

    Raises:
        TypeError: for something else than a truth value.
        ValueError: where it was said of a model of the user's own.

    Example:
        >>> [by_rows(None, None, None, rows, 50, 128, "cpu") for rows in (10_000, 530_000)]
        [False, True]
    """
    if sparse is not None:
        if not isinstance(sparse, bool):
            raise TypeError(f"sparse is True, False, or None to choose by size, got {sparse!r}")
        if model is not None:
            raise ValueError(
                "sparse= is of the models that get_learner makes: give your own tables it, as "
                "nn.Embedding(..., sparse=True), and they are trained row by row"
            )
        return sparse
    inner, _ = unwrapped(opt_fn)
    if opt_fn is not None and inner not in (RowAdamW, torch.optim.SparseAdam):
        return False
    widths = [n_factors] if isinstance(n_factors, int) else n_factors
    width = max((width for width in widths if isinstance(width, int)), default=0)
    enough = MANY_NUMBERS.get(resolve_device(device).type, MANY_ON_OTHERS)
    return n_rows * width >= enough and n_rows >= MANY_BATCHES * n_read


def make_model(
    sizes: tuple[int, int],
    n_factors: int | Sequence[int],
    hidden: Sequence[int] | None,
    dropouts: float | Sequence[float],
    y_range: tuple[float, float] | None,
    mean: float,
    sparse: bool,
    features: Mapping[str, Mapping[str, int]] | None = None,
) -> nn.Module:
    """An `EmbeddingNet` where hidden layers are given, else an `EmbeddingDotBias`.

    Args:
        sizes: rows of the tables of users and of items.
        n_factors: width of both, or for an `EmbeddingNet` (user width, item width).
        hidden: sizes of hidden layers.
        dropouts: of an `EmbeddingNet`.
        y_range: (lowest, highest) output; None leaves it free.
        mean: of the ratings.
        sparse: whether the tables have sparse gradients.
        features: sizes of "user_features" and "item_features", where there are any.

    Raises:
        ValueError: for several widths of a dot product.
    """
    options: dict[str, Any] = {"y_range": y_range and list(y_range), "mean": mean, "sparse": sparse}
    options |= features or {}
    if hidden is not None:
        return EmbeddingNet(*sizes, n_factors, hidden=list(hidden), dropouts=dropouts, **options)
    if not isinstance(n_factors, int):
        raise ValueError(f"a dot product needs one width, got n_factors={n_factors}; or give hidden sizes")
    return EmbeddingDotBias(*sizes, n_factors, **options)
