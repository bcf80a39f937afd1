"""`ConvLearner`: pictures and a convolutional network, pretrained or your own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

import zoo.vision.models.resnet_small as _own_models  # noqa: F401 (registers it, so that archives can name it)
from zoo.data.loaders import ModelData
from zoo.data.seeding import mix_seeds, seeded
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import Rates
from zoo.engine.loop import State
from zoo.inspect.summary import Summary
from zoo.learner import Learner
from zoo.training.switches import Precision
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.loaders import picture_loader
from zoo.vision.models.bodies import arch_name
from zoo.vision.models.transfer import TransferModel, transfer_model, with_custom_head
from zoo.vision.models.weights import load_body_weights, published_weights, read_state_dict
from zoo.vision.precompute import feature_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Weights = str | PathLike[str] | Mapping[str, Tensor] | None


class ConvLearner(Learner):
    """A learner for pictures. Make it with `pretrained` or `from_model_data`.

    Attributes:
        precompute: whether the head trains on cached activations of the frozen body. Assigning True computes
            (or reads) them, False goes back to pictures.
    """

    domain: ClassVar[str] = "vision"
    data_class: ClassVar[type[ModelData]] = ImageClassifierData

    _pictures: Any = None
    _features: ImageClassifierData | None = None

    @classmethod
    def pretrained(
        cls,
        arch: Callable[..., Any] | str,
        data: ImageClassifierData,
        *,
        ps: float | Sequence[float] | None = None,
        xtra_fc: Sequence[int] | None = None,
        precompute: bool = False,
        custom_head: nn.Module | None = None,
        weights: Weights = "default",
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        loss_fn: Callable[..., Tensor] | None = None,
        metrics: Sequence[Any] | None = None,
        callbacks: Iterable[Callback] = (),
        device: str | torch.device | None = None,
        wd: Rates | None = None,
        clip: float | None = None,
        path: str | Path | None = None,
        precision: Precision = "auto",
        seed: int | None = None,
        progress: bool = True,
    ) -> Self:
        """A classifier on a pretrained body. It starts frozen: only the new head trains.

        The body is cut before the classifier's pooling. The head: maximum and mean over the feature map, then
        [BatchNorm, Dropout, Linear, ReLU] for each of `xtra_fc`, then BatchNorm, Dropout, Linear. Layer
        groups: early body, late body, head.

        Args:
            arch: a torchvision constructor such as `torchvision.models.resnet34`, or its name.
            data: the pictures, with transforms from `tfms_from_model(arch, sz)`.
            ps: dropout probabilities of the head's linear layers; a number or one each; default 0.25 and 0.5
                last.
            xtra_fc: sizes of the head's hidden layers; default [512]; [] for none.
            precompute: train on activations of the frozen body, computed once and kept under `path`/tmp.
                Augmentation has no effect then.
            custom_head: your own head; it reads the N x C x H x W feature map (no precompute, no export).
            weights: "default" (torchvision's download), a file (.pth or .safetensors of the classifier, or
                its body), a state dict, or None for random weights.
            opt_fn: optimizer class; see `Learner`, as for the arguments below.
            loss_fn: likewise.
            metrics: likewise.
            callbacks: likewise.
            device: likewise.
            wd: likewise.
            clip: likewise.
            path: likewise.
            precision: likewise.
            seed: likewise; it fixes the head's first weights too.
            progress: likewise.

        Raises:
            ValueError: unknown or unsupported architecture, or weights that do not fit it.
            FileNotFoundError: no such weights file.
            OSError: the weights could not be downloaded.
        """
        name = arch_name(arch)
        with seeded(seed):
            model = _build(name, data, ps, xtra_fc, custom_head)
        if weights is not None:
            if not isinstance(weights, str | PathLike | Mapping):
                raise TypeError(
                    f"weights must be 'default', a file, a state dict or None for random weights, "
                    f"got {weights!r}"
                )
            origin = f"weights file {weights}" if isinstance(weights, str | PathLike) else "weights"
            if isinstance(weights, Mapping):
                state = dict(weights)
            else:
                state = published_weights(name) if weights == "default" else read_state_dict(weights)
            load_body_weights(model.body, state, data.channels, origin)
        learn = cls(
            data,
            model,
            opt_fn=opt_fn,
            loss_fn=loss_fn,
            metrics=metrics,
            callbacks=callbacks,
            device=device,
            wd=wd,
            clip=clip,
            path=path,
            precision=precision,
            seed=seed,
            progress=progress,
        )
        learn.freeze()
        if precompute:
            learn.precompute = True
        return learn

    @classmethod
    def from_model_data(cls, model: nn.Module, data: Any, **options: Any) -> Self:
        """A learner for your own network.

        Args:
            model: reads N x channels x H x W normalised pictures. A method `layer_groups()` names its groups.
            data: the pictures.
            options: keyword arguments of `Learner`, e.g. `metrics`, `opt_fn`, `layer_groups`.
        """
        return cls(data, model, **options)

    def _domain_callbacks(self) -> list[Callback]:
        return [*super()._domain_callbacks(), _ReadyToTrain()]

    # ---- data: pictures, or features computed from them

    @property
    def data(self) -> Any:  # type: ignore[override]
        """The pictures, or with `precompute` the same data with loaders of features."""
        return self._pictures if self._features is None else self._features

    @data.setter
    def data(self, data: Any) -> None:
        if self._features is None:
            self._pictures = data
        else:
            self._features, self._pictures = self._compute_features(data), data

    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other pictures or another size; the model, optimizer and history stay.

        Raises:
            ValueError: the classes, the number of labels a picture or the channels differ.
        """
        for name, what in (("is_multi", "several labels per picture"), ("channels", "channels")):
            before, after = getattr(self._pictures, name, None), getattr(data, name, None)
            if before is not None and after != before:
                raise ValueError(f"{what}: {after} in the new data, but the model was made for {before}")
        old = getattr(self._pictures, "classes", None)
        if old is not None and list(data.classes or []) != list(old):
            raise ValueError(f"the new data have the classes {data.classes}, the model was made for {old}")
        self.data = data

    @property
    def precompute(self) -> bool:
        """Whether cached activations of the frozen body are in use."""
        return self._features is not None

    @precompute.setter
    def precompute(self, on: bool) -> None:
        if not on:
            self._features = None
        elif self._features is None:
            self._features = self._compute_features(self._pictures)

    def _compute_features(self, data: ImageClassifierData) -> ImageClassifierData:
        if not isinstance(self.model, TransferModel) or not self.model.pooled:
            raise ValueError(
                "precompute=True needs a model from ConvLearner.pretrained with the standard head"
            )
        if not all(group.frozen for group in self.groups[:-1]):
            raise ValueError("precompute=True needs a frozen body: call learn.freeze() first")
        if data.tfms[0].is_random:
            warnings.warn(
                "precompute=True computes each picture once, so augmentation (aug_tfms, max_zoom, random "
                "crop) has no "
                "effect until learn.precompute = False",
                UserWarning,
                stacklevel=4,
            )
        return feature_data(data, self.model, self.device, self.path / "tmp", progress=self.progress)

    def freeze_to(self, n: int) -> None:
        """Freeze the groups before number `n` and train the rest.

        Raises:
            ValueError: more than the head would train while `precompute` is on.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise TypeError(
                f"freeze_to takes the number of a layer group, got {n!r}; groups: "
                f"{', '.join(f'{i} {name}' for i, name in enumerate(self.groups.names))}"
            )
        known = -len(self.groups) <= n < len(self.groups)
        if self.precompute and known and n % len(self.groups) < len(self.groups) - 1:
            raise ValueError(
                "the body is not run while precompute=True: set learn.precompute = False before unfreezing"
            )
        super().freeze_to(n)

    def unfreeze(self) -> None:
        """Train all groups; needs `precompute = False`."""
        self.freeze_to(0)

    def _unfreeze_all(self) -> None:
        self.precompute = False
        super()._unfreeze_all()

    def load(self, name: str) -> Self:
        """Read weights that `save` wrote; cached activations follow them."""
        super().load(name)
        if self.precompute:
            self._features = self._compute_features(self._pictures)
        return self

    def summary(self) -> Summary:
        """Every layer with output shape, parameters and whether it trains, from pictures to classes."""
        features, self._features = self._features, None
        try:
            return super().summary()
        finally:
            self._features = features

    # ---- prediction

    def TTA(self, n_aug: int = 4, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Test-time augmentation: the mean over the plain view and `n_aug` augmented views of every picture.

        Args:
            n_aug: number of views made with the training transforms; each has its own fixed draws, so the
                result is repeatable.
            is_test: the test pictures instead of the validation pictures.

        Returns:
            Probabilities (rows x classes, not logarithms; plain values where there are no classes) and
            targets (-1 for unlabelled pictures), in input order.
        """
        if n_aug < 0:
            raise ValueError(f"n_aug must be at least 0, got {n_aug}")
        data = self._pictures
        loader = data.test_dl if is_test else data.valid_dl
        if loader is None:
            raise ValueError(f"there are no {'test' if is_test else 'validation'} pictures")
        if n_aug and not data.tfms[0].is_random:
            warnings.warn(
                "the training transforms have no random part, so TTA equals predict: pass aug_tfms or "
                "max_zoom to "
                "tfms_from_model",
                UserWarning,
                stacklevel=2,
            )
            n_aug = 0
        outputs, targets = self._outputs(loader)
        total = self.activation(outputs)
        augmented = (data.test_ds if is_test else data.val_ds).with_tfm(data.tfms[0])
        for view in range(n_aug):
            views = picture_loader(augmented, data.bs, num_workers=data.num_workers, seed=mix_seeds(0, view))
            total = total + self.activation(self._outputs(views)[0])
        return (total / (n_aug + 1)).numpy(), targets.numpy()

    def show_results(self, n: int = 9, *, is_test: bool = False, seed: int = 0) -> Figure:
        """Draw random validation (or test) pictures with the model's answers.

        Args:
            n: number of pictures.
            is_test: the test pictures.
            seed: another number shows other pictures.
        """
        from zoo.vision.show import show_results

        data = self._pictures
        dataset = data.test_ds if is_test else data.val_ds
        if dataset is None:
            raise ValueError(f"there are no {'test' if is_test else 'validation'} pictures to show")
        return show_results(dataset, data.classes, self.predict_batch, n, seed=seed)


class _ReadyToTrain(Callback):
    """Stops a fit that cannot work before anything has changed."""

    in_finder = True

    def before_fit(self, state: State) -> None:
        loader = state.loader if state.data.train_dl is None else state.data.train_dl
        smallest = min(getattr(loader, "bs", 2), getattr(loader, "n_rows", 2))
        if smallest == 1 and any(isinstance(m, nn.BatchNorm1d) for m in state.model.modules()):
            raise ValueError(
                "the head's batch norm cannot train on batches of a single picture: use bs=2 or more and at "
                "least 2 training pictures"
            )
        check = getattr(state.learner._pictures, "check_files", None)
        if check is not None:
            check()


def _build(
    name: str,
    data: ImageClassifierData,
    ps: float | Sequence[float] | None,
    xtra_fc: Sequence[int] | None,
    custom_head: nn.Module | None,
) -> TransferModel:
    if custom_head is not None:
        if ps is not None or xtra_fc is not None:
            raise ValueError("custom_head replaces the standard head: leave out ps and xtra_fc")
        return with_custom_head(name, custom_head, data.channels)
    layers = [512] if xtra_fc is None else _numbers(xtra_fc, "xtra_fc", "layer sizes, e.g. [128]", whole=True)
    dropout = ps
    if ps is not None:
        values = _numbers([ps] if np.ndim(ps) == 0 else ps, "ps", "one dropout probability or a list of them")
        dropout = values[0] if np.ndim(ps) == 0 else values
    return transfer_model(name, data.c, data.channels, layers, dropout)


def _numbers(values: Any, name: str, what: str, *, whole: bool = False) -> list[Any]:
    """Plain Python numbers from a list or array of numbers."""
    plain = None if np.ndim(values) != 1 or isinstance(values, str | dict) else [*values]
    kinds = int | np.integer if whole else int | float | np.number
    if plain is None or any(isinstance(v, bool) or not isinstance(v, kinds) for v in plain):
        raise TypeError(f"{name} takes {what}, got {values!r}")
    return [int(v) if whole else float(v) for v in plain]
