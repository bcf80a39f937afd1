"""How the rows of prepared tables are called: their positions and labels in the user's frame, as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.utf8 import json_text

RowLabels = dict[str, tuple[np.ndarray, pd.Index]]


def kept_labels(labels: RowLabels) -> dict[str, Tensor]:
    """Positions and labels of each part as arrays; labels other than whole numbers are kept as texts.

    Args:
        labels: by "train" and "valid".
    """
    arrays = {}
    for part, (positions, index) in labels.items():
        arrays[f"rows.{part}"] = torch.from_numpy(np.array(positions, dtype="int64"))
        if index.dtype.kind == "i" and np.array_equal(index, positions):
            continue
        if index.dtype.kind == "i":
            arrays[f"labels.{part}"] = torch.from_numpy(index.to_numpy(dtype="int64", copy=True))
        else:
            texts = json_text([str(label) for label in index.tolist()]).encode()
            arrays[f"texts.{part}"] = torch.frombuffer(bytearray(texts), dtype=torch.uint8)
    return arrays


def labels_from(arrays: Mapping[str, Tensor]) -> RowLabels:
    """What `kept_labels` kept; nothing of folders that an older version wrote."""
    found: dict[str, Any] = {}
    for part in ("train", "valid"):
        if f"rows.{part}" not in arrays:
            continue
        positions = arrays[f"rows.{part}"].numpy()
        if f"texts.{part}" in arrays:
            index = pd.Index(json.loads(arrays[f"texts.{part}"].numpy().tobytes()), dtype=object)
        else:
            index = pd.Index(arrays.get(f"labels.{part}", arrays[f"rows.{part}"]).numpy())
        found[part] = positions, index
    return found
