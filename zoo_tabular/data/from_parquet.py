"""Data from Parquet files that need not fit into memory; see `ColumnarModelData.from_parquet`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from zoo.data.loaders.tensor_loader import TensorLoader
from zoo_tabular.data.options import PREDICT_ROWS, TablePlan
from zoo_tabular.frames.features import feature_names
from zoo_tabular.frames.frame_checks import check_frame, name_list
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.stream.arrow_codes import ArrowCoder
from zoo_tabular.stream.loader import ParquetLoader
from zoo_tabular.stream.read_ahead import give_back_memory, read_ahead
from zoo_tabular.stream.row_groups import HELD_OUT, RowGroups, same_families
from zoo_tabular.stream.target import StreamedTarget

WHERE = "from_parquet"
SCAN_ROWS = 131_072
Made = TypeVar("Made")


class ParquetTable:
    """What one pass over Parquet files tells: columns, statistics, target, which rows are held out.

    Args:
        source: a file or a folder to train on.
        valid: None, a filter expression, or another file or folder.
        y: target columns.
        plan: how rows become batches.
    """

    def __init__(self, source: str | Path, valid: Any, y: str | Sequence[str], plan: TablePlan) -> None:
        self.plan = plan
        if plan.date_flds:
            raise ValueError(
                f"{WHERE}: date_flds is for frames in memory: write the parts of dates into the files, "
                "which add_datepart makes"
            )
        cats = name_list(plan.cat_flds, f"{WHERE}: cat_flds")
        targets = name_list(y, f"{WHERE}: y")
        self.train = RowGroups(source, cats, WHERE)
        self.train.select([*targets, *cats])
        head = check_frame(self.train.schema.empty_table(), WHERE)
        cats, conts = feature_names(head, cats, plan.cont_flds, targets, WHERE)
        self.columns = [*cats, *conts, *targets]
        self.train.select(self.columns)
        self.mark, self.valid = self._held_out(valid, cats)
        self._check_categories(cats if plan.is_reg or plan.is_multi else [*cats, *targets])
        head = check_frame(self.train.schema.empty_table(), WHERE)
        self.target = StreamedTarget(
            targets, head, is_reg=plan.is_reg, is_multi=plan.is_multi,
            transform=plan.target_transform,  # type: ignore[arg-type]
        )  # fmt: skip
        self.train_counts = np.zeros(len(self.train.groups), dtype="int64")
        self.valid_counts = np.zeros(len(self.valid.groups) if self.valid else 0, dtype="int64")
        self.processor = self._learn(plan.processor(cats, conts), conts)

    def _check_categories(self, names: Sequence[str]) -> None:
        """Makes sure that columns hold single values."""
        from pyarrow import types

        for name in names:
            kind = self.train.schema.field(name).type
            if types.is_nested(kind):
                raise ValueError(f"{WHERE}: column {name!r} holds {kind}, which cannot be a category")

    def _held_out(self, valid: Any, cats: list[str]) -> tuple[Any, RowGroups | None]:
        """The expression that marks rows to validate on, and the files in which they are."""
        from pyarrow import compute

        pc: Any = compute
        if valid is None:
            return None, None
        if isinstance(valid, pc.Expression):
            self.train.check_filter(valid)
            # no answer, because a value is missing, counts as no
            return pc.coalesce(valid, pc.scalar(False)), self.train
        if not isinstance(valid, str | Path):
            raise TypeError(
                f"{WHERE}: valid is a filter expression such as pyarrow.dataset.field('Year') == 2015, or "
                f"the path of other files, got {type(valid).__name__}"
            )
        groups = RowGroups(valid, cats, f"{WHERE}: valid")
        both = [self.train.files[file] for file in groups.files if file in self.train.files]
        if both:
            told = f"{both[0]} is" if len(both) == 1 else f"{len(both)} files, such as {both[0]}, are"
            raise ValueError(
                f"{WHERE}: valid: {told} among the files to train on: move what is to be validated on out of "
                f"{self.train.path}, or tell its rows by a filter expression"
            )
        groups.select(self.columns)
        other = same_families(self.train.schema, groups.schema, self.columns)
        if other:
            kinds = [schema.field(other[0]).type for schema in (self.train.schema, groups.schema)]
            raise ValueError(
                f"{WHERE}: column {other[0]!r} is {kinds[0]} in {self.train.path} and {kinds[1]} in {valid}"
            )
        return None, groups

    def _learn(self, processor: TableProcessor, conts: list[str]) -> TableProcessor:
        """One pass over the training files (and over the target of other files to validate on)."""
        self._group: int | None = None
        try:
            # closed here and now: an error would keep the reading thread as long as its traceback lives
            with contextlib.closing(self._training_rows(conts)) as rows:
                processor.fit_stream(rows)
        except (ValueError, TypeError) as error:
            if self._group is not None:
                error.add_note(f"found in {self.train.groups[self._group].name}")
            raise
        give_back_memory()
        return processor

    def _training_rows(self, conts: list[str]) -> Generator[Any, None, None]:
        """The pieces of the training rows; on the way the target is learned and rows are counted.

        Meanwhile `_group` is the row group that is looked at.
        """
        alike = list(conts)
        for number, trained, held in _split(self.train, self.columns, self.mark):
            self._group = number
            if held is not None:
                self.valid_counts[number] += len(held)
                self.target.add(held, training=False)
            if trained is not None:
                self.train_counts[number] += len(trained)
                yield trained
                self.target.add(trained, training=True)
                alike = [name for name in alike if self.target.equals(trained, name)]
            self._group = None
        if self.valid is not None and self.mark is None:
            for number, _, held in _split(self.valid, self.target.names, True):
                self.valid_counts[number] += len(held)
                self.target.add(held, training=False)
        n_train, n_valid = int(self.train_counts.sum()), int(self.valid_counts.sum())
        if n_train < 2:
            raise ValueError(
                f"{WHERE}: {n_train} of {len(self.train)} rows are left to train on, at least 2 are needed"
            )
        if self.valid is not None and not n_valid:
            raise ValueError(f"{WHERE}: the filter of validation rows holds for none of {n_train} rows")
        self.target.finish()
        if alike and n_train >= 10 and self.target.varies:
            raise ValueError(
                f"number column {alike[0]!r} equals the target: drop it, or name it as the target"
            )

    def train_loader(self, buffer_rows: int) -> ParquetLoader:
        """Batches to train on."""
        return ParquetLoader(
            self.train,
            self.columns,
            _Coder(self.processor, self.target),
            self.train_counts,
            keep=None if self.mark is None else ~self.mark,
            **self.plan.training(int(self.train_counts.sum()), self.processor),
            buffer_rows=buffer_rows,
        )

    def valid_loader(self, buffer_rows: int) -> TensorLoader | ParquetLoader | None:
        """Batches to validate on: in memory, if there are no more than `buffer_rows` rows."""
        if self.valid is None:
            return None
        coder = _Coder(self.processor, self.target)
        loader = ParquetLoader(
            self.valid,
            self.columns,
            coder,
            self.valid_counts,
            keep=self.mark,
            bs=max(self.plan.bs, PREDICT_ROWS),
            buffer_rows=buffer_rows,
            after_pass=coder.report,
        )
        if loader.n_rows > buffer_rows:
            return loader
        parts = list(loader)
        return TensorLoader(*(torch.cat(column) for column in zip(*parts, strict=True)), bs=loader.bs)


class _Coder:
    """Record batches as (codes, numbers, target); unknown values are told of once."""

    def __init__(self, processor: TableProcessor, target: StreamedTarget) -> None:
        self.processor, self.target = processor, target
        self.coder = ArrowCoder(processor)
        self.reported = False

    def __call__(self, batch: Any) -> tuple[np.ndarray, ...]:
        return (*self.coder(batch), self.target(batch))

    def report(self) -> None:
        """Logs the unknown values of a whole pass, or raises, as the processor says."""
        if not self.reported:
            self.reported = True
            self.processor.report(self.coder.unknown)


def _split(groups: RowGroups, columns: Sequence[str], mark: Any) -> Iterator[tuple[int, Any, Any]]:
    """Number of the row group, rows to train on and rows held out (None for none), read by a thread.

    Args:
        groups: the files.
        columns: what to read.
        mark: an expression that tells which rows are held out; None for none, True for all.
    """
    from pyarrow import compute

    pc: Any = compute

    def batches() -> Iterator[tuple[int, Any]]:
        expression = None if mark is True else mark
        for number, group in enumerate(groups.groups):
            for batch in groups.read(group, columns, SCAN_ROWS, mark=expression):
                yield number, batch

    for number, batch in read_ahead(batches()):
        if mark is None:
            yield number, batch, None
        elif mark is True:
            yield number, None, batch
        else:
            marks = batch.column(HELD_OUT)
            held, trained = batch.filter(marks), batch.filter(pc.invert(marks))
            yield number, trained if len(trained) else None, held if len(held) else None


def data_from_parquet(
    make: Callable[..., Made],
    plan: TablePlan,
    path: str | Path,
    source: str | Path,
    valid: Any,
    y: str | Sequence[str],
    buffer_rows: int,
) -> Made:
    """Reads the files once; see `ColumnarModelData.from_parquet`. `make` takes what the class does."""
    table = ParquetTable(source, valid, y, plan)
    base = torch.from_numpy(table.target.base_rates())
    return make(
        table.train_loader(buffer_rows),
        table.valid_loader(buffer_rows),
        None,
        path,
        processor=table.processor,
        task=table.target.task,
        classes=table.target.classes,
        target=table.target.transform,
        n_out=table.target.n_out,
        base=base,
    )
