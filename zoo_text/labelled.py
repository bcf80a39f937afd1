"""Labelled texts as batches for classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.data import ModelData
from zoo.errors import did_you_mean, some
from zoo.metrics import accuracy, accuracy_thresh
from zoo.seeding import draw_seed, epoch_order
from zoo_text.corpus import encode_texts
from zoo_text.data import text_column
from zoo_text.vocab import PADDING_ID, Field

if TYPE_CHECKING:
    import pandas as pd

    from zoo_text.classifier import TextClassifierLearner

__all__ = ["TextData", "TextLoader"]

Texts = Sequence[str]


class TextLoader:
    """Texts of different lengths as padded batches; texts of similar length share a batch.

    In training the batches are drawn anew each epoch, a pure function of `(seed, epoch)`: rows are shuffled,
    sorted by length inside pools of 50 batches, and the batches shuffled; the longest batch comes first, so
    that a lack of memory shows at once. Otherwise rows are sorted by length, and `order` tells where they
    came from.

    Args:
        ids: All texts joined, integers.
        offsets: Where each text starts; one more than there are texts.
        targets: One row a text.
        bs: Texts a batch, at most: all batches of an epoch have nearly the same number.
        shuffle: For training.
        seed: Of the order; drawn if None.
        max_tokens: Keep only the last so many tokens of a text.

    Yields:
        ids (rows, longest), int64, padded at the end with 1; lengths (rows,), int64; targets.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        targets: np.ndarray,
        bs: int = 64,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        if bs < 1:
            raise ValueError(f"bs must be at least 1, not {bs}")
        self.n_rows = len(offsets) - 1
        if self.n_rows == 0:
            raise ValueError("there are no texts")
        self.bs, self.shuffle = bs, shuffle
        self.seed = draw_seed() if seed is None and shuffle else seed or 0
        ends = np.asarray(offsets[1:])
        lengths = np.diff(offsets)
        if max_tokens is not None:
            lengths = np.minimum(lengths, max_tokens)
        self.ids = torch.from_numpy(np.asarray(ids))
        self.starts = torch.from_numpy(ends - lengths)
        self.lengths = torch.from_numpy(lengths)
        self.targets = torch.from_numpy(np.asarray(targets))
        self._sorted = torch.argsort(self.lengths, descending=True, stable=True)
        self.epoch = self.start_batch = 0

    @property
    def order(self) -> Tensor | None:
        """Row numbers in the order of the batches."""
        return torch.cat(self.plan())

    def plan(self) -> list[Tensor]:
        """The rows of each batch of this epoch."""
        if not self.shuffle:
            return list(torch.tensor_split(self._sorted, len(self)))
        shuffled = epoch_order(self.n_rows, self.seed, self.epoch)
        pools = []
        for pool in shuffled.split(self.bs * 50):
            pools.append(pool[torch.argsort(self.lengths[pool], descending=True, stable=True)])
        batches = list(torch.tensor_split(torch.cat(pools), len(self)))
        longest = max(range(len(batches)), key=lambda number: int(self.lengths[batches[number]].max()))
        rest = [
            number
            for number in epoch_order(len(batches), self.seed + 1, self.epoch).tolist()
            if number != longest
        ]
        return [batches[number] for number in [longest, *rest]]

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the order of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch

    def to(self, device: torch.device) -> None:
        """Move the texts to a device, if they fill less than half of what is free there."""
        if self.ids.device == device:
            return
        if device.type == "cuda":
            size = self.ids.numel() * self.ids.element_size()
            if size > torch.cuda.mem_get_info(device)[0] / 2:
                return
        self.ids, self.targets = self.ids.to(device), self.targets.to(device)

    def __len__(self) -> int:
        return -(-self.n_rows // self.bs)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        device = self.ids.device
        for rows in self.plan()[self.start_batch :]:
            lengths, starts = self.lengths[rows], self.starts[rows]
            steps = torch.arange(int(lengths.max()))
            real = steps < lengths[:, None]
            places = torch.where(real, starts[:, None] + steps, 0)
            ids = self.ids[places.to(device)].long().masked_fill_(~real.to(device), PADDING_ID)
            yield ids, lengths.to(device), self.targets[rows.to(device)]


class TextData(ModelData):
    """Texts with one label each (classification), or with any number of labels (multi-label).

    Made by `from_folder`, `from_df`, `from_csv` or `from_texts`. The field's vocabulary is shared with
    whatever else uses the field; if it has none yet, the training texts make one. A text without any token is
    an error that names it.

    Attributes:
        classes: Label names, in alphabetical order.
        field: Tokeniser and vocabulary.
        nt: Size of the vocabulary.
    """

    def __init__(
        self,
        field: Field,
        classes: Sequence[str],
        train_dl: TextLoader | None = None,
        valid_dl: TextLoader | None = None,
        test_dl: TextLoader | None = None,
        *,
        task: str = "classification",
        max_tokens: int | None = None,
        text: str = "text",
        path: str | Path | None = None,
    ) -> None:
        super().__init__(train_dl, valid_dl, test_dl, path)
        if field.vocab is None:
            raise ValueError("the field has no vocabulary: build it with field.build_vocab(texts) first")
        self.field, self.classes, self.task = field, list(classes), task
        self.nt, self.max_tokens, self.text = len(field.vocab), max_tokens, text

    @classmethod
    def from_texts(
        cls,
        field: Field,
        train: tuple[Texts, Sequence[Any]],
        valid: tuple[Texts, Sequence[Any]] | None = None,
        test: Texts | tuple[Texts, Sequence[Any]] | None = None,
        *,
        bs: int = 64,
        min_freq: int = 2,
        max_size: int | None = None,
        max_tokens: int | None = None,
        classes: Sequence[str] | None = None,
        seed: int | None = None,
        text: str = "text",
        path: str | Path | None = None,
    ) -> TextData:
        """From lists of texts and labels.

        Args:
            field: Tokeniser and vocabulary; without a vocabulary one is built from the training texts.
            train: Texts and their labels: one a text, or a list of them a text for multi-label data.
            valid: Likewise.
            test: Texts, with or without labels.
            bs: Texts a batch.
            min_freq: Rarer words become unknown (for a new vocabulary).
            max_size: Most words kept (for a new vocabulary).
            max_tokens: Keep only the last so many tokens of a text, in training and prediction.
            classes: Label names; those of the training labels by default.
            seed: Of the order of training.
            text: Name of the text column when predicting from frames.
            path: Where the learner keeps files.
        """
        multi = any(_is_many(label) for label in train[1])
        if classes is None:
            present = {str(one) for label in train[1] for one in (label if multi else [label])}
            classes = sorted(present)
        if len(classes) < (1 if multi else 2):
            raise ValueError(
                f"a classifier needs at least two classes, the training labels hold {len(classes)}"
            )
        if field.vocab is None:
            _check(train[0], "train")
            field.build_vocab(train[0], min_freq, max_size)

        def loader(name: str, part: Any, shuffle: bool) -> TextLoader | None:
            if part is None:
                return None
            texts, labels = part if isinstance(part, tuple) else (part, None)
            if labels is not None and len(texts) != len(labels):
                raise ValueError(f"{name}: {len(texts)} texts but {len(labels)} labels")
            _check(texts, name)
            ids, offsets = encode_texts(texts, field)
            _check_lengths(texts, offsets, name)
            targets = _targets(labels, len(texts), classes, multi, name)
            return TextLoader(ids, offsets, targets, bs, shuffle=shuffle, seed=seed, max_tokens=max_tokens)

        return cls(
            field,
            classes,
            loader("train", train, True),
            loader("valid", valid, False),
            loader("test", test, False),
            task="multilabel" if multi else "classification",
            max_tokens=max_tokens,
            text=text,
            path=path,
        )

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        field: Field,
        train: str = "train",
        validation: str | None = "valid",
        test: str | None = None,
        **options: Any,
    ) -> TextData:
        """From folders with a folder of `.txt` files for each class: `train/neg/1.txt`, `train/pos/2.txt`,
        ...

        Args:
            path: Root folder; the learner keeps its files there.
            field: Tokeniser and vocabulary.
            train: Name of the training folder.
            validation: Likewise; None for none.
            test: Likewise; class folders, or unlabelled files.
            options: As for `from_texts`.
        """
        root = Path(path)
        trained, classes = _read_classes(root / train)
        checked = _read_classes(root / validation, classes)[0] if validation is not None else None
        tested: Any = None
        if test is not None:
            folder = _folder(root / test)
            if any(entry.is_dir() for entry in folder.iterdir()):
                tested = _read_classes(folder, classes)[0]
            else:
                tested = [_read(file) for file in sorted(folder.glob("*.txt"))]
        return cls.from_texts(field, trained, checked, tested, classes=classes, path=root, **options)

    @classmethod
    def from_df(
        cls,
        path: str | Path | None,
        field: Field,
        train_df: pd.DataFrame,
        valid_df: pd.DataFrame | None = None,
        test_df: pd.DataFrame | None = None,
        *,
        text: str = "text",
        label: str | Sequence[str] = "label",
        val_idxs: Sequence[int] | np.ndarray | None = None,
        label_delim: str | None = None,
        **options: Any,
    ) -> TextData:
        """From data frames, which are not changed.

        Args:
            path: Where the learner keeps files.
            field: Tokeniser and vocabulary.
            train_df: Texts and labels.
            valid_df: Likewise; or use `val_idxs`.
            test_df: Texts, with or without the label column.
            text: The text column.
            label: The label column (cells that are lists make multi-label data), or several columns of 0 and
                1, one a class.
            val_idxs: Row numbers of `train_df` held out for validation.
            label_delim: Splits label cells into several labels, for example ";".
            options: As for `from_texts`.
        """
        if val_idxs is not None:
            if valid_df is not None:
                raise ValueError("give valid_df or val_idxs, not both")
            held = np.zeros(len(train_df), dtype=bool)
            held[np.asarray(val_idxs)] = True
            train_df, valid_df = train_df[~held], train_df[held]
        several = None if isinstance(label, str) else list(label)

        def part(frame: pd.DataFrame, name: str) -> tuple[list[str], list[Any]]:
            return text_column(frame, text), _labels(frame, label, label_delim, name)

        tested: Any = None
        if test_df is not None:
            labelled = set(several or [str(label)]) <= set(test_df.columns)
            tested = part(test_df, "test_df") if labelled else text_column(test_df, text)
        if several is not None:
            options.setdefault("classes", several)
        valid = None if valid_df is None else part(valid_df, "valid_df")
        return cls.from_texts(
            field, part(train_df, "train_df"), valid, tested, text=text, path=path, **options
        )

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        field: Field,
        train: str,
        validation: str | None = None,
        test: str | None = None,
        **options: Any,
    ) -> TextData:
        """From CSV files with a header below `path`; see `from_df` for the options."""
        import pandas as pd

        root = Path(path)
        frames: list[Any] = []
        for name in (train, validation, test):
            if name is not None and not (root / name).is_file():
                there = [entry.name for entry in root.iterdir()] if root.is_dir() else []
                raise FileNotFoundError(f"no file {root / name}{did_you_mean(name, there)}")
            frames.append(None if name is None else pd.read_csv(root / name))
        return cls.from_df(root, field, *frames, **options)

    def get_model(
        self,
        opt_fn: Callable[..., torch.optim.Optimizer] | None = None,
        emb_sz: int = 200,
        n_hid: int = 400,
        n_layers: int = 2,
        dropouti: float = 0.1,
        dropout: float = 0.4,
        wdrop: float = 0.1,
        dropoute: float = 0.02,
        dropouth: float = 0.1,
        *,
        max_len: int = 1400,
        hidden: int = 50,
        drop_mult: float = 1.0,
        rnn: str = "lstm",
        **options: Any,
    ) -> TextClassifierLearner:
        """An AWD-LSTM classifier in a learner; `learn.load_encoder(name)` lets it start from a language
        model.

        Args:
            opt_fn: Optimizer class; AdamW by default.
            emb_sz: Features of a word, as in the language model.
            n_hid: Features of the inner layers, as in the language model.
            n_layers: Number of recurrent layers, as in the language model.
            dropouti: Dropout on the embedded input.
            dropout: Dropout on the pooled features.
            wdrop: Dropout of recurrent weights.
            dropoute: Share of words dropped.
            dropouth: Dropout between the layers.
            max_len: Gradients flow through the last so many steps of a batch only.
            hidden: Features between the pooled ones and the classes.
            drop_mult: Multiplies all dropouts.
            rnn: "lstm", "gru" or "rnn".
            options: Passed on to the learner (`metrics`, `wd`, `clip`, `device`, `seed`, ...).
        """
        from zoo_text.classifier import TextClassifier, TextClassifierLearner

        model = TextClassifier(
            self.nt, len(self.classes or ()), emb_sz, n_hid, n_layers,
            dropouti=dropouti, dropout=dropout, wdrop=wdrop, dropoute=dropoute, dropouth=dropouth,
            max_len=max_len, hidden=hidden, drop_mult=drop_mult, rnn=rnn,
        )  # fmt: skip
        return TextClassifierLearner(self, model, opt_fn=opt_fn, **options)

    def default_metrics(self) -> list:
        """Accuracy; for multi-label data the share of right yes/no decisions."""
        return [accuracy_thresh(0.5)] if self.task == "multilabel" else [accuracy]

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Strings, a series of them, or a frame with the text column, as batches of ids and lengths."""
        if hasattr(items, "columns"):
            texts = text_column(items, self.text)
        else:
            texts = [items] if isinstance(items, str) else list(items)
        _check(texts, "input")
        for start in range(0, len(texts), 64):
            block = texts[start : start + 64]
            encoded = self.field.encode(block)
            ids = [
                np.asarray(row[-self.max_tokens :] if self.max_tokens else row, dtype=np.int64)
                for row in encoded
            ]
            lengths = torch.tensor([len(row) for row in ids])
            padded = torch.full((len(ids), int(lengths.max())), PADDING_ID)
            for row, own in enumerate(ids):
                padded[row, : len(own)] = torch.from_numpy(own)
            yield padded, lengths

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The field with its vocabulary, and the label names."""
        return {
            "task": self.task,
            "classes": self.classes,
            "field": self.field.state(),
            "max_tokens": self.max_tokens,
            "text": self.text,
        }, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> TextData:
        """Data without rows, for prediction."""
        field = Field.from_state(state["field"])
        return cls(
            field, state["classes"], task=state["task"], max_tokens=state["max_tokens"], text=state["text"]
        )


def _is_many(label: Any) -> bool:
    return isinstance(label, list | tuple | set | np.ndarray)


def _check(texts: Sequence[Any], where: str) -> None:
    empty = []
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{where}, text {row}: {text!r} ({type(text).__name__}) is not a text")
        if not text or text.isspace():
            empty.append(row)
    if empty:
        raise ValueError(f"{where}: empty text in row {some(empty)}; leave such rows out")


def _check_lengths(texts: Sequence[str], offsets: np.ndarray, where: str) -> None:
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise ValueError(f"{where}: the tokeniser finds nothing in row {some(empty)}: {texts[empty[0]]!r}")


def _targets(
    labels: Sequence[Any] | None, rows: int, classes: Sequence[str], multi: bool, where: str
) -> np.ndarray:
    place = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((rows, len(classes)), np.float32) if multi else np.zeros(rows, np.int64)
    for row, label in enumerate(() if labels is None else labels):
        for one in label if multi else (label,):
            if str(one) not in place:
                raise ValueError(
                    f"{where}, row {row}: class {str(one)!r} does not occur in training"
                    f"{did_you_mean(str(one), classes)}: the classes are {some(classes, 10)}"
                )
            if multi:
                targets[row, place[str(one)]] = 1
            else:
                targets[row] = place[str(one)]
    return targets


def _labels(frame: pd.DataFrame, label: str | Sequence[str], delim: str | None, where: str) -> list[Any]:
    names = [label] if isinstance(label, str) else list(label)
    for name in names:
        if name not in frame.columns:
            raise ValueError(
                f"{where}: no label column {name!r}{did_you_mean(name, frame.columns)}: "
                f"the frame has {', '.join(map(str, frame.columns))}"
            )
    if not isinstance(label, str):
        marks = frame[names].to_numpy()
        if not np.isin(marks, (0, 1)).all():
            raise ValueError(f"{where}: the label columns {some(names)} may hold only 0 and 1")
        return [[name for name, mark in zip(names, row, strict=True) if mark] for row in marks]
    cells = frame[label].tolist()
    for row, cell in zip(frame.index, cells, strict=True):
        if not _is_many(cell) and (cell is None or cell != cell):
            raise ValueError(f"{where}: the label in column {label!r}, row {row}, is missing")
    if delim is not None:
        return [[part for part in str(cell).split(delim) if part] for cell in cells]
    return cells


def _folder(path: Path) -> Path:
    if not path.is_dir():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"no folder {path}{did_you_mean(path.name, there)}")
    return path


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text (byte {error.start}): convert it first") from error


def _read_classes(
    path: Path, classes: Sequence[str] | None = None
) -> tuple[tuple[list[str], list[str]], list[str]]:
    folders = sorted(entry for entry in _folder(path).iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not folders:
        raise ValueError(f"{path} holds no class folders")
    texts, labels = [], []
    for folder in folders:
        if classes is not None and folder.name not in classes:
            raise ValueError(
                f"class folder {folder} has no counterpart in training{did_you_mean(folder.name, classes)}: "
                f"the classes are {some(classes, 10)}"
            )
        files = sorted(folder.glob("*.txt"))
        if not files:
            raise ValueError(f"class folder {folder} holds no .txt files: fill or remove it")
        for file in files:
            texts.append(_read(file))
            if not texts[-1].strip():
                raise ValueError(f"{file} is empty: remove it")
        labels += [folder.name] * len(files)
    return (texts, labels), [folder.name for folder in folders]
