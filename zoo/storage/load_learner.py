"""Opening an exported learner of any domain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from zoo.storage.archive import ArchiveError, read_archive
from zoo.storage.registry import domain_learner


def load_learner(path: str | Path, device: str | torch.device | None = None) -> Any:
    """Open an exported learner; nothing in the file is executed.

    Args:
        path: the folder or zip file that `Learner.export` wrote.
        device: where it shall predict; the best of the machine by default.

    Returns:
        A learner of the class that was exported, ready for `predict_one` and `predict_batch`.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ArchiveError: if it is not an exported learner, is damaged, or is of a newer format.
    """
    archive = read_archive(path)
    try:
        domain = archive.config["domain"]
        return domain_learner(domain).from_archive(archive, device)
    except ArchiveError:
        raise
    except (KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise ArchiveError(
            f"{path}: the configuration is incomplete or damaged: {json.dumps(str(error))}"
        ) from error
