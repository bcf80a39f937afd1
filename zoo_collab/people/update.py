"""Further ratings are taken into a trained model: new users and items, and more of those that it knows."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo.storage.registry import ModelSpec
from zoo_collab.data.rows import Rows
from zoo_collab.model.features import has_features
from zoo_collab.model.fold_in import Folding, Pairs, Prior, fold_in, parts_of
from zoo_collab.model.vector_scores import scores_of
from zoo_collab.pairs.titles import Titles
from zoo_collab.people.grow import Growth, grow
from zoo_collab.people.refit import Refit, check_refit, compare_with_refit

log = logging.getLogger("zoo.collab")


@dataclass(frozen=True)
class Update:
    """What `learn.update` has done.

    Attributes:
        ratings: rows that were taken in.
        again: of these, pairs that had been rated before; the new rating counts.
        new_users, new_items: raw ids that the model had not known.
        solved_users, solved_items: ids it had known, solved again with all of their ratings.
        left_users, left_items: ids it had known that stay as they were, since their earlier ratings are not
            at hand.
        refit: how far the model is from one that was trained with these rows; None where it was not asked.
        implicit: whether the rows are pairs without ratings.
    """

    ratings: int
    again: int
    new_users: list[Any]
    new_items: list[Any]
    solved_users: list[Any]
    solved_items: list[Any]
    left_users: list[Any]
    left_items: list[Any]
    refit: Refit | None = None
    implicit: bool = False

    def __repr__(self) -> str:
        what = "pairs" if self.implicit else "ratings"
        before = "had been there before" if self.implicit else "of pairs that had been rated before"
        lines = [f"{self.ratings} {what} taken in, {self.again} of them {before}"]
        for kind, users, items in (
            ("new", self.new_users, self.new_items),
            ("solved again", self.solved_users, self.solved_items),
            (f"left as they were, for want of their earlier {what}", self.left_users, self.left_items),
        ):
            if users or items:
                lines.append(f"{kind}: {len(users)} users, {len(items)} items")
        return "\n".join(lines if self.refit is None else [*lines, repr(self.refit)])


def update(
    learn: Any,
    ratings: pd.DataFrame,
    titles: Titles | None = None,
    weight_col: str | None = None,
    *,
    compare_refit: Callable[[Any], Any] | None = None,
    held_out: pd.DataFrame | None = None,
) -> Update:
    """Takes new ratings into a learner; see `CollabLearner.update`."""
    check_refit(learn, compare_refit, held_out)
    if has_features(learn.model):
        raise TypeError(
            "update() solves vectors of ids, and this model also has what features say of them: train anew "
            "with all rows; recommend_new() lists new items by features, recommend_for() serves new people"
        )
    for side in ("user", "item"):
        scores_of(learn.model, side)
    implicit = learn.data.task == "implicit"
    folding: Folding = learn._folding()
    growth = grow(learn.data, ratings, titles, weight_col)
    counts = {"user": len(learn.data.users), "item": len(learn.data.items)}
    larger = _larger(learn.model, {"user": len(growth.data.users), "item": len(growth.data.items)})
    found = {side: np.unique(part) for side, part in zip(counts, growth.new[:2], strict=True)}
    fresh = {side: indexes[indexes >= counts[side]] for side, indexes in found.items()}
    known = {side: indexes[indexes < counts[side]] for side, indexes in found.items()}
    _solve(larger, learn.model, growth, folding, counts, fresh, known if growth.complete else None)
    ids = {"user": growth.data.users, "item": growth.data.items}
    named = {
        kind: {side: ids[side].decode(part[side].tolist()) for side in ids}
        for kind, part in (("new", fresh), ("known", known))
    }
    _commit(learn, larger, growth)
    refit = (
        None if compare_refit is None else compare_with_refit(learn, found["user"], compare_refit, held_out)
    )
    users, items = named["known"]["user"], named["known"]["item"]
    if not growth.complete and (users or items):
        log.warning(
            "the training rows are not at hand: %d users and %d items that the model knows stay as they "
            "were, such as %s; their new rows are kept as seen",
            len(users), len(items), some(map(repr, [*users, *items])),
        )  # fmt: skip
    solved, left = ((users, items), ([], [])) if growth.complete else (([], []), (users, items))
    new = (named["new"]["user"], named["new"]["item"])
    return Update(len(growth.new.users), growth.again, *new, *solved, *left, refit, implicit)


def _larger(model: nn.Module, sizes: dict[str, int]) -> Any:
    """The model with room for more; new rows hold what vectors are on the average."""
    larger = copy.copy(model)
    larger._modules = dict(model._modules)
    for side, size in sizes.items():
        vectors = scores_of(model, side).vectors()
        more = vectors.mean(0).repeat(size - 1 - len(vectors), 1)
        for name, rows in parts_of(model, more, side).items():
            own = getattr(model, name).weight.detach()
            larger._modules[name] = nn.Embedding.from_pretrained(
                torch.cat([own, rows.to(own)]), padding_idx=0
            )
    return larger


def _solve(
    larger: Any,
    model: nn.Module,
    growth: Growth,
    folding: Folding,
    counts: dict[str, int],
    fresh: dict[str, np.ndarray],
    known: dict[str, np.ndarray] | None,
) -> None:
    """New items by the users of before, then users by all items, then items by all users, and users again."""
    priors = {side: Prior.learned(scores_of(model, side)) for side in counts}
    both = {
        side: fresh[side] if known is None else np.concatenate([fresh[side], known[side]]) for side in counts
    }
    before = growth.rows.users < counts["user"]
    early = Rows(*(part[before] for part in growth.rows))
    for side, rows, asked in (
        ("item", early, fresh["item"]),
        ("user", growth.rows, both["user"]),
        ("item", growth.rows, both["item"]),
        ("user", growth.rows, both["user"]),
    ):
        own, other = (rows.users, rows.items) if side == "user" else (rows.items, rows.users)
        place = np.full(len(growth.data.users if side == "user" else growth.data.items), -1)
        place[asked] = np.arange(len(asked))
        kept = place[own] >= 0
        if not len(asked) or not kept.any():
            continue
        pairs = Pairs.of(place[own[kept]], other[kept], rows.ratings[kept], len(asked))
        has = (pairs.pairs.starts.diff() > 0).numpy()  # others keep the mean
        vectors = fold_in(larger, pairs, folding, side, priors[side])
        _write(larger, vectors[torch.from_numpy(has)], asked[has], side)


def _write(model: nn.Module, vectors: Tensor, indexes: np.ndarray, side: str) -> None:
    for name, rows in parts_of(model, vectors, side).items():
        weight = getattr(model, name).weight
        with torch.no_grad():
            weight[torch.from_numpy(indexes).to(weight.device)] = rows.to(weight)


def _commit(learn: Any, larger: Any, growth: Growth) -> None:
    """The learner has the larger tables and the grown data from here on. Its parameters stay the same
    objects, so that groups keep them, frozen ones as well."""
    model = learn.model
    for name in ("user_factors", "item_factors", "user_bias", "item_bias"):
        table = getattr(model, name, None)
        if isinstance(table, nn.Embedding):
            weight = getattr(larger, name).weight.data
            table.weight.data, table.weight.grad = weight, None
            table.num_embeddings = len(weight)
    spec = getattr(model, "model_spec", None)
    if isinstance(spec, ModelSpec):
        sizes = {"n_users": len(growth.data.users), "n_items": len(growth.data.items)}
        model.model_spec = ModelSpec(spec.name, {**spec.args, **sizes})
    learn.data = growth.data
    learn.opt = None  # its averages are of the smaller tables
