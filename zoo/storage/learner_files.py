"""The files of a learner: weights, and exports that answer raw inputs elsewhere."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import nn

from zoo.distributed.group import write_once
from zoo.errors import did_you_mean
from zoo.notebook import quietly
from zoo.storage.archive import archive_members, load_file, write_archive
from zoo.storage.mapping import check_mapping, describe, from_metadata, to_metadata
from zoo.storage.module_state import state_of
from zoo.storage.registry import domain_learner, spec_of
from zoo.storage.weights import load_weights, save_weights

_EPOCHS = 200  # the latest rows of a history that an archive keeps


class LearnerFiles:
    """The part of a `Learner` that writes and reads files."""

    domain: ClassVar[str] = "core"

    data: Any
    model: nn.Module
    path: Path
    activation: Any  # what the outputs mean, of `zoo.losses.Activation`
    measured: Any = None  # what `measure` found for these weights, of `zoo.inspect.measured`
    trained_as: dict[str, Any] | None = None  # what an archive told of the training
    calibration: Any = None  # what `calibrate` found for these weights, of `zoo.inspect.calibration`

    def save(self, name: str | Path) -> Path:
        """Write the weights to `path/models/{name}.safetensors`, atomically, with what the numbers of the
        data stand for (`data.mapping()`).

        Args:
            name: a name, or a path below `path/models`; an absolute one is taken as it is.

        Returns:
            The file.
        """
        target = self._weights_file(name)
        mapping = to_metadata(self.data)
        write_once(target, lambda: save_weights(target, self.model, mapping))
        return target

    def load(self, name: str | Path) -> Self:
        """Read weights that `save` wrote, on whatever device.

        Args:
            name: as given to `save`, or the path of a file, with or without ".safetensors".

        Raises:
            FileNotFoundError: if there are none of that name.
            ArchiveError: if the file is no safetensors file, or damaged.
            ValueError: if they belong to another model, or to data with other classes, words, ids, columns or
                targets (`data.mapping()`), or hold values that the model's formats cannot; nothing is changed
                then.
        """
        source = self._weights_file(name)
        elsewhere = _with_suffix(name)
        if not source.is_file() and elsewhere.is_file():
            source = elsewhere
        if not source.is_file():
            present = sorted(file.stem for file in source.parent.glob("*.safetensors"))
            raise FileNotFoundError(
                f"no saved weights {source}{did_you_mean(source.stem, present)}; saved here: "
                f"{', '.join(present) or 'none'}"
            )
        tensors, metadata = load_file(source)
        check_mapping(from_metadata(metadata, str(source)), describe(self.data), str(source))
        load_weights(self.model, tensors, str(source), metadata)
        self._weights_changed("load")
        return quietly(self)

    def _weights_changed(self, by: str) -> None:
        """A calibration is of certain weights: it goes with them, which is told, as do measured metrics."""
        self.measured = self.trained_as = None
        if self.calibration is not None:
            self.calibration = None
            warnings.warn(
                f"{by}() changes the weights, so the calibration of the old ones is dropped: call "
                "calibrate() again",
                stacklevel=3,
            )

    def _weights_file(self, name: str | Path) -> Path:
        return self.path / "models" / _with_suffix(name)

    def export(self, path: str | Path, *, max_mb: float | None = None) -> Path:
        """Write everything that prediction needs: weights, labels, preprocessing. `load_learner` reads it.

        Args:
            path: a folder, or a file ending in ".zip".
            max_mb: most million bytes. Large weights are written in 8 bits then, a quarter of their size; of
                text classifiers also as many of the commonest words, and of the weightiest pairs, as fit.

        Raises:
            TypeError: if the model is not registered (see `zoo.register_model`).
            ValueError: if it does not fit into `max_mb`; nothing is written then.
        """
        if max_mb is not None and not (isinstance(max_mb, int | float) and max_mb > 0):
            raise ValueError(f"max_mb is a number of million bytes above 0, not {max_mb!r}")
        domain_learner(self.domain)
        activation = self.activation
        size = 0.0
        for model, data in self._exported(smaller=max_mb is not None):
            spec = spec_of(model)
            state, arrays = data.export_state()
            config = {
                "domain": self.domain,
                "model": {"name": spec.name, "args": spec.args},
                "activation": {"kind": activation.kind, "axis": activation.axis},
                **({} if self.calibration is None else {"calibration": self.calibration.to_dict()}),
                **({} if (record := self._record()) is None else {"record": record}),
                **self._export_config(),
            }
            members = archive_members(config, state, state_of(model), arrays, small=max_mb is not None)
            size = sum(map(len, members.values())) / 1e6
            if max_mb is None or size <= max_mb:
                write_once(path, partial(write_archive, path, members))
                return Path(path).resolve()
        raise ValueError(
            f"{path} would take {size:.1f} million bytes in 8 bits, more than max_mb={max_mb}: take a "
            "smaller model, or a larger max_mb"
        )

    def _exported(self, *, smaller: bool) -> Iterator[tuple[nn.Module, Any]]:
        """Model and data of an archive; with `smaller` followed by ever smaller ones, until one fits."""
        yield self.model, self.data

    def _record(self) -> dict[str, Any] | None:
        """How the weights came about, for model cards; of a loaded learner that was not trained on what its
        file says."""
        history = getattr(self, "history", None)
        if not history:
            return self.trained_as
        loaders = {part: getattr(self.data, f"{part}_dl", None) for part in ("train", "valid", "test")}
        counts = {part: row_count(loader) for part, loader in loaders.items()}
        opt = getattr(getattr(self, "opt", None), "opt", None)
        loss = getattr(self, "loss_fn", None)
        told = {
            "rows": {part: count for part, count in counts.items() if count},
            "batch": getattr(loaders["train"], "bs", None),
            "optimizer": None if opt is None else type(opt).__name__,
            "loss": getattr(loss, "__name__", type(loss).__name__),
            "seed": getattr(self, "seed", None),
            "epochs": len(history),
            "history": [
                {name: plain_number(value) for name, value in row.items()} for row in history[-_EPOCHS:]
            ],
            "measured": None if self.measured is None else self.measured.to_dict(),
        }
        return {name: value for name, value in told.items() if value is not None}

    def _export_config(self) -> dict[str, Any]:
        """Further entries of an archive's `config.json`."""
        return {}


def row_count(loader: Any) -> int | None:
    """Rows of a loader, where it tells."""
    rows = getattr(loader, "n_rows", None)
    if isinstance(rows, int):
        return rows
    dataset = getattr(loader, "dataset", None)
    for one in (dataset, getattr(loader, "tensors", [None])[0]):
        try:
            return len(one)  # type: ignore[arg-type]
        except TypeError:
            continue
    return None


def plain_number(value: Any) -> Any:
    """A value of a history as JSON knows it."""
    if hasattr(value, "item"):
        value = value.item()
    fine = not isinstance(value, float) or math.isfinite(value)
    return value if fine and isinstance(value, int | float | str | bool) else None


def _with_suffix(name: str | Path) -> Path:
    """The file name that belongs to the name of saved weights.

    Raises:
        TypeError: if it is neither a name nor a path.
        ValueError: if it is empty.
    """
    if not isinstance(name, str | os.PathLike):
        raise TypeError(
            f"saved weights are named by a string or a path, got {name!r} of type {type(name).__name__}; "
            f"write {str(name)!r}"
        )
    text = os.fspath(name)
    if not Path(text).name:
        raise ValueError(f"saved weights need a name, got {str(name)!r}")
    return Path(text if text.endswith(".safetensors") else f"{text}.safetensors")
