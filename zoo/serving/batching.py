"""Single requests that wait at the same time are answered together, by one pass of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


class Busy(Exception):
    """More requests wait than are accepted."""


@dataclass
class _Waiting:
    item: Any
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Collects inputs while the model is at work, and gives it all that wait at once.

    Nothing waits longer than it must: a request that finds the model idle is answered alone and at once;
    those that come meanwhile are the next batch. The model works in one thread, so it sees one batch at a
    time.

    Args:
        answer: a list of inputs to a list of answers, one each; an answer that is an exception is raised for
            its input alone.
        most: inputs of a batch.
        waiting: inputs that may wait.
    """

    def __init__(
        self, answer: Callable[[list[Any]], Sequence[Any]], most: int = 64, waiting: int = 1000
    ) -> None:
        self.answer, self.most, self.limit = answer, most, waiting
        self.batches = self.rows = self._others = 0
        self._queue: list[_Waiting] = []
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Any) -> Any:
        """The answer for one input.

        Raises:
            Busy: where too many wait.
        """
        if len(self._queue) >= self.limit:
            raise Busy(f"{self.limit} requests wait already")
        waiting = _Waiting(item)
        self._queue.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await waiting.answer

    async def alone(self, work: Callable[..., Any], *args: Any) -> Any:
        """Other work of the model, in its thread.

        Raises:
            Busy: where too much waits.
        """
        if self._others >= self.limit:
            raise Busy(f"{self.limit} requests wait already")
        self._others += 1
        try:
            return await self._run(work, *args)
        finally:
            self._others -= 1

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    async def _work(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[: self.most], self._queue[self.most :]
            batch = [one for one in batch if not one.answer.cancelled()]
            if not batch:
                continue
            self.batches += 1
            self.rows += len(batch)
            try:
                answers = await self._run(self.answer, [one.item for one in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(answers)} answers for {len(batch)} inputs")
            except Exception as error:  # of the whole batch: each of them is told
                answers = [error] * len(batch)
            for one, found in zip(batch, answers, strict=True):
                if one.answer.done():
                    continue
                if isinstance(found, Exception):
                    one.answer.set_exception(found)
                else:
                    one.answer.set_result(found)

    def close(self) -> None:
        """No more work; what is being worked on ends."""
        self._worker.shutdown(wait=True)
