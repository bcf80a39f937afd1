"""Activations of a frozen body, computed once and kept on disk.

The file name holds a hash of everything the activations depend on: the pictures, the validation transform,
the architecture and the body's weights. Files are written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from zoo.callbacks.progress import find_cell, progress_bar
from zoo.data.loaders.batches import device_batches
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.datasets import cache_dir
from zoo.distributed.group import write_once
from zoo.storage.files import atomic_write
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.image_data import ImageClassifierData
from zoo.vision.data.loaders import picture_loader
from zoo.vision.files.checking import broken_error, verify_images
from zoo.vision.models.transfer import TransferModel

log = logging.getLogger(__name__)

_FORMAT = 1
_STALE_SECONDS = 3600
_KEEP_IN_MEMORY = 2 * 1024**3


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
        values = cached_features(
            plain, model, weights, device, folder, data.bs, data.num_workers, name, progress
        )
        targets = torch.full((len(plain),), -1) if plain.y is None else torch.from_numpy(plain.y)
        old = getattr(data, f"{name}_dl")
        loader = TensorLoader(
            values, targets, bs=data.bs, shuffle=old.shuffle, seed=old.seed, drop_last=old.drop_last
        )
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
    """Rows x features (float32) of a dataset, read from the cache or computed and written to it."""
    spec = getattr(model, "model_spec", None)
    arch = spec.args["arch"] if spec is not None else "body"
    parts = [_FORMAT, dataset.content_key(), dataset.tfm.to_state(), arch, weights]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
    file = _writable(folder) / f"{arch}-{name}-{key}.npy"
    shape = (len(dataset), model.head_inputs)
    cached = _read(file, shape)
    if cached is not None:
        return cached
    _sweep(file.parent)
    loader = picture_loader(dataset, bs, num_workers=num_workers, seed=0)

    def extract() -> None:
        with atomic_write(file) as temporary:
            _extract(loader, model, device, temporary, len(dataset), f"{arch} features of {name}", progress)

    try:
        write_once(file, extract)
    except ValueError:
        broken = verify_images(dataset.files)
        if not broken:
            raise
        raise broken_error(broken) from None
    written = _read(file, shape)
    if written is None:
        raise OSError(f"the activations written to {file} cannot be read back")
    return written


@torch.no_grad()
def _extract(
    loader, model: TransferModel, device: torch.device, target: Path, rows: int, label: str, progress: bool
) -> None:
    model.eval()
    out: np.memmap | None = None
    done = 0
    cell = find_cell() if progress else None
    with progress_bar(rows, label, unit="picture", cell=cell, shown=progress) as bar:
        for pictures, _ in device_batches(loader, device, training=False):
            values = model.features(pictures).float().cpu().numpy()
            if out is None:
                out = np.lib.format.open_memmap(target, "w+", np.float32, (rows, values.shape[1]))
            out[done : done + len(values)] = values
            done += len(values)
            bar.update(len(values))
    if out is not None:
        out.flush()


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed while writing left behind."""
    for file in folder.glob(".*.npy.*.tmp"):
        with contextlib.suppress(OSError):  # another run may be faster, or own the file
            if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                file.unlink()


def _read(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """A complete cache file, or None when there is none that fits."""
    if not file.is_file():
        return None
    try:
        mode = None if file.stat().st_size <= _KEEP_IN_MEMORY else "c"
        values = np.load(file, mmap_mode=mode, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as err:
        log.warning("cache file %s is damaged (%s); it is computed again", file, err)
        return None
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != np.float32:
        log.warning("cache file %s does not fit the data; it is computed again", file)
        return None
    return values


def _writable(folder: Path) -> Path:
    """`folder`, or the user's cache when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        log.info("cannot create %s", folder)
    fallback = cache_dir() / "features"
    fallback.mkdir(parents=True, exist_ok=True)
    log.warning("%s cannot be written; activations are kept in %s", folder, fallback)
    return fallback
