"""The files of a learner: weights, and exports that answer raw inputs elsewhere."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import nn

from zoo.distributed.group import write_once
from zoo.errors import did_you_mean
from zoo.storage.archive import load_metadata, load_state, save_state, write_archive
from zoo.storage.registry import domain_learner, spec_of
from zoo.storage.weights import load_weights


class LearnerFiles:
    """The part of a `Learner` that writes and reads files."""

    domain: ClassVar[str] = "core"

    data: Any
    model: nn.Module
    path: Path
    activation: Any  # what the outputs mean, of `zoo.losses.Activation`
    calibration: Any = None  # what `calibrate` found for these weights, of `zoo.inspect.calibration`

    def save(self, name: str) -> Path:
        """Write the weights to `path/models/{name}.safetensors`, atomically.

        Returns:
            The file.
        """
        target = self._weights_file(name)
        kind = {"zoo.kind": "weights", "zoo.model": type(self.model).__name__}
        write_once(target, lambda: save_state(target, self.model.state_dict(), kind))
        return target

    def load(self, name: str) -> Self:
        """Read weights that `save` wrote, on whatever device.

        Raises:
            FileNotFoundError: if there are none of that name.
            ArchiveError: if the file is no safetensors file.
            ValueError: if they belong to another model; nothing is changed then.
        """
        source = self._weights_file(name)
        if not source.is_file():
            present = sorted(file.stem for file in source.parent.glob("*.safetensors"))
            raise FileNotFoundError(
                f"no saved weights {source}{did_you_mean(name, present)}; saved here: "
                f"{', '.join(present) or 'none'}"
            )
        tensors = load_state(source)
        load_weights(self.model, tensors, str(source), load_metadata(source).get("zoo.model"))
        self._weights_changed("load")
        return self

    def _weights_changed(self, by: str) -> None:
        """A calibration is of certain weights: it goes with them, and that is told."""
        if self.calibration is not None:
            self.calibration = None
            warnings.warn(
                f"{by}() changes the weights, so the calibration of the old ones is dropped: call "
                "calibrate() again",
                stacklevel=3,
            )

    def _weights_file(self, name: str) -> Path:
        return self.path / "models" / (name if name.endswith(".safetensors") else f"{name}.safetensors")

    def export(self, path: str | Path) -> Path:
        """Write everything that prediction needs: weights, labels, preprocessing. `load_learner` reads it.

        Args:
            path: a folder, or a file ending in ".zip".

        Raises:
            TypeError: if the model is not registered (see `zoo.register_model`).
        """
        domain_learner(self.domain)
        spec = spec_of(self.model)
        state, arrays = self.data.export_state()
        activation = self.activation
        config = {
            "domain": self.domain,
            "model": {"name": spec.name, "args": spec.args},
            "activation": {"kind": activation.kind, "axis": activation.axis},
            **({} if self.calibration is None else {"calibration": self.calibration.to_dict()}),
            **self._export_config(),
        }
        tensors = self.model.state_dict()
        write_once(path, lambda: write_archive(path, config, state, tensors, arrays))
        return Path(path).resolve()

    def _export_config(self) -> dict[str, Any]:
        """Further entries of an archive's `config.json`."""
        return {}
