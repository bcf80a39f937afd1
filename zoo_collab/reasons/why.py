"""Which of a person's ratings carried what a model answers for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from zoo.inspect.plots import figure
from zoo_collab.data.collab_data import CollabData
from zoo_collab.data.rows import training_rows, worth_of
from zoo_collab.model.carried import carried
from zoo_collab.model.fold_in import Folding
from zoo_collab.model.vector_scores import scores_of, squeezed
from zoo_collab.pairs.given import Given
from zoo_collab.reasons.tables import index_of


@dataclass(frozen=True)
class Why:
    """Why an item has its score for a person: `average + generosity + contributions + rest = score`.

    Attributes:
        user, item: raw ids; the user is None where ratings were given instead.
        title: of the item.
        score: the model's, before it is squeezed into a range.
        rating: the same on the scale of ratings; None where there are none.
        average: score of the item for the average user.
        generosity: what the person's ratings added to their bias, the same for every item.
        table: the ratings with the largest contributions, a row each: item, title, rating (without ratings
            weight, how often it was taken), contribution.
        others: sum of the contributions of all further ratings.
        rest: what the ratings do not tell: how far the vector that training found, which was stopped
            somewhere, is from the one that these ratings give.
    """

    user: Any
    item: Any
    title: str
    score: float
    rating: float | None
    average: float
    generosity: float
    table: pd.DataFrame
    others: float
    rest: float

    def __repr__(self) -> str:
        who = "" if self.user is None else f" for {self.user!r}"
        what = self._what()
        shown = self.table.to_string(index=False, formatters={"contribution": "{:+.3f}".format})
        return (
            f"{self.title} ({self.item!r}){who}: {self._rating()}score {self.score:+.3f} = "
            f"{self.average:+.3f} for the average user {self.generosity:+.3f} for generosity "
            f"{self.table['contribution'].sum():+.3f} by the {what} below "
            f"{self.others:+.3f} by others {self.rest:+.3f} not by {what}\n{shown}"
        )

    def _what(self) -> str:
        return "ratings" if self.rating is not None else "items taken"

    def _rating(self) -> str:
        return "" if self.rating is None else f"rating {self.rating:.2f}, "

    def plot(self) -> Figure:
        """A bar for what every rating added to the score of the average user, or took from it."""
        rated = zip(self.table["title"], self.table.iloc[:, 2], strict=True)
        names = [f"{short(title)}: {rating:g}" for title, rating in rated]
        names += [f"all other {self._what()}", "generosity to all items", f"not by {self._what()}"]
        values = [*self.table["contribution"], self.others, self.generosity, self.rest]
        drawn = figure(8.0, 1.6 + 0.32 * len(names))
        axes = drawn.subplots()
        colours = ["tab:green" if value > 0 else "tab:red" for value in self.table["contribution"]]
        bars = axes.barh(range(len(names)), values, color=[*colours, "0.6", "0.6", "0.6"])
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.bar_label(bars, fmt="%+.3f", padding=3, fontsize=9)
        axes.axvline(0, color="0.3", lw=0.8)
        axes.margins(x=0.2)
        axes.set(xlabel="part of the score")
        who = "" if self.user is None else f" for {self.user!r}"
        told = (
            f"{self._rating()}score {self.score:+.2f}, that is {self.average:+.2f} for the average user and"
        )
        drawn.suptitle(f"{short(self.title, 60)}{who}\n{told}", fontsize="medium")
        return drawn


def why(
    model: nn.Module,
    data: CollabData,
    folding: Folding,
    user: Any,
    item: Any,
    n: int = 5,
    ratings: Any = None,
) -> Why:
    """See `CollabLearner.why`."""
    scores = scores_of(model, "user")
    implicit = data.task == "implicit"
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(
            f"n is how many {'items taken' if implicit else 'ratings'} are told, a whole number of 1 or "
            f"more, not {n!r}"
        )
    if user is None and ratings is None:
        raise ValueError(
            "why needs a user, or what somebody has taken: why(None, item, ratings=[item, ...])"
            if implicit
            else "why needs a user, or the ratings of somebody: why(None, item, ratings={item: rating})"
        )
    asked = index_of(item, data.items, data.titles)
    known = 0 if user is None else index_of(user, data.users)
    items, shown, worth = _own(data, known, ratings)
    found = carried(model, items, worth, folding, asked)
    score = found.score
    if known:
        vector = scores.vectors(slice(known, known + 1))
        score = float(scores.hold(torch.tensor([[asked]])).scores(vector)[0])
    order = np.argsort(-np.abs(found.parts), kind="stable")
    first = order[:n]
    table = pd.DataFrame(
        {
            "item": pd.Series(data.items.ids).iloc[items[first] - 1].to_numpy(),
            "title": [data.titles[index] for index in items[first]],
            "weight" if implicit else "rating": shown[first],
            "contribution": found.parts[first],
        }
    )
    answer, _ = squeezed(torch.tensor(score), scores.y_range)
    rating = None if implicit else float(data.clip(answer.numpy()))
    user = data.users.ids[known - 1] if known else user
    told = found.start + found.generosity + float(found.parts.sum())
    return Why(
        user, data.items.ids[asked - 1], data.titles[asked], score, rating, found.start, found.generosity,
        table, float(found.parts[order[n:]].sum()), score - told,
    )  # fmt: skip


def _own(data: CollabData, user: int, ratings: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item indexes of a person's ratings, these as they are, and as a fold-in takes them."""
    if ratings is not None:
        given = Given.read(ratings, data.items, data.columns, data.y_range)
        if len(given.people) != 1:
            raise ValueError(f"why is about one person, and what is given is of {len(given.people)}")
    elif data.task == "implicit":
        part = slice(int(data.seen.starts[user]), int(data.seen.starts[user + 1]))
        times = None if data.weights is None else data.weights[part].double().numpy()
        items = data.seen.items[part].long().numpy()
        given = Given([None], np.zeros(len(items), dtype=np.int64), items, times)
    else:
        rows = training_rows(data)
        if rows is None:
            raise ValueError(
                "the training rows are not at hand (an export holds which items were rated, not how): give "
                "the ratings of this user, why(user, item, ratings={item: rating})"
            )
        own = (rows.users == user) & (rows.items > 0)
        items, stars = rows.items[own].astype(np.int64), rows.ratings[own].astype(np.float64)
        given = Given([None], np.zeros(len(items), dtype=np.int64), items, stars)
    worth = worth_of(data, given)
    if given.ratings is not None:
        return given.items, given.ratings, worth
    return given.items, np.ones(len(worth)) if data.task == "implicit" else worth, worth


def short(title: str, most: int = 36) -> str:
    """A title of at most so many letters; a year or the like in brackets at its end stays.

    Example:
        >>> short("Lord of the Rings: The Two Towers, The (2002)", 32)
        'Lord of the Rings: The T… (2002)'
    """
    if len(title) <= most:
        return title
    end = title[title.rfind(" (") :] if title.endswith(")") and len(title) - title.rfind(" (") <= 8 else ""
    return f"{title[: most - 1 - len(end)].rstrip()}…{end}"
