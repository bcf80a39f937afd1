"""What a network for tables reads and answers, for graphs that are read without this library."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.data.ports import Port, Units
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.target.transforms import TargetTransform


def table_ports(processor: TableProcessor) -> list[Port]:
    """Codes of the categories and scaled numbers, each with the names of its columns."""
    columns, numbers = processor.categories_, processor.number_names_
    rows = torch.arange(max([4, *(column.n_codes for column in columns)]))[:, None]
    codes = rows % torch.tensor([column.n_codes for column in columns], dtype=torch.int64).clamp(min=1)
    values = torch.randn(len(rows), len(numbers), generator=torch.Generator().manual_seed(0))
    return [
        Port(
            "categories",
            ("rows", len(columns)),
            "codes of the category columns, as data.processor.transform_arrays gives them",
            codes.reshape(len(rows), len(columns)),
            names=[column.name for column in columns],
        ),
        Port(
            "numbers",
            ("rows", len(numbers)),
            "scaled numbers without gaps, as data.processor.transform_arrays gives them",
            values,
            names=list(numbers),
        ),
    ]


class TargetUnits(Units):
    """What `TargetTransform.inverse` does, as a part of a graph.

    Example:
        >>> TargetUnits(TargetTransform("log1p"))(torch.tensor([[0.0]])).tolist()
        [[0.0]]
    """

    def __init__(self, target: TargetTransform) -> None:
        kinds = [target.name] if isinstance(target.name, str) else target.name
        scaled = [kind == "standardize" for kind in kinds]
        mean, std = target.mean or [0.0], target.std or [1.0]
        if len(kinds) > 1:
            std = [value if on else 1.0 for value, on in zip(std, scaled, strict=True)]
            mean = [value if on else 0.0 for value, on in zip(mean, scaled, strict=True)]
        elif not scaled[0]:
            mean, std = [0.0], [1.0]
        super().__init__(target.names, std, mean)
        self.kinds = list(kinds)

    def forward(self, values: Tensor) -> Tensor:
        if set(self.kinds) <= {"none", "standardize"}:
            return super().forward(values)
        wide = values.double() * self.scale + self.shift
        if len(self.kinds) == 1:
            return _undone(self.kinds[0], wide).to(values.dtype)
        columns = [_undone(kind, wide[:, i]) for i, kind in enumerate(self.kinds)]
        return torch.stack(columns, 1).to(values.dtype)


def _undone(kind: str, wide: Tensor) -> Tensor:
    return wide.exp() if kind == "log" else wide.expm1() if kind == "log1p" else wide
