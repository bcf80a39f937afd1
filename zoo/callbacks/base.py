"""The base class of callbacks and the exceptions that they raise, which the engine defines."""

from zoo.engine.callback import Callback as Callback
from zoo.engine.callback import CancelBatch as CancelBatch
from zoo.engine.callback import CancelEpoch as CancelEpoch
from zoo.engine.callback import CancelFit as CancelFit
from zoo.engine.callback import CancelStep as CancelStep
