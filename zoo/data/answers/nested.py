"""Batches that are not one tensor: tuples, named tuples, lists, dicts, and rows of different length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor


def leaves(part: Any) -> Iterator[Tensor]:
    """The tensors of a nested value, in order."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from leaves(value)
    elif isinstance(part, tuple | list):
        for value in part:
            yield from leaves(value)


def map_tensors(function: Callable[[Tensor], Any], part: Any) -> Any:
    """A nested value with `function` of every tensor in it; everything else stays.

    Example:
        >>> map_tensors(lambda t: t.tolist(), {"x": torch.ones(2), "ids": ["a", "b"]})
        {'x': [1.0, 1.0], 'ids': ['a', 'b']}
    """
    if isinstance(part, Tensor):
        return function(part)
    if isinstance(part, Mapping):
        return {key: map_tensors(function, value) for key, value in part.items()}
    if isinstance(part, tuple | list):
        return _like(part, [map_tensors(function, value) for value in part])
    return part


def detached(part: Any) -> Any:
    """On the CPU and without gradients, to be kept."""
    return part.detach().cpu() if isinstance(part, Tensor) else map_tensors(lambda t: t.detach().cpu(), part)


def join(parts: Sequence[Any], rows: Sequence[int] | None = None) -> Any:
    """The same nested value of several batches as one of all their rows.

    Tensors are joined along their rows, dicts and tuples member by member. A list holds the columns of a
    batch if its tensors have as many rows as that, as torch's `default_collate` makes it, otherwise one
    value a row.

    Args:
        parts: one value a batch.
        rows: of each batch, where that is known.

    Raises:
        ValueError: if tensors of different batches cannot be joined.

    Example:
        >>> join([(torch.ones(2), ["a", "b"]), (torch.zeros(1), ["c"])])
        (tensor([1., 1., 0.]), ['a', 'b', 'c'])
    """
    first = parts[0]
    if isinstance(first, Tensor):
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"batches of different shape, {tuple(first.shape)} and "
                f"{next(tuple(part.shape) for part in parts if part.shape[1:] != first.shape[1:])}, cannot "
                "be "
                "joined: pad them to one length, or measure batch by batch (zoo.metrics.batch_mean)"
            )
        return torch.cat([part if part.ndim else part[None] for part in parts])
    if isinstance(first, Mapping):
        return {key: join([part[key] for part in parts], rows) for key in first}
    counts = [None] * len(parts) if rows is None else rows
    if isinstance(first, list) and not all(
        is_columns(part, n) and len(part) == len(first) for part, n in zip(parts, counts, strict=True)
    ):
        return [row for part in parts for row in part]
    if isinstance(first, tuple | list):
        return _like(first, [join(members, rows) for members in zip(*parts, strict=True)])
    return list(parts)


def rows_of(part: Any) -> int:
    """How many rows a nested value has; 1 where nothing tells.

    Example:
        >>> rows_of({"x": torch.ones(3, 2)}), rows_of([torch.ones(2), torch.ones(5)]), rows_of(None)
        (3, 2, 1)
    """
    if isinstance(part, Tensor):
        return len(part) if part.ndim else 1
    if isinstance(part, list) and not is_columns(part):
        return len(part)
    return next((len(leaf) for leaf in leaves(part) if leaf.ndim), 1)


def split_output(output: Any) -> tuple[Any, tuple]:
    """What a model returned as (predictions, the rest).

    Of an output with a member `logits` (named tuple, dict or dataclass, as models of other libraries have)
    that is the predictions; of any other tuple the first member. Everything else goes to the loss as it is.

    Example:
        >>> split_output({"loss": None, "logits": torch.ones(1)})
        (tensor([1.]), (None,))
        >>> split_output((torch.ones(1), "state"))
        (tensor([1.]), ('state',))
    """
    if isinstance(output, Tensor):
        return output, ()
    named = _members(output)
    if named is not None and named.get("logits") is not None:
        return named["logits"], tuple(value for name, value in named.items() if name != "logits")
    if isinstance(output, tuple):
        return output[0], output[1:]
    return output, ()


def _members(output: Any) -> Mapping[str, Any] | None:
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))  # type: ignore[attr-defined]
    return vars(output) if is_dataclass(output) and not isinstance(output, type) else None


def is_columns(part: list, rows: int | None = None) -> bool:
    """Whether a list holds columns of a batch, and not one value a row.

    Args:
        part: the list.
        rows: of the batch, where that is known.

    Example:
        >>> y, weight = torch.ones(3), torch.ones(3)
        >>> is_columns([y, weight]), is_columns([torch.ones(2), torch.ones(5)], rows=2)
        (True, False)
    """
    lengths = {len(one) if one.ndim else 0 for one in leaves(part)}
    return (
        len(lengths) == 1 and rows in (None, *lengths) and not all(isinstance(one, Mapping) for one in part)
    )


def _like(part: Any, members: list) -> Any:
    return type(part)(*members) if hasattr(part, "_fields") else type(part)(members)
