"""How far EASE is held back, by pairs that it has not seen."""

from __future__ import annotations

import numpy as np
import torch

from zoo_collab.lists.metrics import METRICS, Judged
from zoo_collab.lists.ranking import rank
from zoo_collab.model.scorers import ease
from zoo_collab.pairs.seen import SeenPairs

PENALTIES = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
_USERS = 1000
_PLACES = 20


def best_penalty(seen: SeenPairs, n_items: int, seed: int = 0) -> float:
    """The ridge penalty of `ease` whose lists find most of a tenth of each user's pairs again, which is left
    out: from one that grows with the root of the number of pairs (200 for 80,000) towards larger or smaller
    ones, as long as that helps.

    Args:
        seen: the training pairs.
        n_items: items, the unknown one included.
        seed: of the pairs that are left out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> seen = SeenPairs.from_pairs(rng.integers(1, 9, 300), rng.integers(1, 40, 300), 9)
        >>> best_penalty(seen, 40) in PENALTIES
        True
    """
    rng = np.random.default_rng(seed)
    rows, items = (part.numpy() for part in seen.places(torch.arange(len(seen.starts) - 1)))
    left = rng.random(len(rows)) < 0.1
    users = np.unique(rows[left])
    if len(users) > _USERS:
        users = np.sort(rng.permutation(users)[:_USERS])
    if not len(users):
        return _usual(len(seen))
    kept = SeenPairs.from_pairs(rows[~left], items[~left], len(seen.starts) - 1)
    asked = left & np.isin(rows, users)
    places, wanted = np.searchsorted(users, rows[asked]), items[asked]

    def found(wd: float) -> float:
        lists = rank(ease(kept, n_items, wd), torch.from_numpy(users), _PLACES, n_items, seen=[kept]).items
        judged = Judged.of(lists.numpy(), places, wanted, np.ones(len(wanted)))
        return float(METRICS["ndcg"](judged, _PLACES).mean())

    start = int(np.abs(np.log(PENALTIES) - np.log(_usual(len(kept)))).argmin())
    best, value = start, found(PENALTIES[start])
    for step in (1, -1):
        at = best + step
        while 0 <= at < len(PENALTIES) and (other := found(PENALTIES[at])) > value:
            best, value = at, other
            at += step
        if best != start:
            break
    return PENALTIES[best]


def _usual(pairs: int) -> float:
    return 200.0 * max(1, pairs / 80_000) ** 0.5
