"""Words and pairs of words as sparse columns, from the token ids of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo_text.data.text_ids import TextIds
from zoo_text.tokens.vocab import UNKNOWN_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class NGrams:
    """The words and pairs of neighbouring words of some texts as columns; unknown words make none.

    Args:
        n_words: size of the vocabulary.
        least: texts that must hold a word or a pair for it to be a column; where no text shares any with
            another, all are.

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

    def __init__(self, n_words: int, least: int = 2) -> None:
        self.n_words, self.least = n_words, least
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
