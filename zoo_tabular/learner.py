"""The learner for tables: predicts raw rows, also one at a time, and writes submissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch

from zoo.data.model_data import ModelData
from zoo.distributed.group import write_once
from zoo.engine.modes import preserve_modes
from zoo.errors import some
from zoo.learner import Learner
from zoo.storage.files import atomic_write
from zoo_tabular.data.columnar import ColumnarModelData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zoo_tabular.reasons.dependence import Dependence
    from zoo_tabular.reasons.embeddings import EmbeddingTransformer
    from zoo_tabular.reasons.importance import Importance
    from zoo_tabular.reasons.residuals import Residuals
    from zoo_tabular.reasons.what_if import Alternatives


class TabularLearner(Learner):
    """Trains a model on a table; made by `ColumnarModelData.get_learner`.

    After `learn.export(path)` and `load_learner(path)` it predicts raw rows: frames, dicts, lists of dicts.
    """

    domain: ClassVar[str] = "tabular"
    data_class: ClassVar[type[ModelData]] = ColumnarModelData
    data: ColumnarModelData

    def predict_one(self, raw: Any) -> Any:
        """The answer for one row, without building a frame or a loop.

        Args:
            raw: a dict or series of column values; more columns than needed are fine.

        Returns:
            A number in the unit of the target (an array for several targets), or a `Prediction` for classes.
        """
        if isinstance(raw, pd.Series):
            raw = raw.to_dict()
        if not isinstance(raw, Mapping):
            raise TypeError(f"predict_one: expected a dict of column values, got {type(raw).__name__}")
        if self.model.training:  # in the middle of a fit: train on as before
            with preserve_modes(self.model):
                self.model.eval()
                return self.predict_one(raw)
        inputs = [part.to(self.device) for part in self.data.row_inputs(raw)]
        with torch.inference_mode():
            with self._answer_context():
                outputs = self.model(*inputs)
            outputs = outputs[0] if isinstance(outputs, tuple) else outputs
            answer = self._decode(outputs.float().cpu())[0]
        return float(answer) if isinstance(answer, np.floating) else answer

    def write_submission(
        self, path: str | Path, ids: Any, id_column: str = "Id", target_column: str | list[str] = "target"
    ) -> pd.DataFrame:
        """Predict the test rows and write them as a CSV file with an id column.

        Args:
            path: the file; a name ending in ".gz" is compressed.
            ids: one id for each test row, in their order.
            id_column: heading of the ids.
            target_column: heading of the predictions; several for several targets. Classes are written by
                name.

        Returns:
            What was written.

        Raises:
            ValueError: without test rows, when there are not as many ids, and for headings that are equal.
        """
        answers = self.predict(is_test=True)
        if self.data.task == "classification" and self.data.classes is not None:
            answers = np.asarray(self.data.classes)[answers.argmax(1)]
        elif self.data.task == "multilabel":
            answers = self.predict_proba(is_test=True)
        names = [target_column] if isinstance(target_column, str) else list(target_column)
        table = answers.reshape(len(answers), -1)
        if self.data.task == "multilabel" and len(names) != table.shape[1] and self.data.classes is not None:
            names = list(self.data.classes)
        if len(ids) != len(table):
            raise ValueError(f"write_submission: {len(ids)} ids for {len(table)} test rows")
        if len(names) != table.shape[1]:
            raise ValueError(
                f"write_submission: {len(names)} headings for {table.shape[1]} predictions a row"
            )
        headings = [id_column, *names]
        repeated = sorted({name for name in headings if headings.count(name) > 1})
        if repeated:
            raise ValueError(
                f"write_submission: {some(map(repr, repeated))} would head more than one column: choose "
                "another id_column, or other names in target_column"
            )
        frame = pd.DataFrame(
            {id_column: np.asarray(ids)} | {name: table[:, i] for i, name in enumerate(names)}
        )

        def write() -> None:
            with atomic_write(path) as temporary:
                frame.to_csv(
                    temporary, index=False, compression="gzip" if str(path).endswith(".gz") else None
                )

        write_once(path, write)
        return frame

    # -- embeddings out

    def embedding(self, column: str, *, reserved: bool = False) -> pd.DataFrame:
        """What the model learned about the levels of a category column: one row a level, one column a
        dimension.

        Args:
            column: a category column.
            reserved: also the rows for missing, rare and unknown values.

        Raises:
            ValueError: for a name that is no category column.
        """
        from zoo_tabular.reasons.embeddings import EmbeddingTables

        return EmbeddingTables.of(self).frame(column, reserved=reserved)

    def embeddings(self, *, reserved: bool = False) -> dict[str, pd.DataFrame]:
        """`embedding` of every category column, by name."""
        from zoo_tabular.reasons.embeddings import EmbeddingTables

        tables = EmbeddingTables.of(self)
        return {column: tables.frame(column, reserved=reserved) for column in tables.tables}

    def embedding_transformer(
        self, columns: str | Sequence[str] | None = None, **options: Any
    ) -> EmbeddingTransformer:
        """What the model learned as features for scikit-learn models; see `EmbeddingTransformer`."""
        from zoo_tabular.reasons.embeddings import EmbeddingTransformer

        return EmbeddingTransformer(self, columns, **options)

    def plot_embedding(self, column: str, names: Any = None, **options: Any) -> Axes:
        """The levels of a category column in two dimensions; see `plot_embedding`."""
        from zoo_tabular.reasons.embedding_plot import plot_embedding

        return plot_embedding(self, column, names, **options)

    # -- reasons; a loaded learner gives them too, for rows that are passed in

    def importance(self, df: pd.DataFrame | None = None, target: Any = None, **options: Any) -> Importance:
        """How much the error rises when a column is shuffled; see `permutation_importance`."""
        from zoo_tabular.reasons.importance import permutation_importance

        return permutation_importance(self, df, target, **options)

    def partial_dependence(self, column: str, df: pd.DataFrame | None = None, **options: Any) -> Dependence:
        """The mean answer when one column is set to each of its values; see `partial_dependence`."""
        from zoo_tabular.reasons.dependence import partial_dependence

        return partial_dependence(self, column, df, **options)

    def what_if(self, row: Any, column: Any, values: Any = None, **options: Any) -> pd.DataFrame:
        """Answers for one row with other values in one column or several; see `what_if`."""
        from zoo_tabular.reasons.what_if import what_if

        return what_if(self, row, column, values, **options)

    def alternatives(self, row: Any, df: pd.DataFrame | None = None, **options: Any) -> Alternatives:
        """The values of each column that would move one row's answer farthest; see `alternatives`."""
        from zoo_tabular.reasons.what_if import alternatives

        return alternatives(self, row, df, **options)

    def residuals(self, df: pd.DataFrame, target: Any, date: str, **options: Any) -> Residuals:
        """Forecasts beside what came, over time and by group, and the worst rows; see `residuals`."""
        from zoo_tabular.reasons.residuals import residuals

        return residuals(self, df, target, date, **options)
