"""`Seeing`: what a learner of pictures tells about itself and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.vision.seeing.activation_map import Method, activation_map, plot_activation_map
from zoo.vision.seeing.baseline import picture_baseline
from zoo.vision.seeing.class_results import ImageModelResults
from zoo.vision.seeing.dropout import set_dropout
from zoo.vision.seeing.submission import Answers, write_submission

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoo.inspect.baseline import Baseline


class Seeing:
    """The part of a `ConvLearner` that shows what it sees."""

    def results(self: Any) -> Any:
        """What the model gets right and wrong on the validation pictures.

        Returns:
            `ImageModelResults` for one label a picture, `ImageTagResults` for several, and
            `ImageValueResults` for values. Each has `top_losses`, pictures of the best and worst, tables, and
            `report("file.html")`.

        Raises:
            ValueError: without validation pictures, and for targets of other kinds.
        """
        return ImageModelResults.from_learner(self)

    def activation_map(
        self: Any, picture: Any, label: str | int | None = None, *, method: Method = "hires"
    ) -> np.ndarray:
        """Which parts of a picture speak for a class.

        The last feature map of the network, weighted by how much the class's output rises with it. "hires"
        weighs every place by itself (HiResCAM, Draelos & Carin 2020), which for networks that end in an
        average and one linear layer is the class activation map of Zhou et al. 2016; "gradcam" weighs whole
        channels by their mean slope (Selvaraju et al. 2017). Any network with a feature map will do,
        frozen or not; it stays as it was.

        Args:
            picture: what `predict_one` takes.
            label: name or number of a class (or output); by default the highest.
            method: "hires" or "gradcam".

        Returns:
            H x W of the picture as given (upright), values in [0, 1], 1 where most speaks for the class; 0
            where the network did not look, as beside a centre crop. All 0 if nothing speaks for it.

        Raises:
            ValueError: for a class that does not exist, and for networks without a feature map.
        """
        return activation_map(self, picture, label, method=method)

    def plot_activation_map(
        self: Any,
        picture: Any,
        label: str | int | None = None,
        *,
        method: Method = "hires",
        alpha: float = 0.5,
    ) -> Figure:
        """The picture, and beside it its `activation_map` laid over it.

        Args:
            picture: what `predict_one` takes.
            label: name or number of a class; by default the likeliest.
            method: as of `activation_map`.
            alpha: how much the map covers, 0 to 1.
        """
        return plot_activation_map(self, picture, label, method=method, alpha=alpha)

    def baseline(self: Any, metrics: Sequence[Any] | None = None) -> Baseline:
        """The model that one would try first, fitted in seconds to the same training pictures and scored on
        the same validation pictures with the same loss and metrics, beside the learner; print it.

        Logistic regression (ridge regression for values) on the activations of the body, which are kept on
        disk as for `precompute=True`; for networks of one's own on pixels. The learner stays as it is.

        Args:
            metrics: the learner's own by default.
        """
        return picture_baseline(self, metrics)

    def set_dropout(self: Any, p: float | Sequence[float]) -> dict[str, float]:
        """Go on with another dropout of the head (of a network of one's own: of all its dropout layers).

        Args:
            p: one probability for all, or one for each dropout layer, from input to output.

        Returns:
            The layers with their dropout. An export makes the head with it, unless one is 0: the head is then
            made with the dropout that it had, which answers do not depend on.

        Raises:
            ValueError: without dropout layers, for other counts, and for values outside [0, 1).
        """
        return set_dropout(self.model, p)

    def misclassified(self: Any) -> Any:
        """The same data with only those training pictures that the model gets wrong now, to go on with:
        `learn.set_data(learn.misclassified())`. Validation and test pictures stay.

        Returns:
            New data; of several labels a picture those with any label wrong, at the thresholds of the
            calibration where there is one, else at 0.5.

        Raises:
            ValueError: if all are right, or the targets are values.
        """
        data = self._pictures
        if data.trn_ds is None or data.task not in ("classification", "multilabel"):
            raise ValueError("misclassified() needs training pictures with classes or labels")
        outputs = self.outputs_of(lambda own: own.batches_from_raw(data.trn_ds.items))
        probs, truth = self.activation(outputs).numpy(), np.asarray(data.trn_ds.y)
        if not np.isfinite(probs).all():
            raise ValueError(
                "misclassified(): some predictions are no finite numbers: the weights were lost in a fit; "
                "load or train them again"
            )
        if data.task == "classification":
            wrong = (probs.argmax(1) != truth) & (truth >= 0)
        else:
            found = self.calibration
            told = None if found is None else found.thresholds
            chosen = probs > 0.5 if told is None else probs >= np.asarray(told)
            wrong = (chosen != (truth > 0.5)).any(1)
        if not wrong.any():
            raise ValueError(
                f"the model is right on all {len(truth)} training pictures: nothing to go on with"
            )
        return data.only(np.flatnonzero(wrong))

    def write_submission(
        self: Any,
        path: str | Path,
        ids: Any = None,
        id_column: str = "id",
        target_column: str | Sequence[str] | None = None,
        *,
        answers: Answers = "probabilities",
        thresh: Any = None,
        n_aug: int = 0,
    ) -> pd.DataFrame:
        """Predict the test pictures and write them as a CSV file with an id column.

        Args:
            path: the file; a name ending in ".gz" is compressed.
            ids: one for each test picture, in their order; by default the file names without their ending.
            id_column: heading of the ids.
            target_column: heading of the predictions; by default the classes, "label", "tags" or "target".
            answers: "probabilities" writes one column a class, "label" the likeliest class, or all labels
                whose probability is above `thresh`, with blanks between. Values are written as they are.
            thresh: one number, or one a label; by default those of the calibration, else 0.5.
            n_aug: augmented views of each picture that are averaged with the plain one, see `TTA`.

        Returns:
            What was written.

        Raises:
            ValueError: without test pictures, when there are not as many ids, and for equal headings.
        """
        return write_submission(
            self, path, ids, id_column, target_column, answers=answers, thresh=thresh, n_aug=n_aug
        )
