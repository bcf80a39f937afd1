"""Gradients of tables travel by the rows they reach, so that the network need not carry whole tables."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zoo.distributed import group as distributed


@torch.no_grad()
def average_rows(params: Iterable[nn.Parameter]) -> None:
    """Every process gets the mean of all processes' sparse gradients; a missing one counts as zero.

    Parameters without a gradient in any process stay without. What is exchanged grows with the rows that the
    batch reads: of tables of one number format their numbers, then row numbers, then rows, three exchanges
    together.

    Args:
        params: tables, the same in all processes; an ordinary gradient counts as one that reaches all rows.
    """
    kinds: dict[tuple, list[nn.Parameter]] = {}
    for param in params:
        kinds.setdefault((param.dtype, param.device), []).append(param)
    for tables in kinds.values():
        _average(tables)


def _average(tables: list[nn.Parameter]) -> None:
    own = [_rows(param) for param in tables]
    there = [param.grad is not None for param in tables]
    told = torch.tensor([[len(rows), here] for (rows, _), here in zip(own, there, strict=True)])
    sizes = torch.stack(distributed.all_gather(told.to(tables[0].device))).cpu()  # (processes, tables, 2)
    counts, present = sizes[..., 0].tolist(), sizes[..., 1].any(0).tolist()
    widths = [param[0].numel() for param in tables]
    lengths = [[n * width for n, width in zip(ns, widths, strict=True)] for ns in counts]
    numbers = distributed.gather_rows(torch.cat([rows for rows, _ in own]), [sum(ns) for ns in counts])
    values = distributed.gather_rows(
        torch.cat([grad.reshape(-1) for _, grad in own]), [sum(ns) for ns in lengths]
    )
    each_rows = numbers.split([n for ns in counts for n in ns])  # of all tables of process 0, then of 1
    each_values = values.split([n for ns in lengths for n in ns])
    for place, param in enumerate(tables):
        if present[place]:
            rows = torch.cat(each_rows[place :: len(tables)])
            mean = torch.cat(each_values[place :: len(tables)]).reshape(-1, *param.shape[1:])
            mean /= distributed.world_size()
            summed = torch.sparse_coo_tensor(rows[None], mean, param.shape, check_invariants=False)
            param.grad = summed.coalesce()


def _rows(param: nn.Parameter) -> tuple[Tensor, Tensor]:
    """Which rows a gradient reaches, each once, and their gradients."""
    if param.grad is None:
        return torch.zeros(0, dtype=torch.int64, device=param.device), param.new_zeros(0, *param.shape[1:])
    if not param.grad.is_sparse:
        return torch.arange(len(param), device=param.device), param.grad
    grad = param.grad.coalesce()
    return grad.indices()[0], grad.values()
