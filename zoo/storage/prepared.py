"""Opening prepared data of any domain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.data.prepared import read_arrays, read_contents, restored_path
from zoo.folders import present_folder
from zoo.storage.archive import ArchiveError
from zoo.storage.registry import domain_learner


def load_data(folder: str | Path, path: str | Path | None = None, *, verify: bool = False) -> Any:
    """Open prepared data that `data.save(folder)` wrote; nothing in the files is executed.

    Batches are the same, bit for bit, in the same order. Arrays are memory-mapped: several processes may
    open one folder and share its pages; what one of them changes in memory never reaches the files.

    Args:
        folder: what `data.save` wrote.
        path: where learners keep their files, and pictures are found below; by default as it was, or, if
            `folder` lies below it, where it is now.
        verify: read every array once, to find damage anywhere in it. Without it, arrays of up to 1 MiB are
            compared with their digests as a whole, larger ones by their length and 16 blocks of 64 KiB.

    Returns:
        Data of the class that was saved.

    Raises:
        FileNotFoundError: if there are no prepared data at `folder`.
        ArchiveError: if they are damaged, of a newer format, or of a domain that is not installed.

    Example:
        >>> import tempfile, torch
        >>> from zoo import ModelData, TensorLoader
        >>> folder = Path(tempfile.mkdtemp()) / "prepared"
        >>> _ = ModelData(TensorLoader(torch.arange(4.0), torch.arange(4), bs=2)).save(folder)
        >>> [target.tolist() for _, target in load_data(folder).train_dl]
        [[0, 1], [2, 3]]
    """
    folder = present_folder(Path(folder))
    try:
        contents = read_contents(folder)
        arrays = read_arrays(folder, contents, verify)
        base = restored_path(contents["path"], folder) if path is None else Path(path)
        kind = domain_learner(contents["domain"]).data_class
        return kind.from_prepared(contents, arrays, base)
    except ArchiveError:
        raise
    except ValueError as error:
        raise ArchiveError(str(error)) from None
    except (KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise ArchiveError(f"{folder}: incomplete or damaged: {json.dumps(str(error))}") from error
