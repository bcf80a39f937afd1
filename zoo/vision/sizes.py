"""Pictures of another size as a fit goes on: small ones first, which train faster, then larger ones."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from zoo.data.loaders.batches import batch_count
from zoo.engine.callback import Callback, callback_list
from zoo.engine.state import State
from zoo.learner import Learner
from zoo.vision.data.loaders import reloaded
from zoo.vision.data.picture_data import ImageData
from zoo.vision.models.readable import check_new_size
from zoo.vision.transforms.view import Size

Sizes: TypeAlias = Mapping[int, int | tuple[int, int]]
"""From the number of an epoch of the fit, counted from 0, to the size of pictures from there on: the side, or
height and width in pixels."""


def bs_at(bs: int, first: Size, size: Size) -> int:
    """The batch size at which a batch holds about as many pixels, but no more pictures: an epoch of a small
    set would have few such batches.

    Args:
        bs: at the first size.
        first: height and width.
        size: likewise, of now.

    Returns:
        `bs`, or for larger pictures less: a multiple of 8 where there are so many, at least 2.

    >>> [bs_at(64, (128, 128), (side, side)) for side in (96, 128, 192, 800)]
    [64, 64, 32, 2]
    """
    same = bs * first[0] * first[1] / (size[0] * size[1])
    if same >= bs:
        return bs
    return min(bs, max(2, round(same / 8) * 8 if same >= 8 else round(same)))


def made_with(data: ImageData) -> tuple[Size | None, int]:
    """The size and the batch size that the data were made with, whatever `at_size` has made of them since."""
    now = data.sz, getattr(data.train_dl, "bs", data.bs)
    made, then = vars(data).get(_MADE, (now, now))
    return made if then == now else now  # others have set a batch size of their own since


_MADE = "_made_with"  # size and batch size at first, and those that `at_size` gave


def at_size(data: ImageData, size: Size, *, bs: int | None = None) -> ImageData:
    """The same pictures as a network sees them at another size.

    Args:
        data: not changed.
        size: height and width of what the transforms give.
        bs: pictures per batch; None: as before.

    Returns:
        Data of the same class whose loaders have the order and place of the others.
    """
    found = copy.copy(data)
    made = made_with(data)
    train, valid = (replace(tfm, size=size) for tfm in data.tfms)
    found.tfms = (train, valid)
    found.bs = data.bs if bs is None else bs
    for part, name, tfm in (("trn", "train", train), ("val", "valid", valid), ("test", "test", valid)):
        dataset = getattr(data, f"{part}_ds")
        if dataset is not None:
            other = dataset.with_tfm(tfm)
            setattr(found, f"{part}_ds", other)
            setattr(found, f"{name}_dl", reloaded(getattr(data, f"{name}_dl"), other, bs=bs))
    vars(found)[_MADE] = made, (found.sz, getattr(found.train_dl, "bs", found.bs))
    return found


class SizesByEpoch(Callback):
    """Gives each epoch of a fit, and its validation, pictures of the size that is due.

    Args:
        data: the pictures.
        sizes: see `Sizes`; before the first one pictures have the size that the data were made with.

    Raises:
        TypeError: for data of another kind.
        ValueError: for sizes or epochs that are none, for data without a size.
    """

    order = -120  # before several processes share out what is loaded

    def __init__(self, data: Any, sizes: Sizes) -> None:
        if not isinstance(data, ImageData):
            raise TypeError(
                f"sizes= needs pictures (ImageData), to be transformed anew, got {type(data).__name__}"
            )
        if data.sz is None:
            raise ValueError(
                "sizes= changes the size of the transforms, and these data have none: give them "
                "tfms=tfms_from_model(arch, sz)"
            )
        if not isinstance(sizes, Mapping) or not sizes:
            raise ValueError(
                f"sizes maps epochs to sizes of pictures, such as {{0: 128, 3: 192}}, got {sizes!r}"
            )
        self.data = data
        size, self._own_bs = made_with(data)
        self._own = data.sz if size is None else size
        self.sizes = {_epoch(epoch): _size(size) for epoch, size in sorted(sizes.items())}
        self._now: tuple[Size, ImageData] | None = None

    def check(self, n_epochs: int) -> None:
        """Make sure that every size is used.

        Raises:
            ValueError: for epochs that the fit does not have.
        """
        late = [epoch for epoch in self.sizes if epoch >= n_epochs]
        if late:
            raise ValueError(
                f"sizes has a size for epoch {late[0]}, but the epochs of this fit are 0 to {n_epochs - 1}"
            )

    def check_model(self, model: nn.Module) -> None:
        """Make sure that a model reads pictures of all sizes.

        Raises:
            ValueError: naming the smallest that it reads.
        """
        for size in self.sizes.values():
            read = self.data.sz
            if read is not None:
                check_new_size(model, size, read, self.data.channels)

    def size(self, epoch: int) -> Size:
        """Height and width in an epoch of the fit, counted from 0."""
        begun = [size for first, size in self.sizes.items() if first <= epoch]
        return begun[-1] if begun else self._own

    def bs(self, epoch: int) -> int:
        """Pictures per batch in an epoch."""
        return bs_at(self._own_bs, self._own, self.size(epoch))

    def data_in(self, epoch: int) -> ImageData:
        """The data as an epoch sees them."""
        size = self.size(epoch)
        if self._now is None or self._now[0] != size:
            self._now = size, at_size(self.data, size, bs=self.bs(epoch))
        return self._now[1]

    def before_train(self, state: State) -> None:
        loader = self.data_in(state.epoch - state.first_epoch).train_dl
        loader.seed = state.data.train_dl.seed
        loader.set_epoch(state.epoch, state.start_batch)
        state.loader, state.n_batches = loader, batch_count(loader) or 0

    def before_validate(self, state: State) -> None:
        if state.loader is state.data.valid_dl:
            loader = self.data_in(state.epoch - state.first_epoch).valid_dl
            state.loader, state.n_batches = loader, batch_count(loader) or 0


def _epoch(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0:
        raise ValueError(f"sizes: epochs are whole numbers from 0, got {given!r}")
    return int(given)


def _size(given: Any) -> Size:
    sides = given if isinstance(given, tuple | list) else (given, given)
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise ValueError(f"sizes: a size is a number of pixels or (height, width), got {given!r}")
    return int(sides[0]), int(sides[1])


Fit: TypeAlias = Callable[..., list[dict[str, Any]]]


def with_sizes(fit: Fit) -> Fit:
    """A fit of a learner that also takes `sizes`."""

    @functools.wraps(fit)
    def sized(
        learn: SizedLearner,
        *args: Any,
        sizes: Sizes | None = None,
        callbacks: Iterable[Callback] = (),
        **options: Any,
    ) -> list[dict[str, Any]]:
        if sizes is None:
            return fit(learn, *args, callbacks=callbacks, **options)
        if getattr(learn, "precompute", False):
            raise ValueError(
                "cached activations are of pictures of one size: set learn.precompute = False before a fit "
                "with sizes="
            )
        by_epoch = SizesByEpoch(learn.data, sizes)
        by_epoch.check_model(learn.model)
        learn._by_epoch = by_epoch
        try:
            rows = fit(learn, *args, callbacks=[by_epoch, *callback_list(callbacks)], **options)
        finally:
            learn._by_epoch = None
        if rows:
            learn.data = by_epoch.data_in(len(rows) - 1)
        return rows

    signature = inspect.signature(fit)
    own = inspect.Parameter("sizes", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Sizes | None")
    sized.__signature__ = signature.replace(parameters=[*signature.parameters.values(), own])  # type: ignore[attr-defined]
    text = inspect.getdoc(fit) or ""
    sized.__doc__ = (
        text.replace("\n\nReturns:", _TEXT + "\n\nReturns:") if "\n\nReturns:" in text else text + _TEXT
    )
    return sized


_TEXT = """
    sizes: sizes of pictures by epoch of this fit, such as {0: 128, 3: 192}: from epoch 3 on, 192 pixels.
        Pictures larger than those that the data were made with come in smaller batches, so that a batch
        holds as many pixels; smaller ones in the same. Validation is at the size of its epoch. Afterwards
        the learner's data have the last size; a further fit with `sizes` counts from the first one again."""


class SizedLearner(Learner):
    """A learner whose pictures can grow within a fit."""

    _by_epoch: SizesByEpoch | None = None

    fit = with_sizes(Learner.fit)
    fit_one_cycle = with_sizes(Learner.fit_one_cycle)

    def _sizes_to_tune(self, sizes: Sizes | None, epochs: int) -> Sizes | None:
        """Sizes of all of the second stage's epochs, the first also where the data have it already."""
        if sizes is None:
            return None
        by_epoch = SizesByEpoch(self.data, sizes)
        by_epoch.check(epochs)
        by_epoch.check_model(self.model)
        return {0: by_epoch.size(0), **by_epoch.sizes}

    def _steps_per_epoch(self, n_epochs: int, first: int, *, needed: bool = True) -> list[int]:
        if self._by_epoch is None:
            return super()._steps_per_epoch(n_epochs, first, needed=needed)
        self._by_epoch.check(n_epochs)
        return [len(self._by_epoch.data_in(epoch).train_dl) for epoch in range(n_epochs)]
