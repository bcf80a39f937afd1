"""Runs the service until it is told to end."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.storage.load_learner import load_learner


def open_models(paths: Sequence[Path], device: str | None = None) -> dict[str, Any]:
    """Exported learners by the names of their files (of run folders by those of the folders).

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for two of one name.
    """
    found: dict[str, Any] = {}
    for path in paths:
        file = path / "model.zip" if path.is_dir() and (path / "model.zip").exists() else path
        if not file.exists():
            raise FileNotFoundError(f"there is no model at {file}")
        own = path.resolve()
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", own.name if path.is_dir() else own.stem) or "model"
        if name in found:
            raise ValueError(f"two models are called {name!r}: rename one of the files")
        found[name] = load_learner(file, device=device)
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(app: Any, host: str, port: int, *, quiet: bool = False) -> None:
    """Serves an app; requests that are being answered are finished before it ends."""
    import uvicorn

    uvicorn.run(
        app, host=host, port=port, log_level="warning" if quiet else "info", server_header=False,
        timeout_graceful_shutdown=20, limit_concurrency=None, h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip
