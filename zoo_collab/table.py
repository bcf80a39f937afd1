"""Ratings tables: raw ids and ratings in, a learner out."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from zoo.data.csv_file import check_columns
from zoo.data.loaders.seeding import seeded
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.engine.layer_groups import GroupSpec
from zoo.engine.row_adamw import RowAdamW
from zoo.engine.sparse import sparse_tables
from zoo.keywords import completed, takes
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_collab.compare import Comparison, compare
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.negatives import SampledNegatives, takes_negatives, tell_no_negatives
from zoo_collab.data.side_features import SideFeatures, begin, numbered
from zoo_collab.learner import CollabLearner
from zoo_collab.lists.evaluate import DEFAULT, RankingMetrics, can_judge
from zoo_collab.model.choice import by_rows, make_model
from zoo_collab.model.losses import TakenLoss
from zoo_collab.pairs.checks import check_limits, checked_ids, checked_ratings
from zoo_collab.pairs.ids import IdMap
from zoo_collab.pairs.pair_table import PairTable
from zoo_collab.pairs.seen import SeenPairs, counts_of
from zoo_collab.pairs.splits import tell_leaks
from zoo_collab.pairs.titles import titles_of

_WIDER = 0.1  # share of the ratings' span by which predictions may pass either end


class CollabFilterDataset(PairTable):
    """A table of ratings: who, what, how much; or with `rating_col=None` only who took what. Any two columns
    of ids will do. Made by `from_csv`, `from_data_frame` or as the class it stands on, `PairTable`.

    Example:
        >>> df = pd.DataFrame({"who": ["ann", "ann", "bob"], "film": [7, 9, 9], "stars": [4.0, 2.5, 5.0]})
        >>> CollabFilterDataset(".", df, "who", "film", "stars")
        CollabFilterDataset: 3 ratings by 2 users (who) of 2 items (film), stars from 2.5 to 5
        >>> CollabFilterDataset(".", df, "who", "film")
        CollabFilterDataset: 3 pairs by 2 users (who) of 2 items (film), without ratings
    """

    def get_data(
        self,
        val_idxs: Any = None,
        bs: int | None = None,
        *,
        test_df: pd.DataFrame | None = None,
        y_range: tuple[float, float] | None = None,
        negatives: int | None = None,
        cold: bool = True,
        seed: int | None = None,
    ) -> CollabData:
        """Loaders over training, validation and test rows.

        The ids are numbered from the training rows alone: a user or item that appears only among the
        validation rows is as unknown as it will be in use, and is measured as such.

        Args:
            val_idxs: row numbers (see `zoo.get_cv_idxs`), or a true/false mask, to hold out; predictions of
                them come in this order. Or a split: `by_time(0.2)`, `by_user_time()`, `leave_one_out()`,
                `by_user(0.1)`. None trains on everything.
            bs: rows a batch; None makes about 600 batches of the training rows, or 100 without ratings, so
                that rates and weight decay mean about the same whatever the size of the table.
            test_df: further pairs to predict, with the user and item columns; ratings are optional.
            y_range: (lowest, highest) output of the model; None takes the range of ratings (`rating_range`,
                else that of the training ratings) and a tenth of its span more at either end, for a sigmoid
                reaches its ends only at infinity. Answers are clipped to the range of ratings.
            negatives: without ratings: items that are drawn for each batch to stand against what was taken;
                by default 256.
            cold: whether users and items that only `user_features` and `item_features` know have indexes,
                too: they are scored by what they are, and such items enter lists (`only=lambda items:
                items["n_ratings"] == 0` asks for them alone). False leaves them unknown.
            seed: of the order of the training rows, and of the negatives.
        """
        train, held_out = self.split(val_idxs)
        bs = self._batch_size(len(train)) if bs is None else bs
        user_col, item_col, rating_col = self.columns
        users, items = IdMap.fit(self.users[train], user_col), IdMap.fit(self.items[train], item_col)
        n_trained = len(items)
        users, items, features = self._with_features(users, items, cold)
        rating_range, y_range = self._ranges(train, y_range)
        user_index, item_index = self.encoded(users, self.users), self.encoded(items, self.items)
        later = tell_leaks(self.where, user_index, item_index, self.times, train, held_out)

        training = [self.taken(values, train) for values in (user_index, item_index, self.ratings)]
        held = [self.taken(values, held_out) for values in (user_index, item_index, self.ratings)]
        seen = SeenPairs.from_pairs(training[0], training[1], len(users))
        transform = None
        if self.is_implicit:
            transform = SampledNegatives(seen, n_trained, 256 if negatives is None else negatives)
        elif negatives is not None:
            raise ValueError(
                f"{self.where}: negatives= belongs to pairs without ratings, and column {rating_col!r} holds "
                "ratings; table.implicit() leaves them out"
            )

        def loader(arrays: Sequence[np.ndarray], shuffle: bool) -> TensorLoader:
            size = bs if shuffle else max(bs, 8192)
            return TensorLoader(*arrays, bs=size, shuffle=shuffle, seed=seed, batch_transform=transform)

        return CollabData(
            loader(training, True),
            loader(held, False) if len(held_out) else None,
            None if test_df is None else self._test_loader(test_df, users, items, max(bs, 8192)),
            self.path,
            users=users,
            items=items,
            titles=titles_of(items, self.titles),
            y_range=y_range,
            rating_range=rating_range,
            mean=0.0 if self.is_implicit else float(training[2].mean()),
            seen=seen,
            seen_valid=SeenPairs.from_pairs(held[0], held[1], len(users)),
            item_counts=torch.from_numpy(counts_of(training[1], len(items))),
            columns=self.columns,
            later=later,
            weights=seen.totals(*training) if self.is_implicit else None,
            features=features,
        )

    def _with_features(
        self, users: IdMap, items: IdMap, cold: bool
    ) -> tuple[IdMap, IdMap, dict[str, SideFeatures]]:
        """The ids, with those that only features know behind, and what is known of them."""
        if not isinstance(cold, bool):
            raise TypeError(f"cold is True or False, got {cold!r}")
        ids, found = {"user_features": users, "item_features": items}, {}
        for side, frame in self.features.items():
            if frame is not None:
                n_trained = len(ids[side])
                if cold:
                    ids[side] = numbered(ids[side], frame, side)
                found[side] = SideFeatures.learn(frame, ids[side], n_trained, side)
        return ids["user_features"], ids["item_features"], found

    def _batch_size(self, n_rows: int) -> int:
        """A power of two that makes about 600 batches of so many rows, of pairs without ratings about 100."""
        wanted, most = (n_rows / 100, 16_384) if self.is_implicit else (n_rows / 600, 65_536)
        return int(min(max(2 ** round(math.log2(max(wanted, 1))), 64), most))

    def _ranges(
        self, train: np.ndarray, y_range: tuple[float, float] | None
    ) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """The range of ratings and that of outputs."""
        rating_col = self.columns[2]
        if rating_col is None:
            if y_range is not None:
                raise ValueError(f"{self.where}: y_range= belongs to ratings, and these pairs have none")
            return None, None
        if y_range is not None:
            check_limits(self.ratings, self.rows, rating_col, self.where, y_range)
        ratings = self.taken(self.ratings, train)
        low, high = self.rating_range or (float(ratings.min()), float(ratings.max()))
        if y_range is None:
            if not low < high:
                raise ValueError(
                    f"{self.where}: every training rating is {low:g}; give y_range to train all the same, or "
                    "leave rating_col out where a row only says that a user took an item"
                )
            y_range = (low - _WIDER * (high - low), high + _WIDER * (high - low))
        return ((low, high) if low < high else y_range), y_range

    def compare(
        self,
        val_idxs: Any = None,
        *,
        k: int | Sequence[int] = (10, 20, 100),
        metrics: Sequence[str] = DEFAULT,
        models: Sequence[str] | None = None,
        relevant: float | None = None,
        users: int | None = None,
        seed: int = 0,
    ) -> Comparison:
        """Which kind of model makes the best lists: each is fitted to the same rows, ranks all items that a
        user has not seen in training, and is judged by what the held-out rows say.

        Args:
            val_idxs: rows to hold out, as of `get_data`; by default a fifth of each user's ratings, the
                latest, or without a time column a fifth of the rows drawn at random.
            k: how many places of a list count.
            metrics: names, as of `CollabLearner.evaluate_ranking`.
            models: names, of "popularity", "item neighbours", "EASE", "implicit ALS", "dot product by pairs
                (BPR)", "dot product on ratings", "dot product with features (BPR)" and "network with
                features"; all by default that the table has something for.
            relevant: the lowest rating with which a held-out pair counts as liked; None counts every pair.
            users: judge so many users, drawn at random; all by default.
            seed: of what is drawn.

        Returns:
            `.table`, a row a model, the best first, and `.plot()`.

        Raises:
            ValueError: for models and metrics that are not known.
        """
        found = {"k": k, "metrics": metrics, "models": models, "relevant": relevant, "users": users}
        return compare(self, val_idxs, **found, seed=seed)

    def _test_loader(self, df: pd.DataFrame, users: IdMap, items: IdMap, bs: int) -> TensorLoader:
        user_col, item_col, rating_col = self.columns
        check_columns(df, [user_col, item_col], "test_df")
        if rating_col is not None and rating_col in df.columns:
            ratings = checked_ratings(df, rating_col, "test_df", None)
        else:
            ratings = np.full(len(df), np.nan, dtype=np.float32)
        user_index = users.encode(checked_ids(df, user_col, "test_df"))
        return TensorLoader(user_index, items.encode(checked_ids(df, item_col, "test_df")), ratings, bs=bs)

    @takes(LearnerOptions, LEARNER_DEFAULTS, without=("opt_fn", "wd", "seed"))
    def get_learner(
        self,
        n_factors: int | Sequence[int] = 50,
        val_idxs: Any = None,
        bs: int | None = None,
        opt_fn: Callable | None = None,
        *,
        test_df: pd.DataFrame | None = None,
        y_range: tuple[float, float] | None = None,
        hidden: Sequence[int] | None = None,
        dropouts: float | Sequence[float] = 0.0,
        model: nn.Module | None = None,
        negatives: int | None = None,
        cold: bool = True,
        wd: float | Sequence[float] | None = None,
        seed: int | None = None,
        layer_groups: GroupSpec | None = None,
        sparse: bool | None = None,
        **options: Any,
    ) -> CollabLearner:
        """A learner of `EmbeddingDotBias`, or of `EmbeddingNet` where `hidden` is given.

        Args:
            n_factors: width of the embeddings; `EmbeddingNet` also takes (user width, item width).
            val_idxs: row numbers to hold out, as of `get_data`; None trains on everything.
            bs: rows a batch; by default about a 600th of the training rows, see `get_data`.
            opt_fn: optimizer class; None takes the core's AdamW, for tables with sparse gradients
                `zoo.RowAdamW`.
            test_df: pairs for `learn.predict(is_test=True)`.
            y_range: (lowest, highest) output of the model. A sigmoid reaches its ends only at infinity, so by
                default it is the range of ratings widened by a tenth of its span at either end: (0.05, 5.45)
                for stars from 0.5 to 5. A rating outside the range you give is an error. What `predict_one`,
                `predict_batch` and `recommend` answer is clipped to the range of ratings.
            hidden: sizes of hidden layers; given, the model is an `EmbeddingNet`.
            dropouts: of `EmbeddingNet`.
            model: any module of (user indexes, item indexes) in place of both.
            negatives: without ratings: items drawn for each batch, as of `get_data`. The loss is then
                `BPRLoss`; `loss_fn=SampledSoftmaxLoss()` and `loss_fn=SampledBCELoss()` are the others, and
                `RankingMetrics` judges the lists after each epoch where held-out pairs can be in them.
            cold: whether users and items that only features know have indexes, as of `get_data`.
            wd: decoupled weight decay; by default (0.5, 0.05), of factors and biases, for the dot product of
                ratings, 0.3 without ratings, and 0.2 for other models. Tables of many rarely seen rows need
                more than other networks.
            seed: of the initial weights and of the order of the rows.
            layer_groups: of the learner; those of the model by default.
            sparse: whether the tables of users and items (and of features, if large) have sparse gradients,
                so that a step costs what its batch does, however many rows they have (`zoo.RowAdamW` tells
                what else that changes). By default where it pays, for tables that are large beside a batch.
        """
        given = {**options, "opt_fn": opt_fn, "wd": wd, "seed": seed}
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, given, "get_learner")
        if isinstance(n_factors, numbers.Integral):
            n_factors = int(n_factors)
        elif not isinstance(n_factors, str) and isinstance(n_factors, Iterable):
            n_factors = [int(width) if isinstance(width, numbers.Integral) else width for width in n_factors]
        else:
            raise ValueError(f"n_factors must be a whole number of 1 or more, got {n_factors!r}")
        if wd is None:
            own = model is not None or hidden is not None
            chosen["wd"] = 0.3 if self.is_implicit else 0.2 if own else (0.5, 0.05)
        if isinstance(chosen["loss_fn"], TakenLoss) and not self.is_implicit:
            raise ValueError(
                f"{type(chosen['loss_fn']).__name__} is of pairs without ratings, and column "
                f"{self.columns[2]!r} holds ratings; table.implicit() leaves them out"
            )
        given = {"test_df": test_df, "y_range": y_range, "negatives": negatives, "cold": cold}
        data = self.get_data(val_idxs, bs, **given, seed=seed)
        if self.is_implicit:
            tell_no_negatives(self.where, data.seen, data.item_counts)
        sizes = (len(data.users), len(data.items))
        rows = data.train_dl.bs * (1 if self.is_implicit else 2)
        count = sum(sizes) + sum(found.sizes["levels"] for found in data.features.values())
        sparse = by_rows(sparse, model, chosen["opt_fn"], count, n_factors, rows, chosen["device"])
        with seeded(seed):
            if model is None:
                known = {side: found.sizes for side, found in data.features.items()}
                model = make_model(sizes, n_factors, hidden, dropouts, data.y_range, data.mean, sparse, known)
                trained = {
                    "user_features": data.seen.starts.diff() > 0,
                    "item_features": data.item_counts > 0,
                }
                begin(model, data.features, trained)
        if chosen["opt_fn"] is None and any(sparse_tables(model)):
            chosen["opt_fn"] = RowAdamW
        if self.is_implicit:
            if takes_negatives(model):
                for loader in (data.train_dl, data.valid_dl):
                    if loader is not None:
                        loader.batch_transform.flat = False
            given = list(chosen["callbacks"])
            if can_judge(data) and not any(isinstance(part, RankingMetrics) for part in given):
                given.insert(0, RankingMetrics(10, users=2000))
            chosen["callbacks"] = given
        return CollabLearner(data, model, layer_groups=layer_groups, **chosen)
