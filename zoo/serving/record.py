"""Predictions and corrections of a service, a line of JSON each."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("zoo.serving")
_REMEMBERED = 10_000  # predictions that can be corrected
_CHARACTERS = 100_000_000  # that their inputs may have together: pictures are large


class Record:
    """Appends to a file what was asked and answered, and what people corrected.

    Args:
        path: the file; None keeps nothing.

    Raises:
        OSError: where the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()  # ids to models and inputs as JSON
        self._held = 0
        if path is not None:  # told now, not to each client
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a", encoding="utf8").close()

    def prediction(self, model: str, domain: Any, given: Any, found: Any) -> str | None:
        """Keeps a prediction; returns its id, None where nothing is kept.

        A disk that is full is logged: the answer is worth more than its record."""
        if self.path is None:
            return None
        number = secrets.token_hex(8)
        told = json.dumps(given, default=str)
        line = {"id": number, "model": model, "kind": domain.kind, "input": given, "answer": found}
        try:
            self._write(line)
        except OSError as error:
            log.error("%s: a prediction is not kept: %s", self.path, error)
            return None
        with self._lock:
            self._known[number] = (model, told)
            self._held += len(told)
            while len(self._known) > _REMEMBERED or (self._held > _CHARACTERS and len(self._known) > 1):
                self._held -= len(self._known.popitem(last=False)[1][1])
        return number

    def correction(self, model: str, number: str, truth: Any) -> bool:
        """Keeps what an answer should have been; False for an id that is not known."""
        with self._lock:
            known = self._known.get(number)
        if known is None or known[0] != model:
            return False
        self._write({"id": number, "model": model, "input": json.loads(known[1]), "truth": truth})
        return True

    def _write(self, line: dict[str, Any]) -> None:
        told = json.dumps({"time": round(time.time(), 3), **line}, default=str)
        with self._lock, Path(self.path or "").open("a", encoding="utf8") as file:
            file.write(told + "\n")


def read_corrections(path: Path) -> list[dict[str, Any]]:
    """The corrected inputs of a record, the last correction of each: {"model", "input", "truth"}.

    Raises:
        ValueError: for a file that is none, by its line.
    """
    found: dict[str, dict[str, Any]] = {}
    with path.open(encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            try:
                one = json.loads(line)
                if "truth" in one:
                    found[one["id"]] = {name: one[name] for name in ("model", "input", "truth")}
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: it is no line of a record ({error})") from error
    return list(found.values())


def corrected(path: str | Path, target: str, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """What people corrected in a service, as rows for the next training.

    Args:
        path: the record of a service.
        target: name of the column of the right answers.
        names: columns for the fields of an input that are called otherwise, such as {"text": "review"}.

    Raises:
        ValueError: for a file that is no record, and one without corrections.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "record.jsonl"
        >>> line = {"id": "1", "model": "films", "input": {"text": "fine"}, "truth": "pos"}
        >>> _ = file.write_text(json.dumps(line))
        >>> corrected(file, "label", {"text": "review"}).to_dict("records")
        [{'review': 'fine', 'label': 'pos'}]
    """
    import pandas as pd

    found = read_corrections(Path(path))
    if not found:
        raise ValueError(f"{path} holds no corrections")
    rows = [
        {**{(names or {}).get(k, k): v for k, v in one["input"].items()}, target: one["truth"]}
        for one in found
    ]
    return pd.DataFrame(rows)
