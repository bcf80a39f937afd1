"""Ratings and pairs of users and items."""

from __future__ import annotations

from pathlib import Path

from zoo.cli.frames import read_frame, read_line, with_corrections
from zoo.cli.plans import Choice, Mendable, Plan, Script, Wishes
from zoo.errors import some

_NAMES = {
    "user": ("user", "userid", "user_id", "uid", "customer", "customerid", "customer_id", "reviewer",
             "reviewerid", "member", "visitor", "visitorid", "account"),
    "item": ("item", "itemid", "item_id", "iid", "movie", "movieid", "movie_id", "film", "filmid", "product",
             "productid", "product_id", "book", "bookid", "book_id", "isbn", "song", "songid", "track",
             "trackid", "artist", "artistid", "asin", "game", "gameid", "recipe", "recipeid", "joke"),
    "rating": ("rating", "ratings", "stars", "score", "grade", "points", "overall"),
    "time": ("timestamp", "time", "date", "datetime", "rated_at", "created_at", "unixreviewtime"),
}  # fmt: skip


class RatingsRecipe:
    """See `Recipe`."""

    def plan(self, path: Path, wishes: Wishes) -> Plan:
        wishes.refuse(
            "ratings",
            dict.fromkeys(("categories", "numbers", "dates", "drop", "join", "task"), "tables")
            | dict.fromkeys(("arch", "size", "weights"), "pictures")
            | {"text": "texts"},
        )
        df = read_frame(path)
        found = columns_of(df.columns)
        if wishes.target is not None:
            found["rating"] = wishes.target
        for side in ("user", "item", "rating"):
            if getattr(wishes, side) is not None:
                found[side] = getattr(wishes, side)
        for side in ("user", "item"):
            if side not in found:
                raise Mendable(
                    f"{path.name} has the columns {some(df.columns, 30)}: say with --{side} NAME which holds "
                    f"the {side}s"
                )
        for side, name in found.items():
            if name not in df.columns:
                raise Mendable(f"--{side} {name}: {path.name} has the columns {some(df.columns, 30)}")
        rated = "rating" in found
        names = {"user": found["user"], "item": found["item"]}
        if wishes.append is not None and not rated:
            raise Mendable("--append needs ratings: these pairs have none to correct")
        df, appended = with_corrections(df, wishes.append, found.get("rating", ""), names)
        settings = {
            "file": str(path.resolve()), "columns": [found["user"], found["item"], found.get("rating")],
            "time": None if appended else found.get("time"), "appended": appended,
            "valid": wishes.valid or 0.2, "bs": wishes.bs, "seed": wishes.seed,
            "device": wishes.device,
        }  # fmt: skip
        epochs = wishes.epochs or (5 if rated else 10)
        choices = [
            Choice("domain", "ratings", path.name, "--domain"),
            Choice("users", found["user"], f"{df[found['user']].nunique():,} different", "--user"),
            Choice("items", found["item"], f"{df[found['item']].nunique():,} different", "--item"),
            Choice(
                "ratings",
                found.get("rating", "none"),
                "to be predicted" if rated else "pairs without ratings: lists are learned",
                "--rating",
            ),
            Choice("held out", f"{settings['valid']:.0%} of the rows", "at random", "--valid"),
            Choice("epochs", str(epochs), "", "--epochs"),
        ]
        return Plan("ratings", settings, choices, 5e-3 if rated else 3e-2, wishes.lr, epochs)

    def script(self, plan: Plan) -> Script:
        s = plan.settings
        user, item, rating = s["columns"]
        named = "" if s["time"] is None else f", time_col={s['time']!r}"
        bs = "" if s["bs"] is None else f"bs={s['bs']}, "
        lines = (
            f"df = {read_line(Path(s['file']))}",
            *s["appended"],
            "return CollabFilterDataset.from_data_frame(",
            f"    FOLDER, df, {user!r}, {item!r}, {rating!r}{named}",
            ")",
        )
        learner = (
            f"held = get_cv_idxs(len(data), {s['valid']}, seed={s['seed']})",
            f"return data.get_learner(50, held, {bs}seed={s['seed']}, device={s['device']!r})",
        )
        imports = (
            *plan.fit_imports,
            "import pandas as pd",
            "from zoo import get_cv_idxs",
            "from zoo_collab import CollabFilterDataset",
            *(["from zoo.serving import corrected"] if s["appended"] else []),
        )
        return Script(imports, lines, learner, plan.fit_lines())


def columns_of(names) -> dict[str, str]:
    """Which columns hold users, items, ratings and times, by their names.

    Example:
        >>> columns_of(["userId", "movieId", "rating", "timestamp"])
        {'user': 'userId', 'item': 'movieId', 'rating': 'rating', 'time': 'timestamp'}
    """
    plain = {str(name).lower().replace(" ", "").replace("-", "_"): str(name) for name in names}
    found = {}
    for side, known in _NAMES.items():
        hit = next((plain[name] for name in known if name in plain), None)
        if hit is not None:
            found[side] = hit
    return found
