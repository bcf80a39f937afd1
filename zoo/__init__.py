"""One fit API for images, tables, text and recommendations.

The names are imported when first used, so that `import zoo` stays light and torch-free parts of the domain
packages stay usable without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo._version import __version__ as __version__
    from zoo.callback import Callback as Callback
    from zoo.callback import CancelBatch as CancelBatch
    from zoo.callback import CancelEpoch as CancelEpoch
    from zoo.callback import CancelFit as CancelFit
    from zoo.callback import CancelStep as CancelStep
    from zoo.data import DatasetLoader as DatasetLoader
    from zoo.data import ModelData as ModelData
    from zoo.data import TensorLoader as TensorLoader
    from zoo.ensemble import Ensemble as Ensemble
    from zoo.finite import NonFiniteLossError as NonFiniteLossError
    from zoo.learner import Learner as Learner
    from zoo.learner import load_learner as load_learner
    from zoo.loop import fit as fit
    from zoo.optimizer import LayerOptimizer as LayerOptimizer
    from zoo.optimizer import set_lrs as set_lrs
    from zoo.prediction import Prediction as Prediction
    from zoo.seeding import set_seed as set_seed
    from zoo.splits import get_cv_idxs as get_cv_idxs

_HOMES = {
    "Callback": "zoo.callback",
    "CancelBatch": "zoo.callback",
    "CancelEpoch": "zoo.callback",
    "CancelFit": "zoo.callback",
    "CancelStep": "zoo.callback",
    "DatasetLoader": "zoo.data",
    "Ensemble": "zoo.ensemble",
    "LayerOptimizer": "zoo.optimizer",
    "Learner": "zoo.learner",
    "ModelData": "zoo.data",
    "NonFiniteLossError": "zoo.finite",
    "Prediction": "zoo.prediction",
    "TensorLoader": "zoo.data",
    "__version__": "zoo._version",
    "fit": "zoo.loop",
    "get_cv_idxs": "zoo.splits",
    "load_learner": "zoo.learner",
    "set_lrs": "zoo.optimizer",
    "set_seed": "zoo.seeding",
}

__all__ = [  # noqa: RUF022 (the order in which a reader meets them)
    "Learner",
    "ModelData",
    "TensorLoader",
    "DatasetLoader",
    "fit",
    "load_learner",
    "Ensemble",
    "LayerOptimizer",
    "set_lrs",
    "set_seed",
    "get_cv_idxs",
    "Prediction",
    "Callback",
    "CancelBatch",
    "CancelEpoch",
    "CancelFit",
    "CancelStep",
    "NonFiniteLossError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
