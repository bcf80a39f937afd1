"""New pictures in whatever form they come, as batches for a model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from zoo.data.loaders.cores import usable_cores
from zoo.vision.transforms.image_transform import ImageTransform
from zoo.vision.transforms.view import View

Seen: TypeAlias = tuple[Tensor, View]

_MOST_THREADS = 8


def raw_batches(
    items: Any, tfm: ImageTransform, *, channels: int, bs: int, num_threads: int | None = None
) -> Iterator[tuple[Tensor, list[View]]]:
    """Normalised batches of pictures, in order, with the views through which they are seen.

    Args:
        items: a list, a column of a table, or a rows x H x W [x C] array; one picture stands for a list of
            one. Files are decoded in threads, at most two batches ahead of what is asked for.
        tfm: how a picture becomes a tensor.
        channels: channels the model reads.
        bs: largest number of pictures in a batch.
        num_threads: decoding threads; default: the cores that this process may use, at most eight.

    Raises:
        ValueError, TypeError: something is no picture, or cannot be read; where it has no name, the message
            tells its place.
    """
    threads = min(_MOST_THREADS, usable_cores()) if num_threads is None else num_threads
    chunk: list[Tensor] = []
    views: list[View] = []
    for pixels, view in _decoded(picture_list(items, channels), tfm, channels, threads, 2 * bs):
        full = tfm.size is None or len(chunk) == bs
        if chunk and (full or pixels.dtype != chunk[0].dtype):  # bytes and floats are scaled differently
            yield tfm.normalize(torch.stack(chunk)), views
            chunk, views = [], []
        chunk.append(pixels)
        views.append(view)
    if chunk:
        yield tfm.normalize(torch.stack(chunk)), views


def _decoded(
    items: Iterable[Any], tfm: ImageTransform, channels: int, threads: int, ahead: int
) -> Iterator[Seen]:
    """Pixels of each picture in order; files are decoded by threads that read ahead.

    Pillow decodes and scales without Python's lock. Objects (Pillow's pictures, open files) may be given
    several times and are not safe to be read by two threads, so they are read here, one after another.
    """
    if threads < 2 or tfm.is_random:  # random draws have to keep their order
        for place, item in enumerate(items):
            yield _pixels(place, item, tfm, channels)
        return
    waiting: deque[Future[Seen] | Seen] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for place, item in enumerate(items):
            if isinstance(item, str | os.PathLike | bytes):
                waiting.append(pool.submit(_pixels, place, item, tfm, channels))
            else:
                while waiting:  # what is wrong is told in order
                    yield _value(waiting.popleft())
                waiting.append(_pixels(place, item, tfm, channels))
            if len(waiting) >= ahead:
                yield _value(waiting.popleft())
        while waiting:
            yield _value(waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _value(seen: Future[Seen] | Seen) -> Seen:
    return seen.result() if isinstance(seen, Future) else seen


def _pixels(place: int, item: Any, tfm: ImageTransform, channels: int) -> Seen:
    try:
        return tfm.seen(item, channels=channels)
    except (ValueError, TypeError) as err:
        if isinstance(item, str | os.PathLike):
            raise  # the message names the file
        name = getattr(item, "name", None)
        named = f", file {name!r}" if isinstance(name, str) else ""
        kind = TypeError if isinstance(err, TypeError) else ValueError
        raise kind(f"picture number {place} (from 0{named}): {err}") from err


def picture_list(items: Any, channels: int) -> Iterable[Any]:
    """What was given as pictures: several, or one that must not be taken apart."""
    one = str | os.PathLike | bytes | bytearray | memoryview | Image.Image
    if isinstance(items, one) or hasattr(items, "read"):
        return [items]
    if isinstance(items, pd.DataFrame | dict):
        raise TypeError(
            f"expected a list of pictures, got a {type(items).__name__}: pass the column of file names"
        )
    if not isinstance(items, np.ndarray | Tensor) or items.ndim < 2:
        return items
    if items.ndim == 2 or (items.ndim == 3 and items.shape[-1] in (1, channels)):
        return [items]
    if items.ndim == 3 and items.shape[0] == channels > 1:
        raise ValueError(
            f"expected pictures with channels last (H x W x {channels}), got an array of shape "
            f"{tuple(items.shape)}; for {channels} grey pictures pass a list of arrays"
        )
    return items
