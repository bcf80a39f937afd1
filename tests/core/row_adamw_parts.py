"""A small model of two tables, its data, and the rule that `RowAdamW` stands for, over whole tables."""

import torch
from torch import nn

from zoo import Learner, ModelData, RowAdamW, TensorLoader

ROWS, WIDTH = 40, 3


class Pairs(nn.Module):
    """Two tables and a layer above them."""

    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.left, self.right = (nn.Embedding(ROWS, WIDTH, sparse=sparse) for _ in range(2))
        self.top = nn.Linear(WIDTH, 1)

    def forward(self, left, right):
        return self.top(self.left(left) * self.right(right)).squeeze(-1)


def made(sparse=True, seed=0) -> Pairs:
    torch.manual_seed(seed)
    return Pairs(sparse)


def data(n=256, bs=16, seed=1, rows=ROWS) -> ModelData:
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randint(0, rows, (n,), generator=draw) for _ in range(2))
    y = torch.sin(left * 0.7) * torch.cos(right * 0.3) + 0.1 * torch.randn(n, generator=draw)
    loader = TensorLoader(left, right, y, bs=bs, shuffle=True, seed=3)
    return ModelData(loader, TensorLoader(left, right, y, bs=64))


def learner(model, tmp_path=".", opt_fn=RowAdamW, **options) -> Learner:
    found = options.pop("data", None) or data()
    options = {"wd": 0.3, "progress": False, "device": "cpu", "seed": 5, "path": tmp_path, **options}
    return Learner(found, model, opt_fn=opt_fn, loss_fn=nn.MSELoss(), **options)


class Whole:
    """What `RowAdamW` stands for, over whole tables: in every step all rows decay and all second averages
    fade, first averages and rows move where there is a gradient."""

    def __init__(self, table, lr, wd, betas=(0.9, 0.999), eps=1e-8):
        self.table, self.lr, self.wd, self.betas, self.eps = table, lr, wd, betas, eps
        self.average, self.square = torch.zeros_like(table), torch.zeros_like(table)
        self.counts, self.steps = torch.zeros(len(table), 1, dtype=table.dtype), 0

    def step(self, rows, grad):
        self.table *= 1 - self.lr * self.wd
        b1, b2 = self.betas
        self.counts[rows] += 1
        self.steps += 1
        self.average[rows] = b1 * self.average[rows] + (1 - b1) * grad
        self.square *= b2
        self.square[rows] += (1 - b2) * grad**2
        size = (self.square[rows] / (1 - b2**self.steps)).sqrt() + self.eps
        self.table[rows] -= self.lr * self.average[rows] / (1 - b1 ** self.counts[rows]) / size
