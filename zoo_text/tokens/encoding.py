"""Texts to ids, block by block, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np

from zoo_text.tokens.vocab import Field, ProvisionalIds

BLOCK_CHARACTERS = 1 << 21


class Block(NamedTuple):
    """Texts that are encoded together.

    Attributes:
        texts: some strings.
        continues: for each, whether it goes on with the text before.
    """

    texts: list[str]
    continues: list[bool]


class EncodedBlock(NamedTuple):
    """Ids of the texts of a block.

    Attributes:
        ids: int32, all texts joined.
        lengths: int64, one a text.
        continues: for each, whether it goes on with the text before.
    """

    ids: np.ndarray
    lengths: np.ndarray
    continues: list[bool]


def blocks_of(parts: Iterable[tuple[str, bool]], first: int = 0) -> Iterator[Block]:
    """Blocks of a few megabytes.

    Args:
        parts: texts, and whether each goes on with the one before.
        first: number of the first one, for errors.

    Raises:
        TypeError: for something that is not a string.
    """
    block, size = Block([], []), 0
    for row, (text, continues) in enumerate(parts, first):
        if not isinstance(text, str):
            raise TypeError(f"text {row} is {text!r} ({type(text).__name__}), not a string")
        block.texts.append(text)
        block.continues.append(continues)
        size += len(text)
        if size > BLOCK_CHARACTERS:
            yield block
            block, size = Block([], []), 0
    if block.texts:
        yield block


def check_workers(workers: int) -> int:
    """The number of processes, checked."""
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ValueError(f"workers must be a whole number of processes, at least 1, not {workers!r}")
    return workers


def encode_blocks(
    blocks: Iterable[Block], numbers: Field | ProvisionalIds, workers: int = 1
) -> Iterator[EncodedBlock]:
    """Ids of the texts of each block, in order; the same ones for any number of workers.

    Args:
        blocks: read as they are needed, a few in advance.
        numbers: a field with a vocabulary, or provisional numbers.
        workers: processes that make tokens; 1 makes them in this one.

    Raises:
        RuntimeError: if a process was killed.
    """
    if check_workers(workers) == 1:
        for block in blocks:
            yield _encode(block, numbers)
        return
    field = numbers if isinstance(numbers, Field) else numbers.field
    finals: dict[int, np.ndarray] = {}  # of each process: what its own numbers are here

    def mapped(process: int, encoded: EncodedBlock, words: list[str]) -> EncodedBlock:
        own = finals.get(process, np.zeros(0, np.int32))
        more = np.fromiter(map(numbers.number, words), np.int32, len(words))
        finals[process] = np.concatenate([own, more])
        return encoded._replace(ids=finals[process][encoded.ids])

    waiting: deque[Future[tuple[int, EncodedBlock, list[str]]]] = deque()
    # the pool ends its processes, also when whoever reads stops early
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context(), initializer=_start, initargs=(field.without_vocab(),)
    ) as pool:
        try:
            for block in blocks:
                waiting.append(pool.submit(_work, block))
                if len(waiting) > 2 * workers:
                    yield mapped(*waiting.popleft().result())
            while waiting:
                yield mapped(*waiting.popleft().result())
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"one of {workers} processes that make tokens was killed: if memory ran out, "
                "use fewer workers"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _encode(block: Block, numbers: Field | ProvisionalIds) -> EncodedBlock:
    encoded = numbers.encode(block.texts)
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return EncodedBlock(np.concatenate([np.zeros(0, np.int32), *encoded]), lengths, block.continues)


# in a worker: its own numbers, and how many of their words it has told
_own: list[ProvisionalIds] = []
_told: list[int] = [0]


def _start(field: Field) -> None:
    _own[:], _told[:] = [field.counter()], [0]
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, which the pool does not notice."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(block: Block) -> tuple[int, EncodedBlock, list[str]]:
    encoded = _encode(block, _own[0])
    words = _own[0].words(_told[0])
    _told[0] += len(words)
    return os.getpid(), encoded, words
