"""Deep learning on tables: dates, events, categories and missing values in; forecasts and classes out.

Names are imported when first used: everything that prepares frames works without torch, for other models too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_tabular.autoencoder import AutoencoderData as AutoencoderData
    from zoo_tabular.autoencoder import AutoencoderLearner as AutoencoderLearner
    from zoo_tabular.autoencoder_transformer import TabularAutoencoder as TabularAutoencoder
    from zoo_tabular.data import ColumnarModelData as ColumnarModelData
    from zoo_tabular.dates import add_datepart as add_datepart
    from zoo_tabular.dependence import partial_dependence as partial_dependence
    from zoo_tabular.embedding_plot import plot_embedding as plot_embedding
    from zoo_tabular.embeddings import EmbeddingTransformer as EmbeddingTransformer
    from zoo_tabular.estimators import TabularClassifier as TabularClassifier
    from zoo_tabular.estimators import TabularRegressor as TabularRegressor
    from zoo_tabular.events import add_elapsed as add_elapsed
    from zoo_tabular.events import add_event_counts as add_event_counts
    from zoo_tabular.importance import permutation_importance as permutation_importance
    from zoo_tabular.io import read_table as read_table
    from zoo_tabular.io import stream_table as stream_table
    from zoo_tabular.io import write_partitioned as write_partitioned
    from zoo_tabular.io import write_table as write_table
    from zoo_tabular.learner import TabularLearner as TabularLearner
    from zoo_tabular.metrics import average_precision as average_precision
    from zoo_tabular.metrics import exp_rmspe as exp_rmspe
    from zoo_tabular.metrics import in_units as in_units
    from zoo_tabular.metrics import rmspe as rmspe
    from zoo_tabular.model import MixedInputModel as MixedInputModel
    from zoo_tabular.one_row import alternatives as alternatives
    from zoo_tabular.one_row import what_if as what_if
    from zoo_tabular.over_time import residuals as residuals
    from zoo_tabular.processing import apply_cats as apply_cats
    from zoo_tabular.processing import proc_df as proc_df
    from zoo_tabular.processing import train_cats as train_cats
    from zoo_tabular.processor import TableProcessor as TableProcessor
    from zoo_tabular.splits import TimeLeakWarning as TimeLeakWarning
    from zoo_tabular.splits import group_split as group_split
    from zoo_tabular.splits import last_days_split as last_days_split
    from zoo_tabular.summary import summarize as summarize
    from zoo_tabular.weights import class_weights as class_weights

_HOMES = {
    "AutoencoderData": "zoo_tabular.autoencoder",
    "AutoencoderLearner": "zoo_tabular.autoencoder",
    "ColumnarModelData": "zoo_tabular.data",
    "EmbeddingTransformer": "zoo_tabular.embeddings",
    "MixedInputModel": "zoo_tabular.model",
    "TableProcessor": "zoo_tabular.processor",
    "TabularAutoencoder": "zoo_tabular.autoencoder_transformer",
    "TabularClassifier": "zoo_tabular.estimators",
    "TabularLearner": "zoo_tabular.learner",
    "TabularRegressor": "zoo_tabular.estimators",
    "TimeLeakWarning": "zoo_tabular.splits",
    "add_datepart": "zoo_tabular.dates",
    "add_elapsed": "zoo_tabular.events",
    "add_event_counts": "zoo_tabular.events",
    "alternatives": "zoo_tabular.one_row",
    "apply_cats": "zoo_tabular.processing",
    "average_precision": "zoo_tabular.metrics",
    "class_weights": "zoo_tabular.weights",
    "exp_rmspe": "zoo_tabular.metrics",
    "group_split": "zoo_tabular.splits",
    "in_units": "zoo_tabular.metrics",
    "last_days_split": "zoo_tabular.splits",
    "partial_dependence": "zoo_tabular.dependence",
    "permutation_importance": "zoo_tabular.importance",
    "plot_embedding": "zoo_tabular.embedding_plot",
    "proc_df": "zoo_tabular.processing",
    "read_table": "zoo_tabular.io",
    "residuals": "zoo_tabular.over_time",
    "rmspe": "zoo_tabular.metrics",
    "stream_table": "zoo_tabular.io",
    "summarize": "zoo_tabular.summary",
    "train_cats": "zoo_tabular.processing",
    "what_if": "zoo_tabular.one_row",
    "write_partitioned": "zoo_tabular.io",
    "write_table": "zoo_tabular.io",
}

__all__ = [  # noqa: RUF022 (the order in which a reader meets them)
    "add_datepart",
    "add_elapsed",
    "add_event_counts",
    "train_cats",
    "apply_cats",
    "proc_df",
    "TableProcessor",
    "last_days_split",
    "group_split",
    "summarize",
    "TimeLeakWarning",
    "write_table",
    "read_table",
    "stream_table",
    "write_partitioned",
    "exp_rmspe",
    "rmspe",
    "average_precision",
    "in_units",
    "ColumnarModelData",
    "MixedInputModel",
    "class_weights",
    "TabularLearner",
    "TabularRegressor",
    "TabularClassifier",
    "AutoencoderData",
    "AutoencoderLearner",
    "TabularAutoencoder",
    "EmbeddingTransformer",
    "plot_embedding",
    "permutation_importance",
    "partial_dependence",
    "what_if",
    "alternatives",
    "residuals",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo_tabular' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
