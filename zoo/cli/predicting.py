"""`zoo predict`, `recommend` and `generate`: answers of an exported model on new inputs."""

from __future__ import annotations

import contextlib
import csv
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.cli.frames import kind_of, pieces, read_frame, with_columns
from zoo.cli.plans import Mendable
from zoo.cli.recipes.pictures import pictures_in
from zoo.cli.recipes.texts import text_column_of
from zoo.data.answers.prediction import Prediction
from zoo.errors import some

_FILES = 512  # pictures or text files at a time


def open_model(path: Path, device: str | None = None) -> Any:
    """The exported learner, or that of a run folder.

    Raises:
        Mendable: where there is none, or it cannot be read.
    """
    from zoo.storage.load_learner import load_learner

    return load_learner(model_file(path), device=device)


def model_file(path: Path) -> Path:
    """The archive at a path, or in the folder of a run."""
    file = path / "model.zip" if path.is_dir() and (path / "model.zip").exists() else path
    if not file.exists():
        raise Mendable(f"there is no model at {file}")
    return file


def predict(
    learn: Any, source: Path, out: Path, *, text: str | None = None, join: Path | None = None
) -> dict[str, Any]:
    """Answers every input of a file or folder, piece by piece, into a CSV file.

    Args:
        learn: an exported learner.
        source: a table, a picture or text file, or a folder of these.
        out: the CSV file; what it held is replaced once all is written.
        text: column of the texts.
        join: a further table, joined as in training.

    Returns:
        How many rows were answered, and values that training never saw, by what was told of them.
    """
    from zoo.storage.files import atomic_write

    if source.exists() and out.exists() and out.samefile(source):
        raise Mendable(f"-o {out} is the file that is read: name another, nothing of yours is replaced")
    if text is not None and learn.domain != "text":
        raise Mendable(f"--text is of models of texts, and this is one of {learn.domain}")
    rows, told = 0, Told()
    more = None if join is None else read_frame(join)
    with told, atomic_write(out) as temporary, temporary.open("w", encoding="utf8", newline="") as file:
        head: list[str] | None = None
        for piece, written in _inputs(learn, source):
            if more is not None:
                piece = with_columns(piece, more, str(join))[0]
                added = piece[[name for name in piece.columns if name not in written.columns]]
                written = pd.concat([written.reset_index(drop=True), added], axis=1)
            answered = _answered(learn, piece, written, text)
            if head is None:
                head = [str(name) for name in answered.columns]
            answered.to_csv(file, index=False, header=rows == 0, quoting=csv.QUOTE_MINIMAL)
            rows += len(answered)
    if not rows:
        raise Mendable(f"{source} holds nothing to predict")
    return {"rows": rows, "out": str(out), "columns": head, "told": told.lines}


class Told(logging.Handler):
    """Collects what the library warns of, each line once, instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._stack = contextlib.ExitStack()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines and len(self.lines) < 20:
            self.lines.append(line)

    def __enter__(self) -> Told:
        for name in ("zoo", "zoo_tabular", "zoo_text", "zoo_collab"):
            logger = logging.getLogger(name)
            logger.addHandler(self)
            self._stack.callback(logger.removeHandler, self)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()


def _inputs(learn: Any, source: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Frames of inputs, and the same as they are written; files are named in a column `file`."""
    if not source.exists():
        raise Mendable(f"there is nothing at {source}")
    if (
        source.is_file()
        and kind_of(source) is not None
        and not (learn.domain == "text" and source.suffix == ".txt")
    ):
        yield from pieces(source)
        return
    if learn.domain not in ("vision", "text"):
        raise Mendable(f"{source} is no table (.csv, .tsv, .parquet, .feather), and the model reads tables")
    if source.is_file():
        files: Iterable[Path] = [source]
    elif learn.domain == "vision":
        files = pictures_in(source)
    else:
        files = sorted(source.rglob("*.txt"))
    chunk: list[Path] = []
    for file in files:
        chunk.append(file)
        if len(chunk) == _FILES:
            yield _named(chunk)
            chunk = []
    if chunk:
        yield _named(chunk)


def _named(files: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.DataFrame({"file": [str(one) for one in files]})
    return frame, frame


def _answered(learn: Any, frame: pd.DataFrame, written: pd.DataFrame, text: str | None) -> pd.DataFrame:
    """The inputs as they are written, with the answers beside them."""
    found = learn.predict_batch(_items(learn, frame, text))
    return pd.concat([written.reset_index(drop=True), answer_columns(found, frame.columns)], axis=1)


def _items(learn: Any, frame: pd.DataFrame, text: str | None) -> Any:
    if learn.domain == "vision":
        if "file" not in frame:
            raise Mendable(
                f"the table has the columns {some(frame.columns, 20)}: paths of pictures go into 'file'"
            )
        return [Path(name) for name in frame["file"]]
    if learn.domain == "text":
        if list(frame.columns) == ["file"]:
            return [Path(name).read_text("utf8", errors="replace") for name in frame["file"]]
        name = text or (
            learn.data.text if getattr(learn.data, "text", None) in frame else text_column_of(frame)
        )
        if name is None or name not in frame:
            raise Mendable(f"the table has the columns {some(frame.columns, 20)}: which holds texts, --text?")
        return frame[name].fillna("").astype(str).tolist()
    return frame


def answer_columns(found: Any, taken: Iterable[Any]) -> pd.DataFrame:
    """Answers as columns: numbers as `prediction`, classes with a probability for each. A name that is taken
    gets "predicted" before it."""
    if isinstance(found, np.ndarray):
        values = found if found.ndim == 2 else found[:, None]
        names = (
            ["prediction"] if values.shape[1] == 1 else [f"prediction_{i}" for i in range(values.shape[1])]
        )
        columns = {name: values[:, i] for i, name in enumerate(names)}
    elif isinstance(found, pd.DataFrame):
        columns = {str(name): found[name].to_numpy() for name in found.columns}
    elif len(found) and isinstance(found[0], Prediction):
        columns = {
            "prediction": [one.label for one in found],
            "probability": [one.probability for one in found],
        }
        for name in found[0].probabilities:
            columns[f"p_{name}"] = [one.probabilities[name] for one in found]
    else:
        columns = {"prediction": list(found)}
    known = {str(name) for name in taken}
    return pd.DataFrame({(f"predicted_{name}" if name in known else name): v for name, v in columns.items()})


def as_ids(words: list[str], ids: Any) -> list[Any]:
    """Ids as they are known, from words of a command line: numbers where ids are numbers."""
    if not pd.api.types.is_numeric_dtype(pd.Index(ids.ids).dtype):
        return list(words)
    found: list[Any] = []
    for word in words:
        try:
            found.append(int(word) if word.lstrip("-").isdigit() else float(word))
        except ValueError:
            raise Mendable(f"{word!r} is no number, and the ids of {ids.name} are") from None
    return found
