"""Pictures as saved data keep them: names of files or pixels, labels, and how they are transformed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.dataset_loader import DatasetLoader
from zoo.data.prepared import PLACE
from zoo.errors import some
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.loaders import Normalize, picture_loader
from zoo.vision.targets.base import Target
from zoo.vision.transforms import augment
from zoo.vision.transforms.image_transform import ImageTransform

_AUGMENT = {
    kind.__name__: kind
    for kind in (
        augment.RandomFlip,
        augment.RandomDihedral,
        augment.RandomRotate,
        augment.RandomLighting,
        augment.RandomPerspective,
    )
}


def transform_state(tfm: ImageTransform) -> dict[str, Any]:
    """A transform with its augmentation as plain values.

    Raises:
        TypeError: for a transform that is code of the user.
    """
    own = [one for one in (tfm, *tfm.augment) if type(one) not in (ImageTransform, *_AUGMENT.values())]
    if own:
        raise TypeError(
            f"the transform {type(own[0]).__name__} is code, which save cannot keep: save the data with "
            "transforms of the library alone"
        )
    fields = {field.name: getattr(tfm, field.name) for field in dataclasses.fields(tfm)}
    kinds = [{"kind": type(one).__name__, **dataclasses.asdict(one)} for one in tfm.augment]  # type: ignore[call-overload]
    return {**fields, "augment": kinds}


def transform_from(state: Mapping[str, Any]) -> ImageTransform:
    """The inverse of `transform_state`."""
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
    kinds = [dict(one) for one in state["augment"]]
    return ImageTransform(**{**made, "augment": tuple(_AUGMENT[one.pop("kind")](**one) for one in kinds)})


def keep_pictures(loader: Any, base: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and arrays of a loader of pictures; files below `base` are named from there.

    Raises:
        TypeError: if it is no loader of the library, or transforms with code of the user.
    """
    known = (
        type(loader) is DatasetLoader and type(loader.batch_transform) is Normalize and loader.plan is None
    )
    if not known or type(loader.dataset) is not ImageDataset:
        raise TypeError(f"it is a {type(loader).__name__} of your own; save keeps loaders of pictures")
    dataset = loader.dataset
    settings = {name: getattr(loader, name) for name in ("bs", "shuffle", "seed", "drop_last", *PLACE)}
    settings["transform"] = transform_state(dataset.tfm)

    def name_of(file: Path) -> str:
        return str(_below(file, base))

    arrays: dict[str, Tensor] = {}
    if dataset.y is not None and dataset.target is not None:
        own, arrays = dataset.target.keep(dataset.y, name_of)
        settings |= own
    if isinstance(dataset.items, np.ndarray):
        return settings, {**arrays, "pictures": torch.from_numpy(dataset.items)}
    return {**settings, "files": [name_of(file) for file in dataset.items]}, arrays


def _below(file: Path, base: Path) -> Path:
    """A file as it is found from `base`, also through links and `..`; one that lies elsewhere by its path."""
    plain = Path(os.path.normpath(file.absolute()))
    for own, root in (
        (plain, Path(os.path.normpath(base.absolute()))),
        (plain.parent.resolve() / plain.name, base.resolve()),
    ):
        if own.is_relative_to(root):
            return own.relative_to(root)
    return plain


def kept_pictures(
    settings: Mapping[str, Any],
    arrays: Mapping[str, Tensor],
    base: Path,
    channels: int,
    num_workers: int | None,
    target: Target,
) -> DatasetLoader:
    """The loader that `keep_pictures` described.

    Raises:
        ValueError: if files are no longer there.
    """
    items: Any = (
        [base / name for name in settings["files"]] if "files" in settings else arrays["pictures"].numpy()
    )
    absent = [] if "pictures" in arrays else [file for file in items if not file.is_file()]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(items)} pictures are no longer there: {some(absent, 3)}; give the folder "
            "that holds them now as load_data(folder, path=...)"
        )
    labelled = "targets" in arrays or "target_files" in settings
    targets = target.kept(settings, arrays, base) if labelled else None
    tfm = transform_from(settings["transform"])
    dataset = ImageDataset(items, targets, tfm, channels=channels, target=target)
    loader = picture_loader(
        dataset, settings["bs"], shuffle=settings["shuffle"], num_workers=num_workers, seed=settings["seed"]
    )
    vars(loader).update({name: settings[name] for name in ("drop_last", *PLACE)})
    return loader
