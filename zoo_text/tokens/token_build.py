"""Building a token file: what is read and how, and a place to stand at when the build is interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo._version import __version__
from zoo.data.utf8 import json_text
from zoo.errors import did_you_mean
from zoo.folders import atomic_folder, errors_name
from zoo_text.tokens.corpus import COUNTED_AT_ONCE, count_ids, read_parts, text_files
from zoo_text.tokens.encoding import blocks_of, check_workers, encode_blocks
from zoo_text.tokens.english import english
from zoo_text.tokens.listed import check_listed, check_vocab_size
from zoo_text.tokens.vocab import Field

KIND, META, VOCAB = "tokens", "meta.json", "vocab.json"
_PROGRESS = "progress.json"
_WORK = _IDS, _LENGTHS, _WORDS = "ids.i32", "lengths.i64", "words.jsonl"
_active: set[Path] = set()  # what this process builds now
_BLOCKS_A_NOTE = 16  # what an interruption costs at most, in blocks of about 2 MB


class Recipe:
    """What is read, and how.

    Args:
        source: Paths or texts, see `TokenFile.build`.
        field: Tokeniser and vocabulary.
        min_freq: Of a new vocabulary.
        max_size: Of a new vocabulary.

    Attributes:
        key: Says what the result holds; None if that can't be known beforehand: for texts that can be read
            only once, and tokenisers that are functions.
        reading: The field's options, None if its tokeniser is a function.
    """

    def __init__(
        self,
        source: Path | Sequence[Path] | Iterable[str],
        field: Field,
        min_freq: int,
        max_size: int | None,
    ) -> None:
        if isinstance(source, str):
            raise TypeError("the source is one string: give Path(...) for a file, or a list of texts")
        if not isinstance(source, Path):
            check_listed(source, "the source")
        check_vocab_size(min_freq, max_size)
        self.field, self.min_freq, self.max_size = field, min_freq, max_size
        self._files = _files(source)
        self._texts: Iterable[Any] = () if isinstance(source, Path) else source
        named = field.tokenizer.name is not None
        self.reading = field.without_vocab().state() if named else None
        self.spacy = english().version if field.tokenizer.name == "spacy" else None
        self.key = self._key() if named and (self._files is not None or isinstance(source, Sized)) else None

    def parts(self) -> Iterator[tuple[str, bool]]:
        """Texts, or parts of them, each with whether it goes on with the one before."""
        if self._files is not None:
            return read_parts(self._files, self.field)
        return ((text, False) for text in self._texts)

    def _key(self) -> str:
        words = None if self.field.vocab is None else self.field.vocab.itos
        new = [self.min_freq, self.max_size] if words is None else None
        digest = hashlib.sha256(json.dumps([self.reading, self.spacy, words, new]).encode())
        if self._files is None:
            for text in self._texts:
                if not isinstance(text, str):
                    continue  # the build names it
                content = text.encode("utf8", "surrogatepass")
                digest.update(len(content).to_bytes(8, "little") + content)
        else:
            for path in self._files:
                digest.update(path.stat().st_size.to_bytes(8, "little"))
                with path.open("rb") as file:
                    while piece := file.read(1 << 20):
                        digest.update(piece)
        return digest.hexdigest()


def _files(source: Any) -> list[Path] | None:
    """The files of a source, None if it holds texts."""
    if isinstance(source, Path):
        return text_files(source)
    if isinstance(source, Sequence) and source and all(isinstance(one, Path) for one in source):
        for path in source:
            if not path.is_file():
                there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
                raise FileNotFoundError(f"no file {path}{did_you_mean(path.name, there)}")
        return list(source)
    return None


class _Work:
    """The files of a build under way: ids by provisional numbers, lengths, words, and how far they go."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self.folder = folder
        # other versions may cut files into other parts
        self.done: dict[str, Any] = {"key": key, "zoo": __version__, **dict.fromkeys((*_WORK, "parts"), 0)}
        if key is not None:
            self._go_on()
        self._files = {name: self._at_end(name, self.done[name]) for name in _WORK}
        self.words: list[str] = []
        if self.done[_WORDS]:
            with (folder / _WORDS).open(encoding="utf8") as lines:
                self.words = [json.loads(line) for line in lines]

    def _go_on(self) -> None:
        try:
            noted = json.loads((self.folder / _PROGRESS).read_text(encoding="utf8"))
            complete = all((self.folder / name).stat().st_size >= noted[name] for name in _WORK)
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing was noted
        if complete and all(noted.get(name) == self.done[name] for name in ("key", "zoo")):
            self.done = noted

    def _at_end(self, name: str, size: int) -> IO[bytes]:
        """A file opened to go on at a size; what was written after the last note is cut off."""
        path = self.folder / name
        path.touch()
        file = path.open("r+b")
        file.truncate(size)
        file.seek(size)
        return file

    def _write(self, name: str, content: bytes) -> None:
        self._files[name].write(content)
        self.done[name] += len(content)

    def add(self, ids: np.ndarray, lengths: np.ndarray, continues: list[bool]) -> None:
        """Appends the ids of a block; the length of a part that goes on with a text is its complement."""
        self._write(_IDS, ids.astype("<i4", copy=False).tobytes())
        self._write(_LENGTHS, np.where(continues, ~lengths, lengths).astype("<i8").tobytes())
        self.done["parts"] += len(lengths)

    def note(self, words: list[str]) -> None:
        """Writes new words, and how far all files go."""
        self._write(_WORDS, "".join([json.dumps(word) + "\n" for word in words]).encode())
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        fresh = self.folder / f"{_PROGRESS}.new"
        fresh.write_text(json.dumps(self.done), encoding="utf8")
        fresh.replace(self.folder / _PROGRESS)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def pieces(self) -> Iterator[np.ndarray]:
        """The provisional ids, some megabytes at a time."""
        with (self.folder / _IDS).open("rb") as file:
            while len(piece := np.fromfile(file, "<i4", COUNTED_AT_ONCE)):
                yield piece

    def offsets(self) -> np.ndarray:
        """Where each text starts, and the last one ends."""
        signed = np.fromfile(self.folder / _LENGTHS, "<i8")
        ends = np.concatenate([[0], np.cumsum(np.where(signed < 0, ~signed, signed))])
        starts = signed >= 0
        return np.concatenate([ends[:-1][starts], ends[-1:]]).astype("<i8")


def build_into(folder: Path, recipe: Recipe, about: dict[str, Any], workers: int) -> None:
    """Makes the folder of a token file."""
    check_workers(workers)
    with errors_name(folder), _working_folder(folder, recipe.key) as work_folder:
        work = _Work(work_folder, recipe.key)
        try:
            numbers = recipe.field.counter(work.words)
            told = len(work.words)
            done = work.done["parts"]
            blocks = blocks_of(islice(recipe.parts(), done, None), done)
            for count, encoded in enumerate(encode_blocks(blocks, numbers, workers), 1):
                work.add(*encoded)
                if count % _BLOCKS_A_NOTE == 0:
                    work.note(new := numbers.words(told))
                    told += len(new)
            work.note(numbers.words(told))
        finally:
            work.close()
        counts = np.zeros(0, np.int64)
        for piece in work.pieces():
            more = count_ids(piece, len(counts))
            more[: len(counts)] += counts
            counts = more
        vocab = recipe.field.vocab
        if vocab is None:
            vocab, final = numbers.finish(counts, recipe.min_freq, recipe.max_size)
        else:
            final = np.fromiter(map(vocab.__getitem__, numbers.words()), np.int32)
        narrow = len(vocab) <= 1 << 16
        final_counts = np.zeros(len(vocab), np.int64)
        np.add.at(final_counts, final[: len(counts)], counts)
        offsets = work.offsets()
        with atomic_folder(folder) as fresh:
            with (fresh / ("tokens.u16" if narrow else "tokens.i32")).open("wb") as file:
                for piece in work.pieces():
                    file.write(final[piece].astype("<u2" if narrow else "<i4").tobytes())
            offsets.tofile(fresh / "offsets.i64")
            final_counts.astype("<i8").tofile(fresh / "counts.i64")
            (fresh / VOCAB).write_text(json_text(vocab.itos), encoding="utf8")
            meta = {
                **about,
                "key": recipe.key,
                "reading": recipe.reading,
                "spacy": recipe.spacy,
                "dtype": "uint16" if narrow else "int32",
                "tokens": work.done[_IDS] // 4,
                "texts": len(offsets) - 1,
                "unknown": int(final_counts[0]),
            }
            (fresh / META).write_text(json_text(meta), encoding="utf8")


@contextlib.contextmanager
def _working_folder(folder: Path, key: str | None) -> Iterator[Path]:
    """Where a build notes how far it is. A build that fails leaves it for the next one, if it can go on."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shared = folder.resolve().with_name(f".{folder.name}.build")
    with contextlib.ExitStack() as held:
        if key is not None and _lock(shared, held):
            yield shared
            shutil.rmtree(shared)
        else:  # what can't go on, or is being built by somebody else just now
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.build-", dir=folder.parent) as own:
                yield Path(own)


def _lock(folder: Path, held: contextlib.ExitStack) -> bool:
    """Whether the folder is this build's until `held` closes; the system frees it if the process dies."""
    try:
        import fcntl
    except ImportError:  # not posix
        return False
    if folder in _active:
        return False
    folder.mkdir(exist_ok=True)
    lock = held.enter_context((folder / "lock").open("w"))
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # forked workers do not hold it
    except OSError:
        return False
    _active.add(folder)
    held.callback(_active.discard, folder)
    return True
