"""What explaining an answer gives: the words of a text with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoo.inspect.plots import figure
from zoo.storage.files import atomic_write
from zoo_text.seeing.page import as_fragment, as_page
from zoo_text.seeing.words import paragraph_starts, shown_word, told_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class WordAttribution:
    """The words of a text, and what each adds to an answer.

    Scores are in the unit of `output`: above 0 what speaks for `label` (or makes the value larger), below 0
    what speaks against it. Those of integrated gradients add up to `output - baseline`, but for a small
    error of the sum over steps; those of occlusion do not: each is the change when that part alone is
    hidden.

    Attributes:
        text: as it was given.
        words: the parts of it that have a score, as they are written.
        spans: where each begins and ends in `text`, in characters.
        scores: one a word, float64.
        label: the class that is explained, or the name of the value.
        probability: of `label`; None for values.
        predicted: the model's answer, one label or those that are set; None for values.
        output: log-odds of `label`, log(p / (1 - p)), or the value in the user's unit.
        baseline: the same for the blank text: of integrated gradients every word a vector of zeros, which is
            what padding has and what word dropout makes of a word in training; of occlusion every word
            unknown.
        method: "integrated" or "occlusion".
        unit: what `words` are: "word" or, of long texts under occlusion, "sentence" or, of even longer ones,
            "part".
    """

    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    scores: np.ndarray
    label: str
    probability: float | None
    predicted: str | tuple[str, ...] | None
    output: float
    baseline: float
    method: str
    unit: str = "word"

    def frame(self) -> pd.DataFrame:
        """One row a word, in the order of the text: `word`, `start`, `end`, `score`."""
        starts, ends = np.array(self.spans).T
        return pd.DataFrame({"word": self.words, "start": starts, "end": ends, "score": self.scores})

    def top(self, n: int = 10) -> pd.DataFrame:
        """The rows of `frame()` with the scores farthest from 0, in either direction."""
        _check_n(n)
        order = np.argsort(-np.abs(self.scores), kind="stable")[:n]
        return self.frame().iloc[order].reset_index(drop=True)

    def paragraphs(self) -> pd.DataFrame:
        """Sums over paragraphs: `start`, `end`, `words`, `score`, and `text` as it is written.

        Lines are paragraphs; those of more than 800 characters are cut between sentences.
        """
        firsts = np.array(paragraph_starts(self.text, self.spans))
        starts = [self.spans[first][0] for first in firsts]
        ends = [*starts[1:], len(self.text)]
        return pd.DataFrame(
            {
                "start": starts,
                "end": ends,
                "words": np.diff([*firsts, len(self.words)]),
                "score": np.add.reduceat(self.scores, firsts),
                "text": [self.text[start:end] for start, end in zip(starts, ends, strict=True)],
            }
        )

    def html(self, path: str | Path | None = None) -> str:
        """The text with coloured words as a page that needs nothing else, light or dark as the reader likes.

        Long texts have a strip on top that shows which part decided, and the sum of each paragraph at its
        side.

        Args:
            path: a file to write it to as well.

        Returns:
            The page.
        """
        page = as_page(self)
        if path is not None:
            with atomic_write(path) as temporary:
                temporary.write_text(page, encoding="utf8", errors="replace")
        return page

    def _repr_html_(self) -> str:
        return as_fragment(self)

    def plot(self, ax: Axes | None = None, *, top: int = 15) -> Axes:
        """The words with the scores farthest from 0 as bars, in the order of their size.

        Args:
            ax: where to draw.
            top: so many words.

        Returns:
            The axes.
        """
        shown = self.top(top)[::-1]
        ax = figure(6.5, 1.2 + 0.28 * len(shown)).add_subplot() if ax is None else ax
        colours = np.where(shown["score"] > 0, "C0", "C1")
        ax.barh(np.arange(len(shown)), shown["score"], color=colours, height=0.7)
        names = [shown_word(word).replace("$", r"\$") for word in shown["word"]]
        ax.set_yticks(np.arange(len(shown)), names)
        ax.axvline(0, color="0.3", lw=0.8)
        ax.set_xlabel(self.unit_of_scores)
        ax.set_title(self.told().replace("$", r"\$"), fontsize="medium")
        return ax

    @property
    def unit_of_scores(self) -> str:
        """What the scores are counted in."""
        return self.label if self.probability is None else f"log-odds of {self.label}"

    def told(self) -> str:
        """The answer in a few words."""
        if self.probability is None:
            return f"{self.label}: {self.output:.4g}"
        return f"{self.label}: {self.probability:.1%}"

    def __repr__(self) -> str:
        lines, best = [f"{self.told()}, {len(self.words):,} {self.unit}s ({self.method})"], self.top(8)
        for name, side in (("for", best[best["score"] > 0]), ("against", best[best["score"] < 0])):
            words = [
                f"{shown_word(word)} {told_score(score)}"
                for word, score in zip(side["word"], side["score"], strict=True)
            ]
            if words:
                lines.append(f"  {name}: {', '.join(words)}")
        return "\n".join(lines)


def _check_n(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a whole number from 1 on, got {n!r}")
