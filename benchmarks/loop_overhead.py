"""What the training loop costs: the same small network by a hand-written PyTorch loop, by zoo, and by fastai.

Every contestant trains the same network from the same weights on the same rows for the same number of steps,
with AdamW at a constant rate, without validation, metrics or printing. Rounds alternate in one process;
medians count. The hand-written loop and zoo read batches by `index_select` from tensors in memory; fastai
uses its own loader for data in memory. Where fastai is not installed, it is left out.

    python benchmarks/loop_overhead.py --steps 1500 --rounds 7
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

ROWS, INPUTS, CLASSES, BATCH = 9600, 20, 5, 64

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def make_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that a small network can learn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, INPUTS, generator=generator)
    return x, (x @ torch.randn(INPUTS, CLASSES, generator=generator)).argmax(1)


def make_model(hidden: int) -> nn.Module:
    """Three linear layers, the same weights every time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(INPUTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)
    )


def by_hand(x: torch.Tensor, y: torch.Tensor, hidden: int, epochs: int) -> tuple[float, float]:
    """The loop that everybody writes; returns seconds and the last epoch's mean loss."""
    model, loss_fn = make_model(hidden), nn.CrossEntropyLoss()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    model.train()
    started = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        total = torch.zeros(())
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            loss = loss_fn(model(x.index_select(0, rows)), y.index_select(0, rows))
            loss.backward()
            opt.step()
            opt.zero_grad()
            total += loss.detach()
    return time.perf_counter() - started, float(total) / (len(x) // BATCH)


def by_zoo(x: torch.Tensor, y: torch.Tensor, hidden: int, epochs: int) -> tuple[float, float]:
    """The same through a learner, its recorder running as always."""
    from zoo import Learner, ModelData, TensorLoader

    learn = Learner(
        ModelData(TensorLoader(x, y, bs=BATCH, shuffle=True, seed=0)),
        make_model(hidden),
        metrics=[],
        wd=0.01,
        device="cpu",
        progress=False,
    )
    started = time.perf_counter()
    rows = learn.fit(1e-3, epochs)
    return time.perf_counter() - started, rows[-1]["train_loss"]


def by_zoo_fit(x: torch.Tensor, y: torch.Tensor, hidden: int, epochs: int) -> tuple[float, float]:
    """The same through the bare function `fit` with a plain torch optimizer."""
    from zoo import ModelData, TensorLoader, fit

    model = make_model(hidden)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    data = ModelData(TensorLoader(x, y, bs=BATCH, shuffle=True, seed=0))
    started = time.perf_counter()
    rows = fit(model, data, epochs, opt, nn.CrossEntropyLoss())
    return time.perf_counter() - started, rows[-1]["train_loss"]


def by_fastai(x: torch.Tensor, y: torch.Tensor, hidden: int, epochs: int) -> tuple[float, float]:
    """The same by fastai's learner with its loader of tensors in memory, recorder running, no bar."""
    from fastai.callback import progress  # noqa: F401 (importing it adds Learner.no_bar)
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import Adam

    class Batches(DataLoader):
        """Whole batches by one indexed read, instead of fastai's row by row."""

        def create_batches(self, samples):
            rows = torch.tensor(list(samples))
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                yield x.index_select(0, part), y.index_select(0, part)

    train = Batches(list(range(len(x))), bs=BATCH, shuffle=True, num_workers=0)
    learn = Learner(
        DataLoaders(train, []),
        make_model(hidden),
        loss_func=nn.CrossEntropyLoss(),
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


def machine() -> dict[str, str | int]:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return {
        "cpu": name,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    per_epoch = ROWS // BATCH
    epochs = max(1, round(args.steps / per_epoch))
    x, y = make_rows()
    runs = contestants()
    for run in runs.values():
        run(x, y, args.hidden, 1)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, float] = {}
    names = list(runs)
    for number in range(args.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken, losses[name] = runs[name](x, y, args.hidden, epochs)
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
    args.out.mkdir(parents=True, exist_ok=True)
    result = {
        "benchmark": "loop_overhead",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "steps": steps,
        "batch": BATCH,
        "hidden": args.hidden,
        "rounds": args.rounds,
        "seconds": seconds,
        "median": medians,
        "ratio": {name: median / base for name, median in medians.items()},
        "last_loss": losses,
    }
    path = args.out / "loop_overhead.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
