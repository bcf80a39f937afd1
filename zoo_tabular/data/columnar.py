"""Tables as batches: raw frames in, codes and numbers out, and answers back in the user's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import numpy as np
import pandas as pd
from torch import Tensor

from zoo.data.loaders.seeding import seeded
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.data.model_data import arrays_of
from zoo.data.quick_models import QuickModel
from zoo.keywords import completed, takes
from zoo.metrics import accuracy, accuracy_thresh, rmse
from zoo.storage.registry import domain_learner
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions
from zoo_tabular.data.boosting import boosting_models
from zoo_tabular.data.from_frames import data_from_frame, data_from_two_frames
from zoo_tabular.data.from_one_frame import data_from_one_frame
from zoo_tabular.data.from_parquet import data_from_parquet
from zoo_tabular.data.kept_noise import prepared_with_rate, without_rates
from zoo_tabular.data.kept_rows import kept_labels, labels_from
from zoo_tabular.data.mappings import STATISTICS, TARGET_SCALE, table_mappings, target_mappings
from zoo_tabular.data.new_model import check_request, default_sizes, new_model
from zoo_tabular.data.options import PREDICT_ROWS, TABLE_DEFAULTS, TableOptions, TablePlan
from zoo_tabular.data.table_rows import TableRows
from zoo_tabular.frames.frame_checks import check_columns, check_frame
from zoo_tabular.frames.guess import TableGuess
from zoo_tabular.frames.processor import TableProcessor
from zoo_tabular.frames.raw_rows import frame_of_arrays
from zoo_tabular.frames.target.transforms import TargetTransform
from zoo_tabular.metrics import average_precision, exp_rmspe, rmspe
from zoo_tabular.model.category_dropout import CategoryDropout

if TYPE_CHECKING:
    from zoo_tabular import TabularLearner


class ColumnarModelData(TableRows):
    """Training, validation and test rows of a table; made by `from_data_frame` and its siblings.

    A batch is (codes, numbers, target): integer codes of shape (rows, category columns), float32 numbers of
    shape (rows, number columns), and float32 targets of shape (rows, target columns) or int64 class numbers
    of shape (rows,).

    Attributes:
        processor: the fitted `TableProcessor`; set `processor.unknown = "error"` to refuse unseen categories.
        target: the transform between the user's unit and the model's scale.
        n_out: outputs that a model needs.
        base: means of the training target on the model's scale, or shares of its classes, where the loader
            does not hold the target itself.
        row_labels: by "train" and "valid": the positions of the rows in the user's frame, and their labels
            there.
        time_leak: the warning, where validation rows lie among training rows in time.
        guess: what `from_frame` took the columns for; None of other data.
        noise_kind: what disturbs training batches; its rate is kept with saved data.
    """

    domain: ClassVar[str] = "tabular"
    noise_kind: ClassVar[Any] = CategoryDropout
    learned_mappings: ClassVar[frozenset[str]] = frozenset({STATISTICS, TARGET_SCALE})

    def __init__(
        self,
        train_dl: Any,
        valid_dl: Any = None,
        test_dl: Any = None,
        path: str | Path | None = None,
        *,
        processor: TableProcessor,
        task: str = "regression",
        classes: list[str] | None = None,
        target: TargetTransform | None = None,
        n_out: int = 1,
        base: Tensor | None = None,
    ) -> None:
        super().__init__(train_dl, valid_dl, test_dl, path)
        self.processor, self.task, self.classes, self.n_out = processor, task, classes, n_out
        self.base = base
        self.target = TargetTransform() if target is None else target
        self.row_labels: dict[str, tuple[np.ndarray, pd.Index]] = {}
        self.time_leak: str | None = None
        self.guess: TableGuess | None = None

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_data_frame(
        cls,
        path: str | Path,
        val_idxs: Sequence[int] | np.ndarray | None,
        df: pd.DataFrame,
        y: Any,
        cat_flds: Sequence[str],
        bs: int = 64,
        test_df: pd.DataFrame | None = None,
        *,
        target_transform: str | Sequence[str] | None = None,
        allow_target: bool = False,
        **options: Unpack[TableOptions],
    ) -> ColumnarModelData:
        """Data from one frame: raw columns, or those that `proc_df` made; both are coded by value.

        What is learned about the columns (levels, medians, scales) comes from the training rows alone and
        travels with an exported learner, which then reads frames of the same form as `df`, with or without
        the target.

        Args:
            path: where the learner keeps its files.
            val_idxs: row numbers to validate on, or a true/false mask; predictions of them come in this
                order. None or empty trains on everything.
            df: the rows; it is not changed.
            y: the target: a column name or several, or an array, series or frame with one row each, in the
                order of the rows of `df`.
            cat_flds: category columns; may be empty.
            bs: rows per batch.
            test_df: rows to predict with `learn.predict(True)`.
            target_transform: "log", "log1p" or "standardize" (or a list, one for each target column): the
                model learns on that scale (metrics and `y_range` are on it too), predictions come back in the
                unit of `y`.
            allow_target: accept a number column that equals the target; it is refused otherwise.

        Raises:
            ValueError: for absent columns, a target with missing values or with the index of `df` in another
                order, wrong row numbers, and so on.

        Example:
            >>> df = pd.DataFrame({"Store": [1, 2, 1, 2], "Promo": [0, 1, 1, 0], "Sales": [5, 9, 7, 6]})
            >>> md = ColumnarModelData.from_data_frame(".", [3], df, "Sales", ["Store"], bs=2)
            >>> md
            ColumnarModelData(train 3, valid 1)
        """
        plan = TablePlan("from_data_frame", cat_flds, bs, target_transform, options)
        data = data_from_frame(cls, plan, path, val_idxs, df, y, allow_target)
        if test_df is not None:
            data.set_test(test_df)
        return data

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_data_frames(
        cls,
        path: str | Path,
        trn_df: pd.DataFrame,
        val_df: pd.DataFrame,
        trn_y: Any,
        val_y: Any,
        cat_flds: Sequence[str],
        bs: int = 64,
        test_df: pd.DataFrame | None = None,
        *,
        target_transform: str | Sequence[str] | None = None,
        **options: Unpack[TableOptions],
    ) -> ColumnarModelData:
        """The same from two frames, to train and to validate on.

        Args:
            path: where the learner keeps its files.
            trn_df, val_df: the rows to train on, and those to validate on.
            trn_y, val_y: their targets, as `y` in `from_data_frame`.
            cat_flds, bs, test_df, target_transform: as in `from_data_frame`.
        """
        plan = TablePlan("from_data_frames", cat_flds, bs, target_transform, options)
        data = data_from_two_frames(cls, plan, path, (trn_df, val_df), (trn_y, val_y))
        if test_df is not None:
            data.set_test(test_df)
        return data

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_arrays(
        cls,
        path: str | Path,
        val_idxs: Sequence[int] | np.ndarray | None,
        xs: Any,
        y: Any,
        bs: int = 64,
        test_xs: Any = None,
        *,
        cats: Any = None,
        test_cats: Any = None,
        target_transform: str | Sequence[str] | None = None,
        allow_target: bool = False,
        **options: Unpack[TableOptions],
    ) -> ColumnarModelData:
        """The same from arrays: `xs` of numbers and `cats` of categories, rows first; either may be None.

        Number columns are then named x0, x1, ..., category columns c0, c1, ...

        Args:
            path: where the learner keeps its files.
            val_idxs, y, bs, target_transform, allow_target: as in `from_data_frame`.
            xs: numbers of shape (rows, columns), or None.
            test_xs, test_cats: rows to predict with `learn.predict(True)`.
            cats: categories of shape (rows, columns), or None.
        """
        df = frame_of_arrays(xs, cats, "xs", "cats")
        test = (
            None
            if test_xs is None and test_cats is None
            else frame_of_arrays(test_xs, test_cats, "test_xs", "test_cats")
        )
        names = [name for name in df.columns if name.startswith("c")]
        return cls.from_data_frame(
            path, val_idxs, df, np.asarray(y), names, bs, test,
            target_transform=target_transform, allow_target=allow_target, **options,
        )  # fmt: skip

    @classmethod
    @takes(TableOptions, TABLE_DEFAULTS)
    def from_parquet(
        cls,
        path: str | Path,
        valid: Any,
        source: str | Path,
        y: str | Sequence[str],
        cat_flds: Sequence[str],
        bs: int = 64,
        test_df: pd.DataFrame | None = None,
        *,
        target_transform: str | None = None,
        buffer_rows: int = 131_072,
        **options: Unpack[TableOptions],
    ) -> ColumnarModelData:
        """The same from Parquet files that need not fit into memory.

        One pass over the files learns what `from_data_frame` learns. Training then reads them anew every
        epoch, pool by pool, in an order that is a pure function of the seed and the epoch (see
        `ParquetLoader`, which also tells when a thread reads beside the training); nothing else is written
        to disk. The model, its files and its predictions are those of any other table.

        Args:
            path: where the learner keeps its files.
            valid: which rows to validate on: a filter expression such as
                `pyarrow.dataset.field("Year") == 2015`, or the path of other Parquet files; None trains on
                everything. Up to `buffer_rows` validation rows are kept in memory, more are streamed.
            source: a Parquet file, or a folder of them (`key=value` folders become columns).
            y: the target: a column name or several.
            buffer_rows: rows of a pool, which are shuffled together; two pools are in memory, three where a
                thread reads.
            cat_flds, bs, test_df, target_transform: as in `from_data_frame`, with one transform for all
                targets.

        Raises:
            FileNotFoundError: if there is nothing at `source`.
            ValueError: for absent columns, files that cannot be read or do not fit together (they are named),
                a target with missing values, and so on.

        Example:
            >>> import tempfile
            >>> from pyarrow.dataset import field
            >>> from zoo_tabular import write_partitioned
            >>> df = pd.DataFrame({"Year": [2014] * 3 + [2015], "Store": [1, 2, 1, 2], "Sales": [5, 9, 7, 6]})
            >>> folder = write_partitioned(df, Path(tempfile.mkdtemp()) / "sales", ["Year"])
            >>> ColumnarModelData.from_parquet(".", field("Year") == 2015, folder, "Sales", ["Store"], bs=2)
            ColumnarModelData(train 3, valid 1)
        """
        plan = TablePlan("from_parquet", cat_flds, bs, target_transform, options)
        data = data_from_parquet(cls, plan, path, source, valid, y, buffer_rows)
        if test_df is not None:
            data.set_test(test_df)
        return data

    @classmethod
    def from_frame(
        cls,
        df: Any,
        y: str,
        *,
        path: str | Path = ".",
        val_idxs: Sequence[int] | np.ndarray | None = None,
        valid_pct: float | None = None,
        cat_flds: Sequence[str] = (),
        cont_flds: Sequence[str] = (),
        date_flds: Sequence[str] = (),
        drop: Sequence[str] = (),
        task: str | None = None,
        target_transform: str | None = "auto",
        bs: int | None = None,
        seed: int | None = None,
        show: bool = True,
        **options: Any,
    ) -> ColumnarModelData:
        """One call: kinds of columns are guessed and printed, dates become parts, and rows are held out.

        Args:
            df: the rows, with the target.
            y: name of the target column.
            path: where the learner keeps its files.
            val_idxs: rows to validate on, as in `from_data_frame`. By default the newest tenth of the rows,
                in whole days, where there is a date, otherwise a fifth at random.
            valid_pct: how many instead.
            cat_flds, cont_flds, date_flds, drop: columns whose kind you know; nothing is guessed of these.
            task: "regression" or "classification", likewise.
            target_transform: "auto" guesses; else as in `from_data_frame`.
            bs: rows per batch; 16 to 512 by the number of rows.
            seed: of the split and of the order of the rows.
            show: print what was guessed; it is kept as `data.guess`.
            options: others of `from_data_frame`.

        Raises:
            ValueError: for absent columns, a target with missing values, and where no feature is left.

        Example:
            >>> df = pd.DataFrame({"Kind": ["a", "b"] * 20, "Size": np.arange(40) / 8, "Sold": [5.5, 9] * 20})
            >>> ColumnarModelData.from_frame(df, "Sold")
            Sold  target    regression, learned on the scale 'standardize': 2 different numbers, not all whole
            Kind  category  text, 2 levels
            Size  number    float64, 32 different
            8 of 40 rows are held out: 20% at random
            ColumnarModelData(train 32, valid 8)
        """
        columns = {
            "cat_flds": cat_flds, "cont_flds": cont_flds, "date_flds": date_flds, "drop": drop,
            "task": task, "target_transform": target_transform,
        }  # fmt: skip
        return data_from_one_frame(
            cls.from_data_frame, df, y, path, val_idxs, valid_pct, bs, seed, columns, options, show
        )

    def set_test(self, test_df: pd.DataFrame) -> None:
        """Replace the rows that `learn.predict(True)` predicts; a target among them is not looked at."""
        test_df = self.processor.with_dates(check_frame(test_df, "test_df", empty_ok=False))
        check_columns(test_df, self.processor.feature_names_in_, "test_df")
        blank = np.zeros(len(test_df), dtype="int64" if self.task == "classification" else "float32")
        self.test_dl = TensorLoader(*self.processor.transform_arrays(test_df), blank, bs=PREDICT_ROWS)

    def embedding_sizes(self) -> list[tuple[int, int]]:
        """The default (levels, width) of each category column.

        The width is half of the known levels plus one, at most 50; the table also has rows for missing, rare
        and unknown.
        """
        return default_sizes(self.processor)

    @takes(LearnerOptions, LEARNER_DEFAULTS)
    def get_learner(
        self,
        emb_szs: Sequence[Sequence[int]] | None = None,
        n_cont: int | None = None,
        emb_drop: float = 0.0,
        out_sz: int | None = None,
        szs: Sequence[int] = (200, 100),
        drops: float | Sequence[float] = 0.0,
        y_range: Sequence[float] | None = None,
        use_bn: bool = True,
        *,
        clip_cont: float | None = None,
        **options: Unpack[LearnerOptions],
    ) -> TabularLearner:
        """A learner around a new `MixedInputModel`.

        Args:
            emb_szs: (levels, width) for each category column in order; None takes the default widths. Levels
                are at least the known ones of the column; rows for missing, rare and unknown are added where
                there is no room.
            n_cont: number columns, checked against the data if given.
            emb_drop: dropout of the embeddings.
            out_sz: outputs; what the target needs if None.
            szs: hidden sizes.
            drops: dropout after each hidden layer: one number for all, or one each.
            y_range: (low, high) of the outputs, on the model's scale, by a sigmoid.
            use_bn: batch norm on numbers and hidden layers.
            clip_cont: bound of the scaled numbers, approached smoothly; see `MixedInputModel`.

        Raises:
            ValueError: when sizes do not fit the data, or for batch norm on batches of one row.
        """
        chosen = completed(LearnerOptions, LEARNER_DEFAULTS, options, "get_learner")
        check_request(self, n_cont, out_sz, use_bn)
        with seeded(chosen["seed"]):
            model = new_model(self, emb_szs, emb_drop, szs, drops, y_range, use_bn, clip_cont)
        return domain_learner("tabular")(self, model, **chosen)

    def default_metrics(self) -> list:
        if self.task == "regression":
            return [exp_rmspe if self.target.name == "log" else rmse]
        return [accuracy if self.task == "classification" else accuracy_thresh()]

    def quick_models(self, task: str | None = None, class_weights: Tensor | None = None) -> list[QuickModel]:
        """Gradient boosting on the same columns; see `ModelData.quick_models`."""
        return boosting_models(self, self.task, class_weights)

    def named_metrics(self) -> dict[str, Any]:
        """The metrics of tables by name."""
        return {"exp_rmspe": exp_rmspe, "rmspe": rmspe, "average_precision": average_precision}

    def mapping_values(self) -> dict[str, Sequence[Any]]:
        """The columns in their order, the levels of each category column, the statistics of the number
        columns, the target with its transform, and the classes.
        """
        target = target_mappings(self.target) if self.task == "regression" else {}
        return super().mapping_values() | table_mappings(self.processor) | target

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state = {
            "task": self.task,
            "classes": self.classes,
            "n_out": self.n_out,
            "processor": self.processor.to_dict(),
            "target": self.target.to_dict(),
        }
        return state, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> ColumnarModelData:
        return cls(
            None,
            processor=TableProcessor.from_dict(state["processor"]),
            task=state["task"],
            classes=state["classes"],
            target=TargetTransform.from_dict(state["target"]),
            n_out=state["n_out"],
        )

    def prepared_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state, tensors = self.export_state()
        base = {} if self.base is None else {"base": self.base}
        return {**state, "time_leak": self.time_leak}, {**tensors, **base, **kept_labels(self.row_labels)}

    def noise_of(self, rate: float) -> Any:
        """What disturbs a share of each training batch."""
        return CategoryDropout(rate, self.processor)

    def prepared_loader(self, part: str, loader: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return prepared_with_rate(super().prepared_loader, part, loader, self.noise_kind)

    @classmethod
    def from_prepared(cls, contents: Mapping[str, Any], arrays: Mapping[str, Tensor], path: Path) -> Self:
        loaders, rates = without_rates(contents["loaders"])
        data = super().from_prepared({**contents, "loaders": loaders}, arrays, path)
        data.base = arrays.get("state.base")
        data.time_leak = contents["state"].get("time_leak")
        data.row_labels = labels_from(arrays_of(arrays, "state"))
        for part, rate in rates.items():
            getattr(data, f"{part}_dl").batch_transform = data.noise_of(rate)
        return data
