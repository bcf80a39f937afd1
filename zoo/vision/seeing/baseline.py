"""The quick model for pictures: logistic regression on a frozen body's activations, or on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.quick_models import LINEAR_ROWS, QuickModel, linear_models
from zoo.inspect.baseline import Baseline, baseline

_SIDE = 16  # pixels a side that a regression on pixels reads


class _OfRows:
    """Data whose rows are one vector a picture, for the quick models."""

    def __init__(
        self, pictures: Any, train: TensorLoader, valid: TensorLoader, what: str, note: str = ""
    ) -> None:
        self.pictures, self.train_dl, self.valid_dl = pictures, train, valid
        self.task, self.classes = pictures.task, pictures.classes
        self.what, self.note = what, note

    def quick_models(self, task: str | None, weights: Tensor | None) -> list[QuickModel]:
        models = linear_models(self, self.task or task, weights)
        best = models[-1]
        note = "; ".join(part for part in (best.note, self.note) if part)
        return [*models[:-1], replace(best, name=f"{best.name} on {self.what}", note=note)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pictures, name)


@dataclass(frozen=True)
class _Judge:
    """A learner that judges models of vectors by its own loss and metrics."""

    learn: Any
    data: _OfRows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learn, name)

    def evaluate(self, loader: Any = None, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        return self.learn.evaluate(loader, metrics)


def picture_baseline(learn: Any, metrics: Sequence[Any] | None = None) -> Baseline:
    """Logistic (or ridge) regression on frozen activations where there are some, else on 16 x 16 pixels.

    Args:
        learn: a learner of pictures.
        metrics: the learner's own by default.

    Raises:
        ValueError: without training or validation pictures, and for targets of other kinds.
    """
    data = learn.data
    if not hasattr(data, "trn_ds"):
        return baseline(learn, metrics)  # loaders of the user's own
    for dataset, what in ((data.trn_ds, "training"), (data.val_ds, "validation")):
        if dataset is None:
            raise ValueError(f"baseline(): a quick model needs {what} pictures, and these data have none")
    points = getattr(data.target, "kind", None) == "points"
    if getattr(data.target, "follows", False) and not points:
        raise ValueError(
            f"baseline(): no quick model is known for targets of the kind {data.target.kind!r}, which lie "
            "in their pictures; there are some for classes, labels, values and points"
        )
    kept = None if points else learn._feature_data()
    if kept is not None:
        train, valid = _floats(kept.train_dl, data.trn_ds), _floats(kept.valid_dl, data.val_ds)
        rows = _OfRows(data, train, valid, "activations of the body")
    else:
        rows = _pixels(data)
    return baseline(_Judge(learn, rows), metrics)  # type: ignore[arg-type]


def _floats(loader: Any, dataset: Any) -> TensorLoader:
    """Features of all pictures of a dataset with its targets as a network learns them."""
    return TensorLoader(loader.tensors[0].float(), dataset.targets(), bs=loader.bs)


def _pixels(data: Any) -> _OfRows:
    tfm = data.tfms[1].without_augmentation()
    loaders, used = [], 0
    for dataset, most in ((data.trn_ds, LINEAR_ROWS), (data.val_ds, None)):
        rows = np.arange(len(dataset))
        if most is not None and len(rows) > most:
            rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        used = used or len(rows)
        plain = dataset.with_tfm(tfm)
        seen = [plain[int(row)] for row in rows]  # points lie in what is seen
        small = torch.stack([_small(pixels) for pixels, _ in seen])
        follows = getattr(data.target, "follows", False)
        targets = torch.stack([found for _, found in seen]) if follows else plain.only(rows).targets()
        if follows and most is not None and targets.isnan().any():  # points that are not there
            targets = torch.where(targets.isnan(), targets.nanmean(0).nan_to_num(), targets)
        loaders.append(TensorLoader(small, targets, bs=data.bs))
    total = len(data.trn_ds)
    note = f"fitted to {used:,} of {total:,} training pictures" if used < total else ""
    return _OfRows(data, loaders[0], loaders[1], "pixels", note)


def _small(pixels: Tensor) -> Tensor:
    """A picture as one short vector."""
    height, width = pixels.shape[1:]
    values = pixels.float() / (255 if pixels.dtype == torch.uint8 else 1)
    side = (min(_SIDE, height), min(_SIDE, width))
    return F.adaptive_avg_pool2d(values, side).reshape(-1)
