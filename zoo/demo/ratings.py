"""Recommender: ratings simulated from latent tastes, so that the smallest reachable error is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from zoo import get_cv_idxs
from zoo.reports.section import Section, export_and_check, scatter_with_names
from zoo_collab import CollabFilterDataset

NOISE = 0.4
GENRES = ("space opera", "western", "romance", "thriller", "musical", "documentary")


def simulate(n_users: int, n_films: int, seed: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Ratings of films by users whose tastes lie in three hidden dimensions.

    rating = 3.2 + user's mildness + film's quality + taste . character + noise of standard deviation 0.4;
    every genre has a character of its own, every film one near its genre's. Popular films are rated more
    often.

    Returns:
        Frame with the columns user, film, rating and expected (the rating without the noise), and the title
        of each film.
    """
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, len(GENRES), n_films)
    character = rng.normal(0, 0.6, (len(GENRES), 3))[genre] + rng.normal(0, 0.15, (n_films, 3))
    taste = rng.normal(0, 0.6, (n_users, 3))
    mildness, quality = rng.normal(0, 0.3, n_users), rng.normal(0, 0.4, n_films)
    popularity = rng.permutation(1 / (np.arange(n_films) + 20.0))
    pairs = [
        (user, film)
        for user in range(n_users)
        for film in rng.choice(n_films, n_films // 5, replace=False, p=popularity / popularity.sum())
    ]
    users, films = np.array(pairs).T
    exact = 3.2 + mildness[users] + quality[films] + (taste[users] * character[films]).sum(1)
    rating = exact + rng.normal(0, NOISE, len(users))
    frame = pd.DataFrame({"user": users, "film": films, "rating": rating, "expected": exact})
    frame["user"] = "user " + frame["user"].astype(str)
    frame["film"] = "f" + frame["film"].astype(str)
    return frame, {f"f{number}": f"{GENRES[kind]} {number}" for number, kind in enumerate(genre)}


def rmse(errors: pd.Series) -> float:
    """Root of the mean square."""
    return float(errors.pow(2).mean() ** 0.5)


def run(out: Path, *, seed: int = 42, scale: float = 1.0) -> Section:
    """Train on simulated ratings, recommend, and compare the error with that of the exact ratings."""
    ratings, titles = simulate(max(60, int(900 * scale)), max(50, int(300 * scale**0.5)), seed)
    section = Section(
        "Recommendations",
        f"{len(ratings):,} ratings of {ratings['film'].nunique()} films by"
        f" {ratings['user'].nunique()} users, simulated:"
        " mildness of the user, quality of the film, three hidden tastes, and noise of"
        f" standard deviation {NOISE}."
        " The model sees user, film and rating, never the rest.",
    )
    rows = get_cv_idxs(len(ratings), seed=seed)
    table = CollabFilterDataset.from_data_frame(out, ratings, "user", "film", "rating", item_titles=titles)
    low, high = table.ratings.min() - 0.5, table.ratings.max() + 0.5
    learn = table.get_learner(4, rows, bs=256, y_range=(float(low), float(high)), wd=(0.1, 0.02), seed=seed)
    finder = learn.lr_find()
    learn.fit_one_cycle(8 if scale >= 0.5 else 12, 1e-2)
    section.add_curves(learn, finder)

    section.metric, section.reached = "rmse", float(learn.history[-1]["rmse"])
    held_out = ratings.iloc[rows]
    floor = rmse(held_out["rating"] - held_out["expected"])
    spread = rmse(held_out["rating"] - ratings["rating"].drop(held_out.index).mean())
    section.reference = f"a model that knew the truth {floor:.3f}; always the mean {spread:.3f}"
    section.expect("half-way to the truth", section.reached < (floor + spread) / 2)
    section.add_figure("predictions against truth, held-out ratings", learn.plot_predictions())
    parts = learn.item_components(2).nlargest(45, "n_ratings")
    section.add_figure(
        "film factors: the model never saw the genres",
        scatter_with_names(
            parts[["component_1", "component_2"]].to_numpy(),
            parts["title"].tolist(),
            parts["title"].str.rsplit(n=1).str[0].tolist(),
        ),
    )
    someone = str(ratings["user"].iloc[0])
    section.add_table(f"recommended to {someone}", learn.recommend(someone, n=5)[["rank", "title", "rating"]])
    best = learn.item_biases()
    section.add_table("best and worst beyond who rated them", pd.concat([best.head(3), best.tail(3)]))
    section.model = export_and_check(learn, out / "models" / "ratings", ratings[["user", "film"]].head(200))
    return section
