"""The switches of a learner: which groups train, in which number format, and how fast."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch

from zoo.callbacks.precision import Autocast
from zoo.data.loaders.device import computes_in, times_slower
from zoo.errors import did_you_mean
from zoo.notebook import quietly

if TYPE_CHECKING:
    from torch import nn

    from zoo.engine.callback import Callback
    from zoo.engine.layer_groups import LayerGroups
    from zoo.engine.optimizer import LayerOptimizer


log = logging.getLogger("zoo")

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def automatic_dtype(device: torch.device) -> torch.dtype:
    """The number format of training that `precision="auto"` chooses."""
    return torch.bfloat16 if computes_in(device, torch.bfloat16) else torch.float32


class Switches:
    """The part of a `Learner` that says how it trains, as opposed to on what and how long."""

    model: nn.Module
    device: torch.device
    opt: LayerOptimizer | None
    groups: LayerGroups
    _precision: Precision
    _autocast: Autocast | None
    _of_compile: tuple[Callback, ...] = ()
    _of_layout: tuple[Callback, ...] = ()
    _of_graphs: tuple[Callback, ...] = ()

    def freeze(self) -> None:
        """Train only the last layer group."""
        self.groups.freeze()

    def unfreeze(self) -> None:
        """Train all layer groups."""
        self.groups.freeze_to(0)

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from number `n` on; negative numbers count from the end."""
        self.groups.freeze_to(n)

    def bn_freeze(self, on: bool) -> None:
        """Keep the running statistics of all groups but the last fixed, even where they are trained."""
        self.groups.bn_freeze(on)

    @property
    def precision(self) -> Precision:
        """The number format of the forward passes: "auto", "fp32", "bf16" or "fp16", as it was asked for.

        "auto", the default, trains in bfloat16 where the device computes in it (`zoo.data.computes_in`), else
        in float32. It evaluates and predicts in float32, so that a model answers alike on every machine.
        """
        return self._precision

    @precision.setter
    def precision(self, value: Precision) -> None:
        self._switch_precision(value)

    def to_bf16(self) -> Self:
        """Run forward passes in bfloat16 from now on, also those of predictions; weights stay float32.

        The format of choice: it has the range of float32, so nothing overflows or vanishes. On a device that
        does not compute in it, training works, and a warning tells what it costs there.
        """
        return quietly(self._switch_precision("bf16"))

    def to_fp16(self) -> Self:
        """Run forward passes in float16 from now on, with a scaled loss; weights stay float32.

        For devices without bfloat16. Updates whose gradients overflow are left out, which is usual for the
        first few; see `zoo.callbacks.Autocast`. Optimizers that evaluate the loss themselves (LBFGS) can't.
        """
        return quietly(self._switch_precision("fp16"))

    def to_fp32(self) -> Self:
        """Run forward passes in float32 from now on."""
        return quietly(self._switch_precision("fp32"))

    def _switch_precision(self, precision: Precision) -> Self:
        known = get_args(Precision)
        if precision not in known:
            raise ValueError(
                f"precision={precision!r} is not known{did_you_mean(str(precision), known)}: use one of "
                f"{', '.join(known)}"
            )
        self._precision = precision
        self._autocast = None
        if precision == "auto":
            if automatic_dtype(self.device) == torch.bfloat16:
                self._autocast = Autocast(torch.bfloat16, training_only=True)
        elif precision in _DTYPES:
            dtype = _DTYPES[precision]
            self._autocast = Autocast(dtype)
            if not computes_in(self.device, dtype):
                log.warning(
                    "%s: this %s does not compute in %s; a product of matrices takes about %.0f times as "
                    "long as in float32: use to_fp32(), or precision='auto'",
                    *(f"to_{precision}()", self.device.type.upper(), str(dtype).removeprefix("torch.")),
                    times_slower(self.device, dtype),
                )
        return self

    def compile(self, on: bool = True, **options: Any) -> Self:
        """Run the model through `torch.compile` from now on.

        The first batch of each kind takes seconds to minutes; many small operations then run as few large
        ones. It pays in long fits on a GPU, and for models of many element-wise operations; a small network
        on a CPU hardly gains. The model itself stays as it is: names of weights, layer groups, freezing,
        saving, exporting and the finder work as before, and a last smaller batch costs one more compilation.

        Args:
            on: `False` undoes it.
            options: of `torch.compile`. `mode="reduce-overhead"` records CUDA graphs, for small batches on a
                GPU, where launching operations takes longer than running them; not for models that carry a
                state from batch to batch (language models). `backend="aot_eager"` needs no compiler and is
                for looking for errors.

        Raises:
            RuntimeError: if there is no C++ compiler.
            ValueError: for CUDA graphs without a CUDA device.
        """
        from zoo.engine.speed import compile_model, undo_compile

        if not on and options:
            raise ValueError(f"compile(False) takes no options, got {', '.join(options)}")
        undo_compile(self.model)
        self._of_compile = tuple(compile_model(self.model, self.device, options)) if on else ()
        return quietly(self)

    def cuda_graphs(self, on: bool = True) -> Self:
        """Record each training step as CUDA graphs and replay it, from now on.

        For models whose step is bound by launching its operations, as tables and ratings are on a fast GPU: a
        replayed step takes a few launches however many operations it holds. It computes what the step
        computes otherwise. Only batches of the shape seen first pay, so drop a smaller last one if need be;
        what cannot be recorded runs as usual, which is logged (see `zoo.engine.cuda_graphs.CudaGraphs`). On
        other devices nothing changes.

        Args:
            on: `False` undoes it.
        """
        from zoo.engine.cuda_graphs import RECORDINGS, CudaGraphs

        if on and self.device.type not in RECORDINGS:
            log.warning("cuda_graphs() pays on a GPU only; on %s steps run as usual", self.device)
        self._of_graphs = (CudaGraphs(),) if on else ()
        return quietly(self)

    def channels_last(self, on: bool = True) -> Self:
        """Keep pictures and convolution weights with the channels of a pixel side by side in memory.

        Same numbers (to rounding), faster convolutions on GPUs with tensor cores (with `to_bf16`) and on most
        CPUs. Saved weights do not depend on it.

        Args:
            on: `False` goes back to torch's ordinary layout.

        Raises:
            ValueError: if the model has no two-dimensional convolutions.
        """
        from zoo.engine.speed import ChannelsLast, lay_out

        lay_out(self.model, self.opt, torch.channels_last if on else torch.contiguous_format)
        self._of_layout = (ChannelsLast(),) if on else ()
        return quietly(self)
