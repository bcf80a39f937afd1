"""Trainings that are run in processes of their own, killed, and run again; see `test_resume`."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.core.helpers import DigitsNet, digits
from zoo import Callback, DatasetLoader, Learner, ModelData, TensorLoader, callbacks, distributed
from zoo.callbacks.checkpoint import learner_state
from zoo.data.loaders.seeding import rng_state, set_seed
from zoo.metrics import accuracy
from zoo.storage.checkpoint import write_tree

Fit = Callable[..., Any]


class Noisy(Dataset):
    """Digits with random noise from each of the generators."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.rand(64) * 0.1 + random.random() * 0.1 + float(np.random.rand()) * 0.1
        return self.x[index] + noise, self.y[index]


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def on_digits(path: Path, **options: Any) -> Learner:
    x, y = digits()
    # the order is drawn anew by every process: the checkpoint has to bring it
    data = ModelData(
        TensorLoader(x[:500], y[:500], bs=32, shuffle=True), TensorLoader(x[500:700], y[500:700]), path=path
    )
    return Learner(data, DigitsNet(), metrics=[accuracy], device="cpu", progress=False, **options)


def on_loader(path: Path, train_dl: Any) -> Learner:
    x, y = digits()
    data = ModelData(train_dl, TensorLoader(x[500:700], y[500:700]), path=path)
    return Learner(data, Bare(), metrics=[accuracy], device="cpu", progress=False)


def sgdr(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path)
    return learn, lambda **o: learn.fit([1e-3, 3e-3, 1e-2], 2, cycle_len=1, cycle_mult=2, wds=0.1, **o)


def one_cycle(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path, opt_fn=lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), clip=1.0)
    return learn, lambda **o: learn.fit_one_cycle(3, 0.1, **o)


def accumulation(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path)
    return learn, lambda **o: learn.fit(
        1e-2, 3, callbacks=[callbacks.Accumulate(3), *o.pop("callbacks", [])], **o
    )


def ema(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path)
    return learn, lambda **o: learn.fit(1e-2, 3, callbacks=[callbacks.EMA(0.9), *o.pop("callbacks", [])], **o)


def swa(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path)
    return learn, lambda **o: learn.fit(1e-2, 4, callbacks=[callbacks.SWA(0.4), *o.pop("callbacks", [])], **o)


def early_stopping(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path)
    stop = callbacks.EarlyStopping("accuracy", patience=1, mode="max", min_delta=0.02)
    log = callbacks.CSVLogger(path / "log.csv")
    return learn, lambda **o: learn.fit(2e-2, 12, callbacks=[stop, log, *o.pop("callbacks", [])], **o)


def half_precision(path: Path) -> tuple[Learner, Fit]:
    learn = on_digits(path).to_fp16()
    return learn, lambda **o: learn.fit_one_cycle(3, 1e-2, **o)


def plain_loader(path: Path) -> tuple[Learner, Fit]:
    x, y = digits()
    learn = on_loader(path, DataLoader(Noisy(x[:500], y[:500]), batch_size=32, shuffle=True))
    return learn, lambda **o: learn.fit_one_cycle(3, 1e-2, **o)


def plain_loader_two_workers(path: Path) -> tuple[Learner, Fit]:
    x, y = digits()
    generator = torch.Generator().manual_seed(torch.initial_seed() % 1000)
    loader = DataLoader(
        Noisy(x[:300], y[:300]), batch_size=32, shuffle=True, num_workers=2, generator=generator
    )
    learn = on_loader(path, loader)
    return learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o)


def two_workers(path: Path) -> tuple[Learner, Fit]:
    x, y = digits()
    learn = on_loader(path, DatasetLoader(Noisy(x[:300], y[:300]), bs=32, shuffle=True, num_workers=2))
    return learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o)


def iterable(path: Path) -> tuple[Learner, Fit]:
    x, y = digits()
    learn = on_loader(path, list(DataLoader(TensorDataset(x[:500], y[:500]), batch_size=32)))
    return learn, lambda **o: learn.fit(1e-2, 3, **o)


def images(path: Path) -> tuple[Learner, Fit]:
    from tests.vision.helpers import two_class_folders
    from zoo.vision import ConvLearner, ImageClassifierData, tfms_from_model, transforms_side_on

    folder = path / "pictures"
    if not folder.exists():
        two_class_folders(folder, n=12)
    data = ImageClassifierData.from_paths(
        folder,
        bs=4,
        tfms=tfms_from_model("mobilenet_v2", 32, aug_tfms=transforms_side_on, max_zoom=1.2),
        num_workers=0,
    )
    data.path = path
    learn = ConvLearner.pretrained(
        "mobilenet_v2", data, weights=None, progress=False, device="cpu", path=path
    )
    learn.unfreeze()
    return learn, lambda **o: learn.fit(slice(1e-4, 1e-3), 1, cycle_len=2, **o)


def tables(path: Path) -> tuple[Learner, Fit]:
    from tests.tabular.test_learner import table
    from zoo_tabular import ColumnarModelData

    data = ColumnarModelData.from_data_frame(
        path, range(900, 1000), table(1000), "Sales", ["Store", "Kind"], 64, target_transform="log"
    )
    learn = data.get_learner(
        emb_drop=0.1, szs=[30, 20], drops=[0.1, 0.1], y_range=(3, 10), progress=False, device="cpu"
    )
    return learn, lambda **o: learn.fit(1e-2, 2, cycle_len=1, cycle_mult=2, **o)


def language_model(path: Path) -> tuple[Learner, Fit]:
    from zoo_text import Field, LanguageModelData

    words = np.random.default_rng(0).choice(list("abcdefghij"), 3000)
    data = LanguageModelData.from_texts(
        Field(), [" ".join(words)], [" ".join(words[:600])], bs=4, bptt=20, min_freq=1, path=path
    )
    learn = data.get_model(None, 16, 16, 2, device="cpu", progress=False)
    return learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o)


def text_classifier(path: Path) -> tuple[Learner, Fit]:
    from zoo_text import Field, TextData

    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdef" if i % 2 else "defghi"), 5 + i % 9)) for i in range(160)]
    labels = ["late" if i % 2 == 0 else "early" for i in range(160)]
    data = TextData.from_texts(
        Field(), (texts[:120], labels[:120]), (texts[120:], labels[120:]), bs=8, min_freq=1, path=path
    )
    learn = data.get_model(None, 16, 16, 1, device="cpu", progress=False)
    return learn, lambda **o: learn.fit_one_cycle(2, 1e-2, **o)


def ratings(path: Path) -> tuple[Learner, Fit]:
    from tests.collab.test_learner import simulated
    from zoo import get_cv_idxs
    from zoo_collab import CollabFilterDataset

    table = CollabFilterDataset.from_data_frame(path, simulated(), "who", "film", "stars")
    learn = table.get_learner(5, get_cv_idxs(len(table)), bs=32, progress=False, device="cpu")
    return learn, lambda **o: learn.fit_one_cycle(3, 1e-2, **o)


RUNS: dict[str, Callable[[Path], tuple[Learner, Fit]]] = {
    run.__name__: run
    for run in (
        sgdr, one_cycle, accumulation, ema, swa, early_stopping, half_precision, plain_loader,
        plain_loader_two_workers, two_workers, iterable, images, tables, language_model, text_classifier,
        ratings,
    )
}  # fmt: skip


class KillAt(Callback):
    """Ends this process by SIGKILL, in the middle of the batch after so many, counted over epochs."""

    order = 500

    def __init__(self, batch: int) -> None:
        self.batch, self.seen = batch, 0

    def after_backward(self, state: Any) -> None:
        self.seen += 1
        if state.batches_before + state.batch_index == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write(number: int) -> None:
    """End this process by SIGKILL in the middle of writing its checkpoint number `number`."""
    written = 0
    original = Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        nonlocal written
        if ".fit" in self.name:
            written += 1
            if written == number:
                original(self, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        return original(self, data)

    Path.write_bytes = write_half  # type: ignore[method-assign, assignment]


def train(
    name: str,
    path: Path,
    result: Path | None = None,
    *,
    seed: int,
    kill_at: int | None = None,
    kill_writing: int | None = None,
    every: int | None = 3,
    resume: bool = True,
) -> None:
    """One process's life: build, train (and perhaps die), write down all that came of it."""
    torch.set_num_threads(1)
    # a loader's workers are forked from this process, not by the server that made it
    multiprocessing.set_start_method("fork", force=True)
    set_seed(seed)
    learn, fit = RUNS[name](path)
    if kill_writing is not None:
        kill_in_write(kill_writing)
    killer = [] if kill_at is None else [KillAt(kill_at)]
    rows = fit(checkpoint_every=every, resume=resume, callbacks=killer)
    predictions = learn.predict()
    if result is None:
        return
    learned = learner_state(learn)
    for row in [*learned["history"], *rows]:
        row.pop("seconds", None)
    curves = {name: getattr(learn.sched, name) for name in ("losses", "smooth_losses", "lrs", "momenta")}
    valid = [list(pair) for pair in learn.sched.valid_losses]
    write_tree(
        result,
        {
            "learner": learned,
            "rows": rows,
            "curves": curves,
            "valid": valid,
            "rng": rng_state(),
            "predictions": predictions,
        },
    )


def train_together(
    name: str, path: Path, result: Path | None = None, *, seed: int, kill_at: int | None = None
) -> None:
    """The life of one of two processes: the second is killed, the first writes down the result."""
    doomed = kill_at if distributed.rank() == 1 else None
    train(name, path, result if distributed.is_main() else None, seed=seed, kill_at=doomed)
