"""Labels that are probably wrong, and which texts to label next."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.asked import checked_n, told_n
from zoo.data.check.label_errors import judged_out_of_fold, label_doubts
from zoo.data.row_names import BY_NUMBER
from zoo_text.data.baseline import NaiveBayesWeighted, TfIdfWeighted
from zoo_text.data.columns import raw_texts
from zoo_text.data.ngrams import NGrams
from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.text_ids import TextIds

if TYPE_CHECKING:
    import pandas as pd

MOST_UNCERTAIN = 10  # times as many texts as are asked for, among which varied ones are chosen
_DIRECTIONS = 64  # main directions of the pooled features in which texts lie apart
_EXCERPT = 200  # characters of a text that a table shows


def suspicious_labels(learn: Any, n: int | None = None, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Finds labels that are probably wrong; see `TextClassifierLearner.suspicious_labels`."""
    import pandas as pd

    data = learn.data
    if data.task not in ("classification", "multilabel"):
        raise ValueError(
            f"suspicious_labels is for classes and labels, these data are for {data.task}: look at the "
            "largest errors of learn.predict_with_targs()"
        )
    parts = [name for name in ("train", "valid") if isinstance(getattr(data, f"{name}_dl"), TextLoader)]
    if not parts:
        raise ValueError("suspicious_labels looks at training and validation texts, and these data have none")
    loaders = [getattr(data, f"{name}_dl") for name in parts]
    texts = TextIds.joined([loader.texts() for loader in loaders])
    targets = np.concatenate([loader.targets.cpu().numpy() for loader in loaders])
    part_of = np.repeat(parts, [loader.n_rows for loader in loaders])
    row_of = np.concatenate([np.arange(loader.n_rows) for loader in loaders])
    counts, names = NGrams(data.nt).fit_transform(texts), list(data.classes)
    by_tfidf = TfIdfWeighted(counts)

    def judged(given: np.ndarray, n_classes: int) -> np.ndarray:
        def judge(learned: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            own, other = (
                model.fit(counts[learned], given[learned]) for model in (NaiveBayesWeighted(), by_tfidf)
            )
            return own.classes_, (own.predict_proba(counts[others]) + other.predict_proba(counts[others])) / 2

        return judged_out_of_fold(judge, given, n_classes, folds=folds, seed=seed, what="text")

    doubts = label_doubts(judged, targets, names, what="texts", cure="number of texts")
    if n is not None:
        doubts = doubts[: told_n(n, len(doubts), "suspicious labels")]
    rows = [one.row for _, _, one in doubts]
    return pd.DataFrame(
        {
            "text": [_shown(data.field.text_of(texts[row])) for row in rows],
            "part": part_of[rows].tolist(),
            "label": [label for label, _, _ in doubts],
            "suggested": [suggested for _, suggested, _ in doubts],
            "probability": [one.probability for _, _, one in doubts],
            "suggested_probability": [one.suggested_probability for _, _, one in doubts],
            "row": row_of[rows].tolist(),
            "index": [data.row_index(str(part_of[row]), int(row_of[row])) for row in rows],
        }
    )


def suggest(learn: Any, pool: Any, n: int, *, random: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """Chooses which texts to label next; see `TextClassifierLearner.suggest`."""
    import pandas as pd

    n = checked_n(n)
    if isinstance(random, bool) or not isinstance(random, Real) or not 0 <= random <= 1:
        raise ValueError(f"random is the share of texts drawn at random, 0 to 1, not {random!r}")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 1 << 32:
        raise ValueError(f"seed must be a whole number from 0 to {(1 << 32) - 1}, not {seed!r}")
    data = learn.data
    if data.task not in ("classification", "multilabel"):
        raise ValueError(f"suggest goes by how unsure a classifier is, these data are for {data.task}")
    if isinstance(pool, str):
        raise TypeError("suggest() chooses among several texts, got one string: give a list of texts")
    if isinstance(pool, Iterator):  # can be read only once
        pool = list(pool)
    texts = raw_texts(pool, data.text)
    n = told_n(n, len(texts), "texts in the pool")
    outputs, features = _outputs_and_features(learn, pool)
    probs = learn.activation(outputs).float().numpy()
    margins = _margins(probs, data.task == "multilabel", learn.calibration)
    wanted = n - int(n * random)
    unsure = _without_copies(np.argsort(margins, kind="stable"), texts)[: wanted * MOST_UNCERTAIN]
    chosen = unsure[_varied(features[unsure], 1 - margins[unsure], wanted, seed)]
    rest = np.setdiff1d(np.arange(len(margins)), chosen)
    drawn = _without_copies(np.random.default_rng(seed).permutation(rest), texts, chosen.tolist())
    chosen = np.concatenate([chosen, drawn[: n - len(chosen)]])
    chosen = chosen[np.argsort(margins[chosen], kind="stable")]
    answers = learn._decode(outputs[torch.from_numpy(chosen)])
    index = getattr(pool, "index", None)
    labels = BY_NUMBER.index if index is None or callable(index) else index
    return pd.DataFrame(
        {
            "text": [_shown(texts[row]) for row in chosen.tolist()],
            "label": [answer.label for answer in answers],
            "probability": [answer.probability for answer in answers],
            "margin": margins[chosen],
            "row": chosen,
            "index": [row if labels is None else labels[row] for row in chosen.tolist()],
        }
    )


def _shown(text: str) -> str:
    return text[:_EXCERPT].rstrip() + " ..." if len(text) > _EXCERPT else text


def _margins(probs: np.ndarray, several: bool, calibration: Any) -> np.ndarray:
    """How sure a classifier is of each row, 0 to 1: how far the two likeliest classes are apart, or the least
    sure label from where it is set."""
    if several:
        found = None if calibration is None else calibration.thresholds
        least = np.full(probs.shape[1], 0.5) if found is None else np.asarray(found)
        room = np.where(probs >= least, 1 - least, least).clip(1e-6)
        return (np.abs(probs - least) / room).min(1)
    ranked = np.sort(probs, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def _without_copies(rows: np.ndarray, texts: list[Any], chosen: Iterable[int] = ()) -> np.ndarray:
    """Rows in their order, but those last whose text is there already, in `chosen` or before: a copy costs a
    label and tells nothing new."""
    seen = {texts[row] for row in chosen}
    fresh, copies = [], []
    for row in rows.tolist():
        (copies if texts[row] in seen else fresh).append(row)
        seen.add(texts[row])
    return np.array([*fresh, *copies], dtype=np.int64)


def _varied(features: np.ndarray, weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows that lie apart: those nearest to the centres of `n` clusters of weighted rows (Zhdanov 2019)."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    if n >= len(features):
        return np.arange(len(features))
    values = StandardScaler().fit_transform(features.astype(np.float64))
    if not values.any():  # all are equal
        return np.arange(n)
    most = min(_DIRECTIONS, *values.shape)
    values = PCA(most, svd_solver="randomized", random_state=seed).fit_transform(values)
    with warnings.catch_warnings():  # of fewer different rows than clusters: their copies follow
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        clusters = KMeans(n, n_init="auto", random_state=seed).fit(values, sample_weight=weights + 1e-6)
    chosen: list[int] = []
    free = np.ones(len(values), dtype=bool)
    for centre in clusters.cluster_centers_:
        apart = np.where(free, np.square(values - centre).sum(1), np.inf)
        chosen.append(int(apart.argmin()))
        free[chosen[-1]] = False
    return np.array(chosen)


def _outputs_and_features(learn: Any, pool: Any) -> tuple[Tensor, np.ndarray]:
    """Raw outputs for texts, and what tells how alike texts are: the vectors of whole texts, where the model
    has any, else the pooled features that its head gets. Both in the order of the texts.
    """
    found: list[Tensor] = []
    batches = learn.data.batches_from_raw(pool)
    vectors = getattr(learn.model, "document", None)
    told_by = getattr(learn.model, "head", None) if vectors is None else vectors
    if told_by is None:
        raise TypeError(
            "suggest() tells texts apart by what the head of the network gets, and a "
            f"{type(learn.model).__name__} has no part that is called head"
        )

    def note(_: Any, given: tuple[Tensor, ...], told: Tensor) -> None:
        found.append((given[0] if vectors is None else told).detach().float().cpu())

    handle = told_by.register_forward_hook(note)
    try:
        outputs = learn.outputs_of(lambda _: batches)
    finally:
        handle.remove()
    return outputs, torch.cat(found)[torch.argsort(batches.order)].numpy()
