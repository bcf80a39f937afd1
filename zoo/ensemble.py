"""Several models answer as one: snapshots of one fit, or learners trained on their own."""

from __future__ import annotations

import contextlib
import glob
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.answers.prediction import Prediction, decode_labels
from zoo.data.loaders.batches import as_tensor
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.engine.loop import Loop
from zoo.engine.state import State
from zoo.errors import did_you_mean, some
from zoo.losses import Activation
from zoo.mean_answers import MeanAnswers, same_targets
from zoo.predictor import MakeBatches, Predictor
from zoo.storage.archive import load_metadata, load_state
from zoo.storage.mapping import check_mapping, describe, from_metadata
from zoo.storage.module_state import preserve_tensors, tensors_of
from zoo.storage.weights import load_weights


class Ensemble:
    """The mean of several learners' predictions, which is mostly better than the best of them.

    Classifiers: the mean of the probabilities (Lakshminarayanan et al. 2017, "Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles"). Regressions: the mean in the units in which the models were
    trained, and only then back to the user's; with a target on a log scale this is the geometric mean, and
    the ensemble's loss is never above the mean of its members' losses. Members that were trained in different
    units (such as standardised targets of different training rows) are averaged in the user's units.

    Args:
        learners: at least one; of one task, with the same classes and the same rows in the same order. Each
            reads its own data, so they may be of different kinds.

    Raises:
        ValueError: if they do not go together.

    Example:
        >>> import zoo
        >>> x = torch.randn(64, 4)
        >>> data = zoo.ModelData(None, zoo.TensorLoader(x, (x.sum(1) > 0).long(), bs=32))
        >>> learners = [zoo.Learner(data, nn.Linear(4, 2), device="cpu") for _ in range(3)]
        >>> both = Ensemble(learners)
        >>> both.predict_proba().shape
        (64, 2)
    """

    def __init__(self, learners: Iterable[Predictor]) -> None:
        if isinstance(learners, Predictor):
            raise TypeError(
                f"Ensemble: a list of learners was expected, got a {type(learners).__name__}; "
                "Ensemble.from_snapshots takes one learner"
            )
        given = list(learners)
        for learner in given:
            if not isinstance(learner, Predictor):
                raise TypeError(f"Ensemble: a list of learners was expected, got a {type(learner).__name__}")
        if len({id(learner) for learner in given}) != len(given):
            raise ValueError(
                "Ensemble: the same learner is given twice, which adds nothing; use Ensemble.from_snapshots "
                "for several weights of one learner"
            )
        self._set([_Member(learner, f"learner {number}") for number, learner in enumerate(given)])

    @classmethod
    def from_snapshots(cls, learner: Predictor, name: str, *, last: int | None = None) -> Self:
        """The weights that `learn.fit(..., cycle_save_name=name)` saved at its cycle ends (Huang et al. 2017,
        "Snapshot Ensembles: Train 1, Get M for Free").

        The learner's own weights are the same after every call, also after an error.

        Args:
            learner: the learner that saved them, or one with an equal model.
            name: as given to `fit`.
            last: use only so many of the latest snapshots; the first ones are often worse.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if some do not fit the model.
        """
        folder = learner._weights_file(f"{name}_cyc_0").parent
        stem = learner._weights_file(name).stem
        numbered = {
            int(number): file
            for file in folder.glob(f"{glob.escape(stem)}_cyc_*.safetensors")
            if (number := file.stem.removeprefix(f"{stem}_cyc_")).isdecimal()
        }
        if not numbered:
            present = sorted({file.stem.partition("_cyc_")[0] for file in folder.glob("*_cyc_*.safetensors")})
            raise FileNotFoundError(
                f"no snapshots {stem}_cyc_0, ... in {folder}{did_you_mean(stem, present)}; there are some "
                f"of: {', '.join(present) or 'nothing'}. To save some: learn.fit(..., cycle_len=1, "
                f"cycle_save_name={name!r})"
            )
        if last is not None and (not isinstance(last, int) or not 1 <= last <= len(numbered)):
            raise ValueError(
                f"last must lie between 1 and {len(numbered)}, the number of snapshots, got {last!r}"
            )
        files = [numbered[number] for number in sorted(numbered)]
        times = [file.stat().st_mtime for file in files]
        if times != sorted(times):
            warnings.warn(
                f"the snapshots {some(file.stem for file in files)} were not written in this order, so they "
                "seem to be of several fits: remove old ones, or use another name for each fit",
                stacklevel=2,
            )
        members = []
        chosen = files if last is None else files[-last:]
        described = [load_metadata(file) for file in chosen]
        _check_mappings(learner, chosen, described)
        for file, metadata in zip(chosen, described, strict=True):
            member = _Member(learner, file.stem, load_state(file), metadata)
            with member.active():  # tells now if they do not fit
                members.append(member)
        ensemble = cls.__new__(cls)
        ensemble._set(members)
        return ensemble

    def _set(self, members: list[_Member]) -> None:
        if not members:
            raise ValueError("Ensemble: at least one learner is needed")
        self._members = members
        first = members[0]
        for member in members[1:]:
            for what, of in _MUST_AGREE.items():
                ours, theirs = of(first.learner), of(member.learner)
                if ours != theirs:
                    raise ValueError(
                        f"Ensemble: the members differ in {what}: {ours!r} ({first.label}), {theirs!r} "
                        f"({member.label})"
                    )

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        kinds = {
            f"{type(one.learner).__name__} of {type(one.learner.model).__name__}" for one in self._members
        }
        return f"Ensemble({some(member.label for member in self._members)}; {', '.join(sorted(kinds))})"

    # -- validation or test rows

    def predict(self, is_test: bool = False, *, loader: Any = None, log: bool = True) -> np.ndarray:
        """Predictions for every row of the validation (or test) set, in order; arguments as of a learner's
        `predict`.

        Returns:
            For classifiers the logarithm of the mean probability (with `log=False` that probability), shape
            (rows, classes); otherwise values in the user's units.
        """
        return self._rows(is_test, loader)[0].answers(log=log)

    def predict_proba(self, is_test: bool = False, *, loader: Any = None) -> np.ndarray:
        """Mean class probabilities, shape (rows, classes)."""
        if self._activation.kind == "identity":
            raise ValueError("predict_proba needs classifiers; these learners predict values: use predict()")
        return self._rows(is_test, loader)[0].answers(log=False)

    def predict_with_targs(
        self, is_test: bool = False, *, loader: Any = None, log: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `predict` gives, and the targets in the same order (and in the user's units)."""
        mean, targets = self._rows(is_test, loader)
        if targets is None:
            raise ValueError("these rows have no targets: use predict(is_test=True)")
        return mean.answers(log=log), self._first._invert(targets.numpy())

    def score(
        self, predictions: Any, targets: Any, metrics: Sequence[Any] | None = None, *, log: bool | None = None
    ) -> dict[str, float]:
        """Metrics of predictions that exist, as a learner's `score` gives them."""
        return self._first._scored(predictions, targets, metrics, log, self._activation)

    def evaluate(self, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        """Loss and metrics of the mean over the validation set, as a learner's `evaluate` gives them.

        Args:
            metrics: those of the first learner by default.
        """
        mean, targets = self._rows(False, None, judged=True)
        if mean.outputs is None:
            raise ValueError(
                "the members were trained in different units, so their mean has no common loss: compare "
                "predict_with_targs() in the user's units instead"
            )
        if targets is None:
            raise ValueError("these rows have no targets to compare with")
        first = self._first
        loader = TensorLoader(mean.outputs, targets, bs=getattr(first.data.valid_dl, "bs", None) or 1024)
        chosen = first._metrics(first.metrics if metrics is None else metrics)
        state = State(nn.Identity(), first.data, None, first.loss_fn, first.device, metrics=chosen)
        return Loop(state).validate(loader)

    # -- other inputs

    def predict_array(self, x: Any, *, log: bool = True) -> np.ndarray:
        """Predictions for one prepared batch of model inputs; see `Predictor.predict_array`."""
        inputs = tuple(as_tensor(part) for part in (x if isinstance(x, tuple) else (x,)))
        return self._mean(lambda learner: learner._forward_batches([inputs])).answers(log=log)

    def predict_one(self, raw: Any) -> Prediction | Any:
        """The answer for one raw input (a path, a text, a row, ...) in the user's terms."""
        answer = self.predict_batch([raw])[0]
        return float(answer) if isinstance(answer, np.floating) else answer

    def predict_batch(self, items: Any) -> Any:
        """The answers for a list (or frame) of raw inputs, in input order, in the user's terms."""
        items = list(items) if isinstance(items, Iterator) else items
        mean = self._mean(lambda learner: learner.outputs_of(lambda data: data.batches_from_raw(items)))
        if mean.outputs is None:
            return mean.values
        found = self._first._answers_in(items, mean.outputs)
        return self._decode(mean.outputs) if found is None else found

    def outputs_of(self, batches: MakeBatches) -> Tensor:
        """The mean as raw outputs of the first member, for prepared batches; see `Predictor.outputs_of`.

        Args:
            batches: called with the data of each member in turn, since members may code inputs differently.

        Raises:
            ValueError: if the members were trained in different units, which have no common outputs.
        """
        outputs = self._mean(lambda learner: learner.outputs_of(batches)).outputs
        if outputs is None:
            raise ValueError(
                "the members were trained in different units, so their mean has no outputs on a common "
                "scale: only its answers in the user's units"
            )
        return outputs

    def answers_of(self, batches: MakeBatches) -> np.ndarray:
        """Mean class probabilities, or values in the user's units; arguments as of `outputs_of`."""
        return self._mean(lambda learner: learner.outputs_of(batches)).answers(log=False)

    # -- what its members are

    @property
    def learners(self) -> list[Predictor]:
        """The learner of each member; one learner several times for snapshots of it."""
        return [member.learner for member in self._members]

    @property
    def data(self) -> Any:
        """The data of the first member."""
        return self._first.data

    @property
    def metrics(self) -> list[Any]:
        """The metrics of the first member."""
        return self._first.metrics

    # -- helpers

    @property
    def _first(self) -> Predictor:
        return self._members[0].learner

    @property
    def _activation(self) -> Activation:
        """What the mean of the members means, in which their temperatures are already."""
        return replace(self._first.activation, temperature=1.0)

    def _decode(self, outputs: Tensor) -> Any:
        """The mean in the user's terms, with the mean thresholds where every member is calibrated."""
        found = [member.learner.calibration for member in self._members if member.tensors is None]
        kept = [one.thresholds for one in found if one is not None and one.thresholds is not None]
        data, answers = self._first.data, self._activation(outputs)
        if len(kept) < len(self._members):
            return data.decode(answers)
        thresholds = [float(np.mean(column)) for column in zip(*kept, strict=True)]
        return decode_labels(answers, data.classes, multilabel=True, thresholds=thresholds)

    def _rows(self, is_test: bool, loader: Any, *, judged: bool = False) -> tuple[MeanAnswers, Tensor | None]:
        """The mean over the validation or test rows, or those of a loader, and their targets; `judged` for a
        loss, which may need more than the rows."""
        found: list[tuple[_Member, Any, int]] = []

        def run(learner: Predictor) -> Tensor:
            rows = learner._loader if judged else learner._answer_loader
            outputs, targets = learner._outputs(rows(is_test, loader))
            found.append((self._members[len(found)], targets, len(outputs)))
            (first, ours, count), (member, *_) = found[0], found[-1]
            if (
                not is_test
                and loader is None
                and member is not first
                and len(outputs) == count  # others differ in shape, which is told
                and not same_targets(first.learner, ours, learner, targets)
            ):
                raise ValueError(
                    f"Ensemble: {member.label} has other validation rows than {first.label}, or in another "
                    "order: make their data with the same settings and validation rows (for instance the "
                    "same seed)"
                )
            return outputs

        return self._mean(run), found[0][1]

    def _mean(self, run: Callable[[Predictor], Tensor]) -> MeanAnswers:
        mean = MeanAnswers(self._activation, self._first)
        for member in self._members:
            with member.active():
                mean.add(run(member.learner), member.learner, member.label)
        return mean


@dataclass
class _Member:
    """A learner, or one with other weights than its own."""

    learner: Predictor
    label: str
    tensors: dict[str, Tensor] | None = None
    metadata: dict[str, str] | None = None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The learner's model has this member's weights inside, and its own ones afterwards."""
        if self.tensors is None:
            yield
            return
        model, calibration = self.learner.model, self.learner.calibration
        self._check_features()
        try:
            with preserve_tensors(model):
                load_weights(model, self.tensors, f"the snapshot {self.label}", self.metadata)
                self.learner.calibration = None  # it is of the learner's own weights
                yield
        finally:
            self.learner.calibration = calibration

    def _check_features(self) -> None:
        """Features that were computed once belong to the frozen part of the model."""
        if not getattr(self.learner, "precompute", False) or self.tensors is None:
            return
        own = tensors_of(self.learner.model)
        frozen = [name for name, param in own.items() if not param.requires_grad and name in self.tensors]
        if not all(torch.equal(own[name].detach().cpu(), self.tensors[name]) for name in frozen):
            raise ValueError(
                f"the precomputed activations are of another body than that of the snapshot {self.label}: "
                "set learn.precompute = False first"
            )


def _check_mappings(learner: Predictor, files: list[Path], described: list[dict[str, str]]) -> None:
    """That the snapshots belong to data whose numbers mean the same; of old ones one warning for all."""
    own, silent = describe(learner.data), []
    for file, metadata in zip(files, described, strict=True):
        saved = from_metadata(metadata, str(file))
        if saved is None:
            silent.append(file.stem)
        else:
            check_mapping(saved, own, str(file))
    if silent:
        check_mapping(None, own, f"each of the snapshots {some(silent)}")


def _kind(activation: Activation) -> tuple[str, int | None]:
    """What outputs mean; log-probabilities and values mean the same along any axis."""
    return activation.kind, activation.axis if activation.kind == "softmax" else None


def _classes(learner: Predictor) -> list[str] | None:
    classes = getattr(learner.data, "classes", None)
    return None if classes is None else [str(name) for name in classes]


_MUST_AGREE: dict[str, Callable[[Predictor], Any]] = {
    "their task": lambda learner: getattr(learner.data, "task", None),
    "what their outputs mean": lambda learner: _kind(learner.activation),
    "their classes": _classes,
}
