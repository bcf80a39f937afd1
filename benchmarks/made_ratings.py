"""Made ratings, for benchmarks of more rows than MovieLens small has."""

import numpy as np
import pandas as pd


def made(seed: int = 0, n_users: int = 6040, n_items: int = 3706, n: int = 1_000_000) -> pd.DataFrame:
    """Ratings of biases, 40 factors of falling weight and noise, rounded to whole stars."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 41)
    users = rng.normal(size=(n_users, 40))
    items = rng.normal(size=(n_items, 40)) * np.sqrt(0.2 * weights / weights.sum())
    popular = 1.6 * rng.normal(size=n_items)
    bias = rng.normal(0, 0.43, n_users), rng.normal(0, 0.55, n_items) + 0.15 * popular
    active = np.exp(rng.normal(0, 1.1, n_users))
    active = np.clip(20 + active * (n / n_users - 20) / active.mean(), 20, n_items // 2).astype(int)
    parts = []
    for user, count in enumerate(active):
        wanted = popular + 0.5 * (bias[1] + items @ users[user]) + rng.gumbel(size=n_items)
        taken = np.argpartition(-wanted, count)[:count]
        clean = bias[0][user] + bias[1][taken] + items[taken] @ users[user]
        parts.append(pd.DataFrame({"userId": user, "movieId": taken, "rating": clean}))
    frame = pd.concat(parts, ignore_index=True)
    rated = frame.rating - frame.rating.mean() + 3.58 + rng.normal(0, 0.8, len(frame))
    return frame.assign(rating=rated.round().clip(1, 5))
