"""Ready-made callbacks, one concern a file."""

from zoo.callback import Callback as Callback
from zoo.callback import CancelBatch as CancelBatch
from zoo.callback import CancelEpoch as CancelEpoch
from zoo.callback import CancelFit as CancelFit
from zoo.callback import CancelStep as CancelStep
from zoo.callbacks.gradients import ClipGradients as ClipGradients
from zoo.callbacks.logging import CSVLogger as CSVLogger
from zoo.callbacks.logging import TensorBoardLogger as TensorBoardLogger
from zoo.callbacks.precision import Autocast as Autocast
from zoo.callbacks.progress import Progress as Progress
from zoo.callbacks.recorder import Recorder as Recorder
from zoo.callbacks.saving import SaveBest as SaveBest
from zoo.callbacks.saving import SaveCycles as SaveCycles
from zoo.callbacks.scheduling import Scheduler as Scheduler
from zoo.callbacks.statistics import ActivationStats as ActivationStats
from zoo.callbacks.statistics import GradientStats as GradientStats
