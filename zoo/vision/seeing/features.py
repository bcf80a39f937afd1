"""What a network makes of each picture before its last layers: vectors in which alike pictures lie close."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.device import to_device
from zoo.engine.modes import preserve_modes
from zoo.vision.models.transfer import TransferModel
from zoo.vision.seeing.feature_map import FeatureMap
from zoo.vision.seeing.sets import PARTS, data_of


def frozen_features(learn: Any) -> np.ndarray:
    """Features of all pictures of a learner: of training, validation and test one after another.

    Of a model from `ConvLearner.pretrained` the pooled activations of its body, which are kept on disk as
    those of `precompute=True` are; of other networks the mean over the last feature map. The learner, its
    modes and its generators stay as they are.

    Args:
        learn: a learner of pictures.

    Returns:
        Float32, pictures x features, as `compared` gives them.

    Raises:
        ValueError: if the network has no feature map.
    """
    return compared(raw_features(learn))


def raw_features(learn: Any) -> np.ndarray:
    """The same as they come from the network, not scaled."""
    kept = getattr(learn, "_feature_data", lambda: None)()
    if kept is not None:
        loaders = [getattr(kept, f"{part}_dl", None) for part, _ in PARTS]
        return np.concatenate(
            [loader.tensors[0].float().cpu().numpy() for loader in loaders if loader is not None]
        )
    data = data_of(learn)
    found = [
        features_of(learn, dataset.items)
        for _, attribute in PARTS
        if (dataset := getattr(data, attribute, None)) is not None
    ]
    if not found:
        raise ValueError("this learner has no pictures: give it some with learn.set_data(data)")
    return np.concatenate(found)


def features_of(learn: Any, items: Any) -> np.ndarray:
    """Features of any pictures.

    Args:
        learn: a learner of pictures.
        items: as `learn.predict_batch` takes them.

    Returns:
        Float32, pictures x features.
    """
    model, found = learn.model, []
    with preserve_modes(model), torch.no_grad():
        model.eval()
        for batch in data_of(learn).batches_from_raw(items):
            found.append(_pooled(model, to_device(batch, learn.device)[0]).float().cpu().numpy())
    return np.concatenate(found)


def _pooled(model: Any, pictures: Tensor) -> Tensor:
    if isinstance(model, TransferModel) and model.pooled:
        return model.features(pictures)
    return FeatureMap.of(model, pictures).values.mean((2, 3))


def compared(raw: np.ndarray) -> np.ndarray:
    """Features as they are compared: around their mean, each row of length 1, so that products are cosines.

    Activations are positive, so all rows point the same way; around the mean unlike pictures stand at right
    angles, whatever the network.
    """
    return unit_rows(raw - raw.mean(0))


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    values = np.asarray(values, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
