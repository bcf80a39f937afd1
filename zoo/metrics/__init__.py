"""Metrics: functions of predictions and targets, which add up over batches wherever that gives the same
value.

A metric is any `(predictions, targets) -> number`. Those of this package take tensors, numpy arrays and
lists; inside a fit they get the raw outputs of the model. Any other function sees the whole validation set
at once, so measures that are no means of batch values come out right; `batch_mean` marks one that is such a
mean. An object with `reset`, `update(preds, targets)` and `compute` (for example of torchmetrics) is fed
batch by batch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
