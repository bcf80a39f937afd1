"""The learner of recommenders."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

import zoo_collab.model.models as _own_models  # noqa: F401 (registers them, so that archives can name them)
from zoo.learner import Learner
from zoo_collab.data.closed_form import fit_closed_form
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.negatives import SampledNegatives
from zoo_collab.lists.by_features import recommend_new
from zoo_collab.lists.evaluate import DEFAULT, HeldOut, can_judge, checked_metrics, checked_places
from zoo_collab.lists.recommend import Items, recommend, tell_once
from zoo_collab.model.als import UNOBSERVED
from zoo_collab.model.fold_in import Folding
from zoo_collab.people.newcomers import People
from zoo_collab.reasons import interpret
from zoo_collab.reasons.reasons import Reasons


class CollabLearner(People, Reasons, Learner):
    """Trains a model of (user, item) pairs and recommends with it.

    Made by `CollabFilterDataset.get_learner`. Raw ids go in everywhere: `predict_one(("ann", 7))`,
    `predict_batch(frame)`, `recommend(["ann", "bob"])`. Ids that training did not see take the fallback row,
    zero factors and zero bias, and are reported in one log line. What is read as a rating (`predict_one`,
    `predict_batch`, the scores of `recommend`) is clipped to the range of ratings; `predict`,
    `predict_with_targs`, the loss and the metrics are of the model's own outputs.
    """

    domain = "collab"
    data_class = CollabData
    data: CollabData

    def fit_als(
        self,
        iterations: int | None = None,
        *,
        draws: int | None = None,
        rank: int | None = None,
        unobserved: float | None = None,
        wd: float | None = None,
        exponent: float | None = None,
        seed: int | None = None,
    ) -> dict[str, float]:
        """Fits the factors in closed form, by alternating least squares: there is no rate to find. What the
        model has learned before is replaced; a fit by gradients may go on from here.

        For pairs without ratings it is implicit ALS (Hu, Koren & Volinsky 2008; Rendle, Krichene, Zhang &
        Koren 2022): all items count, those not taken a little. A pair's weight w gives it the confidence
        log2(1 + w). Somebody unknown gets the mean of all users' factors.

        For ratings the mean of draws of what the ratings leave possible (Bayesian matrix factorisation,
        Salakhutdinov & Mnih 2008), or with `draws=0` the most probable factors alone (Zhou et al. 2008),
        which is quicker and less accurate. The model is a plain sum from then on, cut off at the ends
        of the scale. Of a pair that was rated several times the mean counts.

        Args:
            iterations: times that both sides are solved; 8 without ratings, 10 with (before the draws).
            draws: of ratings; 40 by default.
            rank: of ratings, factors of a draw; 8 by default, or the model's width where that is less. With
                `draws=0` the model's width.
            unobserved: without ratings, weight of a pair that was not taken beside 1 of one that was; 0.3.
            wd, exponent: a row with n pairs is held back by `wd x n ** exponent`; (0.01, 1) without ratings,
                (1, 0.5) for ratings with `draws=0`. With draws that is drawn, too.
            seed: of the start; the learner's by default, else 0.

        Returns:
            The metrics of the held-out rows (`evaluate()`, or `evaluate_ranking()` without ratings); empty
            where there are none, and where none can be in a list, as those of whole users. `learn.history`
            gets no row: it has one for each epoch, whose number says in which order the epoch read its rows,
            and here no epoch passes.

        Raises:
            TypeError: for models without factors.
            ValueError: for options that belong to the other kind of data, and for frozen tables.
        """
        chosen = self.seed if seed is None else seed
        options = {"draws": draws, "rank": rank, "unobserved": unobserved, "wd": wd, "exponent": exponent}
        fit_closed_form(self.model, self.data, iterations, 0 if chosen is None else chosen, options)
        self._weights_changed("fit_als")
        if self.data.task == "implicit":
            of_fit = {
                "unobserved": UNOBSERVED if unobserved is None else unobserved,
                "wd": wd,
                "exponent": exponent,
            }
            found = Folding(**{name: one for name, one in of_fit.items() if one is not None})
            told = torch.tensor([found.unobserved, found.wd, found.exponent])
            self.model.get_buffer("fitted").copy_(told)
        self.opt = None  # what it remembers of the weights belongs to others
        if self.data.task == "implicit":
            return self.evaluate_ranking(users=2000) if can_judge(self.data) else {}
        return {} if self.data.valid_dl is None else self.evaluate()

    def recommend(
        self,
        users: Any,
        n: int = 10,
        exclude_seen: bool | str = True,
        filter: Items | None = None,
        *,
        only: Items | None = None,
        exclude: Items | None = None,
    ) -> pd.DataFrame:
        """The items with the highest scores for each user, of which the first so many are always the same
        however many are asked for: of equal scores the item with the smaller index stands first.

        Args:
            users: one raw user id or several: a list, column, array or tensor.
            n: items a user; fewer come back where fewer are left.
            exclude_seen: leave out what the user has rated: True among training and validation rows, "train"
                among the training rows only (so that held-out items can be found again), False nothing.
            filter: another name of `only`.
            only: raw ids of the items to choose from, or a function that gets the frame of all known items
                (item, title, n_ratings) and returns one true or false a row.
            exclude: items to leave out, likewise.

        Returns:
            Frame with the columns user, rank (from 1), item, title, score (what the list is ordered by,
            before it is squeezed into a range), rating (clipped to the range of ratings) and known_user; a
            user unknown to the model gets the ranking by item bias, with known_user false.

        Raises:
            ValueError: where scores are not finite, for masks, and where no item of `only` is known.
        """
        if filter is not None and only is not None:
            raise ValueError("filter and only say the same: give one of them")
        only = filter if only is None else only
        if self.data.task == "regression":
            tell_once(
                "lists of a model of ratings are ordered by what it would be rated, which is not what is "
                "taken next: learn.evaluate_ranking() and table.compare() tell how good they are, "
                "table.implicit() makes a table for lists"
            )
        found = {"exclude_seen": exclude_seen, "only": only, "exclude": exclude}
        return recommend(self.model, self.data, users, n, **found)

    def recommend_new(self, users: Any, items: pd.DataFrame | None = None, n: int = 10) -> pd.DataFrame:
        """The best items for each user where the users or the items are new, and only features tell of them.

        Args:
            users: raw ids of known users, as of `recommend`; or a frame of new ones, with the columns of
                `user_features`.
            items: frame of new items, with the columns of `item_features`, of which the best are listed; None
                takes the known ones.
            n: items a user.

        Returns:
            Frame with the columns user, rank (from 1), item, title, score and rating, as of `recommend`; new
            users and items go by the column of ids, or where there is none by the labels of their rows.

        Raises:
            TypeError: where nothing is new, and for models without features of that side.
            ValueError: for frames that lack a column of features.
        """
        return recommend_new(self.model, self.data, users, items, n)

    def evaluate_ranking(
        self,
        k: int | Sequence[int] = 10,
        *,
        metrics: Sequence[str] = DEFAULT,
        relevant: float | None = None,
        graded: bool = False,
        users: int | None = None,
        seed: int = 0,
    ) -> dict[str, float]:
        """How good the lists are, by the held-out pairs: each user's list is of all items but those of the
        user's training rows.

        Args:
            k: how many places count, or several such numbers.
            metrics: names, of recall, precision, ndcg, map, mrr, hit_rate.
            relevant: the lowest rating with which a held-out pair counts as liked; None counts every pair.
            graded: let ndcg count each pair by its rating.
            users: judge so many users, drawn at random; all by default.
            seed: of the draw.

        Returns:
            "recall@10" and so on, means over the users that have liked something; "coverage@10", the share of
            all items that stand in some list; "users", how many were judged.

        Raises:
            ValueError: without validation rows, or where none of them can be in a list; for metrics that are
                not known.
        """
        places, names = checked_places(k), checked_metrics(metrics)
        held = HeldOut(self.data, relevant, users, seed)
        found = held.judge(self.model, self.data, places, names, graded=graded)
        return {**found, "users": len(held.users)}

    def _answer_loader(self, is_test: bool, loader: Any = None) -> Any:
        """Without the negatives that are drawn for its batches: one answer a row, the score of its pair. The
        targets are then the weights of the pairs."""
        found = super()._answer_loader(is_test, loader)
        if not isinstance(getattr(found, "batch_transform", None), SampledNegatives):
            return found
        found = copy.copy(found)
        found.batch_transform = None
        return found

    def _outputs(self, loader: Any, *, targets: bool = True) -> tuple[Any, Any]:
        """As of any learner; where negatives are drawn always (rows, 1 + negatives), as their weights are."""
        outputs, weights = super()._outputs(loader, targets=targets)
        if self.data.task == "implicit" and isinstance(weights, Tensor) and weights.dim() == 2:
            outputs = outputs.reshape(weights.shape)
        return outputs, weights

    def predict_array(self, x: Any, *, log: bool = True) -> np.ndarray:
        """Outputs for user and item indexes, as `data.users.encode` and `data.items.encode` give them."""
        if isinstance(x, tuple) and len(x) == 2:
            for part, ids in zip(x, (self.data.users, self.data.items), strict=True):
                indexes = torch.as_tensor(part)
                if indexes.is_floating_point() or indexes.dtype == torch.bool:
                    raise ValueError(f"{ids.name}: indexes must be whole numbers, got {indexes.dtype}")
                outside = (indexes < 0) | (indexes >= len(ids))
                if outside.any():
                    raise ValueError(
                        f"{ids.name}: indexes lie between 0 (unknown) and {len(ids) - 1}, got"
                        f" {int(indexes[outside][0])}; raw ids go to predict_batch"
                    )
        return super().predict_array(x, log=log)

    def plot_predictions(self) -> Figure:
        """Joint plot of predictions against truth over the validation rows."""
        if self.data.columns[2] is None:
            raise ValueError("pairs without ratings have no truth to plot against: see evaluate_ranking()")
        preds, targets = self.predict_with_targs()
        return interpret.plot_predictions(np.asarray(preds), np.asarray(targets), self.data.columns[2])
