"""Scores of classes that are never all there at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class LazyScores(ABC):
    """Scores (rows, classes) that are computed as they are read, some rows at a time.

    Over many classes, such as the words of a language, the scores of one batch may be the largest tensor of a
    model. What a loss and a metric need of them is two numbers a row.
    """

    @abstractmethod
    def read(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross entropy in nats of each row, float32, and the class with its largest score.

        Args:
            targets: class numbers, (rows,) after flattening. Of a negative one, which no class has, the cross
                entropy is that of class 0: whether it counts is up to the reader.
        """
