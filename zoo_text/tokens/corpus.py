"""Reading text of any size into flat arrays of token ids."""

from __future__ import annotations

import os
import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from zoo.errors import did_you_mean
from zoo_text.tokens.encoding import BLOCK_CHARACTERS, blocks_of, encode_blocks
from zoo_text.tokens.listed import check_vocab_size
from zoo_text.tokens.vocab import Field, ProvisionalIds, Vocab

# where no tokeniser by name looks across: at a line end, or between two words that no exception can span
_CUT = re.compile(r"\S(?=\n)|[a-z]{6} (?=[a-z]{6})")
_ANY_CUT = re.compile(r"\S (?=\S)")
_TRIED = 1 << 16

COUNTED_AT_ONCE = 1 << 22


class IdStore:
    """A growing array of int32 that moves to a temporary file when it gets large.

    Args:
        in_memory: Ids kept in memory; beyond this they lie in a file and the result is memory-mapped.
    """

    def __init__(self, in_memory: int = 1 << 28) -> None:
        self.in_memory = in_memory
        self._ids = array("i")
        self._file: tempfile._TemporaryFileWrapper | None = None
        self._total = 0

    def extend(self, ids: np.ndarray) -> None:
        """Appends int32 ids."""
        self._ids.frombytes(ids.tobytes())
        self._total += len(ids)
        if len(self._ids) >= self.in_memory:
            if self._file is None:
                self._file = tempfile.NamedTemporaryFile(prefix="zoo_text_", suffix=".i32")  # noqa: SIM115
            self._ids.tofile(self._file)
            self._ids = array("i")

    def __len__(self) -> int:
        return self._total

    def finish(self) -> np.ndarray:
        """All ids, as an int32 array (a writable memory map where they were many)."""
        if self._file is None:
            return np.frombuffer(self._ids, dtype=np.int32) if self._ids else np.zeros(0, dtype=np.int32)
        self._ids.tofile(self._file)
        self._file.flush()
        mapped = np.memmap(self._file.name, dtype=np.int32, mode="r+", shape=(self._total,))
        if os.name == "posix":
            self._file.close()  # the map keeps the data; nothing is left behind
        return mapped


def count_ids(ids: np.ndarray, n: int = 0) -> np.ndarray:
    """How often each id occurs, for at least `n` of them; reads a memory-mapped array piece by piece.

    Example:
        >>> count_ids(np.array([2, 0, 2]), 4).tolist()
        [1, 0, 2, 0]
    """
    counts = np.zeros(n, dtype=np.int64)
    for start in range(0, len(ids), COUNTED_AT_ONCE):
        more = np.bincount(ids[start : start + COUNTED_AT_ONCE], minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    return counts


def encode_texts(
    texts: Iterable[str], numbers: Field | ProvisionalIds, in_memory: int = 1 << 28, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of many texts, one after the other.

    Args:
        texts: Any iterable of strings; read once, a few megabytes at a time.
        numbers: A field with a vocabulary, or provisional numbers.
        in_memory: See `IdStore`.
        workers: Processes that make tokens.

    Returns:
        ids: int32, all texts joined; offsets: int64, where each text starts (one more than there are texts).
    """
    store, lengths = IdStore(in_memory), array("q")
    for ids, counts, _ in encode_blocks(blocks_of((text, False) for text in texts), numbers, workers):
        store.extend(ids)
        lengths.extend(counts)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.frombuffer(lengths, dtype=np.int64) if lengths else [], out=offsets[1:])
    return store.finish(), offsets


def encode_new(
    texts: Iterable[str], field: Field, min_freq: int, max_size: int | None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray, Vocab]:
    """Ids of training texts, and the vocabulary that they make; each text becomes tokens once.

    The field is not changed: it gets the vocabulary from whoever has found the texts to be in order.

    Args:
        texts: Any iterable of strings; read once.
        field: Without a vocabulary.
        min_freq: Rarer words become unknown.
        max_size: Most words kept.
        workers: Processes that make tokens.

    Returns:
        ids and offsets as of `encode_texts`, and the vocabulary.
    """
    check_vocab_size(min_freq, max_size)
    numbers = field.counter()
    ids, offsets = encode_texts(texts, numbers, workers=workers)
    vocab, final = numbers.finish(count_ids(ids), min_freq, max_size)
    for start in range(0, len(ids), COUNTED_AT_ONCE):
        ids[start : start + COUNTED_AT_ONCE] = final[ids[start : start + COUNTED_AT_ONCE]]
    return ids, offsets, vocab


def read_blocks(path: Path, whole: bool = False) -> Iterator[str]:
    r"""The text of a file in blocks, cut only where no tokeniser by name looks across.

    Line ends are read as "\n", whatever system wrote them.

    Args:
        path: A UTF-8 file.
        whole: Give the file in one piece, however large (for tokenisers that may look anywhere).
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            if whole:
                yield file.read()
                return
            rest = ""
            while part := file.read(BLOCK_CHARACTERS):
                rest += part
                if len(rest) >= BLOCK_CHARACTERS and (cut := _cut(rest)):
                    yield rest[:cut]
                    rest = rest[cut:]
            if rest:
                yield rest
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): convert it first") from error


def _cut(text: str) -> int:
    """Where a text can be cut in two, as late as possible; 0 if nowhere."""
    for start in (max(0, len(text) - _TRIED), len(text) // 2):
        for match in reversed(list(_CUT.finditer(text, start))):
            cut = match.end()
            if text.rfind("<", start, cut) <= text.rfind(">", start, cut):  # not inside a tag
                return cut
    # texts of other scripts; patience first, as this is not as safe
    if len(text) < 8 * BLOCK_CHARACTERS:
        return 0
    return max([match.end() for match in _ANY_CUT.finditer(text, len(text) // 2)], default=0)


def text_files(path: Path) -> list[Path]:
    """A file itself, or all the `.txt` files below a folder (all files where none is called so), sorted."""
    if path.is_file():
        return [path]
    if not path.exists():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"no file or folder {path}{did_you_mean(path.name, there)}")
    every = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part[0] == "." for part in file.relative_to(path).parts)
    ]
    files = [file for file in every if file.name.lower().endswith(".txt")] or every
    if not files:
        raise FileNotFoundError(f"no text files in {path}")
    return files


def read_parts(files: Iterable[Path], field: Field) -> Iterator[tuple[str, bool]]:
    """The text of files in parts, each with whether it goes on with the one before."""
    whole = field.tokenizer.name is None or field.clean.by_patterns or "start" in field.rules
    for file in files:
        for number, block in enumerate(read_blocks(file, whole)):
            yield block, number > 0


def read_files(path: Path, field: Field) -> Iterator[str]:
    """The text of a file, or of all text files below a folder."""
    for text, _ in read_parts(text_files(path), field):
        yield text
