from .data.loaders import DatasetLoader as DatasetLoader
from .data.loaders import ModelData as ModelData
from .data.loaders import TensorLoader as TensorLoader
from .data.prediction import Prediction as Prediction
from .data.seeding import set_seed as set_seed
from .data.splits import get_cv_idxs as get_cv_idxs
from .engine.callback import Callback as Callback
from .engine.callback import CancelBatch as CancelBatch
from .engine.callback import CancelEpoch as CancelEpoch
from .engine.callback import CancelFit as CancelFit
from .engine.callback import CancelStep as CancelStep
from .engine.finite import NonFiniteLossError as NonFiniteLossError
from .engine.optimizer import LayerOptimizer as LayerOptimizer
from .engine.optimizer import set_lrs as set_lrs
from .ensemble import Ensemble as Ensemble
from .learner import Learner as Learner
from .learner import load_learner as load_learner
from .storage.registry import register_model as register_model
from .training.bare_fit import fit as fit

__version__: str
