"""The digest of tensors and of what is written beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def tensor_digest(digest: Any, tensors: Mapping[str, Tensor]) -> str:
    """Feed names, formats, shapes and values to a digest of `hashlib`.

    Args:
        digest: one that knows the text beside the tensors already.
        tensors: contiguous ones on the CPU, by name; their order does not matter.

    Returns:
        The digest in hexadecimal.
    """
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
