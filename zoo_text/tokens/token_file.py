"""Token ids of a corpus on disk, made once and read through memory maps."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo._version import __version__
from zoo.errors import did_you_mean
from zoo.folders import present_folder
from zoo_text.tokens.english import english
from zoo_text.tokens.token_build import KIND, META, VOCAB, Recipe, build_into
from zoo_text.tokens.vocab import Field, Vocab

_FORMAT = 1
log = logging.getLogger("zoo")


class TokenFile:
    """The ids of many texts in a folder: `tokens.u16` (or `tokens.i32`), `offsets.i64`, `counts.i64`,
    `vocab.json`, `meta.json`. Made by `build`, read by `open`.

    Attributes:
        folder: Where it lies.
        ids: All ids, one text after the other: uint16 for vocabularies of up to 65,536 words, else int32; a
            memory map. Writing to it changes nothing on disk.
        offsets: Where each text starts, int64, one more than there are texts.
        counts: How often each word of the vocabulary occurs, int64.
        vocab: The vocabulary.
        meta: What `meta.json` holds: tokeniser, cleaning, spaCy's version, where it came from.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "films"
        >>> field = Field(tokenize="whitespace")
        >>> tokens = TokenFile.build(["a good film", "a film"], field, folder)
        >>> tokens.vocab.itos
        ['<unk>', '<pad>', 'a', 'film', 'good']
        >>> [ids.tolist() for ids in TokenFile.open(folder)]
        [[2, 4, 3], [2, 3]]
    """

    def __init__(self, folder: Path, meta: dict[str, Any], vocab: Vocab) -> None:
        self.folder, self.meta, self.vocab = folder, meta, vocab
        self.offsets = _read(folder / "offsets.i64", np.int64, meta["texts"] + 1)
        self.counts = _read(folder / "counts.i64", np.int64, len(vocab))
        dtype = np.dtype(np.uint16 if meta["dtype"] == "uint16" else np.int32)
        file = folder / f"tokens.{'u16' if dtype == np.uint16 else 'i32'}"
        _check_size(file, dtype, meta["tokens"])
        if meta["tokens"]:
            self.ids: np.ndarray = np.memmap(file, dtype.newbyteorder("<"), mode="c")
        else:
            self.ids = np.zeros(0, dtype)

    @classmethod
    def build(
        cls,
        source: Path | Sequence[Path] | Iterable[str],
        field: Field,
        into: str | Path,
        *,
        workers: int = 1,
        min_freq: int = 1,
        max_size: int | None = None,
    ) -> TokenFile:
        """Makes the folder, or opens it if it holds the tokens of just this text, read in the same way.

        Memory does not grow with the corpus, apart from its distinct words. A build that was interrupted goes
        on where it stood when it is called again with the same text (files, or texts in a list; a generator
        can't be known again). The bytes are the same for any number of workers.

        Args:
            source: A text file, a folder of `.txt` files, a list of such (as `Path`s): each file is one text.
                Or texts: any iterable of strings.
            field: Tokeniser and vocabulary; without a vocabulary one is built, which the field then has.
            into: The folder. An older token file there is replaced once all is written.
            workers: Processes that make tokens.
            min_freq: Rarer words become unknown (for a new vocabulary).
            max_size: Most words kept (for a new vocabulary).

        Raises:
            FileExistsError: If `into` is something else than a token file.
            FileNotFoundError: If a file is missing.
            TypeError: If `source` is one string, or holds something else than strings.
        """
        tokens = cls.make(Recipe(source, field, min_freq, max_size), Path(into), workers)
        if field.vocab is None:
            field.vocab = tokens.vocab
        return tokens

    @classmethod
    def make(cls, recipe: Recipe, folder: Path, workers: int = 1) -> TokenFile:
        """What `build` does, but for the field's vocabulary."""
        found = present_folder(folder)
        if found.exists() and not _may_replace(found):
            raise FileExistsError(f"{folder} exists and holds no token file; choose another folder")
        if recipe.key is None or _key_of(found) != recipe.key:
            about = {"kind": KIND, "format": _FORMAT, "zoo": __version__}
            build_into(folder, recipe, about, workers)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TokenFile:
        """Opens a folder that `build` made; nothing but offsets and vocabulary is read.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is of another kind, of a newer version, or damaged.
        """
        path = present_folder(Path(folder))
        if not (path / META).is_file():
            there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            raise FileNotFoundError(
                f"no token file {path}{did_you_mean(path.name, there)}: TokenFile.build makes one"
            )
        meta = _json(path / META)
        if not isinstance(meta, dict) or meta.get("kind") != KIND:
            raise ValueError(f"{path} holds no token file")
        if meta.get("format") != _FORMAT:
            raise ValueError(
                f"{path} has format {meta.get('format')} of zoo {meta.get('zoo')}, this zoo {__version__} "
                f"reads format {_FORMAT}: update zoo, or build it anew"
            )
        try:
            return cls(path, meta, Vocab(_json(path / VOCAB)))
        except (KeyError, TypeError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error!r}): remove it and build it anew") from None

    def field(self) -> Field:
        """The field that read the texts.

        Raises:
            ValueError: If its tokeniser is a function, which no file can hold.
        """
        if self.meta["reading"] is None:
            raise ValueError(
                f"the texts of {self.folder} were read with a tokenize function of your own: give field=..."
            )
        if self.meta["spacy"] is not None and self.meta["spacy"] != english().version:
            log.warning(
                "%s holds tokens of spaCy %s, new texts are read with %s: some tokens may differ",
                self.folder, self.meta["spacy"], english().version,
            )  # fmt: skip
        return Field.from_state({**self.meta["reading"], "vocab": self.vocab.itos})

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of one text."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"text {row} of {len(self)}")
        row %= len(self)
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def __repr__(self) -> str:
        sizes = f"{len(self):,} texts, {len(self.ids):,} tokens, {len(self.vocab):,} words"
        return f"TokenFile({self.folder}: {sizes})"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove its folder and build it anew") from None


def _read(file: Path, dtype: type, count: int) -> np.ndarray:
    _check_size(file, np.dtype(dtype), count)
    return np.fromfile(file, np.dtype(dtype).newbyteorder("<"))


def _check_size(file: Path, dtype: np.dtype, count: int) -> None:
    size = file.stat().st_size
    if size != count * dtype.itemsize:
        raise ValueError(
            f"{file} is damaged: {size:,} bytes instead of {count * dtype.itemsize:,}; "
            "remove its folder and build it anew"
        )


def _may_replace(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return json.loads((folder / META).read_text(encoding="utf8")).get("kind") == KIND
    except (OSError, ValueError, AttributeError):
        return False


def _key_of(folder: Path) -> str | None:
    try:
        return json.loads((folder / META).read_text(encoding="utf8")).get("key")
    except (OSError, ValueError, AttributeError):
        return None
