"""The keyword arguments that the constructors of text data share, each named and described once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import numpy as np


class CorpusOptions(TypedDict, total=False):
    """How a language model reads its text.

    Args:
        bs: Columns the text is cut into.
        bptt: Steps a batch, about.
        min_freq: Rarer words become unknown (for a new vocabulary).
        max_size: Most words kept (for a new vocabulary).
        seed: Of the random lengths.
        backward: Read the text from its end on, for a model that is averaged with a forward one.
        workers: Processes that make tokens; they give the same ids however many they are.
        cache: Keep the tokens in a `TokenFile` below `path/tokens`, where the next run finds them by the
            content of the text and the way it is read; the ids are memory-mapped.
    """

    bs: int
    bptt: int
    min_freq: int
    max_size: int | None
    seed: int | None
    backward: bool
    workers: int
    cache: bool


CORPUS_DEFAULTS: dict[str, Any] = {
    "bs": 64,
    "bptt": 70,
    "min_freq": 10,
    "max_size": None,
    "seed": None,
    "backward": False,
    "workers": 1,
    "cache": False,
}


class TextOptions(TypedDict, total=False):
    """How a classifier reads its texts.

    Args:
        bs: Texts a batch.
        min_freq: Rarer words become unknown (for a new vocabulary).
        max_size: Most words kept (for a new vocabulary).
        max_tokens: Keep only the last so many tokens of a text, in training and prediction.
        task: "classification", "multilabel" or "regression" (one value a text, or several; learned with mean
            0 and deviation 1, told in their own units). By default lists of labels are multi-label data, and
            other labels classes, also where they are numbers.
        classes: Label names in the order wanted; those of the training labels, in alphabetical order, by
            default. Of class folders those that are named are read, others are passed over.
        seed: Of the order of training.
        text: Name of the text column, also when predicting from frames.
        backward: Read each text from its end on, for a model that is averaged with a forward one
            (`zoo.Ensemble([forward, backward])`).
        workers: Processes that make tokens; they give the same ids however many they are.
        cache: Keep the tokens in `TokenFile`s below `path/tokens`, where the next run finds them by the
            content of the texts and the way they are read.
    """

    bs: int
    min_freq: int
    max_size: int | None
    max_tokens: int | None
    task: str | None
    classes: Sequence[str] | None
    seed: int | None
    text: str
    backward: bool
    workers: int
    cache: bool


TEXT_DEFAULTS: dict[str, Any] = {
    "bs": 64,
    "min_freq": 2,
    "max_size": None,
    "max_tokens": None,
    "task": None,
    "classes": None,
    "seed": None,
    "text": "text",
    "backward": False,
    "workers": 1,
    "cache": False,
}


class FrameOptions(TextOptions, total=False):
    """How a classifier reads its texts from the columns of a table.

    Args:
        label: The label column (cells that are lists make multi-label data), or several columns: of 0 and 1,
            one a class, or with task="regression" of values.
        val_idxs: Row numbers of the training rows (or a mask) held out for validation; predictions of them
            come in this order.
        label_delim: Splits label cells into several labels, for example ";"; spaces around them are cut.
    """

    label: str | Sequence[str]
    val_idxs: Sequence[int] | np.ndarray | None
    label_delim: str | None


FRAME_DEFAULTS: dict[str, Any] = {**TEXT_DEFAULTS, "label": "label", "val_idxs": None, "label_delim": None}

_arguments = inspect.cleandoc(TextOptions.__doc__ or "").partition("Args:\n")[2]
FrameOptions.__doc__ = f"{inspect.cleandoc(FrameOptions.__doc__ or '').rstrip()}\n{_arguments}"
