"""Lists and ratings for people who were not in training, from what they think of some items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.data.csv_file import check_columns
from zoo.engine.modes import preserve_modes
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.rows import noise_of, worth_of
from zoo_collab.lists.recommend import Items, allowed_items, checked_n, item_indexes, lists_of
from zoo_collab.model.fold_in import Folding, Pairs, fold_in, with_people
from zoo_collab.model.models import EmbeddingDotBias
from zoo_collab.model.vector_scores import can_fold, scores_of
from zoo_collab.pairs.given import Given
from zoo_collab.pairs.seen import SeenPairs
from zoo_collab.pairs.titles import Titles
from zoo_collab.people.update import Update, update


class People:
    """The part of a `CollabLearner` that answers people who were not in training, and takes them in."""

    model: nn.Module
    data: CollabData
    _noise: float | None = None

    def recommend_for(
        self,
        ratings: Any,
        n: int = 10,
        *,
        only: Items | None = None,
        exclude: Items | None = None,
        exclude_given: bool = True,
    ) -> pd.DataFrame:
        """The items with the highest scores for somebody who was not in training, from what they think of
        some items, in milliseconds and without training: their factors are solved with all else as it is
        (see `zoo_collab.model.fold_in.fold_in`). Nothing is changed.

        Args:
            ratings: {item: rating}; a Series of ratings by item; a list of items that are liked, which count
                as the highest rating, or of (item, rating) pairs; or a frame with the columns of items and
                ratings, and of users, where it is about several people. Unknown items are told, and do not
                count. For pairs without ratings (after `fit_als`) a list of items, {item: how often}, or a
                frame of pairs, each of which counts once.
            n: items a list; fewer come back where fewer are left.
            only, exclude: as of `recommend`.
            exclude_given: leave out the items of `ratings`.

        Returns:
            Frame as of `recommend`; `user` is None where no users are named. `known_user` tells whether any
            of their items is known; without one they get the list of the average user.

        Raises:
            ValueError: where no item is known, and for ratings that the model can never answer
                (`data.y_range`).
            TypeError: for models that ratings cannot be folded into.
        """
        n = checked_n(n, "n")
        given, guests = self._guests(ratings)
        allowed = allowed_items(self.data, only, exclude)
        indexes = torch.arange(1, len(given.people) + 1)
        seen = [SeenPairs.from_pairs(given.rows + 1, given.items, len(indexes) + 1)] if exclude_given else []
        known = torch.from_numpy(np.bincount(given.rows, minlength=len(indexes)) > 0)
        asked = pd.Series(given.people, dtype=object).infer_objects()
        return lists_of(guests, self.data, asked, indexes, known, n, allowed, seen)

    def predict_for(self, ratings: Any, items: Any) -> np.ndarray:
        """What somebody who was not in training would think of items.

        Args:
            ratings: what they think of some, as of `recommend_for`.
            items: raw ids of those that are asked for; where `ratings` are of several users, a frame with the
                columns of users and items.

        Returns:
            Ratings, one an item, clipped to their range. Unknown items are told and get the answer for an
            item without factors.
        """
        given, guests = self._guests(ratings)
        user_col, item_col, _ = self.data.columns
        rows = np.zeros(1, dtype=np.int64)
        if isinstance(items, pd.DataFrame):
            check_columns(items, [item_col], "items")
        if len(given.people) > 1 or (given.people != [None] and _has(items, user_col)):
            if not _has(items, user_col):
                raise ValueError(
                    f"these ratings are of {len(given.people)} people: give the items as a frame with the "
                    f"columns {user_col!r} and {item_col!r}"
                )
            asked_users = list(items[user_col])
            rows = pd.Index(given.people, dtype=object).get_indexer(pd.Index(asked_users, dtype=object))
            if (rows < 0).any():
                raise ValueError(
                    f"{user_col} {asked_users[int((rows < 0).argmax())]!r} has no ratings among those given"
                )
        asked = items[item_col] if isinstance(items, pd.DataFrame) else items
        indexes = item_indexes(self.data, asked)
        users = torch.from_numpy(np.broadcast_to(rows, len(indexes)) + 1)
        device = next(guests.parameters()).device
        with torch.no_grad(), preserve_modes(guests):
            guests.eval()
            answers = guests(users.to(device), indexes.to(device))
        return self.data.clip(answers.float().cpu().numpy())

    def update(
        self,
        ratings: pd.DataFrame,
        titles: Titles | None = None,
        *,
        weight_col: str | None = None,
        compare_refit: Callable[[Any], Any] | None = None,
        held_out: pd.DataFrame | None = None,
    ) -> Update:
        """Takes further ratings in without training: new users and items get factors, users and items that
        the model knows are solved again with all of their ratings, see `zoo_collab.model.fold_in.fold_in`.

        New items are solved by the users of before, then users by all items, then items by all users, and
        users once more. New ids stand behind the known ones, whose indexes stay; `save`, `export`,
        `recommend` and further fits know them, and fits train on the new rows as well. The learner has other
        data from here on (`learn.data`), so that learners of the same data are not touched, and the model
        larger tables; the optimizer's averages begin anew. Held-out rows stay what they are: those whose user
        or item was unknown stay rows of an unknown one. A pair that had been rated before has the new rating.

        Args:
            ratings: frame with the columns of users, items and ratings of the table.
            titles: of new items, as `item_titles` of the table; others that they name are renamed.
            weight_col: without ratings, the column that says how much each row counts; weights of a pair that
                had been there before add up.
            compare_refit: how to train a fresh learner on all rows, such as `lambda learn:
                learn.fit_one_cycle(5, 5e-3)`, to see how far this one is from it. It takes as long as that.
            held_out: ratings to judge both by.

        Returns:
            What was done; print it. `.refit` holds the comparison.

        Raises:
            ValueError: for rows that a table would refuse, and for ratings that the model can never answer
                (`data.y_range`); nothing is changed then.
            TypeError: for models without factors, and for ids of another kind than those of training.
        """
        return update(self, ratings, titles, weight_col, compare_refit=compare_refit, held_out=held_out)

    def _guests(self, ratings: Any) -> tuple[Given, nn.Module]:
        """What was given, and a model of those who gave it, the first with index 1."""
        scores_of(self.model, "user")  # whether it can be done at all
        folding = self._folding()
        given = Given.read(ratings, self.data.items, self.data.columns, self.data.y_range)
        return given, with_people(self.model, self._vectors(given, folding))

    def _vectors(self, given: Given, folding: Folding) -> Tensor:
        worth = worth_of(self.data, given)
        pairs = Pairs.of(given.rows, given.items, worth, len(given.people))
        return fold_in(self.model, pairs, folding)

    def _folding(self) -> Folding:
        """How ratings are folded in: what the data say, or what the training rows tell."""
        found = self._known_folding()
        if found is None:
            raise ValueError(
                "these factors of pairs without ratings were not fitted in closed form, and only to such "
                "people can be added: fit_als(), or say how they were fitted, "
                "learn.data.folding = Folding(unobserved=0.3)"
            )
        return found

    def _known_folding(self) -> Folding | None:
        if self.data.folding is not None:
            return self.data.folding
        if self.data.task == "implicit":
            return _of_pairs(self.model)
        if self._noise is None:
            self._noise = noise_of(self.model, self.data)
        return Folding(self._noise)

    def _weights_changed(self, by: str) -> None:
        self._noise = None
        if by != "load" and isinstance(self.model, EmbeddingDotBias):  # files say how theirs were fitted
            self.model.fitted.fill_(-1)
        super()._weights_changed(by)  # type: ignore[misc]

    def _exported(self, *, smaller: bool) -> Iterator[tuple[nn.Module, Any]]:
        """With how ratings are folded in, which follows from training rows that are not exported."""
        for model, data in super()._exported(smaller=smaller):  # type: ignore[misc]
            if can_fold(model) and data.folding is None:
                data = copy.copy(data)
                data.folding = self._known_folding()
            yield model, data


def _of_pairs(model: nn.Module) -> Folding | None:
    """How factors of pairs without ratings were fitted; None where not in closed form."""
    if not isinstance(model, EmbeddingDotBias) or float(model.fitted[0]) < 0:
        return None
    unobserved, wd, exponent = (float(f"{value:.6g}") for value in model.fitted.tolist())
    return Folding(unobserved=unobserved, wd=wd, exponent=exponent)


def _has(frame: Any, column: str) -> bool:
    return isinstance(frame, pd.DataFrame) and column in frame
