"""What a service accepts: sizes, counts and rates."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, fields
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """What a service accepts; what is beyond is refused, and nothing of it is read further.

    Attributes:
        body_mb: a request, in millions of bytes.
        megapixels: a picture, in millions of pixels; judged by its header, before it is decoded.
        characters: a text.
        rows: of a batch, or inputs of one request.
        items: of a list, and ratings that are given.
        per_minute: requests of one client; None for any number.
        waiting: requests that wait for an answer; more are told to come again.
        seconds: that a request may take to come, and its answer to be found.
    """

    body_mb: float = 20.0
    megapixels: float = 50.0
    characters: int = 100_000
    rows: int = 1000
    items: int = 1000
    per_minute: int | None = None
    waiting: int = 1000
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and one.name == "per_minute":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"limits: {one.name} must be a number above 0, got {value!r}")


class BodyLimit:
    """Refuses requests whose bodies are too large, by what they say and by what comes.

    Args:
        app: what answers the others.
        most: bytes.
        seconds: in which a body must have come: clients that send a byte now and then hold nothing for long.
    """

    def __init__(self, app: Any, most: int, seconds: float = 60.0) -> None:
        self.app, self.most, self.seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"")
        if told.isdigit() and int(told) > self.most:
            await _refuse(send, 413, f"the body has {int(told):,} bytes, {self.most:,} are accepted")
            return
        received, whole, answered = 0, False, False
        refused: tuple[int, str] | None = None
        ending = time.monotonic() + self.seconds

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received, whole, refused
            if whole:  # what comes is that the client goes
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ending - time.monotonic()))
            except TimeoutError:
                message, refused = {}, (408, f"the body did not come in {self.seconds:g} seconds")
            received += len(message.get("body", b""))
            if received > self.most:
                refused = 413, f"the body is larger than {self.most:,} bytes"
            whole = refused is not None or not message.get("more_body", False)
            return message if refused is None else {"type": "http.request", "body": b"", "more_body": False}

        async def once(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            if refused is not None and not answered:
                answered = True
                await _refuse(send, *refused)
            elif refused is None:
                await send(message)

        await self.app(scope, counted, once)


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
