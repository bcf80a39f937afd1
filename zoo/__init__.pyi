from .data.answers.prediction import Prediction as Prediction
from .data.check.check_data import check_data as check_data
from .data.loaders.dataset_loader import DatasetLoader as DatasetLoader
from .data.loaders.seeding import set_seed as set_seed
from .data.loaders.tensor_loader import TensorLoader as TensorLoader
from .data.model_data import ModelData as ModelData
from .data.splits import get_cv_idxs as get_cv_idxs
from .engine.callback import Callback as Callback
from .engine.callback import CancelBatch as CancelBatch
from .engine.callback import CancelEpoch as CancelEpoch
from .engine.callback import CancelFit as CancelFit
from .engine.callback import CancelStep as CancelStep
from .engine.finite import NonFiniteLossError as NonFiniteLossError
from .engine.optimizer import LayerOptimizer as LayerOptimizer
from .engine.optimizer import set_lrs as set_lrs
from .engine.relative_adamw import RelativeAdamW as RelativeAdamW
from .engine.row_adamw import RowAdamW as RowAdamW
from .ensemble import Ensemble as Ensemble
from .folds import CrossValidation as CrossValidation
from .folds import cross_validate as cross_validate
from .learner import Learner as Learner
from .storage.load_learner import load_learner as load_learner
from .storage.prepared import load_data as load_data
from .storage.registry import register_model as register_model
from .training.bare_fit import fit as fit

__version__: str
