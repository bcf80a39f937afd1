"""Where files are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """Where files are kept that can be made again: `$ZOO_CACHE`, else `cache` in `$ZOO_HOME`, else `zoo` in
    the user's cache folder, as the platform has it.
    """
    chosen, whole = os.environ.get("ZOO_CACHE"), os.environ.get("ZOO_HOME")
    if chosen:
        return Path(chosen).expanduser()
    return Path(whole).expanduser() / "cache" if whole else user_cache_path("zoo", appauthor=False)


def home() -> Path:
    """Where data sets are kept: `datasets` in `$ZOO_HOME`, else in `cache_dir()`.

    Example:
        >>> home().name
        'datasets'
    """
    whole = os.environ.get("ZOO_HOME")
    return (Path(whole).expanduser() if whole else cache_dir()) / "datasets"
