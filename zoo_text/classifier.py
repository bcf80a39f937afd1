"""The learner of text classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo.learner import Learner
from zoo.training.recipes import check_fine_tune, next_stage
from zoo.training.rows import EpochRows
from zoo_text.data.labelled_data import TextData
from zoo_text.labelling import suggest, suspicious_labels
from zoo_text.linear_start import start_linear
from zoo_text.smaller import versions
from zoo_text.transfer import EncoderMixin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    import pandas as pd
    from torch import Tensor, nn

    from zoo_text.data.ngrams import CountedNGrams
    from zoo_text.seeing.attribution import WordAttribution
    from zoo_text.seeing.explain import Method


class TextClassifierLearner(EncoderMixin, Learner):
    """Trains a text classifier; made by `TextData.get_model`.

    `predict_one("a text")` and `predict_batch(texts or frame)` answer with labels and probabilities.
    """

    domain = "text"
    data_class = TextData

    def start_linear(self, counted: CountedNGrams | None) -> Self:
        """Let the classifier begin as a linear model on its training texts; see `get_model`."""
        start_linear(self.model, self.data.train_dl, self.loss_fn, self.data.task, counted)
        return self

    def load_encoder(self, name: str | Path) -> Self:
        """As `EncoderMixin.load_encoder`. A model that has vectors of whole texts takes over those of the
        file, too; where these are others, its linear model begins anew, see `start_linear`.
        """
        return super().load_encoder(name)

    def _check_documents(self, vectors: Tensor | None) -> None:
        own = self._documents()
        if own is not None and vectors is not None and own.shape != vectors.shape:
            raise ValueError(
                f"the encoder's vectors of whole texts have {vectors.shape[1]} features, those of this model "
                f"{own.shape[1]}: make the model with get_model(pretrained=...)"
            )

    def _take_documents(self, vectors: Tensor | None) -> None:
        own = self._documents()
        if own is None or vectors is None or torch.equal(own, vectors.to(own)):
            return
        own.copy_(vectors)
        linear = getattr(self.model, "linear", None)
        if linear is None or not bool(linear.weight.any()):  # not begun yet
            return
        linear.forget_vectors()  # what it learned of the others means nothing now
        data = self.data
        self.start_linear(data.counted_ngrams() if linear.n_grams else None)

    def _documents(self) -> Tensor | None:
        document = getattr(self.model, "document", None)
        return None if document is None else document.weight

    def _exported(self, *, smaller: bool) -> Iterator[tuple[nn.Module, Any]]:
        yield from versions(self.model, self.data, smaller=smaller)

    def fine_tune(
        self, epochs: int, lr: float, *, freeze_epochs: int = 1, **options: Any
    ) -> list[dict[str, Any]]:
        """Fits the classifier to its texts, usually after `load_encoder`: head first, then one layer group
        more at a time, as `fine_tune_gradually` does.

        Args:
            epochs: Of the last stage, with everything unfrozen.
            lr: Rate of the last group in the first stage; it is halved at each stage.
            freeze_epochs: Of each stage before.
            options: `decay` (2.6), and those of `fit_one_cycle`.

        Returns:
            One dict an epoch.
        """
        check_fine_tune(self, epochs, lr, freeze_epochs)
        if not freeze_epochs:
            return super().fine_tune(epochs, lr, freeze_epochs=0, **options)
        return self.fine_tune_gradually(lr, epochs=freeze_epochs, last_epochs=epochs, **options)

    def fine_tune_gradually(
        self, max_lr: float, *, epochs: int = 1, last_epochs: int = 2, decay: float = 2.6, **options: Any
    ) -> list[dict[str, Any]]:
        """Trains the head, then unfreezes one layer group more at a time, with graded rates, as ULMFiT does.

        Args:
            max_lr: Rate of the last group; each earlier group has `decay` times less.
            epochs: Length of the cycle of each stage.
            last_epochs: Length of the last cycle, with everything unfrozen.
            decay: Factor between the rates of neighbouring groups.
            options: As for `fit_one_cycle`.

        Returns:
            One dict an epoch.
        """
        count = len(self.groups)
        rates = [max_lr / decay ** (count - 1 - number) for number in range(count)]
        rows = EpochRows()
        for trained in range(1, count + 1):
            self.freeze_to(-trained)
            rate = [one / 2 ** (trained - 1) for one in rates]
            length = epochs if trained < count else last_epochs
            stage = self.fit_one_cycle(length, rate, **next_stage(rows, options))
            rows += stage
            if len(stage) < length:  # interrupted, or stopped by a callback
                break
        return rows

    def explain(
        self, text: str, target: Any = None, method: Method = "integrated", steps: int | None = None
    ) -> WordAttribution:
        """What each word of a text adds to the answer. Works on loaded learners, too, and changes nothing.

        Args:
            text: one text, as for `predict_one`.
            target: the class to explain, by its name or value (of several labels any of them; where values
                are predicted, the name or number of one); by default the most probable class, or the only
                value.
            method: "integrated" integrates gradients from a blank text to this one (Sundararajan, Taly & Yan
                2017): the scores of the words add up to the difference, whatever the length of the text.
                "occlusion" hides one word at a time behind the unknown word, of texts of more than 400 words
                one sentence (of very long ones several) at a time; it takes a pass for each of them, and
                works with any network.
            steps: of integrated gradients, where gradients are taken between both texts; 32 by default. A
                warning tells where they are too few.

        Returns:
            Words and scores, in the log-odds of the class or in the unit of the value. It shows itself in
            notebooks; see `WordAttribution.html`, `top`, `frame`, `paragraphs` and `plot`.

        Raises:
            TypeError: for anything but a string, and for integrated gradients of another network than a
                `TextClassifier`.
            ValueError: for an empty text, an unknown target or method, and steps that are none.

        Example:
            >>> from zoo_text import Field, TextData
            >>> texts, labels = ["a good film", "good", "a bad film", "bad"], ["pos", "pos", "neg", "neg"]
            >>> data = TextData.from_texts(
            ...     Field(tokenize="whitespace"), (texts * 4, labels * 4), bs=8, seed=0
            ... )
            >>> learn = data.get_model(emb_sz=8, n_hid=8, n_layers=1, device="cpu", progress=False, seed=0)
            >>> _ = learn.fit(0.02, 5)
            >>> found = learn.explain("a really good film", "pos")
            >>> found.words, found.top(1)["word"].item()
            (['a', 'really', 'good', 'film'], 'good')
        """
        from zoo_text.seeing.explain import explain

        return explain(self, text, target, method, steps)

    def suggest(self, pool: Any, n: int, *, random: float = 0.5, seed: int = 0) -> pd.DataFrame:
        """Which texts to label next: ones that the classifier is unsure of and that differ from each other,
        and as many drawn at random.

        Of the ten times as many texts with the smallest margin (probability of the likeliest class minus that
        of the second; of several labels the distance to where the least sure one is set) the nearest to the
        centres of clusters are taken, in which unsure texts weigh more (Zhdanov 2019, "Diverse mini-batch
        active learning"). Clusters are of the vectors of whole texts, where the model has any, otherwise of
        the encoder's features. Unsure texts alone are no sample of the texts to come: of 500 labelled film
        reviews they gained 0.2 points over 500 random ones, half and half 0.5 (training reviews); on test
        reviews half and half gained 0.3 with a standard error of 0.4, which is no sure gain.

        Args:
            pool: Texts without labels: a list, a series, or a frame with the text column.
            n: How many.
            random: The share of them that is drawn at random.
            seed: Of the draw and the clusters.

        Returns:
            One row a text, the least sure first: `text` (its beginning), `label` and `probability` as the
            classifier answers now, `margin`, `row` (position in the pool), `index` (of a series or frame).

        Raises:
            ValueError: For data of values, texts that cannot be read, and a share that is none.

        Example:
            >>> from zoo_text import Field, TextData
            >>> pair = (["good film", "bad film"] * 4, ["good", "bad"] * 4)
            >>> learn = TextData.from_texts(Field(), pair).get_model(emb_sz=4, n_hid=4, progress=False)
            >>> learn.suggest(["so so", "a good one", "a bad one", "bad"], 2).columns.tolist()
            ['text', 'label', 'probability', 'margin', 'row', 'index']
        """
        return suggest(self, pool, n, random=random, seed=seed)

    def suspicious_labels(self, n: int | None = None, *, folds: int = 5, seed: int = 0) -> pd.DataFrame:
        """Training and validation texts that are probably labelled wrongly.

        The network has learned these labels, wrong ones too. Every text is therefore judged by the quick
        models of `baseline()` (the mean of both) that have not seen its label, by cross-validation over
        training and validation texts together; then the rule of confident learning (Northcutt et al. 2021)
        picks out labels.

        Args:
            n: The first so many, the most doubtful first; all by default.
            folds: How often the judging models are fitted.
            seed: Of the folds.

        Returns:
            One row a label: `text` (its beginning, as the model reads it), `part` of the split, `label`,
            `suggested`, `probability` and `suggested_probability` (out of fold), `row` within the part and
            `index` (of the user's own frame). Of several labels a text each by itself: "+" (is set) or "-"
            (is not) stands before it, and `suggested` is the opposite.

        Raises:
            ValueError: For data of values, and without texts.

        Example:
            >>> from zoo_text import Field, TextData
            >>> texts = [f"{word} film {i % 5}" for i in range(40) for word in ("good", "bad")]
            >>> labels = ["good", "bad"] * 40
            >>> labels[7] = "good"
            >>> data = TextData.from_texts(Field(), (texts, labels))
            >>> learn = data.get_model(emb_sz=4, n_hid=4, progress=False)
            >>> learn.suspicious_labels()[["text", "label", "suggested", "row"]].values.tolist()
            [['bad film 3', 'good', 'bad', 7]]
        """
        return suspicious_labels(self, n, folds=folds, seed=seed)
