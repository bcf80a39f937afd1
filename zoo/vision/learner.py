"""`ConvLearner`: pictures and a convolutional network, pretrained or your own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack, cast

import numpy as np
from torch import Tensor, nn

import zoo.vision.models.registered as _own_models  # noqa: F401 (archives can name what is registered)
from zoo.data.loaders.seeding import mix_seeds
from zoo.data.model_data import ModelData
from zoo.engine.callback import Callback
from zoo.engine.layer_groups import GroupSpec
from zoo.engine.modes import preserve_modes
from zoo.engine.relative_adamw import RelativeAdamW
from zoo.engine.state import State
from zoo.inspect.summary import Summary
from zoo.keywords import completed, takes
from zoo.mean_answers import MeanAnswers
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.loaders import picture_loader, with_pictures
from zoo.vision.data.picture_data import ImageData
from zoo.vision.fine_tuning import FineTuning
from zoo.vision.models.detection import BACKBONES
from zoo.vision.models.pretrained import Weights, model_for, start_at_zero
from zoo.vision.models.readable import check_new_size
from zoo.vision.models.transfer import TransferModel
from zoo.vision.precompute import feature_data
from zoo.vision.seeing.looking import Seeing
from zoo.vision.targets.base import TOLD
from zoo.vision.targets.changes import begins_at_zero, check_same_kind, check_void, in_units_of
from zoo.vision.targets.labelled import ClassTarget
from zoo.vision.targets.view_means import MeanOfMaps, ViewTarget, points_in, views_of
from zoo.vision.transforms.pairs import other_normalisation
from zoo.vision.views import mean_of_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ConvLearner(Seeing, FineTuning):
    """A learner for pictures. Make it with `pretrained` or `from_model_data`.

    Attributes:
        precompute: whether the head trains on cached activations of the frozen body. Assigning True computes
            (or reads) them, False goes back to pictures.
    """

    domain: ClassVar[str] = "vision"
    data_class: ClassVar[type[ModelData]] = ImageData

    _pictures: Any = None
    _features: ImageClassifierData | None = None

    @classmethod
    @takes(LearnerOptions, LEARNER_DEFAULTS)
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
        bn_final: bool = False,
        n_out: int | None = None,
        head_start: bool | None = None,
        **options: Unpack[LearnerOptions],
    ) -> Self:
        """A model on a pretrained body for what the data ask for. It starts frozen: only the new part trains.

        The body is cut before the classifier's pooling. For classes, labels and values the head is: maximum
        and mean over the feature map, then [BatchNorm, Dropout, Linear, ReLU] for each of `xtra_fc`, then
        BatchNorm, Dropout, Linear. For points it is a map for each, of which the mean place is taken; with
        `xtra_fc` or `bn_final` the head of values. For masks and pictures as targets it is the decoder of a
        U-Net, for boxes the model is a detector of torchvision. Layer groups: early body, late body, head.

        Args:
            arch: a torchvision constructor such as `torchvision.models.resnet34`, its name, or that of a
                model of timm; for boxes a key of `zoo.vision.models.detection.BACKBONES`.
            data: the pictures, with transforms from `tfms_from_model(arch, sz)`; or loaders of your own with
                `n_out`.
            ps: dropout probabilities of the head's linear layers; a number or one each; default 0.25 and 0.5
                last.
            xtra_fc: sizes of the head's hidden layers; default [512]; [] for none.
            precompute: train on activations of the frozen body, computed once and kept under `path`/tmp.
                Augmentation has no effect then.
            custom_head: your own head; it reads the N x C x H x W feature map (no precompute, no export).
            weights: "default" (torchvision's download), a file (.pth or .safetensors of the classifier, or
                its body), a state dict, or None for random weights.
            bn_final: whether batch norm without much inertia follows the last layer.
            n_out: outputs of the model, where the data do not tell.
            head_start: whether the new head begins its first fit as logistic regression on the activations of
                the training pictures (for classes and labels), from which it learns on; that equals some
                hundred steps. The regression weighs the pictures as the loss and `balance` do; with a loss
                that is no cross entropy of `zoo.losses` or torch, or with frozen weights in the head, there
                is none, which is told. None: with up to 5,000 pictures; True: with any number. Without cached
                activations it takes one more pass over the pictures. False: it begins with random weights.

        Weights whose batch norm is folded into the convolutions keep its statistics: see `bn_freeze`. Where
        no `opt_fn` is given, `RelativeAdamW` changes trained weights in steps of a share of their size: those
        of AdamW would carry a body away at the rates that are usual for SGD, such as [1e-4, 1e-3, 1e-2].

        Warns:
            UserWarning: the pictures are normalised otherwise than those on which `arch` was pretrained.

        Raises:
            ValueError: unknown or unsupported architecture, or weights that do not fit it.
            FileNotFoundError: no such weights file.
            OSError: the weights could not be downloaded.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, options, "ConvLearner.pretrained")
        if not isinstance(precompute, bool | np.bool_):
            raise TypeError(f"precompute is True or False, got {precompute!r}")
        target = getattr(data, "target", None)
        model = model_for(
            "pooled" if target is None else target.head,
            arch,
            outputs_of(data, n_out),
            getattr(data, "channels", 3),
            scale=getattr(target, "scale", 1),
            ps=ps,
            xtra_fc=xtra_fc,
            custom_head=custom_head,
            bn_final=bn_final,
            weights=weights,
            sz=getattr(data, "sz", None),
            seed=chosen["seed"],
        )
        tfms = getattr(data, "tfms", None)
        if weights is not None and tfms:
            odd = other_normalisation(tfms[1], BACKBONES.get(arch, arch) if isinstance(arch, str) else arch)
            if odd is not None:
                warnings.warn(odd, UserWarning, stacklevel=3)
        if isinstance(model, TransferModel) and model.pooled and begins_at_zero(target):
            start_at_zero(model.head)
        is_random = chosen["opt_fn"] is None and weights is None
        if chosen["opt_fn"] is None and not is_random:
            chosen["opt_fn"] = RelativeAdamW
        learn = cls(data, model, **chosen)
        learn._body_is_random = is_random
        learn.groups[-1].fresh = True
        learn.freeze()
        learn.head_start = head_start
        learn._head_is_new()
        learn._keep_folded_statistics()
        if precompute:
            learn.precompute = True
        return learn

    @classmethod
    @takes(LearnerOptions, LEARNER_DEFAULTS)
    def from_model_data(
        cls,
        model: nn.Module,
        data: Any,
        *,
        layer_groups: GroupSpec | None = None,
        **options: Unpack[LearnerOptions],
    ) -> Self:
        """A learner for your own network.

        Args:
            model: reads N x channels x H x W normalised pictures. A method `layer_groups()` names its groups.
            data: the pictures.
            layer_groups: groups of parameters, as in `Learner`; asked of the model by default.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, options, "ConvLearner.from_model_data")
        return cls(data, model, layer_groups=layer_groups, **chosen)

    def _domain_callbacks(self) -> list[Callback]:
        return [*super()._domain_callbacks(), _ReadyToTrain()]

    # ---- data: pictures, or features computed from them

    @property
    def data(self) -> Any:  # type: ignore[override]
        """The pictures, or with `precompute` the same data with loaders of features."""
        return self._pictures if self._features is None else self._features

    @data.setter
    def data(self, data: Any) -> None:
        data = with_pictures(data)
        if self._features is None:
            self._pictures = data
        else:
            self._features, self._pictures = self._compute_features(data), data

    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other pictures or another size; the model, optimizer and history stay.

        Values keep the mean and deviation that the model learned them with, whichever pictures train now.

        Raises:
            ValueError: the kind of target, its classes or names, or the channels differ, or the model cannot
                read pictures of their size.
            TypeError: these are no data.
        """
        if not hasattr(data, "train_dl"):
            raise TypeError(
                "set_data takes picture data, such as ImageClassifierData.from_paths(path) gives, got "
                f"{type(data).__name__} {data!r:.60}"
            )
        old = self._pictures
        names = getattr(old, "classes", None)
        check_same_kind(getattr(old, "target", None), getattr(data, "target", None))
        for name, what in (
            ("is_multi", "several labels per picture"),
            ("channels", "channels"),
            ("task", "task"),
            *([("c", "number of outputs")] if names is None else []),
        ):
            before, after = getattr(old, name, None), getattr(data, name, None)
            if before is not None and after != before:
                raise ValueError(f"{what}: {after} in the new data, but the model was made for {before}")
        if names is not None and list(data.classes or []) != list(names):
            raise ValueError(f"the new data have the classes {data.classes}, the model was made for {names}")
        read, new = getattr(old, "sz", None), getattr(data, "sz", None)
        if read is not None and new is not None and read != new:
            check_new_size(self.model, new, read, data.channels)
        self.data = in_units_of(getattr(old, "target", None), data)

    @property
    def precompute(self) -> bool:
        """Whether cached activations of the frozen body are in use."""
        return self._features is not None

    @precompute.setter
    def precompute(self, on: bool) -> None:
        if not isinstance(on, bool | np.bool_):
            raise TypeError(f"precompute is True or False, got {on!r}")
        if not on:
            self._features = None
        elif self._features is None:
            self._features = self._compute_features(self._pictures)

    def _compute_features(self, data: ImageClassifierData) -> ImageClassifierData:
        if getattr(getattr(data, "target", None), "follows", False):
            raise ValueError(
                f"precompute=True keeps one vector a picture, and {TOLD[data.target.kind]} follow each view "
                "of it: train without precompute"
            )
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

    def _feature_data(self) -> ImageClassifierData | None:
        """The pictures with loaders of the body's activations; None for networks without such a body."""
        if self._features is not None:
            return self._features
        if not isinstance(self.model, TransferModel) or not self.model.pooled:
            return None
        with preserve_modes(self.model):
            data = self._pictures
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

    def predict_batch(self, items: Any) -> Any:
        """The answers for a list of raw pictures, in input order, in the user's terms: predictions of
        classes, values, or points and masks in the pixels of each picture as it was given.
        """
        target = getattr(self._pictures, "target", None)
        if target is None or not target.follows:
            return super().predict_batch(items)
        answers: list[Any] = []
        for batch, views in self._pictures.views_from_raw(items):
            outputs = self._forward_batches([(batch,)])
            answers += target.decode(
                self.activation(outputs) if isinstance(outputs, Tensor) else outputs, views
            )
        if not answers:
            raise ValueError("there is nothing to predict: the input is empty")
        return answers

    def _answers_in(self, items: Any, outputs: Tensor) -> Any:
        target = getattr(self._pictures, "target", None)
        if target is None or not target.follows:
            return None
        views = [view for _, seen in self._pictures.views_from_raw(items) for view in seen]
        return target.decode(self.activation(outputs), views)

    def TTA(
        self, n_aug: int = 4, is_test: bool = False, *, log: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Test-time augmentation: the mean over the plain view and `n_aug` augmented views of every picture.

        Args:
            n_aug: number of views made with the training transforms; each has its own fixed draws, so the
                result is repeatable.
            is_test: the test pictures instead of the validation pictures.
            log: whether the mean probabilities come as logarithms, as those of `predict` do; `log=False`
                gives the probabilities.

        Returns:
            Predictions, shape (rows, classes) (plain values where there are no classes), and targets (-1 for
            unlabelled pictures), in input order. They are the mean over the views already: another mean over
            axis 0, as for the views of other libraries, is refused.
        """
        if isinstance(n_aug, bool) or not isinstance(n_aug, int | np.integer) or n_aug < 0:
            raise ValueError(f"n_aug is a whole number of augmented views, 0 or more, got {n_aug!r}")
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
        if data.target.follows:
            return self._mean_where_seen(n_aug, is_test, log)
        outputs, targets = self._outputs(loader)
        mean = MeanAnswers(replace(self.activation, temperature=1.0), self)  # each view has its own already
        mean.add(outputs, self, "the plain view")
        augmented = (data.test_ds if is_test else data.val_ds).with_tfm(data.tfms[0])
        for view in range(n_aug):
            views = picture_loader(augmented, data.bs, num_workers=data.num_workers, seed=mix_seeds(0, view))
            mean.add(self._outputs(views)[0], self, f"view {view}")
        return mean_of_views(mean.answers(log=log)), self._invert(targets.numpy())

    def _mean_where_seen(self, n_aug: int, is_test: bool, log: bool) -> tuple[np.ndarray, np.ndarray]:
        """The mean over views of answers that lie in the picture: each goes back to where it was seen."""
        data = self._pictures
        if data.target.head == "boxes":
            raise ValueError("TTA() has no mean of boxes: predict() gives those of the plain view")
        dataset = data.test_ds if is_test else data.val_ds
        _, targets = self._outputs(data.test_dl if is_test else data.valid_dl)
        seen = ImageDataset(dataset.items, np.arange(len(dataset)), dataset.tfm, channels=data.channels)
        maps, points, plain = MeanOfMaps(), [], []
        for view in range(n_aug + 1):
            tfm = dataset.tfm if view == 0 else data.tfms[0]
            rows = seen.with_tfm(tfm).with_target(ViewTarget())
            seed = 0 if view == 0 else mix_seeds(0, view - 1)
            loader = picture_loader(rows, data.bs, num_workers=data.num_workers, seed=seed)
            outputs, numbers = self._outputs(loader)
            views = views_of(numbers)
            plain = plain or views
            if data.target.head == "map":
                maps.add(self.activation(outputs), views, plain)
            else:
                points.append(points_in(outputs.double().numpy(), views, plain))
        if data.target.head == "map":
            mean = maps.result()
            kept = mean.clamp(min=1e-12).log() if log and self.activation.kind != "identity" else mean
            return kept.numpy(), targets.numpy()
        return np.mean(points, 0).astype(np.float32), targets.numpy()

    def show_results(self, n: int = 9, *, is_test: bool = False, seed: int = 0) -> Figure:
        """Draw random validation (or test) pictures with the model's answers.

        Args:
            n: number of pictures.
            is_test: the test pictures.
            seed: another number shows other pictures.
        """
        from zoo.vision.seeing.show import show_results
        from zoo.vision.seeing.show_targets import show_answers

        data = self._pictures
        dataset = data.test_ds if is_test else data.val_ds
        if dataset is None:
            raise ValueError(f"there are no {'test' if is_test else 'validation'} pictures to show")
        if not isinstance(data.target, ClassTarget):
            return show_answers(dataset, data.target, self._outputs_of_rows(dataset), n, seed=seed)
        return show_results(dataset, data.classes, self.predict_batch, n, seed=seed)

    def _outputs_of_rows(self, dataset: ImageDataset) -> Callable[[Sequence[int]], Any]:
        """Activated outputs for some rows of a dataset, by their numbers."""

        def outputs(rows: Sequence[int]) -> Any:
            data = self._pictures
            loader = picture_loader(dataset.only(np.asarray(rows)), data.bs, num_workers=0, seed=0)
            found = self._outputs(loader, targets=False)[0]
            return self.activation(found) if isinstance(found, Tensor) else found

        return outputs


def outputs_of(data: Any, n_out: int | None) -> int:
    """How many outputs a model for these data needs.

    Raises:
        ValueError: `n_out` contradicts the data, or neither tells.
    """
    known: Any = getattr(data, "c", None)
    if known is None and getattr(data, "classes", None) is not None:
        known = len(data.classes)
    if known is None and n_out is None:
        raise ValueError(
            f"{type(data).__name__} does not tell how many outputs a model needs: pass n_out=, the number of "
            "classes or values"
        )
    if n_out is not None and known is not None and n_out != known:
        raise ValueError(f"n_out={n_out}, but the data have {known}: leave n_out out")
    return cast("int", known if n_out is None else n_out)


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
        pictures = state.learner._pictures
        if getattr(pictures, "task", None) == "classification" and len(pictures.classes or "..") == 1:
            raise ValueError(
                f"there is only one class, {pictures.classes[0]!r}, so there is nothing to tell apart: "
                "pictures of at least two are needed"
            )
        check_void(pictures, state.loss_fn)
        check = getattr(pictures, "check_files", None)
        if check is not None:
            check()
