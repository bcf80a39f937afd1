"""Gradients of a few rows of a table, as `nn.Embedding(sparse=True)` makes them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def sparse_tables(model: nn.Module) -> Iterator[nn.Embedding | nn.EmbeddingBag]:
    """The tables of a model whose gradients are sparse.

    Example:
        >>> net = nn.Sequential(nn.Embedding(3, 2), nn.Embedding(9, 2, sparse=True))
        >>> list(sparse_tables(net))
        [Embedding(9, 2, sparse=True)]
    """
    return (
        part for part in model.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag) if part.sparse
    )


def gradient_numbers(param: Tensor) -> Tensor:
    """The numbers of a parameter's gradient, to be read and changed in place.

    Args:
        param: with a gradient; of a sparse one each row stands once afterwards.

    Returns:
        The gradient itself, or the values of a sparse one, (rows it reaches, ...).

    Example:
        >>> import torch
        >>> table = nn.Embedding(9, 1, sparse=True)
        >>> torch.autograd.backward(table(torch.tensor([4, 4, 7])).sum())
        >>> _ = gradient_numbers(table.weight).mul_(10)
        >>> table.weight.grad.to_dense()[[4, 5, 7], 0]
        tensor([20.,  0., 10.])
    """
    grad = param.grad
    if grad is None:
        raise ValueError("the parameter has no gradient")
    if not grad.is_sparse:
        return grad
    param.grad = grad.coalesce()
    return param.grad._values()
