"""What the training loop costs: the same small network by a hand-written PyTorch loop, by zoo, and by fastai.

Every contestant trains the same network from the same weights on the same rows for the same number of steps,
with AdamW at a constant rate, keeps the loss of every batch, and after each epoch goes over held-out rows for
their mean loss and accuracy (`--no-metrics`: neither), all without printing. Rounds alternate in one process;
medians count. The hand-written loop and zoo read batches by `index_select` from tensors in memory; fastai
uses its own loader for data in memory. Where fastai is not installed, it is left out.

    python benchmarks/loop_overhead.py --steps 1500 --rounds 7
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import write_result
from torch import nn

ROWS, HELD_OUT, INPUTS, CLASSES, BATCH = 9600, 1920, 20, 5, 64

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--no-metrics", action="store_true", help="training only")
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


Rows = tuple[torch.Tensor, torch.Tensor]


def make_rows() -> tuple[Rows, Rows]:
    """Rows that a small network can learn, and as many more to look at."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + HELD_OUT, INPUTS, generator=generator)
    y = (x @ torch.randn(INPUTS, CLASSES, generator=generator)).argmax(1)
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])


def make_model(hidden: int) -> nn.Module:
    """Three linear layers, the same weights every time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(INPUTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)
    )


def by_hand(train: Rows, valid: Rows | None, hidden: int, epochs: int) -> tuple[float, float]:
    """The loop that everybody writes; returns seconds and the last epoch's mean loss."""
    x, y = train
    model, loss_fn = make_model(hidden), nn.CrossEntropyLoss()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    losses: list[torch.Tensor] = []
    history: list[tuple[float, float]] = []
    started = time.perf_counter()
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(x))
        losses = []
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            loss = loss_fn(model(x.index_select(0, rows)), y.index_select(0, rows))
            loss.backward()
            opt.step()
            opt.zero_grad()
            losses.append(loss.detach())
        if valid is not None:
            model.eval()
            total, right = torch.zeros(()), torch.zeros(())
            with torch.no_grad():
                for start in range(0, len(valid[0]), BATCH):
                    inputs, target = (part[start : start + BATCH] for part in valid)
                    preds = model(inputs)
                    total += loss_fn(preds, target) * len(target)
                    right += (preds.argmax(1) == target).sum()
            history.append((float(total) / len(valid[0]), float(right) / len(valid[0])))
    return time.perf_counter() - started, float(torch.stack(losses).mean())


def by_zoo(train: Rows, valid: Rows | None, hidden: int, epochs: int) -> tuple[float, float]:
    """The same through a learner, its recorder running as always."""
    from zoo import Learner, ModelData, TensorLoader
    from zoo.metrics import accuracy

    loader = TensorLoader(*train, bs=BATCH, shuffle=True, seed=0)
    learn = Learner(
        ModelData(loader, None if valid is None else TensorLoader(*valid, bs=BATCH)),
        make_model(hidden),
        metrics=[] if valid is None else [accuracy],
        wd=0.01,
        device="cpu",
        precision="fp32",
        progress=False,
    )
    started = time.perf_counter()
    rows = learn.fit(1e-3, epochs)
    return time.perf_counter() - started, rows[-1]["train_loss"]


def by_zoo_fit(train: Rows, valid: Rows | None, hidden: int, epochs: int) -> tuple[float, float]:
    """The same through the bare function `fit` with a plain torch optimizer."""
    from zoo import ModelData, TensorLoader, fit
    from zoo.metrics import accuracy

    model = make_model(hidden)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    loader = TensorLoader(*train, bs=BATCH, shuffle=True, seed=0)
    data = ModelData(loader, None if valid is None else TensorLoader(*valid, bs=BATCH))
    started = time.perf_counter()
    rows = fit(model, data, epochs, opt, nn.CrossEntropyLoss(), [] if valid is None else [accuracy])
    return time.perf_counter() - started, rows[-1]["train_loss"]


def by_fastai(train: Rows, valid: Rows | None, hidden: int, epochs: int) -> tuple[float, float]:
    """The same by fastai's learner with its loader of tensors in memory, recorder running, no bar."""
    from fastai.callback import progress  # noqa: F401 (importing it adds Learner.no_bar)
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import Adam

    class Batches(DataLoader):
        """Whole batches by one indexed read, instead of fastai's row by row."""

        def __init__(self, rows: Rows, shuffle: bool) -> None:
            self.rows = rows
            super().__init__(list(range(len(rows[0]))), bs=BATCH, shuffle=shuffle, num_workers=0)

        def create_batches(self, samples):
            rows = torch.tensor(list(samples))
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                yield tuple(tensor.index_select(0, part) for tensor in self.rows)

    learn = Learner(
        DataLoaders(Batches(train, True), [] if valid is None else Batches(valid, False)),
        make_model(hidden),
        loss_func=nn.CrossEntropyLoss(),
        metrics=[] if valid is None else [accuracy],
        opt_func=Adam,
        wd=0.01,
        train_bn=True,
    )
    with learn.no_bar(), learn.no_logging():
        started = time.perf_counter()
        learn.fit(epochs, 1e-3)
        seconds = time.perf_counter() - started
    return seconds, float(learn.recorder.smooth_loss.value)


def contestants() -> dict[str, Callable[..., tuple[float, float]]]:
    """Who is here; fastai only where it is installed."""
    found = {"hand-written": by_hand, "zoo learner": by_zoo, "zoo fit": by_zoo_fit}
    try:
        import fastai  # noqa: F401
    except ImportError:
        print("fastai is not installed: left out")
    else:
        found["fastai"] = by_fastai
    return found


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    per_epoch = ROWS // BATCH
    epochs = max(1, round(args.steps / per_epoch))
    train, valid = make_rows()
    held_out = None if args.no_metrics else valid
    runs = contestants()
    for run in runs.values():
        run(train, held_out, args.hidden, 1)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, float] = {}
    names = list(runs)
    for number in range(args.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken, losses[name] = runs[name](train, held_out, args.hidden, epochs)
            seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians["hand-written"]
    steps = epochs * per_epoch
    print(f"{steps} steps of {BATCH} rows, hidden {args.hidden}, medians of {args.rounds} alternating rounds")
    print(f"{'':<14}{'seconds':>9}{'us/step':>9}{'ratio':>8}{'last loss':>11}")
    for name, median in medians.items():
        print(
            f"{name:<14}{median:>9.3f}{1e6 * median / steps:>9.0f}{median / base:>8.2f}{losses[name]:>11.4f}"
        )
    result = {
        "steps": steps,
        "batch": BATCH,
        "hidden": args.hidden,
        "metrics": not args.no_metrics,
        "rounds": args.rounds,
        "seconds": seconds,
        "median": medians,
        "ratio": {name: median / base for name, median in medians.items()},
        "last_loss": losses,
    }
    write_result(args.out, "loop_overhead", result)


if __name__ == "__main__":
    main()
