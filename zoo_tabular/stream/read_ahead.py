"""Work done by a thread ahead of its use, and memory given back in between. No torch here."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def give_back_memory() -> None:
    """Freed memory that allocators keep for later goes back to the system, where they can be told so.

    The allocators of C and Arrow would otherwise keep some hundred MB more than a training ever needs at a
    time. It takes a few milliseconds.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def read_ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items, made by a thread while the one before is in use.

    Args:
        items: made one after another; errors in it are raised here.
        depth: how many may wait, besides the one being made.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, item: Any) -> bool:
        while not stop.is_set():
            try:
                waiting.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
                del item
            put("end", None)
        except BaseException as error:  # raised again where the items are used
            put("error", error)

    thread = threading.Thread(target=work, name="zoo-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
            del item
    finally:
        stop.set()
        if thread is not threading.current_thread():  # the collector may end a forgotten pass anywhere
            thread.join()
