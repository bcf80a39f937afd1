"""Several processes that train one model, as `torchrun` starts them.

With `torchrun --nproc-per-node 2 script.py` every process runs the whole script; this module is how they find
each other. With one process nothing here does anything.

The group is made at the first use. When a process fails, the others leave what they wait for with a
`ProcessFailed` that holds its message.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

log = logging.getLogger("zoo")

T = TypeVar("T")

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = 2.0  # seconds in which the others may fail with the same error, so that the group can live on
_INTERRUPT = "KeyboardInterrupt"


class ProcessFailed(RuntimeError):
    """Another process of the group failed; the message is that of its error."""


class _Group:
    """The process group of this process: made lazily, given up after a failure, made again if needed."""

    def __init__(self) -> None:
        self.generation = 0
        self.rounds = 0
        self.store: Any = None
        self.ready = False
        self.writes: Counter[str] = Counter()
        self.meetings = 0

    def start(self) -> None:
        """Join the other processes, unless that is done."""
        if self.ready:
            return
        import torch.distributed as dist

        if dist.is_initialized():  # by the script
            self.store = dist.distributed_c10d._get_default_store()
            self.ready = True
            return
        if self.store is None:
            self.store, _, _ = next(dist.rendezvous("env://"))
            atexit.register(self.stop)
        device = local_device()
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            if _int("LOCAL_WORLD_SIZE", world_size()) <= torch.cuda.device_count():
                backend = "cpu:gloo,cuda:nccl"
            elif is_main():
                log.warning("there are more processes than GPUs here: they share them, which is slow")
        # some functions there keep the group that exists when they are imported, as a default argument, and
        # with it its connections
        importlib.import_module("torch.distributed.nn.functional")
        store = dist.PrefixStore(f"zoo/{self.generation}", self.store)
        dist.init_process_group(backend, store=store, rank=rank(), world_size=world_size())
        self.ready = True

    def stop(self) -> None:
        """Leave the group, at the end of the process."""
        error = getattr(sys, "last_value", None)
        if error is not None:
            self.fail(error)
        self.leave()

    def leave(self) -> None:
        """Give the group up without waiting for the others."""
        if not self.ready:
            return
        import torch.distributed as dist

        self.ready = False
        self.generation += 1
        if not dist.is_initialized():
            return
        if "nccl" in str(dist.get_backend_config()):
            dist.distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()

    def fail(self, error: BaseException) -> None:
        """Tell the others of an error here, and give the group up unless all have failed alike."""
        if not self.ready or isinstance(error, ProcessFailed):
            return
        prefix = f"failed/{self.rounds}"
        text = (
            _INTERRUPT if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {_first(error)}"
        )
        try:
            self.store.set(f"{prefix}/{rank()}", text)
            others = [f"{prefix}/{number}" for number in range(world_size())]
            deadline = time.monotonic() + _PATIENCE
            together = False
            while not together and time.monotonic() < deadline:
                together = self.store.check(others)
                if not together:
                    time.sleep(0.02)
            verdict = self.store.compare_set(f"{prefix}/verdict", "", "on" if together else "end")
        except RuntimeError as lost:  # the store is gone when its process has ended
            log.debug("cannot tell the other processes of %s: %s", text, lost)
            verdict = b"end"
        self.rounds += 1
        if verdict == b"end":
            self.leave()

    def lost(self, error: RuntimeError) -> BaseException:
        """What to raise when an exchange failed: the reason is an error elsewhere, if there is one."""
        deadline = time.monotonic() + 2 * _PATIENCE
        found: BaseException | None = None
        try:
            while found is None and time.monotonic() < deadline:
                found = self._failure()
                time.sleep(0.02)
        except RuntimeError as gone:
            log.debug("the store cannot be read: %s", gone)
        self.rounds += 1
        self.leave()
        return found or ProcessFailed(f"another process has ended: {_first(error)}")

    def raise_failure(self) -> None:
        """Raise the error of another process, if one has failed."""
        found = self._failure()
        if found is not None:
            self.rounds += 1
            self.leave()
            raise found

    def _failure(self) -> BaseException | None:
        for number in range(world_size()):
            key = f"failed/{self.rounds}/{number}"
            if number != rank() and self.store.check([key]):
                text = self.store.get(key).decode()
                if text == _INTERRUPT:
                    return KeyboardInterrupt()
                return ProcessFailed(f"process {number} failed: {text}")
        return None


_group = _Group()


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _int(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def world_size() -> int:
    """How many processes train together; 1 unless a launcher such as `torchrun` started this one.

    Example:
        >>> world_size()
        1
    """
    if not all(name in os.environ for name in _NEEDED) or not torch.distributed.is_available():
        return 1
    return int(os.environ["WORLD_SIZE"])


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that speaks for all."""
    return rank() == 0


def local_device() -> torch.device:
    """The device of this process among several: its own GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", _int("LOCAL_RANK", rank()) % torch.cuda.device_count())
    return torch.device("cpu")


def generation() -> int:
    """How often the group was given up."""
    return _group.generation


def fail(error: BaseException) -> None:
    """Tell the other processes that this one failed; they raise `ProcessFailed` instead of waiting for it."""
    if world_size() > 1:
        _group.fail(error)


@contextlib.contextmanager
def exchange() -> Iterator[None]:
    """Around calls of `torch.distributed`: joins the group, and says why the others are gone if they are."""
    _group.start()
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ProcessFailed):
            raise
        raise _group.lost(error) from None


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        all_reduce_sum(torch.zeros(1))


def meet() -> None:
    """All processes are here; who wrote which file before is forgotten."""
    if world_size() > 1:
        _group.meetings = max(all_objects(_group.meetings)) + 1
        _group.writes.clear()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if world_size() > 1:
        with exchange():
            torch.distributed.all_reduce(tensor)
    return tensor


def all_gather(tensor: Tensor) -> list[Tensor]:
    """A tensor of one shape from every process, in the order of their ranks."""
    if world_size() == 1:
        return [tensor]
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world_size())]
    with exchange():
        torch.distributed.all_gather(parts, tensor.contiguous())
    return parts


def gather_rows(tensor: Tensor, counts: list[int]) -> Tensor:
    """The rows of all processes one after another; the processes may hold different numbers of them.

    Args:
        tensor: (counts[rank], ...).
        counts: rows of every process.

    Returns:
        (sum of counts, ...), on every process.
    """
    most = max(counts)
    if len(tensor) < most:
        tensor = torch.cat([tensor, tensor.new_zeros(most - len(tensor), *tensor.shape[1:])])
    kind = tensor.dtype
    parts = all_gather(tensor.to(torch.uint8) if kind == torch.bool else tensor)
    whole = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return whole.to(kind)


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Every process takes the values of process 0, in place."""
    if world_size() == 1:
        return
    with exchange():
        for tensor in tensors:
            whole = tensor.detach()
            flat = whole if whole.is_contiguous() else whole.contiguous()
            sent = flat.view(torch.uint8) if flat.dtype == torch.bool else flat
            torch.distributed.broadcast(sent, 0)
            if flat is not whole:
                whole.copy_(flat)


def all_objects(value: T) -> list[T]:
    """A small Python object from every process, in the order of their ranks, on every process.

    Example:
        >>> all_objects("alone")
        ['alone']
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with exchange():
        torch.distributed.all_gather_object(values, value)
    return values


def from_main(value: T) -> T:
    """The value of process 0, on every process."""
    if world_size() == 1:
        return value
    values = [value]
    with exchange():
        torch.distributed.broadcast_object_list(values, 0)
    return values[0]


def claims(path: str | Path) -> bool:
    """Whether this process shall write the file at `path`: the first one of this host that asks does.

    Every process counts its own questions, so that the next file of the same name has a writer too. They
    count anew after `meet`, so that one that wrote alone is not ahead for ever.
    """
    return world_size() == 1 or _claim(path)[1]


def write_once(path: str | Path, write: Callable[[], Any]) -> None:
    """Call `write` in one of the processes that name this file; they all go on when it is done.

    Raises:
        OSError: if the file could not be written, in all processes.
        ProcessFailed: if it failed in another process for another reason.
    """
    if world_size() == 1:
        write()
        return
    key, mine = _claim(path)
    if mine:
        try:
            write()
        except Exception as error:
            kind = "file" if isinstance(error, OSError) else "other"
            _group.store.set(f"{key}/done", f"{kind}: {type(error).__name__}: {_first(error)}")
            raise
        _group.store.set(f"{key}/done", "ok")
        return
    while not _group.store.check([f"{key}/done"]):
        _group.raise_failure()
        time.sleep(0.02)
    answer = _group.store.get(f"{key}/done").decode()
    if answer != "ok":
        kind, _, told = answer.partition(": ")
        failed = OSError if kind == "file" else ProcessFailed
        raise failed(f"another process failed to write {path}: {told}")


def _claim(path: str | Path) -> tuple[str, bool]:
    _group.start()
    place = f"{socket.gethostname()}:{Path(path).resolve()}"
    _group.writes[place] += 1
    key = f"write/{_group.meetings}/{place}/{_group.writes[place]}"
    return key, _group.store.add(key, 1) == 1
