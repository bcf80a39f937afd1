"""What makes the same training faster on some hardware: compiled models and the channels-last layout."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.engine.callback import Callback
from zoo.engine.optimizer import align_layouts
from zoo.engine.state import State

if TYPE_CHECKING:
    from zoo.engine.optimizer import LayerOptimizer

# every combination of frozen groups, precision, training or not, and rows fixed or not is compiled by itself
_VARIANTS = 64
_GRAPHS = ("reduce-overhead", "max-autotune")


def compile_model(model: nn.Module, device: torch.device, options: dict[str, Any]) -> list[Callback]:
    """Compile a model in place, so that its parameters keep their names and everything else works on.

    Args:
        model: called through `torch.compile` from now on.
        device: where it lies.
        options: of `torch.compile`.

    Returns:
        Callbacks that training steps then need.

    Raises:
        RuntimeError: if there is no C++ compiler, which torch's own backend needs.
        ValueError: for CUDA graphs on another device.
    """
    mode = options.get("mode")
    if mode == "reduce-overhead" and device.type != "cuda":
        raise ValueError(
            f"compile(mode='reduce-overhead') records CUDA graphs, but this learner is on {device}: leave "
            "out the mode"
        )
    if options.get("backend", "inductor") == "inductor" and find_compiler() is None:
        raise RuntimeError(
            "learn.compile() needs a C++ compiler, and none was found: install g++ or clang, or name one in "
            "the environment variable CXX; learn.compile(backend='aot_eager') works without, but is no faster"
        )
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _VARIANTS)  # type: ignore[attr-defined]
    config.skip_nnmodule_hook_guards = False  # type: ignore[attr-defined]  # hooks set later are seen
    _keep_apart(model)
    model.compile(**options)
    return [GraphOutputs()] if mode in _GRAPHS and device.type == "cuda" else []


def _keep_apart(model: nn.Module) -> None:
    """Run layers with `compile_apart = True` as they are, between compiled parts.

    For recurrent kernels, which are fast already: the compiler would write out every step of a text, anew for
    every length. torch does the same with its own recurrent layers.
    """
    for kind in {type(layer) for layer in model.modules() if getattr(layer, "compile_apart", False)}:
        if not hasattr(kind.forward, "_torchdynamo_disable"):
            kind.forward = torch.compiler.disable(kind.forward)  # the class: copies of the model share it


def is_compiled(model: nn.Module) -> bool:
    """Whether calls of this module go through `torch.compile`."""
    return getattr(model, "_compiled_call_impl", None) is not None


def undo_compile(model: nn.Module) -> None:
    """Call the module as it is again."""
    model._compiled_call_impl = None


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Inside, calls of a compiled model go to the model itself."""
    if not is_compiled(model):
        yield
        return
    kept = model._compiled_call_impl
    undo_compile(model)
    try:
        yield
    finally:
        model._compiled_call_impl = kept


def find_compiler() -> str | None:
    """The C++ compiler that torch would use, or `None`."""
    named = os.environ.get("CXX")
    return next(
        (found for name in (named, "g++", "clang++", "cl") if name and (found := shutil.which(name))), None
    )


class GraphOutputs(Callback):
    """Copies what a CUDA graph gave, since the next batch is written to the same place."""

    order = -95
    in_finder = True

    def before_batch(self, state: State) -> None:
        torch.compiler.cudagraph_mark_step_begin()

    def after_predict(self, state: State) -> None:
        state.preds = _copy(state.preds)
        state.extras = tuple(_copy(part) for part in state.extras)


class ChannelsLast(Callback):
    """Hands pictures (four-dimensional inputs) to the model in the channels-last layout."""

    order = -95
    in_finder = True

    def before_batch(self, state: State) -> None:
        state.inputs = tuple(
            part.contiguous(memory_format=torch.channels_last)
            if isinstance(part, Tensor) and part.ndim == 4
            else part
            for part in state.inputs
        )


def lay_out(model: nn.Module, opt: LayerOptimizer | None, memory_format: torch.memory_format) -> None:
    """Put the weights of a convolutional model, and its optimizer's averages of them, into another layout.

    Raises:
        ValueError: if there is no weight of two-dimensional convolutions.
    """
    if not any(param.ndim == 4 for param in model.parameters()):
        raise ValueError(
            "channels_last() is for models with two-dimensional convolutions, this "
            f"{type(model).__name__} has none"
        )
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    if opt is not None:
        align_layouts(opt.opt)


def _copy(part: Any) -> Any:
    return part.clone() if isinstance(part, Tensor) else part
