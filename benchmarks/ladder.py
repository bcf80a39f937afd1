"""From scratch: the ladder of plain networks on written digits and small photos, in the published order.

    python benchmarks/ladder.py --data DATA --set mnist --nets fast --epochs 6 --models 6
    python benchmarks/ladder.py --data DATA --set cifar10 --epochs 5
    python benchmarks/ladder.py --data DATA --set cifar10 --what equal          # next to a hand-written loop
    PYTHONPATH=path/to/fastai python benchmarks/ladder.py --data DATA --set cifar10 --what equal

`accuracy` trains each network with one cycle on all training pictures and prints the accuracy on the test
pictures, that of the mean over augmented views (TTA), and seconds; with `--models` several networks of other
seeds, and their ensemble. `equal` trains one network with the same batches, optimizer and rates by `fit`, by
a hand-written loop and by fastai, in turns, and prints the ratio of the times.

Rates, label smoothing, weight decay and the strength of augmentation are those of the networks' sources or
plain round numbers; they were looked at on training pictures held out (`--held-out`), never on test pictures.
The copy of CIFAR-10 is lossy (JPEG): numbers compare with each other, not with published ones.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from report import print_table, write_result
from torch import Tensor, nn

import zoo
from zoo import Ensemble, Learner, ModelData, TensorLoader
from zoo.allocator import reuse_freed_memory
from zoo.datasets import local_dataset
from zoo.losses import CrossEntropyFlat
from zoo.metrics import accuracy
from zoo.vision import ConvLearner, ImageClassifierData, RandomFlip, RandomRotate, tfms_from_stats
from zoo.vision.models.fast_net import FastNet
from zoo.vision.models.ladder import ConvNet, ConvNetBn, ConvNetRes, SimpleNet
from zoo.vision.models.wide_resnet import WideResNet

STATS = {
    "mnist": ([0.1307], [0.3081]),  # mean and spread of the training pixels
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}
NETS: dict[str, tuple[Callable[[int, int], nn.Module], float]] = {
    # by channels and side; highest rate
    "fully connected": (lambda c, side: SimpleNet(10, side, c_in=c), 4e-3),
    "convolutions": (lambda c, side: ConvNet(10, c_in=c), 4e-3),
    "batch norm": (lambda c, side: ConvNetBn(10, c_in=c), 1e-2),
    "residual": (lambda c, side: ConvNetRes(10, c_in=c), 1e-2),
    "wide residual": (lambda c, side: WideResNet(10, 10, 2, p=0.1, c_in=c), 1e-2),
    "fast": (lambda c, side: FastNet(10, widths=(24, 48, 48), c_in=c), 1e-2),
}
Arrays = tuple[np.ndarray, np.ndarray]


def read_mnist(folder: Path) -> tuple[Arrays, Arrays]:
    """The four idx files: a header of 16 or 8 bytes, then bytes."""
    found = []
    for part in ("train", "t10k"):
        x, y = (
            np.fromfile(folder / f"{part}-{kind}-ubyte", np.uint8) for kind in ("images-idx3", "labels-idx1")
        )
        found.append((x[16:].reshape(-1, 28, 28), y[8:].astype(np.int64)))
    return found[0], found[1]


def read_folders(folder: Path) -> tuple[Arrays, Arrays]:
    """Class folders of small pictures, as arrays."""
    found = []
    for part in ("train", "test"):
        names = sorted(one.name for one in (folder / part).iterdir())
        files = [
            (file, number)
            for number, name in enumerate(names)
            for file in sorted((folder / part / name).iterdir())
        ]
        pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
        found.append((pictures, np.array([number for _, number in files])))
    return found[0], found[1]


def pictures(args: argparse.Namespace) -> tuple[Arrays, Arrays]:
    folder = local_dataset(args.data, args.set)
    train, test = read_mnist(folder) if args.set == "mnist" else read_folders(folder)
    if args.held_out:
        order = np.random.default_rng(0).permutation(len(train[0]))
        rest, judge = order[: -args.held_out], order[-args.held_out :]
        train, test = tuple(a[rest] for a in train), tuple(a[judge] for a in train)  # type: ignore[assignment]
    if args.rows:
        chosen = np.random.default_rng(1).permutation(len(train[0]))[: args.rows]
        train = train[0][chosen], train[1][chosen]
    return train, test


def learner(args: argparse.Namespace, net: str, train: Arrays, test: Arrays, seed: int) -> ConvLearner:
    """One network on augmented pictures: turns of digits, mirrored photos, shifts by 2 or 4 pixels."""
    side, channels = train[0].shape[1], 1 if train[0].ndim == 3 else 3
    moves = [RandomRotate(10, pad_mode="constant")] if args.set == "mnist" else [RandomFlip()]
    pad = 2 if args.set == "mnist" else 4
    tfms = tfms_from_stats(STATS[args.set], side, aug_tfms=moves, pad=pad)
    data = ImageClassifierData.from_arrays(None, train, test, bs=args.bs, tfms=tfms, seed=seed)
    zoo.set_seed(seed)
    make, _ = NETS[net]
    model = make(channels, side)
    learn = ConvLearner(
        data, model, metrics=[accuracy], loss_fn=CrossEntropyFlat(label_smoothing=args.smoothing),
        wd=args.wd, device=args.device, progress=False, seed=seed,
    )  # fmt: skip
    if isinstance(model, FastNet):
        model.whiten_with(
            data.train_dl.batch_transform.tfm.normalize(torch.from_numpy(_planar(train[0][:5000])))
        )
    return learn


def _planar(x: np.ndarray) -> np.ndarray:
    return x[:, None] if x.ndim == 3 else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def ladder(args: argparse.Namespace) -> dict[str, Any]:
    train, test = pictures(args)
    result: dict[str, Any] = {}
    lines = []
    for net in args.nets:
        learners, scores = [], []
        for seed in range(args.seed, args.seed + args.models):
            learn = learner(args, net, train, test, seed)
            started = time.perf_counter()
            row = learn.fit_one_cycle(args.epochs, args.lr or NETS[net][1])[-1]
            seconds = time.perf_counter() - started
            answers, truth = learn.TTA(args.views)
            tta = float((answers.argmax(1) == truth).mean())
            scores.append({"seed": seed, "accuracy": row["accuracy"], "tta": tta, "seconds": seconds})
            print(
                f"{net}, seed {seed}: {100 * row['accuracy']:.2f}%, TTA {100 * tta:.2f}%, {seconds:.0f} s",
                flush=True,
            )
            learners.append(learn)
        result[net] = {"models": scores}
        first = scores[0]
        n_parameters = sum(p.numel() for p in learners[0].model.parameters())
        percent = [f"{100 * first[kind]:.2f}" for kind in ("accuracy", "tta")]
        cells = [f"{n_parameters:,}", *percent, f"{first['seconds']:.0f}"]
        if args.models > 1:
            whole = Ensemble(learners).evaluate()["accuracy"]
            views = np.mean([np.exp(one.TTA(args.views)[0]) for one in learners], 0)
            result[net] |= {"ensemble": whole, "ensemble_tta": float((views.argmax(1) == test[1]).mean())}
            cells += [f"{100 * whole:.2f}", f"{100 * result[net]['ensemble_tta']:.2f}"]
        lines.append([net, *cells])
    heads = ["network", "parameters", "accuracy %", "with TTA %", "seconds"]
    heads += [f"ensemble of {args.models} %", "with TTA %"] if args.models > 1 else []
    print_table(heads, lines)
    return result


# ---- equal work


def equal(args: argparse.Namespace) -> dict[str, Any]:
    """The same batches through the same network, Adam, one cycle of cosines: seconds and accuracy."""
    train, test = pictures(args)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in STATS[args.set])
    x, valid_x = (
        torch.from_numpy((_planar(part[0]) / np.float32(255) - mean) / std) for part in (train, test)
    )
    y, valid_y = torch.from_numpy(train[1]), torch.from_numpy(test[1])
    side, channels = x.shape[-1], x.shape[1]
    runs: dict[str, Callable[[nn.Module, int], float]] = {"zoo": _by_fit, "by hand": _by_hand}
    try:
        import fastai.learner  # noqa: F401

        runs["fastai"] = _by_fastai
    except ImportError as error:
        print(f"without fastai ({error})")
    result: dict[str, Any] = {}
    reuse_freed_memory()  # as a fit of zoo arranges it for the whole process: for everybody from the start
    for net in args.nets:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for turn in range(args.rounds + 1):
            order = list(runs)[turn % len(runs) :] + list(runs)[: turn % len(runs)]
            for name in order:
                zoo.set_seed(turn)
                model = NETS[net][0](channels, side)
                started = time.perf_counter()
                score = runs[name](model, args, (x, y), (valid_x, valid_y), turn)
                if turn:
                    found[name].append((time.perf_counter() - started, score))
        seconds = {name: statistics.median(s for s, _ in values) for name, values in found.items()}
        scores = {name: statistics.mean(a for _, a in values) for name, values in found.items()}
        print(f"\n{net}, {args.epochs} epochs of {len(x):,} pictures, batches of {args.bs}")
        print_table(
            ["", "seconds", "x zoo", "accuracy %"],
            [
                [name, f"{seconds[name]:.2f}", f"{seconds[name] / seconds['zoo']:.2f}", f"{100 * score:.2f}"]
                for name, score in scores.items()
            ],
        )
        result[net] = {"seconds": seconds, "accuracy": scores}
    return result


def _by_fit(model: nn.Module, args: Any, train: Any, valid: Any, seed: int) -> float:
    data = ModelData(
        TensorLoader(*train, bs=args.bs, shuffle=True, seed=seed, drop_last=True),
        TensorLoader(*valid, bs=512),
    )
    learn = Learner(data, model, metrics=[accuracy], device=args.device, progress=False, seed=seed)
    return float(learn.fit_one_cycle(args.epochs, args.lr or 1e-2)[-1]["accuracy"])


def _by_hand(model: nn.Module, args: Any, train: Any, valid: Any, seed: int) -> float:
    (x, y), (valid_x, valid_y) = train, valid
    steps = args.epochs * (len(x) // args.bs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr or 1e-2, total_steps=steps)
    for _ in range(args.epochs):
        model.train()
        order = torch.randperm(len(x))
        for start in range(0, len(x) - args.bs + 1, args.bs):
            rows = order[start : start + args.bs]
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            cycle.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for start in range(0, len(valid_x), 512):
                rows = slice(start, start + 512)
                right += int((model(valid_x[rows]).argmax(1) == valid_y[rows]).sum())
    return right / len(valid_x)


def _by_fastai(model: nn.Module, args: Any, train: Any, valid: Any, seed: int) -> float:
    import fastai.callback.all  # noqa: F401  (adds no_bar and one cycle to the learner)
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner as Peer
    from fastai.metrics import accuracy as their_accuracy

    class Rows(DataLoader):
        """Whole batches at a time, the quickest that it has."""

        def __init__(self, parts: tuple[Tensor, Tensor], bs: int, shuffle: bool) -> None:
            super().__init__(
                list(range(len(parts[0]))), bs=bs, shuffle=shuffle, drop_last=shuffle, num_workers=0
            )
            self.parts = parts

        def create_batch(self, rows: Any) -> tuple[Tensor, Tensor]:
            chosen = torch.tensor(list(rows))
            return self.parts[0][chosen], self.parts[1][chosen]

    with tempfile.TemporaryDirectory() as folder:
        loaders = DataLoaders(
            Rows(train, args.bs, True), Rows(valid, 512, False), device=torch.device(args.device)
        )
        peer = Peer(loaders, model, loss_func=nn.CrossEntropyLoss(), metrics=[their_accuracy], path=folder)
        with peer.no_bar(), peer.no_logging():
            peer.fit_one_cycle(args.epochs, args.lr or 1e-2)
    return float(peer.recorder.values[-1][-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist and cifar10")
    parser.add_argument("--set", choices=("mnist", "cifar10"), default="cifar10")
    parser.add_argument("--what", choices=("accuracy", "equal"), default="accuracy")
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS)[:-1])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--models", type=int, default=1, help="networks of other seeds")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--lr", type=float, help="highest rate; default: by network")
    parser.add_argument("--wd", type=float, default=1e-2)
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--views", type=int, default=4, help="augmented views of TTA")
    parser.add_argument("--bs", type=int, default=256)
    parser.add_argument("--rows", type=int, help="so many training pictures only")
    parser.add_argument("--held-out", type=int, default=0, help="judge by so many training pictures instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    result = ladder(args) if args.what == "accuracy" else equal(args)
    options = {name: str(value) for name, value in vars(args).items()}
    write_result(args.out, f"ladder_{args.set}_{args.what}", {"options": options, "result": result})


if __name__ == "__main__":
    main()
