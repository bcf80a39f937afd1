"""A learner as plain arrays and values, as it travels in pickles."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.device import resolve_device
from zoo.storage.archive import Archive
from zoo.storage.registry import domain_learner, spec_of


def pack(learn: Any) -> dict[str, Any]:
    spec = spec_of(learn.model)
    state, arrays = learn.data.export_state()
    activation = learn.activation
    return {
        "config": {
            "domain": learn.domain,
            "model": {"name": spec.name, "args": copy.deepcopy(spec.args)},
            "activation": {"kind": activation.kind, "axis": activation.axis},
            **({} if learn.calibration is None else {"calibration": learn.calibration.to_dict()}),
        },
        "preprocess": copy.deepcopy(state),
        "tensors": {name: _array(value) for name, value in learn.model.state_dict().items()},
        "arrays": {name: _array(value) for name, value in arrays.items()},
        "history": copy.deepcopy(learn.history),
    }


def unpack(packed: dict[str, Any], device: Any) -> Any:
    try:
        device = resolve_device(device)
    except ValueError:  # it was trained on a device that this machine lacks
        device = None
    tensors, arrays = (
        {name: torch.from_numpy(np.array(value)) for name, value in packed[part].items()}
        for part in ("tensors", "arrays")
    )
    archive = Archive(packed["config"], packed["preprocess"], tensors, arrays)
    learn = domain_learner(packed["config"]["domain"]).from_archive(archive, device)
    learn.history = copy.deepcopy(packed["history"])
    return learn


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
