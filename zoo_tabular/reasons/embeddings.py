"""What a network learned about categories, as frames and as features for other models. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from zoo.errors import did_you_mean, some
from zoo_tabular.frames.frame_checks import check_frame, name_list
from zoo_tabular.frames.processor import TableProcessor

RESERVED = ("(missing)", "(rare)", "(unknown)")  # how the rows beside the levels are called


@dataclass(frozen=True)
class EmbeddingTables:
    """The embedding table of every category column beside the processor that knows the levels.

    A copy: training the model further does not change it, and it holds neither rows nor torch.

    Attributes:
        processor: the fitted `TableProcessor` of the model.
        tables: an array of shape (codes, width) for each category column, row i for code i.
        counts: how often training rows have each code, where that was known.
        reading: for each category column a matrix of shape (width, width): vectors times it lie as far apart
            as the first layer of the network sees them; empty for models of other kinds.
        number_reading: the same as one factor for each number that the processor gives.
    """

    processor: TableProcessor
    tables: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    reading: Mapping[str, np.ndarray] = field(default_factory=dict)
    number_reading: np.ndarray | None = None

    @classmethod
    def of(cls, source: Any) -> EmbeddingTables:
        """The tables of a learner, or of an exported one by its path.

        Raises:
            TypeError: for a model without embedding tables of this package.
        """
        if isinstance(source, EmbeddingTables):
            return source
        if isinstance(source, str | Path):
            from zoo.storage.load_learner import load_learner

            source = load_learner(source, device="cpu")
        processor = getattr(getattr(source, "data", None), "processor", None)
        if not isinstance(processor, TableProcessor):
            raise TypeError(
                "expected a learner of a table or the path of an exported one, "
                f"got {source if isinstance(source, str) else type(source).__name__}"
            )
        fused: Any = getattr(source.model, "embeddings", None)
        if not hasattr(fused, "table") or len(fused.sizes) != len(processor.categories_):
            if not processor.categories_:
                return cls(processor, {}, {}, *_reading(source.model, {}))
            raise TypeError(f"{type(source.model).__name__} has no embedding tables of this package")
        tables = {
            column.name: fused.table(i).detach().cpu().float().numpy()[: column.n_codes].copy()
            for i, column in enumerate(processor.categories_)
        }
        return cls(processor, tables, _counts(source, processor), *_reading(source.model, tables))

    def __deepcopy__(self, memo: Any) -> EmbeddingTables:
        return self  # nothing of it is ever written to, so that clones of an estimator share it

    def __repr__(self) -> str:
        sizes = some((f"{name} {array.shape[1]}" for name, array in self.tables.items()), 8)
        return f"EmbeddingTables({sizes or 'no category columns'})"

    def check(self, column: str, where: str) -> None:
        """Raise a ValueError for a name that is no category column."""
        if column not in self.tables:
            names = list(self.tables)
            raise ValueError(
                f"{where}: no category column {column!r}{did_you_mean(column, names)}; "
                f"there are {names if len(names) <= 12 else some(names, 12)}"
            )

    def frame(self, column: str, *, reserved: bool = False) -> pd.DataFrame:
        """The table of one column: one row a level, one column a dimension.

        Args:
            column: a category column.
            reserved: also the rows for missing, rare and unknown values, named so, after the levels.
        """
        self.check(column, "embedding")
        known = next(c for c in self.processor.categories_ if c.name == column)
        table, n = self.tables[column], len(known.levels)
        if not reserved:
            return pd.DataFrame(table[1 : n + 1], index=pd.Index(known.levels, name=column))
        codes = [*range(1, n + 1), 0, known.rare_code, known.unknown_code]
        labels = pd.Index([*known.levels, *RESERVED], name=column, dtype=object)
        return pd.DataFrame(table[codes], index=labels)


class EmbeddingTransformer(TransformerMixin, BaseEstimator):
    """Replaces categories by what a network learned about them, for other models (Guo & Berkhahn 2016).

    Takes raw frames of the form that the network was trained on. Missing, rare and unknown values get the
    rows that were trained for them. There is nothing to fit: a transformer fitted or not gives the same, and
    it needs no torch, only one NumPy lookup a column. It can be cloned, pickled and used in any pipeline.

    Args:
        source: a learner, the path of an exported one, or `EmbeddingTables`; the tables are copied at once.
        columns: the category columns to embed; all by default.
        numbers: also give the number columns with their gaps filled, and scaled, as the network gets them.
        codes: whole-number codes of category columns beside the embeddings: "none"; "rest", those that are
            not embedded; or "all".
        as_read: turn and scale embeddings and numbers so that rows lie as far apart as the first layer of
            the network sees them: by the symmetric root of its weights' Gram matrix. Models of distances
            (neighbours, clusters, kernels) become far better by it; trees have no use for it.

    Attributes:
        feature_names_in_: columns that a frame must have; an array must have them in this order.
        n_features_in_: how many these are.

    Example:
        >>> from sklearn.neighbors import KNeighborsRegressor
        >>> from sklearn.pipeline import make_pipeline
        >>> from zoo_tabular import ColumnarModelData
        >>> df = pd.DataFrame({"Kind": ["a", "b", "a", "b"], "Size": [1.0, 2, 3, 4], "Sales": [5.0, 9, 7, 6]})
        >>> md = ColumnarModelData.from_data_frame(".", [3], df, "Sales", ["Kind"], bs=2)
        >>> learn = md.get_learner(szs=[4], device="cpu")
        >>> other = make_pipeline(EmbeddingTransformer(learn), KNeighborsRegressor(1))
        >>> other.fit(df, df["Sales"]).predict(df[:1])
        array([5.])
        >>> other[0].get_feature_names_out().tolist()
        ['Kind_0', 'Kind_1', 'Size']
    """

    def __init__(
        self,
        source: Any,
        columns: str | Sequence[str] | None = None,
        *,
        numbers: bool = True,
        codes: str = "none",
        as_read: bool = False,
    ) -> None:
        self.source = EmbeddingTables.of(source)
        self.columns, self.numbers, self.codes, self.as_read = columns, numbers, codes, as_read

    def fit(self, X: Any, y: Any = None) -> EmbeddingTransformer:
        """Check the options and that the columns are there; nothing is learned, `y` is not looked at."""
        embedded, coded, processor = self._parts()
        self._encode(X, processor)
        names = self._names(embedded, coded, processor)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"EmbeddingTransformer: two features would be called {some(repeated)}: rename a column"
            )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embeddings, then codes, then numbers.

        Args:
            X: a frame with the columns `feature_names_in_` and maybe others, or an array of exactly these.

        Returns:
            float32, shape (rows, features); a frame after `set_output(transform="pandas")`.
        """
        embedded, coded, processor = self._parts()
        codes, numbers = self._encode(X, processor)
        place = {column.name: i for i, column in enumerate(processor.categories_)}
        source = EmbeddingTables.of(self.source)
        tables = source.tables
        if self.as_read:
            tables = {name: tables[name] @ source.reading[name] for name in embedded}
            if self.numbers and source.number_reading is not None:
                numbers = numbers * source.number_reading
        width = sum(tables[name].shape[1] for name in embedded) + len(coded)
        features = np.empty((len(codes), width + numbers.shape[1]), dtype="float32")
        start = 0
        for name in embedded:
            end = start + tables[name].shape[1]
            features[:, start:end] = tables[name][codes[:, place[name]]]
            start = end
        for name in coded:
            features[:, start] = codes[:, place[name]]
            start += 1
        features[:, start:] = numbers
        return features

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`<column>_<dimension>` for embeddings; codes and numbers keep their names."""
        given = None if input_features is None else [str(name) for name in input_features]
        absent = [] if given is None else [name for name in self.feature_names_in_ if name not in given]
        if absent:
            raise ValueError(f"input_features has no {some(map(repr, absent))}, which the transformer reads")
        return np.array(self._names(*self._parts()), dtype=object)

    @property
    def feature_names_in_(self) -> np.ndarray:
        return np.array(self._parts()[2].feature_names_in_, dtype=object)

    @property
    def n_features_in_(self) -> int:
        return len(self.feature_names_in_)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def _parts(self) -> tuple[list[str], list[str], TableProcessor]:
        """Columns to embed, columns whose codes are given, and the processor of just what is needed."""
        source, where = EmbeddingTables.of(self.source), "EmbeddingTransformer"
        names = list(source.tables)
        embedded = names if self.columns is None else name_list(self.columns, f"{where}: columns")
        for name in embedded:
            source.check(name, where)
        choices = {"none": [], "rest": [name for name in names if name not in embedded], "all": names}
        if self.codes not in choices:
            raise ValueError(f"{where}: codes must be one of {', '.join(choices)}, got {self.codes!r}")
        coded = choices[self.codes]
        if self.as_read and source.number_reading is None:
            raise ValueError(
                f"{where}: as_read needs a MixedInputModel, whose first layer tells what it reads"
            )
        state = source.processor.to_dict()
        needed = {*embedded, *coded}
        state["categories"] = [one for one in state["categories"] if one["name"] in needed]
        state["numbers"] = state["numbers"] if self.numbers else []
        state["options"] = {**state["options"], "extra": "ignore"}  # a pipeline passes whole frames on
        if not state["categories"] and not state["numbers"]:
            raise ValueError(f"{where}: nothing is left to give: no columns are embedded and numbers=False")
        return embedded, coded, TableProcessor.from_dict(state)

    def _names(self, embedded: list[str], coded: list[str], processor: TableProcessor) -> list[str]:
        tables = EmbeddingTables.of(self.source).tables
        made = [f"{name}_{i}" for name in embedded for i in range(tables[name].shape[1])]
        return [*made, *coded, *processor.number_names_]

    @staticmethod
    def _encode(X: Any, processor: TableProcessor) -> tuple[np.ndarray, np.ndarray]:
        names = processor.feature_names_in_
        if not isinstance(X, pd.DataFrame) and not hasattr(X, "__arrow_c_stream__"):
            array = np.asarray(X)
            if array.ndim != 2 or array.shape[1] != len(names):
                raise ValueError(
                    f"EmbeddingTransformer: expected a frame, or an array of {len(names)} columns "
                    f"({some(names)}), got {type(X).__name__} of shape {array.shape}"
                )
            X = pd.DataFrame(array, columns=names)
        return processor.transform_arrays(check_frame(X, "EmbeddingTransformer", empty_ok=False))


def _counts(learn: Any, processor: TableProcessor) -> dict[str, np.ndarray]:
    """How often training rows have each code, by column; empty where the rows are not at hand."""
    tensors = getattr(getattr(learn.data, "train_dl", None), "tensors", None)
    if not tensors:
        return {}
    codes = np.asarray(tensors[0])
    return {
        column.name: np.bincount(codes[:, i], minlength=column.n_codes)
        for i, column in enumerate(processor.categories_)
    }


def _reading(model: Any, tables: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """How the first layer of a `MixedInputModel` sees embeddings and numbers; (empty, None) for others."""
    layers = [*getattr(model, "hidden", []), getattr(model, "output", None)]
    if not hasattr(model, "bn_cont") or not hasattr(layers[0], "weight"):
        return {}, None
    weight = layers[0].weight.detach().cpu().double().numpy()
    found, start = {}, 0
    for name, table in tables.items():
        part = weight[:, start : start + table.shape[1]]
        start += table.shape[1]
        strength, axes = np.linalg.eigh(part.T @ part)
        found[name] = ((axes * np.sqrt(strength.clip(0))) @ axes.T).astype("float32")
    factors = np.sqrt(np.square(weight[:, start:]).sum(axis=0))
    norm = model.bn_cont
    if hasattr(norm, "running_var"):
        factors = factors / np.sqrt(norm.running_var.detach().cpu().double().numpy() + norm.eps)
        factors = factors * np.abs(norm.weight.detach().cpu().double().numpy())
    return found, factors.astype("float32")
