"""Tensors of any shape as columns of a frame, to be looked at."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.data.answers.nested import rows_of

MOST_COLUMNS = 12


def plain_columns(part: Any, name: str, n: int) -> dict[str, list]:
    """The first `n` rows of a part of a batch: its values, or where a row holds too many what they are like.

    Example:
        >>> import torch
        >>> plain_columns(torch.arange(4).reshape(2, 2), "x", 2)
        {'x_0': [0, 2], 'x_1': [1, 3]}
        >>> plain_columns(torch.zeros(1, 3, 8, 8), "x", 2)
        {'x': ['3 x 8 x 8, mean 0, from 0 to 0']}
    """
    if isinstance(part, dict):
        return {
            key: values
            for one, value in part.items()
            for key, values in plain_columns(value, f"{name}_{one}", n).items()
        }
    if not isinstance(part, Tensor):
        if isinstance(part, tuple | list) and len(part) == rows_of(part):
            return {name: [str(tuple(one.shape)) if isinstance(one, Tensor) else one for one in part[:n]]}
        parts = enumerate(part) if isinstance(part, tuple | list) else []
        return {
            key: values
            for one, value in parts
            for key, values in plain_columns(value, f"{name}_{one}", n).items()
        }
    rows = part[:n] if part.ndim else part[None]
    if rows.ndim == 1:
        return {name: rows.tolist()}
    if rows.ndim == 2 and rows.shape[1] <= MOST_COLUMNS:
        width = rows.shape[1]
        return {name if width == 1 else f"{name}_{i}": rows[:, i].tolist() for i in range(width)}
    return {name: [_likeness(row) for row in rows]}


def _likeness(row: Tensor) -> str:
    shape = " x ".join(map(str, row.shape))
    low, high = (f"{float(value):.4g}" for value in row.float().aminmax()) if row.numel() else ("-", "-")
    return f"{shape}, mean {float(row.float().mean()):.4g}, from {low} to {high}"
