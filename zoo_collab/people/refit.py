"""How far a model that has taken in ratings is from one that was trained with them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from zoo.data.csv_file import check_columns
from zoo.data.loaders.seeding import seeded
from zoo.engine.modes import preserve_modes
from zoo.storage.registry import build_model, spec_of
from zoo_collab.lists.ranking import as_ratings, item_scores, rank
from zoo_collab.model.models import EmbeddingDotBias
from zoo_collab.pairs.checks import checked_ratings

_USERS = 1000


@dataclass(frozen=True)
class Refit:
    """Two models of the same rows: one has taken the last of them in, the other was trained with all.

    Attributes:
        difference: root of the mean squared difference of both models' answers, of the users concerned and
            all items that they have not rated or taken.
        overlap: share of their first ten items that stand in the lists of both.
        rmse, rmse_refit: error of both on the held-out ratings; None without.
        learner: the other one.
    """

    difference: float
    overlap: float
    rmse: float | None
    rmse_refit: float | None
    learner: Any

    def __repr__(self) -> str:
        told = (
            f"beside a refit: answers differ by {self.difference:.3g}, {self.overlap:.0%} of the first ten "
            "are the same"
        )
        if self.rmse is None or self.rmse_refit is None:
            return told
        return f"{told}; rmse on held-out ratings {self.rmse:.4g}, of the refit {self.rmse_refit:.4g}"


def check_refit(learn: Any, fit: Any, held_out: pd.DataFrame | None) -> None:
    """Refuses what could not be compared, before anything is changed."""
    if fit is None:
        if held_out is not None:
            raise ValueError("held_out= is what update and refit are judged by: give compare_refit= as well")
        return
    if not callable(fit):
        raise TypeError(
            "compare_refit is how a fresh learner is trained, such as lambda learn: "
            f"learn.fit_one_cycle(5, 5e-3), not {fit!r}"
        )
    if learn.data.train_dl is None:
        raise ValueError("a refit needs the training rows, and this learner has none")
    if held_out is not None:
        if learn.data.task == "implicit":
            raise ValueError(
                "held_out= are ratings, and these data have none: evaluate_ranking() judges lists"
            )
        check_columns(held_out, list(learn.data.columns), "held_out")
    spec_of(learn.model)


def compare_with_refit(
    learn: Any, users: np.ndarray, fit: Callable[[Any], Any], held_out: pd.DataFrame | None
) -> Refit:
    """Trains a fresh learner of the same rows and settings by `fit`, and compares the two."""
    with tempfile.TemporaryDirectory() as folder:
        other = _fresh(learn, folder)
        fit(other)
        other.path = learn.path
    asked = torch.from_numpy(users[:: max(1, len(users) // _USERS)])
    n_items = len(learn.data.items)
    ratings, lists = [], []
    for one in (learn, other):
        with torch.no_grad(), preserve_modes(one.model):
            one.model.eval()
            answers = as_ratings(one.model, item_scores(one.model, asked, n_items)).cpu().numpy()
        ratings.append(learn.data.clip(answers))
        lists.append(rank(one.model, asked, 10, n_items, seen=[learn.data.seen]).items)
    unseen = ~learn.data.seen.mask(asked, n_items).numpy()
    unseen[:, 0] = False
    difference = float(np.sqrt(np.mean((ratings[0] - ratings[1])[unseen] ** 2)))
    shared = (lists[0][:, :, None] == lists[1][:, None]).any(2) & (lists[0] > 0)
    overlap = float(shared.sum() / (lists[0] > 0).sum().clamp(min=1))
    errors: list[float | None] = [None, None]
    if held_out is not None:
        truth = checked_ratings(held_out, learn.data.columns[2], "held_out", None)
        errors = [
            float(np.sqrt(np.mean((np.ravel(one.predict_batch(held_out)) - truth) ** 2)))
            for one in (learn, other)
        ]
    return Refit(difference, overlap, errors[0], errors[1], other)


def _fresh(learn: Any, folder: str) -> Any:
    """A learner of the same data and settings with new weights."""
    spec = spec_of(learn.model)
    args = spec.args
    if isinstance(learn.model, EmbeddingDotBias):  # fit_als cuts answers off, a fresh model squeezes them
        limits, clip = learn.model.made_with
        args = {**args, "y_range": limits and list(limits), "clip": clip}
    with seeded(learn.seed):
        model = build_model(spec.name, args)
    names = {id(module): name for name, module in learn.model.named_modules()}
    groups = {
        group.name: [model.get_submodule(names[id(one)]) for one in group.modules] for group in learn.groups
    }
    data = copy.copy(learn.data)
    data.train_dl = copy.copy(data.train_dl)
    if hasattr(data.train_dl, "set_epoch"):
        data.train_dl.set_epoch(0)
    return type(learn)(
        data, model, opt_fn=learn.opt_fn, loss_fn=learn.loss_fn, metrics=learn.metrics, layer_groups=groups,
        device=learn.device, wd=learn.wd, clip=learn.clip, path=folder, precision=learn.precision,
        seed=learn.seed, progress=learn.progress,
    )  # fmt: skip
