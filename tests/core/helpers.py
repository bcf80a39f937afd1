"""A small real problem on tensors: scikit-learn's handwritten digits."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zoo import Learner, ModelData, TensorLoader
from zoo.storage.registry import register_model


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Pixels and figures, from the file: the package around it takes every process seconds to import."""
    package = importlib.util.find_spec("sklearn")
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"  # type: ignore[union-attr, index]
    rows = torch.from_numpy(np.loadtxt(file, delimiter=","))
    return rows[:, :-1].float() / 16, rows[:, -1].long()


@register_model("test.digits_net")
class DigitsNet(nn.Module):
    def __init__(self, width: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout))
        self.middle = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.body(x)))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"body": [self.body], "middle": [self.middle], "head": [self.head]}


def digits_data(bs: int = 64, seed: int = 1, path: object = None) -> ModelData:
    x, y = digits()
    data = ModelData(
        TensorLoader(x[:1200], y[:1200], bs=bs, shuffle=True, seed=seed),
        TensorLoader(x[1200:], y[1200:], bs=256),
        path=path,  # type: ignore[arg-type]
    )
    data.task, data.classes = "classification", [str(i) for i in range(10)]
    return data


def digits_learner(*, seed: int = 0, path: object = None, **options: object) -> Learner:
    torch.manual_seed(seed)
    options = {"device": "cpu", "progress": False, **options}
    return Learner(digits_data(path=path), DigitsNet(), **options)  # type: ignore[arg-type]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def evaluated(scores: Tensor, targets: Tensor, loss: object, metrics: list) -> dict[str, float]:
    """The metrics of a model whose outputs these are."""
    data = ModelData(None, TensorLoader(scores, targets, bs=16))
    learn = Learner(data, nn.Identity(), device="cpu", loss_fn=loss, metrics=metrics)  # type: ignore[arg-type]
    return {name: value for name, value in learn.evaluate().items() if name != "valid_loss"}
