"""Activations of a frozen body, computed once and kept on disk.

The file name holds a hash of everything the activations depend on: the content of the pictures, the
validation transform, the architecture and the body's weights. Pictures that moved, or of which some changed,
keep what was computed for the rest (see `feature_store`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zoo.callbacks.progress import find_cell, progress_bar
from zoo.data.loaders.batches import device_batches
from zoo.data.loaders.dataset_loader import DatasetLoader
from zoo.datasets import cache_dir
from zoo.distributed.group import world_size, write_once
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.loaders import FeatureLoader, picture_loader
from zoo.vision.feature_store import FeatureStore
from zoo.vision.files.caches import mark_cache
from zoo.vision.files.checking import broken_error, verify_images
from zoo.vision.files.content import content_keys
from zoo.vision.models.transfer import TransferModel

log = logging.getLogger(__name__)

_FORMAT = 2
_BATCH, _PIXELS = 32, 224 * 224
_FLUSH = 2048


def feature_data(
    data: ImageClassifierData,
    model: TransferModel,
    device: torch.device,
    folder: Path,
    *,
    progress: bool = True,
) -> ImageClassifierData:
    """The same data with loaders that yield (features, target) instead of (pictures, target).

    Everything else (classes, datasets, reading new pictures) is shared with `data`, which is not changed.

    Args:
        data: pictures; their validation transform is used for all of them.
        model: whose body and pooling compute the features.
        device: where the model lies.
        folder: where the activations are kept; the user's cache if it cannot be written.
        progress: whether a bar is shown in a terminal.
    """
    data.check_files()
    weights = weights_key(model.body)
    features = copy.copy(data)
    for name, dataset in (("train", data.trn_ds), ("valid", data.val_ds), ("test", data.test_ds)):
        if dataset is None:
            continue
        plain = dataset.with_tfm(data.tfms[1].without_augmentation())
        targets = plain.targets()  # refused before anything is computed where there are none without a view
        values = cached_features(
            plain, model, weights, device, folder, data.bs, data.num_workers, name, progress
        )
        old = getattr(data, f"{name}_dl")
        loader = FeatureLoader(
            values, targets, bs=old.bs, shuffle=old.shuffle, seed=old.seed, drop_last=old.drop_last
        )
        loader.pictures = old
        loader.plan = getattr(old, "plan", None)
        setattr(features, f"{name}_dl", loader)
    return features


def weights_key(module: nn.Module) -> str:
    """A hash of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def cached_features(
    dataset: ImageDataset,
    model: TransferModel,
    weights: str,
    device: torch.device,
    folder: Path,
    bs: int,
    num_workers: int | None,
    name: str,
    progress: bool,
) -> np.ndarray:
    """Rows x features (float32) of a dataset, read from the cache or computed and written to it.

    Only pictures whose content no file of the cache holds are computed.
    """
    spec = getattr(model, "model_spec", None)
    arch = spec.args["arch"] if spec is not None else "body"
    parts = [_FORMAT, dataset.channels, dataset.tfm.to_state(), arch, weights]
    kind = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    store = FeatureStore(_writable(folder), f"{arch}-{kind}", model.head_inputs)
    keys = content_keys(dataset.items)
    pictures = ImageDataset(dataset.items, None, dataset.tfm, channels=dataset.channels)

    def compute(out: np.ndarray, rows: np.ndarray) -> None:
        loader = picture_loader(
            pictures, _batch_size(bs, dataset.tfm.size), num_workers=num_workers, seed=0, rows=rows
        )
        _extract(loader, model, device, out, rows, f"{arch} features of {name}", progress)

    try:
        if world_size() == 1:
            return store.get(name, keys, compute)
        file = store.file(name, keys)
        write_once(file, lambda: store.get(name, keys, compute, must_write=True))
    except ValueError:
        broken = verify_images(dataset.files, value_range=dataset.tfm.value_range)
        if not broken:
            raise
        raise broken_error(broken) from None
    written = store.read(file, keys)
    if written is None:
        raise OSError(f"the activations written to {file} cannot be read back")
    return written


def _batch_size(bs: int, size: tuple[int, int] | None) -> int:
    """Small batches of a training waste a body that only runs forward; at least 32 of 224 x 224 pixels."""
    if size is None:
        return bs
    return max(bs, min(_BATCH, _BATCH * _PIXELS // max(1, size[0] * size[1])))


@torch.inference_mode()
def _extract(
    loader: DatasetLoader,
    model: TransferModel,
    device: torch.device,
    out: np.ndarray,
    rows: np.ndarray,
    label: str,
    progress: bool,
) -> None:
    """Fill `out[rows]` with the features of the pictures that a loader gives, in the order of `rows`.

    A device is waited for once in a few thousand pictures, so that it always has work.
    """
    was_training = model.training
    model.eval()
    layout = _layout(model.body)
    cell = find_cell() if progress else None
    waiting: list[Tensor] = []
    done = 0

    def keep() -> None:
        nonlocal done
        if waiting:
            values = torch.cat(waiting).float().cpu().numpy()
            out[rows[done : done + len(values)]] = values
            done += len(values)
            waiting.clear()

    try:
        with progress_bar(len(rows), label, unit="picture", cell=cell, shown=progress) as bar:
            for pictures, *_ in device_batches(loader, device, training=False):
                waiting.append(model.features(pictures.contiguous(memory_format=layout)))
                if sum(map(len, waiting)) >= _FLUSH:
                    keep()
                bar.update(len(pictures))
            keep()
    finally:
        model.train(was_training)


def _layout(body: nn.Module) -> torch.memory_format:
    """Channels-last where the body's weights are."""
    for weight in body.parameters():
        if weight.ndim == 4 and weight.shape[1] > 1 and max(weight.shape[2:]) > 1:
            last = weight.is_contiguous(memory_format=torch.channels_last)
            return torch.channels_last if last and not weight.is_contiguous() else torch.contiguous_format
    return torch.contiguous_format


def _writable(folder: Path) -> Path:
    """`folder`, or the user's cache when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            mark_cache(folder)
            return folder
    except OSError:
        log.info("cannot create %s", folder)
    fallback = cache_dir() / "features"
    fallback.mkdir(parents=True, exist_ok=True)
    log.warning("%s cannot be written; activations are kept in %s", folder, fallback)
    return fallback
