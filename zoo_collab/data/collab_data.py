"""Batches of (user index, item index, rating or weight), and answers in raw ids."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.check.report import DataReport
from zoo.data.csv_file import check_columns
from zoo.data.model_data import ModelData
from zoo.data.quick_models import QuickModel
from zoo.errors import some
from zoo.metrics import mae, rmse
from zoo_collab.data.baseline import rating_models
from zoo_collab.data.check_pairs import check_pairs
from zoo_collab.data.negatives import SampledNegatives
from zoo_collab.data.side_features import SIDES, SideFeatures
from zoo_collab.model.fold_in import Folding
from zoo_collab.model.losses import BPRLoss
from zoo_collab.pairs.ids import IdMap
from zoo_collab.pairs.seen import SeenPairs
from zoo_collab.pairs.titles import UNKNOWN_TITLE

_BATCH = 65_536
_NEGATIVES = "negatives"


class CollabData(ModelData):
    """Loaders of (user index, item index, rating) and what turns raw ids into indexes and back.

    Built by `CollabFilterDataset.get_data`. Index 0 stands for users and items that training did not see.

    Args:
        users, items: the raw ids of the training rows.
        titles: one readable name an item index; entry 0 is the unknown item's.
        y_range: (lowest, highest) value the model can put out, usually a little wider than the ratings; None
            for pairs without ratings.
        mean: mean training rating.
        seen: the pairs of the training rows, which recommendations leave out.
        seen_valid: those of the held-out rows, which recommendations leave out as well and evaluations do
            not; none by default.
        item_counts: training ratings of each item index.
        columns: names of the user, item and rating column; the last is None for pairs without ratings.
        rating_range: (lowest, highest) rating; answers are clipped to it. None takes `y_range`.
        weights: of the pairs in `seen`, in their order; None for ratings.
        later: share of the held-out rows whose user has a later row in training; None where that is not
            known.
        folding: how ratings of people who were not in training are folded in; None learns it from the
            training rows.
        features: what is known of "user_features" and "item_features", where there are any.

    Attributes:
        task: "regression" for ratings, "implicit" for pairs that were taken.
    """

    domain: ClassVar[str] = "collab"
    learned_mappings: ClassVar[frozenset[str]] = frozenset({"range of ratings", "range of outputs"})

    def __init__(
        self,
        train_dl: Any = None,
        valid_dl: Any = None,
        test_dl: Any = None,
        path: str | os.PathLike | None = None,
        *,
        users: IdMap,
        items: IdMap,
        titles: list[str],
        y_range: tuple[float, float] | None,
        mean: float,
        seen: SeenPairs,
        item_counts: Tensor,
        columns: tuple[str, str, str | None],
        rating_range: tuple[float, float] | None = None,
        seen_valid: SeenPairs | None = None,
        weights: Tensor | None = None,
        features: Mapping[str, SideFeatures] | None = None,
        later: float | None = None,
        folding: Folding | None = None,
    ):
        super().__init__(train_dl, valid_dl, test_dl, None if path is None else Path(path))
        seen_valid = SeenPairs.none(len(users)) if seen_valid is None else seen_valid
        sizes = {len(seen.starts), len(seen_valid.starts)}
        if not len(titles) == len(item_counts) == len(items) or sizes != {len(users) + 1}:
            raise ValueError("the ids, titles, counts and seen pairs of the ratings do not belong together")
        for pairs in (seen, seen_valid):
            if len(pairs) and not (int(pairs.items.min()) >= 0 and int(pairs.items.max()) < len(items)):
                raise ValueError("seen pairs: an item index lies outside the item ids")
        self.users, self.items, self.titles = users, items, titles
        self.task = "implicit" if columns[2] is None else "regression"
        if (y_range is None) != (columns[2] is None):
            raise ValueError(
                "ratings have a range (y_range), and pairs without a column of ratings have none"
            )
        if weights is not None and len(weights) != len(seen):
            raise ValueError(f"{len(weights)} weights do not belong to {len(seen)} pairs")
        self.y_range, self.mean = _limits(y_range), float(mean)
        self.rating_range = _limits(y_range if rating_range is None else rating_range)
        self.weights = weights
        self.seen, self.seen_valid, self.item_counts = seen, seen_valid, item_counts
        self.features = dict(features or {})
        self.columns, self.folding, self.later = columns, folding, later

    def check(self) -> DataReport:
        """Look at the rows, see `zoo.check_data`: repeats, leaks, ids that are unknown or seen once, users
        who rate everything alike."""
        return check_pairs(self)

    def quick_models(self, task: str | None = None, class_weights: Tensor | None = None) -> list[QuickModel]:
        """The mean, biases and factors in closed form; see `ModelData.quick_models`."""
        return rating_models(self, task or self.task)

    def default_loss(self) -> Callable | None:
        """Pairwise ranking for pairs without ratings; ratings leave it to their task."""
        return BPRLoss() if self.task == "implicit" else None

    def default_metrics(self) -> list[Callable]:
        """Root mean squared error and mean absolute error, in units of the ratings; none without ratings,
        where lists are judged (`RankingMetrics`)."""
        return [] if self.task == "implicit" else [rmse, mae]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Batches of (user indexes, item indexes) from a frame with the two id columns or a list of pairs."""
        user_col, item_col, _ = self.columns
        if isinstance(items, pd.DataFrame):
            check_columns(items, [user_col, item_col], "the frame to predict")
            raw_users, raw_items = items[user_col], items[item_col]
        else:
            pairs = [_pair(pair, user_col, item_col) for pair in items]
            raw_users = pd.Series([user for user, _ in pairs], dtype=object)
            raw_items = pd.Series([item for _, item in pairs], dtype=object)
        users = torch.from_numpy(self.users.encode(raw_users))
        films = torch.from_numpy(self.items.encode(raw_items))
        for start in range(0, len(users), _BATCH):
            yield users[start : start + _BATCH], films[start : start + _BATCH]

    def show_batch(self, n: int = 9, *, train: bool = True) -> pd.DataFrame:
        """The first rows of a batch: raw ids, titles and ratings; arguments as of `ModelData.show_batch`."""
        users, items, *_, ratings = self.one_batch(train, "cpu")
        every = len(users) // len(ratings)  # a user may stand once for each negative too
        users, items, ratings = users[::every][:n], items[::every][:n], ratings[:n]
        user_col, item_col, rating_col = self.columns
        frame = pd.DataFrame(
            {
                user_col: pd.Series(self.users.decode(users.tolist()), dtype=object),
                item_col: pd.Series(self.items.decode(items.tolist()), dtype=object),
                "title": [self.titles[int(item)] for item in items],
            }
        )
        if rating_col is None:
            frame["weight"] = ratings[:, 0].numpy()
        else:
            frame[rating_col] = ratings.reshape(-1).numpy()
        return frame

    def card_rows(self) -> Iterator[tuple[str, str]]:
        """What a model card tells of the inputs."""
        yield "users", f"{len(self.users) - 1:,} ({self.columns[0]!r}); others are unknown"
        yield "items", f"{len(self.items) - 1:,} ({self.columns[1]!r}); others are unknown"
        if self.rating_range is not None:
            low, high = self.rating_range
            yield "ratings", f"{self.columns[2]!r} from {low:g} to {high:g}"

    def clip(self, ratings: np.ndarray) -> np.ndarray:
        """Model outputs as ratings that exist: clipped to `rating_range`, where there is one."""
        return ratings if self.rating_range is None else np.clip(ratings, *self.rating_range)

    def decode(self, outputs: Tensor) -> np.ndarray:
        """Ratings of many rows, clipped to the range of ratings: what is read never exceeds the scale."""
        return self.clip(outputs.numpy())

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The raw ids of users and items in the order of their indexes, the columns, and the ranges."""
        return super().mapping_values() | {
            "users": self.users.ids,
            "items": self.items.ids,
            "columns": [str(name) for name in self.columns],
            "range of ratings": [f"{limit:.8g}" for limit in self.rating_range or ()],
            "range of outputs": [f"{limit:.8g}" for limit in self.y_range or ()],
            **{side: [*found.coder.told(), found.digest] for side, found in self.features.items()},
        }

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Ids, titles and how features are coded as JSON; seen pairs and counts as tensors."""
        return self._state(rows=False)

    def prepared_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The same with the rows of features, which an exported model has."""
        return self._state(rows=True)

    def _state(self, *, rows: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state: dict[str, Any] = {
            "users": self.users.to_json(),
            "items": self.items.to_json(),
            "titles": self.titles[1:],
            "y_range": _listed(self.y_range),
            "rating_range": _listed(self.rating_range),
            "mean": self.mean,
            "columns": list(self.columns),
            **({} if self.folding is None else {"folding": self.folding.to_json()}),
        }
        tensors = {
            "seen_starts": self.seen.starts,
            "seen_items": self.seen.items,
            "seen_valid_starts": self.seen_valid.starts,
            "seen_valid_items": self.seen_valid.items,
            "item_counts": self.item_counts,
        }
        if self.weights is not None:
            tensors["weights"] = self.weights
        for side, found in self.features.items():
            state[side], own = found.to_state(side, rows=rows)
            tensors |= own
        return state, tensors

    def prepared_loader(self, part: str, loader: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As of any data, with the settings of drawn negatives in place of what draws them."""
        transform: Any = getattr(loader, "batch_transform", None)
        if type(transform) is not SampledNegatives:
            return super().prepared_loader(part, loader)
        plain = copy.copy(loader)
        plain.batch_transform = None
        settings, arrays = super().prepared_loader(part, plain)
        names = ("n_items", "n", "flat")
        kept = {name: getattr(transform, name) for name in names}
        return {**settings, _NEGATIVES: kept}, arrays

    @classmethod
    def from_prepared(cls, contents: Mapping[str, Any], arrays: Mapping[str, Tensor], path: Path) -> Self:
        """The data that `save` kept; negatives are drawn as they were."""
        loaders = contents["loaders"]
        rest = {
            part: {name: value for name, value in own.items() if name != _NEGATIVES}
            for part, own in loaders.items()
        }
        data = super().from_prepared({**contents, "loaders": rest}, arrays, path)
        for part, own in loaders.items():
            if _NEGATIVES in own:
                getattr(data, f"{part}_dl").batch_transform = SampledNegatives(data.seen, **own[_NEGATIVES])
        return data

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> CollabData:
        """The same data without its loaders: enough to predict and recommend."""
        # JSON has made lists of names that are tuples
        names: list[Any] = [tuple(name) if isinstance(name, list) else name for name in state["columns"]]
        user_col, item_col, rating_col = names
        valid = None  # older files hold all pairs in one
        if "seen_valid_starts" in tensors:
            valid = SeenPairs(tensors["seen_valid_starts"], tensors["seen_valid_items"])
        return cls(
            users=IdMap.from_json(state["users"]),
            items=IdMap.from_json(state["items"]),
            titles=[UNKNOWN_TITLE, *state["titles"]],
            y_range=_limits(state["y_range"]),
            mean=state["mean"],
            seen=SeenPairs(tensors["seen_starts"], tensors["seen_items"]),
            seen_valid=valid,
            item_counts=tensors["item_counts"],
            columns=(user_col, item_col, rating_col),
            rating_range=_limits(state.get("rating_range", state["y_range"])),
            weights=tensors.get("weights"),
            features={
                side: SideFeatures.from_state(state[side], side, tensors) for side in SIDES if side in state
            },
            folding=Folding(**state["folding"]) if "folding" in state else None,
        )


def item_table(data: CollabData) -> pd.DataFrame:
    """One row a known item: raw id, title and number of training ratings."""
    counts = data.item_counts[1:].numpy()
    return pd.DataFrame({"item": pd.Series(data.items.ids), "title": data.titles[1:], "n_ratings": counts})


def _pair(pair: Any, user_col: str, item_col: str) -> tuple[Any, Any]:
    if isinstance(pair, Mapping):
        if user_col in pair and item_col in pair:
            return pair[user_col], pair[item_col]
        raise ValueError(f"a dict to predict needs the keys {user_col!r} and {item_col!r}, got {some(pair)}")
    if isinstance(pair, (tuple, list, np.ndarray)) and len(pair) == 2:
        return pair[0], pair[1]
    raise ValueError(f"expected a ({user_col}, {item_col}) pair of raw ids, got {pair!r}")


def _limits(limits: Sequence[float] | None) -> tuple[float, float] | None:
    return None if limits is None else (float(limits[0]), float(limits[1]))


def _listed(limits: tuple[float, float] | None) -> list[float] | None:
    return None if limits is None else list(limits)
