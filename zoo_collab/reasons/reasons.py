"""What a learner of recommendations tells about what it has learned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from zoo_collab.data.collab_data import CollabData
from zoo_collab.model.fold_in import Folding
from zoo_collab.reasons import interpret, item_map, similar, tables
from zoo_collab.reasons.why import Why, why


class Reasons:
    """The part of a `CollabLearner` that tells what it has learned, and why it answers as it does."""

    model: nn.Module
    data: CollabData

    def _folding(self) -> Folding:
        raise NotImplementedError

    def why(self, user: Any, item: Any, n: int = 5, *, ratings: Any = None) -> Why:
        """Which of a user's own training ratings carried the score of an item (Hu, Koren & Volinsky 2008).

        Factors that are solved from ratings are a sum over them, and so is every score: `average +
        generosity + contributions + rest = score`. A contribution tells what a rating, by its distance from
        what the average user would have given, added by the user's factors; what the ratings added to the
        user's bias, which raises every item alike, is the generosity. The rest is what the ratings do not
        tell: training stops somewhere, and its factors are not quite those that the ratings alone give.

        Args:
            user: raw id of a user of training; or None, with `ratings`.
            item: raw id.
            n: how many ratings are told, those with the largest contributions of either sign.
            ratings: {item: rating} of this person; by default the user's training ratings, which a loaded
                export does not have.

        Returns:
            `.table`, `.average`, `.generosity`, `.others`, `.rest`, `.score`, `.rating` and `.plot()`; print
            it.

        Raises:
            ValueError: for ids that training did not see, and where the ratings are not at hand.
            TypeError: for models other than `EmbeddingDotBias` and `EmbeddingNet`.
        """
        return why(self.model, self.data, self._folding(), user, item, n, ratings)

    def similar_items(
        self, item: Any, n: int = 10, measure: str = "cosine", min_ratings: int = 0
    ) -> pd.DataFrame:
        """The items whose factors are most like those of one.

        Args:
            item: raw id.
            n: how many.
            measure: "cosine" of the factors, "centred" (the cosine of what sets them apart from the mean
                item), "dot" (long vectors first: items on which tastes differ much), or "distance".
            min_ratings: leave out items with fewer training ratings, whose factors say little.

        Returns:
            Frame with the columns rank, item, title, n_ratings and similarity (or distance).

        Raises:
            ValueError: for an item that training did not see, and another measure.
        """
        return similar.similar_items(self.model, self.data, item, n, measure, min_ratings)

    def item_biases(self, min_ratings: int = 0) -> pd.DataFrame:
        """Items from best to worst by bias: what is liked beyond who happened to rate it."""
        return interpret.item_biases(self.model, self.data, min_ratings)

    def user_biases(self, min_ratings: int = 0) -> pd.DataFrame:
        """Users from the most to the least generous by bias: user, n_ratings and bias.

        Args:
            min_ratings: leave out users with fewer rated items.
        """
        return tables.user_biases(self.model, self.data, min_ratings)

    def item_factors(self, ids: Iterable[Any] | None = None) -> pd.DataFrame:
        """The factors of items, one row a raw id, one column a factor.

        Args:
            ids: of these items, in this order; all by default.

        Raises:
            ValueError: for an id that training did not see.
        """
        return tables.factors(self.model, self.data, "item", ids)

    def user_factors(self, ids: Iterable[Any] | None = None) -> pd.DataFrame:
        """The factors of users, as `item_factors`."""
        return tables.factors(self.model, self.data, "user", ids)

    def item_components(self, n: int = 3, *, min_ratings: int = 0) -> pd.DataFrame:
        """Items along the main directions of the item factors."""
        return interpret.item_components(self.model, self.data, n, min_ratings=min_ratings)

    def item_extremes(self, n: int = 5, *, components: int = 3, min_ratings: int = 0) -> pd.DataFrame:
        """The items at both ends of the main directions of the item factors: what a direction is about.

        Args:
            n: items an end.
            components: how many directions.
            min_ratings: look only at items with so many training ratings.

        Returns:
            Frame with the columns component, end ("high" or "low"), rank, item, title, n_ratings, place.
        """
        return interpret.item_extremes(
            self.model, self.data, n, components=components, min_ratings=min_ratings
        )

    def plot_items(
        self,
        n: int = 50,
        *,
        items: Iterable[Any] | None = None,
        components: tuple[int, int] = (1, 2),
        method: str = "pca",
        min_ratings: int = 0,
        seed: int = 0,
    ) -> Figure:
        """A map of items with their titles: those that the same people like lie together.

        Args:
            n: the items with the most training ratings, so many.
            items: raw ids of those to draw instead.
            components: which two directions of `item_components` the axes are.
            method: "pca"; or "tsne" (van der Maaten & Hinton 2008), which keeps neighbours together but no
                distances between groups.
            min_ratings: items with fewer training ratings have no part in the directions, and are not drawn.
            seed: of t-SNE.
        """
        chosen = {"items": items, "components": components, "method": method, "min_ratings": min_ratings}
        return item_map.plot_items(self.model, self.data, n, seed=seed, **chosen)
