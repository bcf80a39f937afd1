"""Pretrained encoders that come with the package: where they lie, and what their words are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.errors import did_you_mean

FOLDER = Path(__file__).parents[1] / "weights"


def names() -> list[str]:
    """What comes with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def packaged(name: str | Path) -> Path | None:
    """The file of an encoder that comes with the package; None for other names.

    Example:
        >>> packaged("reviews") is None
        True
    """
    return FOLDER / f"{name}.safetensors" if name in names() else None


def field_state(name: str | Path) -> dict[str, Any]:
    """What `Field.from_state` makes the field of an encoder from.

    Args:
        name: Of an encoder that comes with the package (see `names`), or a file that `learn.save_encoder`
            wrote.

    Raises:
        ValueError: If the name is not known, or the file holds no encoder.
        FileNotFoundError: If there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    path = packaged(name) or Path(name)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"no pretrained encoder {str(name)!r}{did_you_mean(str(name), names())}: with the package comes: "
            f"{', '.join(names()) or 'none'}; or give the path of a file that learn.save_encoder(...) wrote"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no encoder {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            described = file.metadata() or {}
        return {**json.loads(described["zoo.field"]), "vocab": json.loads(described["zoo.vocab"])}
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no encoder: {error}") from None
