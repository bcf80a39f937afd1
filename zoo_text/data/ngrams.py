"""Words and pairs of words as sparse columns, from the token ids of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo_text.data.padded_batches import TextLoader
from zoo_text.data.text_ids import TextIds
from zoo_text.tokens.vocab import UNKNOWN_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TOKENS = 12_000_000  # that a linear model is fitted to, over all classes, so that it takes seconds
FEWEST_TEXTS = 50  # for words and pairs to tell anything
_LEAST_ROWS = 1000
_MOST_WEIGHTS = 2_000_000  # over all classes


class NGrams:
    """The words and pairs of neighbouring words of some texts as columns; unknown words make none.

    Args:
        n_words: size of the vocabulary.
        least: texts that must hold a word or a pair for it to be a column; where no text shares any with
            another, all are.
        most: columns; of more, those that most texts hold.

    Attributes:
        keys: one number a column: a word's id, or `n_words * (1 + first) + second` of a pair.

    Example:
        >>> grams = NGrams(5, least=1)
        >>> texts = TextIds.of([np.array([2, 3, 2, 3]), np.array([3, 0, 4])])
        >>> grams.fit_transform(texts).toarray().astype(int).tolist()
        [[2, 2, 0, 2, 1], [0, 1, 1, 0, 0]]
        >>> grams.keys.tolist()
        [2, 3, 4, 18, 22]
        >>> grams.transform(TextIds.of([np.array([4, 3])])).toarray().astype(int).tolist()
        [[0, 1, 1, 0, 0]]
    """

    def __init__(self, n_words: int, least: int = 2, most: int | None = None) -> None:
        self.n_words, self.least, self.most = n_words, least, most
        self.keys = np.empty(0, np.int64)

    def fit_transform(self, texts: TextIds) -> csr_matrix:
        """Takes its columns from these texts, and counts them; see `transform`."""
        import pandas as pd

        rows, keys = self._found(texts)
        columns, distinct = pd.factorize(keys)
        counted = _counted(rows, columns, (len(texts), len(distinct)))
        held_by = np.bincount(counted.indices, minlength=len(distinct))
        kept = np.flatnonzero(held_by >= self.least)
        kept = kept if len(kept) else np.arange(len(distinct))
        if self.most is not None and len(kept) > self.most:
            kept = kept[np.argsort(-held_by[kept], kind="stable")[: self.most]]
        kept = kept[np.argsort(distinct[kept])]
        self.keys = np.asarray(distinct[kept])
        return counted[:, kept].tocsr()

    def transform(self, texts: TextIds) -> csr_matrix:
        """How often each of `keys` occurs in each text, float32 of shape (texts, keys)."""
        import pandas as pd

        rows, keys = self._found(texts)
        columns = pd.Index(self.keys).get_indexer(pd.Index(keys))
        seen = columns >= 0
        return _counted(rows[seen], columns[seen], (len(texts), len(self.keys)))

    def _found(self, texts: TextIds) -> tuple[np.ndarray, np.ndarray]:
        """Text and key of every occurrence."""
        ids, rows = texts.ids.astype(np.int64), texts.rows
        known = ids != UNKNOWN_ID
        pairs = known[:-1] & known[1:] & (rows[:-1] == rows[1:])
        both = (1 + ids[:-1][pairs]) * self.n_words + ids[1:][pairs]
        return np.concatenate([rows[known], rows[:-1][pairs]]), np.concatenate([ids[known], both])


def _counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    ones = np.ones(len(rows), np.float32)
    return csr_matrix((ones, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape)


@dataclass(frozen=True)
class CountedNGrams:
    """What training texts hold.

    Attributes:
        rows: the texts that were looked at, ascending row numbers.
        keys: of the columns, see `NGrams`.
        held: 1 where a text holds a word or pair, of shape (rows, keys).
    """

    rows: np.ndarray
    keys: np.ndarray
    held: csr_matrix


def counted_ngrams(
    loader: TextLoader | None, n_words: int, n_out: int, *, two_classes: bool = False
) -> CountedNGrams | None:
    """The words and pairs of training texts as the network reads them; of very many texts, some drawn at
    random. None where there are fewer than 50, or none of their words is known.

    Args:
        loader: of the training texts.
        n_words: size of the vocabulary.
        n_out: classes, labels or values; each has a model of its own.
        two_classes: whether the two of `n_out` are classes, which one model tells apart.
    """
    most = TOKENS // (1 if two_classes else n_out)
    if not isinstance(loader, TextLoader) or loader.n_rows < FEWEST_TEXTS:
        return None
    texts, rows = loader.texts(), np.arange(loader.n_rows)
    if len(texts.ids) > most:
        rows = some_rows(texts, most)
        texts = texts.chosen(rows)
    if loader.backward:
        texts = TextIds.of([texts[row][::-1] for row in range(len(texts))])
    grams = NGrams(n_words, most=max(1, _MOST_WEIGHTS // n_out))
    held = grams.fit_transform(texts)
    if not len(grams.keys):
        return None
    held.data = np.ones_like(held.data)
    return CountedNGrams(rows, grams.keys, held)


def some_rows(texts: TextIds, most: int) -> np.ndarray:
    """Texts drawn at random of about so many tokens together, at least 1,000 texts, in ascending order."""
    drawn = np.random.default_rng(0).permutation(len(texts))
    fits = int(np.searchsorted(np.cumsum(texts.lengths[drawn]), most))
    return np.sort(drawn[: max(_LEAST_ROWS, fits)])
