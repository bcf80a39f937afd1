"""What is known of users or items beside their ratings, by index."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.errors import some
from zoo_collab.model.features import FeaturedTable
from zoo_collab.pairs.features import FeatureCoder, FeatureRows, digest_of
from zoo_collab.pairs.ids import IdMap

log = logging.getLogger("zoo.collab")

SIDES = ("user_features", "item_features")


@dataclass(frozen=True)
class SideFeatures:
    """The features of one side.

    Attributes:
        coder: makes rows of frames, also of ids that are new.
        digest: of the rows.
        rows: by index; None in a loaded learner, whose model has them.
    """

    coder: FeatureCoder
    digest: str
    rows: FeatureRows | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """What a model is told of them."""
        if self.rows is None:
            raise ValueError("these data were loaded without rows of features, which the model has")
        return {"levels": self.coder.n_levels, "longest": self.rows.places.shape[1]}

    @classmethod
    def learn(cls, frame: pd.DataFrame, ids: IdMap, n_trained: int, where: str) -> SideFeatures:
        """Learns the columns from the ids that training has seen, and codes all.

        Args:
            frame: a row an id.
            ids: those that have indexes; training has seen the first.
            n_trained: how many of them, the unknown one (index 0) included.
            where: names the frame in messages.

        Raises:
            ValueError: if training has seen none of the frame's ids, and for columns that cannot be read.
        """
        raw = frame[ids.name]
        indexes = ids.encode(raw, warn=False)
        trained = (indexes > 0) & (indexes < n_trained)
        if not trained.any():
            raise ValueError(
                f"{where}: none of its ids in column {ids.name!r} is in the training rows, so nothing can be "
                f"learned of them ({where}: {some(map(repr, raw.tolist()))}; training: "
                f"{some(map(repr, ids.ids))})"
            )
        places, counts = np.unique(indexes[indexes > 0], return_counts=True)
        if counts.max(initial=1) > 1:
            both = raw[indexes == places[counts.argmax()]].tolist()
            raise ValueError(f"{where}: {some(map(repr, both))} are the same id: leave one of the rows out")
        without = n_trained - 1 - int(trained.sum())
        if without:
            log.warning(
                "%s: %d of the %d ids of the training rows have no row; everything is missing of them",
                where, without, n_trained - 1,
            )  # fmt: skip
        coder = FeatureCoder.learn(frame[trained], ids.name, where)
        rows = coder.rows(frame, indexes, len(ids))
        return cls(coder, digest_of(rows), rows)

    def to_state(self, side: str, *, rows: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON-able state, and the rows if they are wanted."""
        tensors: dict[str, Tensor] = {}
        if rows and self.rows is not None:
            parts = zip(FeatureRows._fields, self.rows, strict=True)
            tensors = {f"{side}_{name}": torch.from_numpy(part) for name, part in parts}
        return {"coder": self.coder.to_json(), "digest": self.digest}, tensors

    @classmethod
    def from_state(cls, state: Mapping[str, Any], side: str, tensors: Mapping[str, Tensor]) -> SideFeatures:
        """The inverse of `to_state`."""
        names, rows = [f"{side}_{name}" for name in FeatureRows._fields], None
        if all(name in tensors for name in names):
            rows = FeatureRows(*(tensors[name].numpy() for name in names))
        return cls(FeatureCoder.from_json(state["coder"]), state["digest"], rows)


def numbered(ids: IdMap, frame: pd.DataFrame, where: str) -> IdMap:
    """The ids, and behind them those that a frame of features has besides.

    Raises:
        TypeError: if these are of another kind.
    """
    raw = frame[ids.name]
    new = IdMap.fit(raw[ids.encode(raw, warn=False) == 0], ids.name)
    if new.ids and set(new.kinds) - set(ids.kinds):
        raise TypeError(
            f"{where}: column {ids.name!r} holds ids such as {new.ids[0]!r}, those of the pairs are such as "
            f"{ids.ids[0]!r}: convert one of the columns with .astype"
        )
    return IdMap([*ids.ids, *new.ids], ids.name) if new.ids else ids


def begin(model: nn.Module, features: Mapping[str, SideFeatures], trained: Mapping[str, Tensor]) -> None:
    """Puts the rows into a new model, and sets what training does not reach to zero.

    Args:
        model: with features.
        features: by side.
        trained: which indexes have pairs, boolean, by side.
    """
    for side, found in features.items():
        if found.rows is None:
            raise ValueError(f"{side}: these data were loaded without rows, so they make no new model")
        model.get_submodule(side).fill(found.rows)  # type: ignore[operator]
        name = side.removesuffix("features")
        for part in (getattr(model, f"{name}factors", None), getattr(model, f"{name}bias", None)):
            if isinstance(part, FeaturedTable):
                part.begin(trained[side])
