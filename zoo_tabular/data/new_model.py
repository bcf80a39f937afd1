"""A new network for a table's data: sizes, the answer before training, where reserved rows start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import some
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.model.mixed_input import MixedInputModel, default_width

if TYPE_CHECKING:
    from zoo_tabular.data.columnar import ColumnarModelData


def default_sizes(processor: TableProcessor) -> list[tuple[int, int]]:
    """(levels, width) of each category column; see `ColumnarModelData.embedding_sizes`."""
    return [(c.n_codes, default_width(len(c.levels) + 1)) for c in processor.categories_]


def check_request(data: ColumnarModelData, n_cont: int | None, out_sz: int | None, use_bn: bool) -> None:
    """Raise when what is asked of a network does not fit the data."""
    given = len(data.processor.numbers_)
    if n_cont is not None and n_cont not in (given, len(data.processor.number_names_)):
        raise ValueError(f"n_cont={n_cont}, but the data have {given} number columns")
    if out_sz is not None and out_sz != data.n_out:
        raise ValueError(f"out_sz={out_sz}, but the target needs {data.n_out} ({data.task})")
    if use_bn and getattr(data.train_dl, "bs", None) == 1:
        raise ValueError("bs=1: batch norm cannot learn from a single row; use bs=2 or more, or use_bn=False")


def new_model(
    data: ColumnarModelData,
    emb_szs: Sequence[Sequence[int]] | None,
    emb_drop: float,
    szs: Sequence[int],
    drops: float | Sequence[float],
    y_range: Sequence[float] | None,
    use_bn: bool,
    clip_cont: float | None,
) -> MixedInputModel:
    """The network of `ColumnarModelData.get_learner`; untrained, it answers the mean of the target."""
    sizes = default_sizes(data.processor) if emb_szs is None else _checked_sizes(data.processor, emb_szs)
    n_cont = len(data.processor.number_names_)
    model = MixedInputModel(sizes, n_cont, emb_drop, data.n_out, szs, drops, y_range, use_bn, clip_cont)
    if data.train_dl is not None:
        model.start_at(base_rates(data))
        _start_reserved_rows(model, data.processor)
    return model


@torch.no_grad()
def _start_reserved_rows(model: MixedInputModel, processor: TableProcessor) -> None:
    """Missing, rare and unknown start in the middle of the levels, not at a random place."""
    for i, column in enumerate(processor.categories_):
        model.embeddings.table(i)[[0, column.rare_code, column.unknown_code]] = 0.0  # type: ignore[union-attr]


def base_rates(data: ColumnarModelData) -> Tensor:
    """Outputs that a model without inputs would learn: means, or the logits of class frequencies."""
    base = data.base
    if base is None:
        target = data.train_dl.tensors[-1]
        if data.task == "classification":
            base = torch.bincount(target, minlength=data.n_out).double() / len(target)
        else:
            base = target.double().mean(0)
    if data.task == "regression":
        return base
    return torch.log(base) if data.task == "classification" else torch.logit(base.clamp(0.001, 0.999))


def _checked_sizes(processor: TableProcessor, emb_szs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    columns = processor.categories_
    if len(emb_szs) != len(columns):
        raise ValueError(
            f"emb_szs: {len(emb_szs)} pairs for {len(columns)} category columns "
            f"({some(column.name for column in columns)}); give one (levels, width) each"
        )
    sizes = []
    for column, pair in zip(columns, emb_szs, strict=True):
        if len(pair) != 2 or pair[1] < 1:
            raise ValueError(f"emb_szs: expected a pair (levels, width) for {column.name!r}, got {pair!r}")
        if pair[0] < len(column.levels):
            raise ValueError(f"emb_szs: {pair[0]} levels for {column.name!r}, which has {len(column.levels)}")
        sizes.append((max(int(pair[0]), column.n_codes), int(pair[1])))
    return sizes
