"""What the tests of several processes run in each of them, and in a single one to compare with.

torchrun --standalone --nproc-per-node 2 -- tests/core/distributed_runs.py FOLDER NAME...

Every run returns numbers and tensors; each process writes its own to `FOLDER/rank_{number}.safetensors`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.core.helpers import DigitsNet, digits
from tests.core.processes import equal, ranks
from zoo import DatasetLoader, Learner, ModelData, TensorLoader, distributed, fit, load_learner, set_seed
from zoo.callbacks import Accumulate, CSVLogger, TensorBoardLogger
from zoo.engine.callback import Callback
from zoo.metrics import accuracy
from zoo.storage.checkpoint import read_tree, write_tree

# "cpu" unless the environment says otherwise
DEVICE = os.environ.get("RUN_DEVICE", "cpu")
RUNS: dict[str, Callable[[Path], dict[str, Any]]] = {}


def run(function: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    RUNS[function.__name__] = function
    return function


def small_net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.LayerNorm(24), nn.ReLU(), nn.Linear(24, 10))


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def confusion_rank(preds: Tensor, targets: Tensor) -> float:
    """A metric that is no mean over rows, and depends on their order."""
    if len(preds) != 5 * 23:
        raise ValueError(f"the metric sees {len(preds)} rows")
    weights = torch.linspace(0, 1, len(preds), dtype=torch.float64)
    return float((preds.double().softmax(1)[torch.arange(len(preds)), targets] * weights).sum())


class RightOnes:
    """A streaming metric."""

    name = "right"

    def reset(self) -> None:
        self.right = 0

    def update(self, preds: Tensor, targets: Tensor) -> None:
        self.right += int((preds.argmax(1) == targets).sum())

    def compute(self) -> float:
        return float(self.right)


def digits_of(n: int, bs: int = 64) -> ModelData:
    """`n` rows for training, 115 for validation in batches of 23: odd shares."""
    x, y = digits()
    data = ModelData(
        TensorLoader(x[:n], y[:n], bs=bs, shuffle=True, seed=3),
        TensorLoader(x[1200:1315], y[1200:1315], bs=23),
    )
    data.task, data.classes = "classification", [str(i) for i in range(10)]
    return data


def learner(data: ModelData, model: nn.Module, **options: Any) -> Learner:
    options = {"metrics": [accuracy, confusion_rank, RightOnes], "opt_fn": sgd, **options}
    return Learner(data, model, device=DEVICE, **options)


def told(learn: Learner) -> dict[str, Any]:
    return {
        "weights": dict(learn.model.state_dict()),
        "losses": torch.tensor(learn.sched.losses, dtype=torch.float64),
        "rows": [{k: v for k, v in row.items() if k != "seconds"} for row in learn.history],
    }


@run
def one_row_left(path: Path) -> dict[str, Any]:
    """Layer norm; the last batch of an epoch has one row, so that a process has none."""
    set_seed(0)
    learn = learner(digits_of(257), small_net())
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    drawn = torch.get_rng_state()
    found = learn.lr_find(num_it=20)
    unchanged = all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())
    learn.fit_one_cycle(2, 0.1, clip=1.0)
    return {
        **told(learn),
        "finder": torch.tensor(found.losses, dtype=torch.float64),
        "suggested": found.suggestions(),
        "no trace": unchanged and torch.equal(drawn, torch.get_rng_state()),
        "predicted": torch.from_numpy(learn.predict()),
        "evaluated": learn.evaluate(),
    }


@run
def batch_norm(path: Path) -> dict[str, Any]:
    """The last batch has three rows, shared as one and two."""
    set_seed(0)
    learn = learner(digits_of(259), DigitsNet(dropout=0.0))
    learn.fit(0.1, 2, cycle_len=1)
    return told(learn)


@run
def batch_norm_2d_in_groups(path: Path) -> dict[str, Any]:
    """Pictures, a frozen batch norm, a layer that gets no gradient, and a last batch of one row."""
    set_seed(0)
    model = nn.ModuleDict(
        {
            "first": nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)),
            "second": nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8, momentum=None)),
            "unused": nn.Linear(2, 2),
            "head": nn.Linear(8, 10),
        }
    )
    x, y = digits()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, x: Tensor) -> Tensor:
            x = self.parts["second"](self.parts["first"](x.reshape(-1, 1, 8, 8)).relu())
            return self.parts["head"](x.relu().amax((2, 3)))

    data = ModelData(TensorLoader(x[:129], y[:129], bs=32, shuffle=True, seed=3))
    groups = {"first": [model["first"]], "rest": [model["second"], model["unused"], model["head"]]}
    learn = learner(data, Net(), layer_groups=groups, metrics=[], wd=0.1, opt_fn=torch.optim.AdamW)
    learn.freeze()
    learn.fit(1e-2, 2)
    return told(learn)


@run
def bfloat16(path: Path) -> dict[str, Any]:
    set_seed(0)
    learn = learner(digits_of(256), DigitsNet(dropout=0.0)).to_bf16()
    learn.fit(0.1, 1)
    return told(learn)


@run
def torch_loader(path: Path) -> dict[str, Any]:
    """A plain loader whose order comes from the global generator, in the bare loop."""
    set_seed(5)
    x, y = digits()
    rows = TensorDataset(x[:131], y[:131])
    train = DataLoader(rows, 32, shuffle=True)
    valid = DataLoader(TensorDataset(x[1200:1315], y[1200:1315]), 23)
    model = small_net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, ModelData(train, valid), 2, opt, nn.CrossEntropyLoss(), [accuracy, confusion_rank])
    for row in history:
        del row["seconds"]
    return {"weights": dict(model.state_dict()), "rows": history}


class NoisyDigits:
    """Rows that are drawn anew at every reading, as augmented pictures are."""

    def __init__(self, start: int, stop: int) -> None:
        x, y = digits()
        self.x, self.y = x[start:stop], y[start:stop]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor]:
        return self.x[key] + 0.1 * torch.randn(64), self.y[key]


@run
def decoded_rows(path: Path) -> dict[str, Any]:
    set_seed(0)
    train = DatasetLoader(NoisyDigits(0, 131), bs=32, shuffle=True, seed=4, num_workers=1)
    data = ModelData(train, DatasetLoader(NoisyDigits(1200, 1315), bs=23, seed=5))
    learn = learner(data, small_net())
    learn.fit(0.1, 2)
    return {**told(learn), "predicted": torch.from_numpy(learn.predict())}


@run
def accumulated(path: Path) -> dict[str, Any]:
    set_seed(0)
    learn = learner(digits_of(257, bs=16), small_net(), callbacks=[Accumulate(4)])
    learn.fit(0.1, 2)
    return told(learn)


@run
def few_rows(path: Path) -> dict[str, Any]:
    """A validation set and a batch of one row."""
    set_seed(0)
    x, y = digits()
    data = ModelData(TensorLoader(x[:5], y[:5], bs=2), TensorLoader(x[9:10], y[9:10], bs=4))
    learn = learner(data, small_net(), metrics=[accuracy])
    learn.fit(0.1, 1)
    return {**told(learn), "array": torch.from_numpy(learn.predict_array(x[:3]))}


@run
def summed_metrics(path: Path) -> dict[str, Any]:
    """Outputs too large to send: the metrics are added up instead."""
    from zoo.callbacks import distributed as callbacks

    set_seed(0)
    learn = learner(
        digits_of(64), small_net(), metrics=[accuracy, "f1", "mcc", "error_rate", "top_5_accuracy"]
    )
    many, callbacks._MANY = callbacks._MANY, 100
    try:
        learn.fit(0.1, 1)
        x, y = digits()
        few = learn.evaluate(TensorLoader(x[:24], y[:24], bs=23))  # a last batch of one row
    finally:
        callbacks._MANY = many
    return {**told(learn), "few": few}


@run
def several_parts(path: Path) -> dict[str, Any]:
    """Targets of two parts, and of one value a row of different length; a last batch of one row."""
    set_seed(0)
    x, y = digits()
    weights = torch.linspace(0.5, 1, 65)
    batches = [(x[a:b], (y[a:b], weights[a:b])) for a, b in ((0, 32), (32, 64), (64, 65))]

    def loss(preds: Tensor, target: Any) -> Tensor:
        return (nn.functional.cross_entropy(preds, target[0], reduction="none") * target[1]).mean()

    def weighed(preds: Tensor, target: Any) -> float:
        return float(((preds.argmax(1) == target[0]) * target[1]).sum() / target[1].sum())

    learn = learner(ModelData(batches, batches), small_net(), loss_fn=loss, metrics=[weighed])
    learn.fit(0.1, 2)
    ragged = [
        (x[a:b], [torch.full((1 + n % 3,), float(n)) for n in range(a, b)]) for a, b in ((0, 32), (32, 33))
    ]
    lengths = torch.tensor([len(one) for one in learn.predict_with_targs(loader=ragged)[1]])
    return {
        **told(learn),
        "lengths": lengths,
        "weights of rows": torch.tensor(learn.predict_with_targs()[1][1]),
    }


class Draws(Callback):
    """What the generators give on the way."""

    def __init__(self) -> None:
        self.inside = 0.0

    def after_batch(self, state: Any) -> None:
        if state.training and state.batch_index == 1:
            self.inside = torch.rand(()).item() + np.random.random()


@run
def generators(path: Path) -> dict[str, Any]:
    set_seed(0)
    draws = Draws()
    learn = learner(digits_of(256), small_net(), callbacks=[draws])
    learn.data.train_dl.seed = 100 + distributed.rank()
    learn.fit(0.1, 1)
    results = {"inside": draws.inside, "after": torch.rand(()).item(), "seed": learn.data.train_dl.seed}
    x, y = digits()
    plain = ModelData(DataLoader(TensorDataset(x[:64], y[:64]), 16, shuffle=True))
    opt = torch.optim.SGD(learn.model.parameters(), lr=0.1)
    fit(learn.model, plain, 1, opt, nn.CrossEntropyLoss(), callbacks=[draws])
    return {**results, "inside plain": draws.inside}


@run
def files(path: Path) -> dict[str, Any]:
    set_seed(0)
    path = Path(os.environ.get("RUN_FILES", path))
    data = digits_of(256)
    data.path = path
    learn = learner(data, DigitsNet(dropout=0.0), path=path)
    logs = [CSVLogger(path / "log.csv"), TensorBoardLogger(path / "board")]
    learn.fit(0.1, 2, cycle_len=1, cycle_save_name="cycle", best_save_name="best", callbacks=logs)
    learn.save("mine")
    learn.load("mine")
    archive = learn.export(path / "digits.zip")
    again = load_learner(archive, device="cpu")
    x, _ = digits()
    same = torch.equal(
        torch.from_numpy(again.predict_array(x[:5])), torch.from_numpy(learn.predict_array(x[:5]))
    )
    claim = distributed.claims(path / "another")
    return {"same": same, "claim": claim}


class FailsOn(Callback):
    def __init__(self, error: BaseException, ranks: tuple[int, ...]) -> None:
        self.error, self.ranks = error, ranks

    def after_batch(self, state: Any) -> None:
        if state.training and state.step == 2 and distributed.rank() in self.ranks:
            raise self.error


@run
def failures_survived(path: Path) -> dict[str, Any]:
    """A script that catches errors goes on; so does one that was interrupted."""
    seen: dict[str, Any] = {}
    set_seed(0)
    learn = learner(digits_of(256), DigitsNet(dropout=0.0))

    def caught(name: str, **options: Any) -> None:
        try:
            learn.fit(0.1, 1, **options)
            seen[name] = "interrupted" if not learn.history else "trained"
        except Exception as error:
            seen[name] = f"{type(error).__name__}: {error}"

    caught("both", callbacks=[FailsOn(ValueError("rotten rows"), (0, 1))])
    caught("one", callbacks=[FailsOn(ValueError("rotten row"), (1,))])
    caught("interrupt", callbacks=[FailsOn(KeyboardInterrupt(), (0,))])
    good = learn.data
    learn.data = digits_of(256 + distributed.rank())
    caught("other length")
    x, y = digits()
    here = distributed.rank() * 300
    learn.data = ModelData(TensorLoader(x[here : here + 256], y[here : here + 256], bs=64))
    caught("other rows")
    learn.data = good
    try:
        fit(learn.model, good, 1, torch.optim.LBFGS(learn.model.parameters()), nn.CrossEntropyLoss())
    except ValueError as error:
        seen["closure"] = str(error)
    learn.fit(0.1, 1)
    return {**seen, **told(learn)}


@run
def failure(path: Path) -> dict[str, Any]:
    learn = learner(digits_of(256), small_net(), callbacks=[FailsOn(ValueError("rotten row"), (1,))])
    learn.fit(0.1, 1)
    return {}


@run
def killed(path: Path) -> dict[str, Any]:
    class Kill(Callback):
        def after_batch(self, state: Any) -> None:
            if distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    learner(digits_of(256), small_net(), callbacks=[Kill()]).fit(0.1, 1)
    return {}


def seen(name: str, folder: Path) -> dict[str, Any]:
    """What a run of this module sees, or `text.name`, which is one of `tests/text/distributed_runs.py`."""
    domain, _, own = name.rpartition(".")
    if not domain:
        return RUNS[own](folder)
    (folder / domain).mkdir(parents=True, exist_ok=True)
    return importlib.import_module(f"tests.{domain}.distributed_runs").RUNS[own](folder / domain)


def work(folder: Path, *names: str) -> None:
    """Run what is named, and write down what this process saw."""
    results = {name: seen(name, folder) for name in names}
    write_tree(folder / f"rank_{distributed.rank()}.safetensors", results)


def check_agreement(folder: Path, *names: str) -> None:
    """Two processes see the same of every run, and what this one sees alone."""
    assert ranks(work, folder, *names) == [0, 0]
    first, second = (read_tree(folder / f"rank_{number}.safetensors") for number in (0, 1))
    for name in names:
        equal(first[name], second[name], 0.0, name)
        equal(seen(name, folder / "alone"), first[name], 1e-4, name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(Path(sys.argv[1]), *sys.argv[2:])
