"""The parts of `gpu.py marks`: whole trainings, the most valuable first."""

from __future__ import annotations

import io
import itertools
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gpu_parts.domains import digit_data, sales_data, scratch, shortened
from gpu_parts.pacing import StopAt, epochs_within, step_seconds
from gpu_parts.packing import unpack
from gpu_parts.running import Context, Part
from gpu_parts.speed import Stopwatch
from gpu_parts.text_marks import film_reviews
from zoo import Ensemble, Learner, ModelData, TensorLoader, set_seed
from zoo.metrics import accuracy

TITLE = "How far do whole trainings come on this device?"


def _sales_learner(context: Context, seed: int) -> Learner:
    """A network of `examples/rossmann.py`."""
    from zoo_tabular import exp_rmspe

    data, y_range = sales_data(context.folder)
    if context.quick:
        data.train_dl = data.train_dl.with_bs(64)
    return data.get_learner(
        emb_drop=0.04, szs=[20, 10] if context.quick else [1000, 500], drops=[0.001, 0.01], y_range=y_range,
        loss_fn=nn.HuberLoss(delta=0.3), metrics=[exp_rmspe], seed=seed, device=context.device,
        progress=False,
    )  # fmt: skip


def sales_epoch(context: Context) -> dict[str, Any]:
    """Seconds of the second training epoch, 512 rows a batch, as usual and from recorded graphs."""
    found: dict[str, Any] = {}
    for name in ("as usual", "graphs"):
        learn = _sales_learner(context, 0)
        learn.data.valid_dl = None
        if name == "graphs":
            learn.cuda_graphs()
        rows = learn.fit(1e-3, 2)
        found[name] = {
            "s": rows[-1]["seconds"],
            "loss": rows[-1]["train_loss"],
            "rows": learn.data.train_dl.n_rows,
        }
        context.note(found)
    usual, graphs = found["as usual"], found["graphs"]
    same = abs(graphs["loss"] - usual["loss"]) < 0.1 * usual["loss"]
    context.chosen["sales graphs"] = context.on_gpu and same and graphs["s"] < usual["s"]
    return {**found, "graphs train as well": same}


def sales_recipe(context: Context) -> dict[str, Any]:
    """Four networks of five epochs together; exp_rmspe on the last two weeks (0.0963 on a CPU)."""
    from zoo_tabular import rmspe

    started, networks, single = time.perf_counter(), [], []
    graphs = bool(context.chosen.get("sales graphs"))
    for seed in range(2 if context.quick else 4):
        taken = time.perf_counter() - started
        if networks and context.seconds - taken < 1.3 * taken / len(networks):
            break
        learn = _sales_learner(context, seed)
        if graphs:
            learn.cuda_graphs()
        learn.fit_one_cycle(1 if context.quick else 5, 8e-3)
        single.append(float(rmspe(*learn.predict_with_targs())))
        networks.append(learn)
        context.note({"each": single, "s": time.perf_counter() - started})
    together = float(rmspe(*Ensemble(networks).predict_with_targs()))
    seconds = time.perf_counter() - started
    return {"together": together, "each": single, "s": seconds, "graphs": graphs, "networks": len(networks)}


class Wobble:
    """Batch transform of written digits: turned, moved and stretched a little in training."""

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        x = (batch[0].float() - 33) / 78
        if training:
            n = len(x)
            draw = torch.rand(5, n, device=x.device, generator=generator) * 2 - 1
            angle, size = 0.2 * draw[0], 1 + 0.1 * draw[1]
            cos, sin = angle.cos() * size, angle.sin() * size
            rows = torch.stack([cos, -sin, 0.14 * draw[2], sin, cos, 0.14 * draw[3]], 1)
            grid = F.affine_grid(rows.view(n, 2, 3), list(x.shape), align_corners=False)
            x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return (x, *batch[1:])


def digits(context: Context) -> dict[str, Any]:
    """Accuracy on the usual 10,000 written digits, with as many epochs as fit."""
    from zoo.vision.models.resnet_small import ResNetSmall

    started = time.perf_counter()
    data = digit_data(context.folder, 64 if context.quick else 256, Wobble())
    if context.quick:
        data.train_dl = shortened(data.train_dl, 6)

    def learner() -> Learner:
        set_seed(0)
        model = ResNetSmall(10, (4, 8) if context.quick else (64, 128, 256), 1, c_in=1)
        return Learner(
            data, model, metrics=[accuracy], wd=0.05, device=context.device, seed=0, progress=False
        )

    each = step_seconds(context, learner(), 1e-4)
    left = 0.85 * context.seconds - (time.perf_counter() - started)
    epochs = epochs_within(left, 1.1 * each * len(data.train_dl), 1 if context.quick else 30)
    learn = learner()
    guard = StopAt(time.perf_counter() + left)
    rows = learn.fit_one_cycle(epochs, 5e-3, callbacks=[guard])
    return {
        "accuracy": learn.evaluate()["accuracy"], "epochs": epochs, "cut short": guard.stopped,
        "rows/s": data.train_dl.bs / each, "s": time.perf_counter() - started,
        "each epoch": [row.get("accuracy") for row in rows],
    }  # fmt: skip


def many_ratings(context: Context) -> dict[str, Any]:
    """An epoch of 20 million made-up ratings of 138,000 users and 27,000 films, a million more held out."""
    from zoo_collab.model.models import EmbeddingDotBias

    rows, n_users, n_films = (20_000, 200, 100) if context.quick else (21_000_000, 138_000, 27_000)
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(1, n_users, (rows,), generator=generator, dtype=torch.int32)
    films = (torch.rand(rows, generator=generator).square() * (n_films - 1)).int() + 1  # a few are popular
    tastes, traits = (torch.randn(n, 8, generator=generator) * 0.5 for n in (n_users, n_films))
    likes, fame = (torch.randn(n, generator=generator) * 0.4 for n in (n_users, n_films))
    stars = torch.empty(rows)
    for start in range(0, rows, 1 << 20):
        part = slice(start, start + (1 << 20))
        u, f = users[part].long(), films[part].long()
        stars[part] = (tastes[u] * traits[f]).sum(1) + likes[u] + fame[f] + 3.5
    noise = torch.randn(rows, generator=generator) * 0.8
    floor = float(((stars + noise).clamp(0.5, 5) - stars.clamp(0.5, 5)).square().mean())
    stars = (stars + noise).clamp(0.5, 5)
    held = rows // 21
    train, valid = (
        tuple(t[part] for t in (users, films, stars)) for part in (slice(held, None), slice(held))
    )
    found: dict[str, Any] = {"mse of the truth": floor, "mse of the mean": float(valid[2].var())}
    for name in ("as usual", "graphs"):
        set_seed(0)
        data = ModelData(
            TensorLoader(*train, bs=256 if context.quick else 16_384, shuffle=True, seed=0, drop_last=True),
            TensorLoader(*valid, bs=65_536),
        )
        data.task = "regression"
        model = EmbeddingDotBias(n_users, n_films, 50, y_range=(0.05, 5.45), mean=3.5)
        learn = Learner(data, model, wd=[0.5, 0.05], device=context.device, seed=0, progress=False)
        if name == "graphs":
            learn.cuda_graphs()
        valid_dl, data.valid_dl = data.valid_dl, None
        row = learn.fit(5e-3, 1)[-1]
        found[name] = {
            "s an epoch": row["seconds"], "rows/s": data.train_dl.n_rows / row["seconds"],
            "mse": learn.evaluate(valid_dl)["valid_loss"],
        }  # fmt: skip
        context.note(found)
    return found


def _photos(context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (rows, 128, 128, 3), labels, and which are held out."""
    arrays = unpack(context.folder, "photos")
    files, starts = arrays["files"], arrays["starts"]
    pixels = [
        np.asarray(Image.open(io.BytesIO(files[start:end].tobytes())).convert("RGB"))
        for start, end in itertools.pairwise(starts)
    ]
    return np.stack(pixels), arrays["labels"].astype("int64"), arrays["held_out"]


class Mirrored:
    """Batch transform of resident pixels: normalised, half of them mirrored in training."""

    def __init__(self, tfm: Any) -> None:
        self.tfm = tfm

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        x: Tensor = self.tfm.normalize(batch[0])
        if training:
            turn = torch.rand(len(x), 1, 1, 1, device=x.device, generator=generator) < 0.5
            x = torch.where(turn, x.flip(3), x)
        return (x, *batch[1:])


def cats_and_dogs(context: Context) -> dict[str, Any]:
    """A pretrained network: its head on cached activations, then all of it on resident pixels."""
    from zoo.vision import ConvLearner, ImageClassifierData, tfms_from_model

    started = time.perf_counter()
    pixels, labels, held = _photos(context)
    names = np.array(["cat", "dog"])[labels]
    tfms = tfms_from_model("mobilenet_v2", 128)
    state = {
        name: torch.from_numpy(part).float() if part.dtype == np.float16 else torch.from_numpy(part)
        for name, part in unpack(context.folder, "weights").items()
    }
    data = ImageClassifierData.from_arrays(
        scratch(),
        (pixels[~held], names[~held]),
        (pixels[held], names[held]),
        bs=256,
        tfms=tfms,
        num_workers=0,
    )
    learn = ConvLearner.pretrained(
        "mobilenet_v2", data, xtra_fc=[256], ps=[0.8, 0.6], weights=state, precompute=True,
        device=context.device, seed=0, progress=False,
    )  # fmt: skip
    learn.fit_one_cycle(2 if context.quick else 15, 1e-3)
    found: dict[str, Any] = {
        "head alone": learn.evaluate()["accuracy"],
        "s until then": time.perf_counter() - started,
    }
    context.note(found)

    def loader(rows: np.ndarray, shuffle: bool) -> TensorLoader:
        x = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).contiguous()
        y = torch.from_numpy(labels[rows])
        bs = 8 if context.quick else 128
        return TensorLoader(
            x, y, bs=bs, shuffle=shuffle, seed=0, drop_last=shuffle, batch_transform=Mirrored(tfms[1])
        )

    resident = ModelData(loader(~held, True), loader(held, False))
    resident.task, resident.classes = "classification", ["cat", "dog"]
    whole = Learner(
        resident, learn.model, metrics=[accuracy], device=context.device, seed=0, progress=False
    ).channels_last()
    whole.unfreeze()
    whole.bn_freeze(True)
    rows = whole.fit_one_cycle(1 if context.quick else 5, slice(3e-6, 3e-4))
    found |= {"all of it": [row["accuracy"] for row in rows]}
    context.note(found)
    watch = Stopwatch(*((1, 2) if context.quick else (15, 75)), 0, context.wait)
    resident.valid_dl = None
    whole.fit(1e-6, -(-(watch.skip + watch.steps + 1) // len(resident.train_dl)), callbacks=[watch])
    return found | {"images/s unfrozen": watch.rows / watch.seconds, "s": time.perf_counter() - started}


PARTS: list[Part] = [
    Part("store sales: an epoch", sales_epoch, 15, 60),
    Part("store sales: the recipe", sales_recipe, 40, 120),
    Part("film reviews", film_reviews, 220, 440, adapts=True),
    Part("digits", digits, 25, 45, adapts=True),
    Part("20 million ratings", many_ratings, 20, 60),
    Part("cats and dogs", cats_and_dogs, 25, 60),
]
