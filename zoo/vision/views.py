"""The mean over several views of every picture. No torch here."""

from __future__ import annotations

from typing import Any

import numpy as np


class MeanOfViews(np.ndarray):
    """An array of one row a picture that refuses to be averaged over its pictures by mistake.

    Elsewhere test-time augmentation gives all views, shape (views, rows, classes), and code such as
    `np.mean(np.exp(learn.TTA()[0]), 0)` goes on from there. Here it would run and give the mean over the
    pictures. What is taken out of it, and all that numpy makes of it but element-wise results, is a plain
    array.
    """

    def mean(self, axis: Any = None, *args: Any, **options: Any) -> Any:
        """As numpy's, but for the mean over the pictures."""
        if self.ndim == 2 and axis in (0, -2):
            raise ValueError(
                "TTA() gives the mean over the views already, one row a picture: leave the mean out, as in "
                "np.exp(learn.TTA()[0]) or learn.TTA(log=False)[0]; for the mean over the pictures take "
                "np.asarray(...).mean(0)"
            )
        return np.asarray(self).mean(axis, *args, **options)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]


def mean_of_views(values: np.ndarray) -> np.ndarray:
    """`values`, marked as what they are.

    Example:
        >>> marked = mean_of_views(np.array([[0.5, 0.5], [1.0, 0.0]]))
        >>> float(marked.sum()), type(marked[0]) is np.ndarray
        (2.0, True)
        >>> np.mean(np.exp(marked), 0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: TTA() gives the mean over the views already, one row a picture: ...
    """
    return values.view(MeanOfViews)
