"""`ImageData`: pictures with any kind of target, as batches."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.check.report import DataReport
from zoo.data.class_weights import chosen_weights
from zoo.data.loaders.balanced import BalancedPlan
from zoo.data.model_data import ModelData, arrays_of
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.kept import keep_pictures, kept_pictures, transform_from, transform_state
from zoo.vision.data.loaders import picture_loader, reloaded
from zoo.vision.data.raw import raw_batches
from zoo.vision.data.resident import PictureLoader
from zoo.vision.files.checking import check_before_training
from zoo.vision.files.ranges import tell_ranges
from zoo.vision.targets.base import TOLD, Target
from zoo.vision.targets.kinds import target_of
from zoo.vision.targets.labelled import ClassTarget, TagsTarget
from zoo.vision.targets.values import ValueTarget
from zoo.vision.transforms.augment import RandomCall, name_of
from zoo.vision.transforms.image_transform import ImageTransform, TransformPair
from zoo.vision.transforms.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


class ImageData(ModelData):
    """Training, validation and test pictures with what is to be predicted of each.

    Made by `Items` (step by step, every kind of target) or by the constructors of `ImageClassifierData`.

    Args:
        train_ds: training pictures; None for a data object that only reads new pictures.
        valid_ds: validation pictures.
        test_ds: unlabelled pictures.
        target: the kind of target.
        tfms: (train, valid) transforms.
        bs: pictures per batch.
        num_workers: decoding processes; None chooses.
        path: base folder; learners keep weights and caches below it.
        channels: channels of a picture.
        seed: of the order and the augmentation; None draws one from torch's global generator.
        balance: whether training pictures of rare classes are drawn more often, see `BalancedPlan`.

    Attributes:
        trn_ds, val_ds, test_ds: the datasets; `.fnames` and `.y` give file names and raw targets.
        target: the kind of target.
        classes: names of the classes, where there are any.
        c: how many outputs a model needs.
        channels: channels of a picture.
    """

    domain: ClassVar[str] = "vision"
    of_classes: ClassVar[Callable[..., ImageData] | None] = None  # with the constructors of classifiers
    learned_mappings: ClassVar[frozenset[str]] = frozenset({"normalisation"})

    def __init__(
        self,
        train_ds: ImageDataset | None,
        valid_ds: ImageDataset | None = None,
        test_ds: ImageDataset | None = None,
        *,
        target: Target,
        tfms: TransformPair = (None, None),
        bs: int = 64,
        num_workers: int | None = None,
        path: str | os.PathLike[str] | None = None,
        channels: int = 3,
        seed: int | None = None,
        balance: bool = False,
    ) -> None:
        if bs < 1:
            raise ValueError(f"bs must be at least 1 picture per batch, got {bs}")
        train_ds, valid_ds, test_ds = (
            ds if ds is None or ds.target is target else ds.with_target(target)
            for ds in (train_ds, valid_ds, test_ds)
        )
        if balance and not isinstance(target, ClassTarget):
            raise ValueError(
                f"balance=True needs classes or labels; the target is of the kind {target.kind!r}"
            )
        train_dl, valid_dl, test_dl = (
            None
            if ds is None
            else picture_loader(
                ds,
                bs,
                shuffle=ds is train_ds,
                num_workers=num_workers,
                seed=seed,
                balance=balance and ds is train_ds,
                resident=None,
            )
            for ds in (train_ds, valid_ds, test_ds)
        )
        super().__init__(train_dl, valid_dl, test_dl, path=Path(path) if path is not None else None)
        self.trn_ds, self.val_ds, self.test_ds = train_ds, valid_ds, test_ds
        self.target, self.task, self.classes = target, target.task, target.classes
        self.tfms = (tfms[0] or ImageTransform(None), tfms[1] or ImageTransform(None))
        self.bs, self.num_workers, self.channels = bs, num_workers, channels
        if self.tfms[1].is_random and not self.tfms[0].is_random:
            warnings.warn(
                "tfms=(train, valid): the second is random and the first is not, so validation would see "
                "random views and training plain ones: have they changed places?",
                UserWarning,
                stacklevel=3,
            )
        if target.follows:
            _tell_callables(self.tfms[0], TOLD[target.kind])
        self._files_checked = False

    # ---- what is inside

    @property
    def resident(self) -> bool | None:
        """Whether pictures are kept in memory once they were read, see `PictureLoader`: None, as at first,
        where they fit; assign True or False to decide it.
        """
        found = [getattr(dl, "resident", False) for dl in (self.train_dl, self.valid_dl, self.test_dl) if dl]
        return found[0] if found else None

    @resident.setter
    def resident(self, value: bool | None) -> None:
        if value is not None and not isinstance(value, bool):
            raise TypeError(
                f"resident is True (pictures stay in memory), False, or None (where they fit), got {value!r}"
            )
        for loader in (self.train_dl, self.valid_dl, self.test_dl):
            if isinstance(loader, PictureLoader):
                loader.resident = value
                if value is False:
                    loader.forget()

    @property
    def c(self) -> int:
        """How many outputs a model needs: one a class, value or coordinate."""
        return self.target.n_out

    @property
    def is_multi(self) -> bool:
        """Whether a picture can have several labels."""
        return isinstance(self.target, TagsTarget)

    @property
    def sz(self) -> tuple[int, int] | None:
        """Height and width the model reads."""
        return self.tfms[1].size

    @property
    def trn_y(self) -> Any:
        """Raw training targets, one a picture: class numbers, rows x classes of 0/1, files of masks, ..."""
        return self._targets(self.trn_ds, "training")

    @property
    def val_y(self) -> Any:
        """Raw validation targets."""
        return self._targets(self.val_ds, "validation")

    @staticmethod
    def _targets(dataset: ImageDataset | None, what: str) -> Any:
        if dataset is None or dataset.y is None:
            raise ValueError(f"there are no {what} pictures")
        return dataset.y

    @property
    def filenames(self) -> dict[str, list[str]]:
        """File names of the "train", "valid" and "test" pictures, in order."""
        named = {"train": self.trn_ds, "valid": self.val_ds, "test": self.test_ds}
        return {name: ds.fnames for name, ds in named.items() if ds is not None}

    def only(self, rows: Any) -> Self:
        """The same data with some of the training pictures; validation and test pictures stay.

        Args:
            rows: numbers of training pictures, or true and false for each.

        Returns:
            New data, for `learn.set_data(data.only(rows))`; these stay as they are.

        Raises:
            ValueError: for numbers that do not exist, or none.
        """
        from zoo.vision.data.only import only_rows

        return only_rows(self, rows)

    def check(self) -> DataReport:
        """Look at every picture once before training, see `zoo.check_data`; nothing is changed."""
        from zoo.vision.seeing.check import check_pictures

        return super().check() if self.trn_ds is None else check_pictures(self)

    def check_files(self) -> None:
        """Look at every picture file's header once, so that a broken one stops a training before it begins.

        Learners call it before the first fit; broken pictures without labels are told in the log. Damage
        inside the data of a file that begins and ends well is found only by decoding it, see
        `zoo.vision.verify_images`.

        Raises:
            ValueError: names all broken files with labels.
        """
        if self._files_checked:
            return
        labelled = [ds.files for ds in (self.trn_ds, self.val_ds) if ds is not None]
        ranged = self.tfms[0].value_range is not None
        check_before_training(labelled, [] if self.test_ds is None else self.test_ds.files, ranged=ranged)
        if self.trn_ds is not None and self.tfms[0].value_range is None:
            tell_ranges(self.trn_ds.files, "the training pictures")
        self._files_checked = True

    def class_weights(self, weights: str | Mapping[Any, float] = "balanced") -> Tensor:
        """One weight a class for a loss, such as `CrossEntropyFlat(weight=data.class_weights())`.

        Args:
            weights: "balanced" gives rare classes as much say as frequent ones, pictures / (classes *
                pictures of the class) (King & Zeng 2001); or weights by class name, 1 for those that are not
                named.

        Returns:
            Float32 of shape (classes,), in the order of `classes`.

        Raises:
            ValueError: there are no classes, several labels a picture, no training pictures, a class without
                one, or names that are no class.

        Example:
            >>> from zoo.vision import ImageClassifierData
            >>> pictures = np.zeros((8, 4, 4), np.uint8)
            >>> data = ImageClassifierData.from_arrays(".", (pictures, ["cat"] * 6 + ["dog"] * 2))
            >>> data.class_weights().tolist()
            [0.6666666865348816, 2.0]
        """
        if self.task != "classification" or self.classes is None:
            kind = self.task or self.target.kind
            raise ValueError(
                f"class_weights is for one class a picture, these data are for {kind}"
                + ("; balance=True draws rare labels more often" if self.is_multi else "")
            )
        numbers = torch.from_numpy(np.asarray(self.trn_y)) if isinstance(weights, str) else torch.empty(0)
        return chosen_weights(weights, self.classes, numbers, "picture")

    def resize(self, size: int) -> Self:
        """The same data with shrunken pictures, which are read several times faster than large ones.

        Copies whose shorter side is `size` are written once, below `path`/tmp/resized, in the folders of the
        originals; later calls take those that are there, as long as the originals hold what they held.
        Pictures that are no larger are taken as they are. Masks, points, boxes and target pictures
        are shrunk likewise; transforms, order and augmentation stay. Pictures in memory are shrunk in memory.

        Args:
            size: pixels of the shorter side; at least that of the transforms, and a little more where these
                enlarge (`max_zoom`).

        Raises:
            ValueError: for a size that is none; names all broken files with labels.
            TypeError: for targets or loaders of your own, which cannot be made anew.
            OSError: the copies cannot be written.

        Example:
            >>> from zoo.vision import ImageClassifierData
            >>> large = (np.zeros((4, 60, 90, 3), np.uint8), [0, 1, 0, 1])
            >>> ImageClassifierData.from_arrays(".", large).resize(20).trn_ds.items.shape
            (4, 20, 30, 3)
        """
        from zoo.vision.data.resized import checked_side, resized_dataset

        size, tfm = checked_side(size), self.tfms[0]
        if tfm.size is not None and size < min(tfm.size):
            warnings.warn(
                f"pictures of {size} pixels are enlarged to the {min(tfm.size)} of the transforms",
                UserWarning,
                stacklevel=2,
            )
        found = copy.copy(self)
        for part, name in (("trn", "train"), ("val", "valid"), ("test", "test")):
            dataset = getattr(self, f"{part}_ds")
            if dataset is not None:
                small = resized_dataset(dataset, size, self.path)
                setattr(found, f"{part}_ds", small)
                setattr(found, f"{name}_dl", reloaded(getattr(self, f"{name}_dl"), small))
        return found

    # ---- what the core asks

    def default_loss(self) -> Callable | None:
        return self.target.default_loss()

    def default_metrics(self) -> list[Any]:
        """Those of the target."""
        return self.target.default_metrics()

    def named_metrics(self) -> dict[str, Any]:
        return self.target.named_metrics()

    def with_target(self, target: Target) -> ImageData:
        """The same pictures whose raw targets are read by another target of the same kind."""
        parts = (self.trn_ds, self.val_ds, self.test_ds)
        found = ImageData(
            *(None if part is None else part.with_target(target) for part in parts),
            target=target, tfms=self.tfms, bs=self.bs, num_workers=self.num_workers, path=self.path,
            channels=self.channels, seed=getattr(self.train_dl, "seed", None),
        )  # fmt: skip
        found._files_checked = self._files_checked
        return found

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        return self.target.inverse(values) if isinstance(self.target, ValueTarget) else values

    def model_target(self, values: np.ndarray) -> np.ndarray:
        return self.target.forward(values) if isinstance(self.target, ValueTarget) else values

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The mean and deviation of each channel that pictures are normalised with, and what others add."""
        tfm = self.tfms[1]
        statistics = [f"{mean:.6g}, {std:.6g}" for mean, std in zip(tfm.mean, tfm.std, strict=True)]
        own: dict[str, Sequence[Any]] = {}
        if not isinstance(self.target, ClassTarget):
            own["target"] = [str(self.target.to_state())]
        return super().mapping_values() | {"normalisation": statistics} | own

    def denorm(self, x: Tensor) -> Tensor:
        """Pictures of a batch as they can be shown: undoes the normalisation.

        Args:
            x: N x C x H x W, or one picture C x H x W.

        Returns:
            Values in [0, 1], same shape; `.permute(1, 2, 0)` of one picture is what matplotlib draws.
        """
        tfm = self.tfms[1]
        return tfm.denormalize(x) if x.ndim == 4 else tfm.denormalize(x[None])[0]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Normalised batches from paths, encoded bytes, Pillow images or arrays, in order.

        Args:
            items: a list, a column of a table, or a rows x H x W [x C] array; one picture stands for a list
                of one.
        """
        return ((batch,) for batch, _ in self.views_from_raw(items))

    def views_from_raw(self, items: Any) -> Iterator[tuple[Tensor, list[View]]]:
        """The same, each with the views through which its pictures are seen."""
        return raw_batches(items, self.tfms[1], channels=self.channels, bs=self.bs)

    def card_rows(self) -> Iterator[tuple[str, str]]:
        """What a model card tells of the inputs."""
        yield "pictures", f"{self.channels} channels; {self.tfms[1]!r}"

    # ---- kept

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Target, size and statistics."""
        state = {
            "classes": self.classes,
            "is_multi": self.is_multi,
            "channels": self.channels,
            "bs": self.bs,
            "transform": self.tfms[1].to_state(),
        }
        if not isinstance(self.target, ClassTarget):  # older versions read the others
            state["target"] = self.target.to_state()
        return state, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> ImageData:
        """A data object without pictures that reads new ones as the exported one did."""
        tfm = ImageTransform.from_state(state["transform"])
        return cls.of_target(
            target_of(state), tfms=(tfm, tfm), bs=int(state["bs"]), channels=int(state["channels"])
        )

    @staticmethod
    def of_target(target: Target, *datasets: ImageDataset | None, **options: Any) -> ImageData:
        """Data of the class that goes with the target."""
        if not isinstance(target, ClassTarget) or ImageData.of_classes is None:
            return ImageData(*(datasets or (None,)), target=target, **options)
        kind: dict[str, Any] = {"classes": target.classes, "is_multi": isinstance(target, TagsTarget)}
        return ImageData.of_classes(*(datasets or (None,)), **kind, **options)

    def prepared_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The same with the augmentation of training."""
        state, tensors = self.export_state()
        tfms = [transform_state(tfm) for tfm in self.tfms]
        return {**state, "tfms": tfms, "num_workers": self.num_workers}, tensors

    def prepared_loader(self, part: str, loader: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return keep_pictures(loader, self.path)

    @classmethod
    def from_prepared(cls, contents: Mapping[str, Any], arrays: Mapping[str, Tensor], path: Path) -> Any:
        state, loaders = contents["state"], contents["loaders"]
        target = target_of(state)
        opened = {
            part: kept_pictures(
                settings, arrays_of(arrays, part), path, state["channels"], state["num_workers"], target
            )
            for part, settings in loaders.items()
        }
        train, valid, test = (opened.get(part) for part in ("train", "valid", "test"))
        data = cls.of_target(
            target,
            *(None if loader is None else loader.dataset for loader in (train, valid, test)),
            tfms=(transform_from(state["tfms"][0]), transform_from(state["tfms"][1])),
            bs=state["bs"],
            num_workers=state["num_workers"],
            path=path,
            channels=state["channels"],
            seed=0,
        )
        data.train_dl, data.valid_dl, data.test_dl = train, valid, test
        return data

    def __repr__(self) -> str:
        plan = getattr(self.train_dl, "plan", None)
        return super().__repr__()[:-1] + (", classes balanced)" if isinstance(plan, BalancedPlan) else ")")

    def show_batch(self, n: int = 9, *, epoch: int = 0) -> Figure:
        """Draw `n` training pictures as the model sees them (augmented), with their targets.

        Args:
            n: number of pictures.
            epoch: another number shows other views.
        """
        from zoo.vision.seeing.show import show_batch
        from zoo.vision.seeing.show_targets import show_targets

        if self.trn_ds is None:
            raise ValueError("there are no training pictures to show")
        if isinstance(self.target, ClassTarget):
            return show_batch(self.trn_ds, self.classes, n, epoch=epoch)
        return show_targets(self.trn_ds, self.target, n, epoch=epoch)


def _tell_callables(tfm: ImageTransform, what: str) -> None:
    """Say which transforms cannot be followed by targets that lie in the picture."""
    calls = [name_of(one) for one in tfm.augment if isinstance(one, RandomCall)]
    if calls:
        log.warning(
            "%s changes the picture alone, %s do not follow it: right for colours, wrong for whatever moves "
            "pixels, for which there are RandomFlip, RandomRotate, RandomDihedral, RandomPerspective",
            ", ".join(calls),
            what,
        )
