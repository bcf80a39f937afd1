"""What a learner tells about itself: its layers, its loop, its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.loaders.batches import first_batch, rows_text, split_batch
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import LayerGroups, Rates
from zoo.engine.traces import preserve_attributes
from zoo.inspect.baseline import Baseline, baseline
from zoo.inspect.calibration import Calibration, calibrate
from zoo.inspect.measured import Measured, measure
from zoo.inspect.show_loop import LoopListing, show_loop
from zoo.inspect.summary import Summary, summarize
from zoo.metrics import metric_name
from zoo.notebook import Quiet


class Looking(Quiet):
    """The part of a `Learner` that explains itself."""

    data: Any
    model: nn.Module
    device: torch.device
    groups: LayerGroups
    opt_fn: Callable[..., torch.optim.Optimizer]
    loss_fn: Callable[..., Tensor]
    metrics: list[Any]
    wd: Rates | None

    def summary(self) -> Summary:
        """Every layer with output shape (-1 is the batch), parameters and whether it trains; print it."""
        loader = self.data.train_dl if self.data.train_dl is not None else self.data.valid_dl
        if loader is None:
            raise ValueError("summary() runs one batch through the model, but this learner has no data")
        inputs, _ = split_batch(first_batch(loader, self.device, training=False))
        with preserve_attributes([self.model]):
            return summarize(self.model, inputs)

    def show_loop(self: Any, callbacks: Iterable[Callback] = ()) -> LoopListing:
        """The events of a fit with these callbacks, and who listens to each in which order; print it."""
        return show_loop(self, callbacks)

    def baseline(self: Any, metrics: Sequence[Any] | None = None) -> Baseline:
        """The model that one would try first, fitted in seconds to the same training rows and scored on the
        same validation rows with the same loss and metrics, beside the learner; print it.

        Tables: gradient boosting of trees on the same columns (scikit-learn's
        `HistGradientBoostingClassifier` and `-Regressor`), with categories as categories, gaps as gaps and
        the target on the same scale. Texts: words and pairs of words, weighted by naive Bayes (Wang & Manning
        2012) and by TF-IDF, in logistic regression. Rows of one vector of numbers: logistic or ridge
        regression. Large data are fitted to some of their rows, which `.note` tells. The learner stays as it
        is.

        Args:
            metrics: the learner's own by default.

        Returns:
            `.name`, `.metrics`, `.seconds` of the quick model, `.predictions` as of `learn.predict()`,
            `.reference` (the mean, or the shares of the classes) and `.learner`, to compare with, and
            `.others`, further quick models.

        Raises:
            ValueError: without training or validation rows, for data that bring no quick model, and for
                whole-number targets of which neither the data's task nor the loss tells what they mean.

        Example:
            >>> import zoo
            >>> zoo.set_seed(0)
            >>> x = torch.randn(300, 4)
            >>> y = (x[:, 0] > 0).long()
            >>> data = zoo.ModelData(zoo.TensorLoader(x[:200], y[:200]), zoo.TensorLoader(x[200:], y[200:]))
            >>> found = zoo.Learner(data, nn.Linear(4, 2), device="cpu").baseline()
            >>> found.name, found.metrics["valid_loss"] < found.reference.metrics["valid_loss"]
            ('logistic regression', True)
        """
        return baseline(self, metrics)

    def measure(self: Any, metrics: Sequence[Any] | None = None, *, seed: int = 0) -> Measured:
        """Metrics of the validation rows with intervals of 95%, by resampling these rows (Efron 1979). They
        travel with an export, for its model card; a further `fit` or `load` drops them.

        Args:
            metrics: the learner's by default.
            seed: of the resamples.

        Raises:
            ValueError: without validation rows, and for models of several answers a row.

        Example: `learn.measure()`
        """
        self.measured = measure(self, metrics, seed=seed)
        return self.measured

    def calibrate(self: Any, on: bool = True, *, loader: Any = None) -> Calibration | None:
        """Make probabilities mean what they say: find a temperature on the validation rows (Guo et al. 2017).

        Scores are then divided by it wherever probabilities are given: `predict`, `predict_proba`,
        `predict_one`, `predict_batch`, in an `Ensemble` and after `export`; the likeliest class stays the
        same. For several labels a threshold each is found as well (best F1), from which `predict_one` and
        `predict_batch` set it; labels of fewer than 5 rows, and those whose probabilities tell no more than
        chance, keep 0.5. `evaluate` and `score` go by the calibrated outputs, too; training goes by the
        raw ones. A further `fit` or
        `load` changes the weights and drops the calibration, with a warning; `save` does not keep it.

        Args:
            on: `False` gives up what was found before.
            loader: other rows than those of validation, with targets.

        Returns:
            What was found, kept as `learn.calibration`: temperature, thresholds, and before and after the
            negative log-likelihood and the expected calibration error (15 bins); `.plot()` draws the
            reliability diagrams.

        Raises:
            ValueError: for learners that predict values or sequences, without rows or targets, and for
                targets that are shares of the classes.

        Example:
            >>> import zoo
            >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
            >>> y = (x[:, 0] + torch.randn(400, generator=torch.Generator().manual_seed(1)) > 0).long()
            >>> data = zoo.ModelData(None, zoo.TensorLoader(x, y))
            >>> learn = zoo.Learner(data, nn.Linear(2, 2), device="cpu")
            >>> with torch.no_grad():
            ...     _ = learn.model.weight.copy_(torch.tensor([[-20.0, 0.0], [20.0, 0.0]]))
            >>> found = learn.calibrate()
            >>> found.temperature > 5, found.after.ece < found.before.ece
            (True, True)
        """
        if not on:
            self.calibration = None
            return None
        found = calibrate(self, loader)
        self.calibration = found
        return found

    def __repr__(self) -> str:
        sizes = [
            f"{name} {rows_text(loader)}"
            for name in ("train", "valid", "test")
            if (loader := getattr(self.data, f"{name}_dl", None)) is not None
        ]
        optimizer = getattr(self.opt_fn, "__name__", None) or repr(self.opt_fn)
        loss = getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__)
        lines = [
            f"{type(self).__name__} of {type(self.model).__name__} on {self.device}",
            f"data: {', '.join(sizes) or 'none'} rows",
            f"loss: {loss}; optimizer: {optimizer}; weight decay: {self.wd}",
            f"metrics: {', '.join(metric_name(metric) for metric in self.metrics) or 'none'}",
            repr(self.groups),
        ]
        return "\n".join(lines)
