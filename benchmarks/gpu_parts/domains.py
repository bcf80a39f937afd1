"""A learner of every domain from the prepared folder, in three sizes, the same one every time."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gpu_parts.packing import from_bytes, unpack
from zoo import Learner, ModelData, TensorLoader, get_cv_idxs, load_data, set_seed
from zoo.metrics import accuracy

SCALES = ("tiny", "small", "full")
"""For tests of the script, for comparisons with a CPU, and for timing."""


@dataclass(frozen=True)
class Where:
    """Where learners come from and go to.

    Attributes:
        folder: of the prepared members.
        device: of the learners.
        scale: one of `SCALES`.
        noise: whether dropout and the like are on; draws of two devices differ.
        precision: of the learners.
    """

    folder: Path
    device: str
    scale: str = "small"
    noise: bool = True
    precision: Any = "fp32"

    def pick(self, tiny: Any, small: Any, full: Any) -> Any:
        """The one of the scale."""
        return (tiny, small, full)[SCALES.index(self.scale)]

    @property
    def options(self) -> dict[str, Any]:
        return {"device": self.device, "precision": self.precision, "seed": 0, "progress": False}


class Pixels:
    """Batch transform of bytes: floats around 0."""

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        return ((batch[0].float() - 33) / 78, *batch[1:])


def digit_data(folder: Path, bs: int, transform: Any = None) -> ModelData:
    """Written digits as bytes, resident on the device; the usual 10,000 are held out."""
    arrays = unpack(folder, "digits")

    def loader(part: str, shuffle: bool, given: Any) -> TensorLoader:
        x, y = torch.from_numpy(arrays[f"x_{part}"])[:, None], torch.from_numpy(arrays[f"y_{part}"])
        return TensorLoader(
            x, y.long(), bs=bs if shuffle else 1000, shuffle=shuffle, seed=0, batch_transform=given
        )

    data = ModelData(
        loader("train", True, transform or Pixels()), loader("test", False, Pixels()), path=scratch()
    )
    data.task = "classification"
    return data


def images(where: Where) -> Learner:
    """Written digits, a residual network."""
    from zoo.vision.models.resnet_small import ResNetSmall

    widths, depth = where.pick((4, 8), (16, 32), (64, 128, 256)), where.pick(1, 1, 2)
    model = ResNetSmall(10, widths, depth, p=0.2 if where.noise else 0.0, c_in=1)
    data = digit_data(where.folder, where.pick(32, 128, 256))
    return Learner(data, model, metrics=[accuracy], **where.options)


def sales_data(folder: Path) -> tuple[Any, tuple[float, float]]:
    """The store sales of `examples/rossmann.py`, and the range of their logarithms."""
    saved, y_range = _sales_folder(folder)
    return load_data(saved), y_range


@functools.cache
def _sales_folder(folder: Path) -> tuple[Path, tuple[float, float]]:
    arrays = dict(unpack(folder, "sales"))
    saved = scratch() / "sales"
    saved.mkdir()
    contents, (low, high) = arrays.pop("contents"), arrays.pop("y_range")
    (saved / "data.json").write_bytes(contents.tobytes())
    for name, array in arrays.items():
        np.save(saved / f"{name}.npy", array)
    return saved, (float(low), float(high))


def tables(where: Where) -> Learner:
    """Store sales: embeddings and two hidden layers, as in `examples/rossmann.py`."""
    from torch import nn

    from zoo_tabular import exp_rmspe

    data, y_range = sales_data(where.folder)
    data.train_dl = data.train_dl.with_bs(where.pick(64, 512, 512))
    if not where.noise:  # category dropout draws on the device
        data.train_dl.batch_transform = None
    on = 1.0 if where.noise else 0.0
    return data.get_learner(
        emb_drop=0.04 * on, szs=where.pick([20, 10], [200, 100], [1000, 500]), drops=[0.001 * on, 0.01 * on],
        y_range=y_range, loss_fn=nn.HuberLoss(delta=0.3), metrics=[exp_rmspe], **where.options,
    )  # fmt: skip


def review_field(folder: Path) -> Any:
    """The vocabulary of the reviews; their ids are made, so its tokeniser is never asked."""
    from zoo_text import Field, Vocab

    field = Field(tokenize="whitespace")
    field.vocab = Vocab(from_bytes(unpack(folder, "reviews")["vocabulary"]))
    return field


def language_data(folder: Path, bs: int, bptt: int) -> Any:
    """Labelled and unlabelled reviews as one text; the last hundredth is held out."""
    from zoo_text import LanguageModelData

    ids = np.concatenate([unpack(folder, "unlabelled")["ids"], unpack(folder, "reviews")["train_ids"]])
    ids = ids.astype("int32")
    held = max(200, len(ids) // 100)
    return LanguageModelData(
        review_field(folder), ids[:-held], ids[-held:], bs=bs, bptt=bptt, seed=0, path=scratch()
    )


def language_sizes(where: Where) -> dict[str, int]:
    """Of the encoder, shared by language model and classifier."""
    return where.pick(
        {"emb_sz": 8, "n_hid": 8, "n_layers": 1},
        {"emb_sz": 64, "n_hid": 128, "n_layers": 2},
        {"emb_sz": 400, "n_hid": 1152, "n_layers": 3},
    )


def language_model(where: Where, sampled: int | None = None) -> Learner:
    """Film reviews, word by word: an AWD-LSTM that scores all words, or only some of them."""
    data = language_data(where.folder, where.pick(4, 16, 64), where.pick(10, 20, 70))
    drop = 1.0 if where.noise else 0.0
    learn = data.get_model(**language_sizes(where), drop_mult=drop, sampled=sampled, **where.options)
    learn.clip = 0.4
    return learn


def sampled_language_model(where: Where) -> Learner:
    """The same, which scores the words of a batch and some others."""
    return language_model(where, where.pick(50, 2000, 2000))


def review_loader(folder: Path, part: str, bs: int, max_tokens: int | None = None) -> Any:
    """Labelled reviews as padded batches; those to train on are shuffled."""
    from zoo_text.data.padded_batches import TextLoader

    arrays = unpack(folder, "reviews")
    ids, starts, labels = (arrays[f"{part}_{name}"] for name in ("ids", "starts", "labels"))
    return TextLoader(
        ids.astype("int32"), starts, labels.astype("int64"), bs, shuffle=part == "train", seed=0,
        max_tokens=max_tokens,
    )  # fmt: skip


def review_data(folder: Path, bs: int, max_tokens: int | None = None) -> Any:
    """Labelled reviews; those of the test set are the validation set here."""
    from zoo_text import TextData

    train, test = (review_loader(folder, part, bs, max_tokens) for part in ("train", "test"))
    return TextData(review_field(folder), ["neg", "pos"], train, test, max_tokens=max_tokens, path=scratch())


def text_classifier(where: Where) -> Learner:
    """Film reviews: positive or negative."""
    data = review_data(where.folder, where.pick(8, 32, 64), where.pick(40, 100, 400))
    drop = 1.0 if where.noise else 0.0
    return data.get_model(**language_sizes(where), drop_mult=drop, **where.options)


def ratings(where: Where) -> Learner:
    """Film ratings: factors and biases."""
    from zoo_collab import CollabFilterDataset

    arrays = unpack(where.folder, "ratings")
    frame = pd.DataFrame(
        {"user": arrays["user"], "film": arrays["film"], "stars": arrays["half_stars"].astype("float32") / 2}
    )
    set_seed(0)
    table = CollabFilterDataset.from_data_frame(
        scratch(), frame, "user", "film", "stars", rating_range=(0.5, 5)
    )
    held_out = get_cv_idxs(len(table), seed=0)
    return table.get_learner(where.pick(5, 50, 50), held_out, bs=where.pick(64, 256, 256), **where.options)


DOMAINS: dict[str, Callable[[Where], Learner]] = {
    "tables": tables,
    "ratings": ratings,
    "images": images,
    "language model": language_model,
    "text classifier": text_classifier,
}
SAMPLED = {"language model, sampled": sampled_language_model}
RATES = {"tables": 1e-3, "ratings": 5e-3, "images": 1e-3, "language model": 2e-3, "text classifier": 2e-3}


def make(name: str, where: Where, steps: int | None = None) -> Learner:
    """A new learner of a domain, with a folder of its own.

    Args:
        name: of the domain.
        where: see `Where`.
        steps: keep the rows of about so many training steps, and validate on none.
    """
    set_seed(0)
    learn = {**DOMAINS, **SAMPLED}[name](where)
    learn.path = scratch()
    if steps is not None:
        learn.data.train_dl, learn.data.valid_dl = shortened(learn.data.train_dl, steps), None
    return learn


def shortened(loader: Any, steps: int) -> Any:
    """A loader like another over the first rows alone, of about so many batches, at least one fewer rows
    than there are.
    """
    if isinstance(loader, TensorLoader):
        other = copy.copy(loader)
        rows = min(steps * loader.bs, len(loader.tensors[0]) // loader.bs * loader.bs or loader.n_rows)
        other.tensors, other.n_rows = tuple(part[:rows] for part in loader.tensors), rows
        return other
    settings, arrays = loader.prepared()
    if "offsets" in arrays:
        rows = min(steps * loader.bs, loader.n_rows)
        ends: Tensor = arrays["offsets"][: rows + 1]
        arrays = {
            "ids": arrays["ids"][: int(ends[-1])], "offsets": ends, "targets": arrays["targets"][:rows]
        }  # fmt: skip
    else:
        arrays = {"ids": arrays["ids"][: loader.bs * (steps * loader.bptt + 1)]}
    return type(loader).from_prepared(settings, arrays)


def scratch() -> Path:
    """A new temporary folder."""
    return Path(tempfile.mkdtemp(prefix="zoo-gpu-"))
