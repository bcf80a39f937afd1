"""`check_data` for ratings and pairs: what would make a good figure a false one, and what nothing can be
learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.check.check_data import EXAMPLES, check_loaders
from zoo.data.check.report import DataReport, Finding
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo_collab.pairs.ids import IdMap

if TYPE_CHECKING:
    from zoo_collab.data.collab_data import CollabData

ONE_SIDED = 5  # ratings of a user, all alike, from which that is told
UNKNOWN = 0.1  # share of held-out rows with unknown ids from which a warning tells of it
LATER = 0.1  # likewise of those whose user has later ratings in training
CROWDED = 0.5  # share of the training rows that a hundredth of the items has


def check_pairs(data: CollabData) -> DataReport:
    """Look at the rows of a recommender; nothing is changed.

    Told are pairs on both sides of the split and pairs that repeat, held-out rows of the past of training
    (with a time column), unknown users and items among the held-out rows, users and items that training has
    seen once, users who rate everything alike, and how much of the rows a few items have.

    Args:
        data: with training rows.
    """
    if not isinstance(data.train_dl, TensorLoader):
        return check_loaders(data)
    rows = {"train": _rows(data.train_dl)}
    if isinstance(data.valid_dl, TensorLoader):
        rows["valid"] = _rows(data.valid_dl)
    findings = [*_repeats(data, rows), *_rare(data), *_one_sided(data, rows["train"]), *_crowded(data)]
    if "valid" in rows:
        findings += _unknown(data, rows["valid"])
    if data.later is not None and data.later > LATER:
        findings.append(
            Finding(
                "warning",
                "held-out rows of the past",
                "valid, by time",
                round(data.later * len(rows["valid"][0])),
                data.later,
                (),
                "Their users have later rows in training, which tell of the future: hold out the latest, "
                "val_idxs=by_time(0.2) or by_user_time().",
            )
        )
    counts = {name: len(part[0]) for name, part in rows.items()}
    if isinstance(data.test_dl, TensorLoader):
        counts["test"] = len(data.test_dl.tensors[0])
    return DataReport(findings, counts)


def _rows(loader: TensorLoader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    users, items, values = (part.cpu().numpy() for part in loader.tensors[:3])
    return users, items, values.reshape(-1)


def _repeats(data: CollabData, rows: dict[str, Any]) -> list[Finding]:
    keys = {name: (part[0].astype(np.int64) << 32) | part[1] for name, part in rows.items()}
    known = {name: (part[0] > 0) & (part[1] > 0) for name, part in rows.items()}
    found = []
    own, counts = np.unique(keys["train"], return_counts=True)
    if (counts > 1).any():
        again = own[counts > 1]
        found.append(
            Finding(
                "note" if data.task == "implicit" else "warning",
                "pairs that repeat",
                "train",
                int((counts - 1).sum()),
                float((counts - 1).sum() / len(keys["train"])),
                _pairs(data, again),
                "duplicates='last' or 'mean' (without ratings 'sum') makes one row of each.",
            )
        )
    if "valid" in keys:
        both = np.isin(keys["valid"], own) & known["valid"]
        if both.any():
            found.append(
                Finding(
                    "warning",
                    "training pairs in validation",
                    "valid",
                    int(both.sum()),
                    float(both.mean()),
                    _pairs(data, keys["valid"][both]),
                    "Their answers are known, and no list can hold them: settle repeated pairs before the "
                    "split (duplicates='last').",
                )
            )
    return found


def _rare(data: CollabData) -> list[Finding]:
    """Users and items of a single row."""
    found = []
    items = data.item_counts.numpy()[1:]
    users = data.seen.starts.diff().numpy()[1:]
    for counts, ids, what in ((users, data.users, "users"), (items, data.items, "items")):
        once = np.flatnonzero(counts == 1)
        if len(once):
            found.append(
                Finding(
                    "note",
                    f"{what} seen once",
                    f"{ids.name!r}, train",
                    len(once),
                    len(once) / len(counts),
                    _ids(ids, once + 1),
                    "Little can be learned of them: their factors stay near the mean of all. "
                    "min_ratings= leaves such items out of tables, only= out of lists.",
                )
            )
    return found


def _one_sided(data: CollabData, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[Finding]:
    """Users whose ratings are all the same."""
    if data.task == "implicit":
        return []
    users, _, ratings = rows
    n = len(data.users)
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(lowest, users, ratings)
    np.maximum.at(highest, users, ratings)
    counts = np.bincount(users, minlength=n)
    alike = np.flatnonzero((counts >= ONE_SIDED) & (lowest == highest))
    alike = alike[alike > 0]
    if not len(alike):
        return []
    return [
        Finding(
            "note",
            "users who rate everything alike",
            f"{data.users.name!r}, train",
            len(alike),
            len(alike) / (n - 1),
            _ids(data.users, alike),
            f"Their {ONE_SIDED} ratings and more tell what they took, not what they liked; where such users "
            "are many, .implicit() learns from what is taken.",
        )
    ]


def _crowded(data: CollabData) -> list[Finding]:
    """How much the most popular items have."""
    counts = np.sort(data.item_counts.numpy()[1:])[::-1]
    few = max(1, len(counts) // 100)
    share = counts[:few].sum() / max(counts.sum(), 1)
    if len(counts) < 100 or share < CROWDED:
        return []
    first = data.item_counts[1:].argsort(descending=True, stable=True)[:EXAMPLES] + 1
    return [
        Finding(
            "note",
            "a few items have most rows",
            f"{data.items.name!r}, train",
            few,
            float(share),
            _ids(data.items, first.numpy()),
            "A list of these alone scores well: look at coverage@k beside ndcg@k, and at popularity in "
            "table.compare().",
        )
    ]


def _unknown(data: CollabData, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[Finding]:
    found = []
    for indexes, ids in ((rows[0], data.users), (rows[1], data.items)):
        share = float((indexes == 0).mean())
        if share:
            found.append(
                Finding(
                    "warning" if share > UNKNOWN else "note",
                    "ids that training has not seen",
                    f"{ids.name!r}, valid",
                    int((indexes == 0).sum()),
                    share,
                    (),
                    "They take the answer for somebody or something unknown, as in use: recommend_for and "
                    "update fold in what is known of them.",
                )
            )
    return found


def _ids(ids: IdMap, indexes: np.ndarray) -> tuple[str, ...]:
    return tuple(repr(value) for value in ids.decode(indexes[:EXAMPLES].tolist()))


def _pairs(data: CollabData, keys: np.ndarray) -> tuple[str, ...]:
    some = keys[:EXAMPLES]
    users, items = _ids(data.users, some >> 32), _ids(data.items, some & 0xFFFFFFFF)
    return tuple(f"({user}, {item})" for user, item in zip(users, items, strict=True))
