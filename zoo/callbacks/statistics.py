"""What activations and gradients look like during a fit: layers that die, drown or explode show here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.callbacks.layer_statistics import LayerStatistics, log_histogram
from zoo.engine.speed import is_compiled, undo_compile
from zoo.engine.state import State
from zoo.inspect.hooks import Hooks, first_tensor


class ActivationStats(LayerStatistics):
    """Mean, standard deviation, share near zero and histogram of what layers give, on training batches.

    A layer that runs several times in a batch is recorded as it ran last. Batches that are recorded run
    uncompiled.

    Args:
        every: training batches from one record to the next.
        layers: names, patterns or modules (see `zoo.inspect.hooks.find_layers`); by default all layers with
            parameters, and the activation functions.
        most: records kept.
        near_zero: the magnitude up to which a value counts as near zero.

    Example:
        >>> import zoo
        >>> net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> loader = zoo.TensorLoader(torch.rand(64, 1), torch.rand(64, 1), bs=16)
        >>> stats = ActivationStats(every=2)
        >>> opt = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> rows = zoo.fit(net, zoo.ModelData(loader), 1, opt, nn.functional.mse_loss, callbacks=[stats])
        >>> stats.table()[["batch", "layer"]].values.tolist()
        [[0, '0'], [0, '1'], [0, '2'], [2, '0'], [2, '1'], [2, '2']]
    """

    columns = ("mean", "std", "near_zero")

    def __init__(
        self,
        every: int = 10,
        layers: str | nn.Module | Iterable[str | nn.Module] | None = None,
        most: int = 200,
        near_zero: float = 1e-3,
    ) -> None:
        super().__init__(every, layers, most)
        if not near_zero >= 0:
            raise ValueError(f"near_zero must not be negative, got {near_zero}")
        self.near_zero = near_zero
        self._hooks: Hooks | None = None
        self._model: nn.Module | None = None
        self._compiled: Any = None
        self._found: dict[str, tuple[Tensor, Tensor]] = {}

    def before_batch(self, state: State) -> None:
        if state.training and self._due():
            self._found = {}
            # on the model only while they are needed: no other pass sees them
            self._hooks = Hooks(self._modules, lambda name, output: self._look(state, name, output))
            if is_compiled(state.model):  # it would be compiled again for its hooks
                self._model, self._compiled = state.model, state.model._compiled_call_impl
                undo_compile(state.model)

    @torch.no_grad()
    def _look(self, state: State, name: str, output: Any) -> None:
        tensor = first_tensor(output)
        if not state.training or tensor is None or not tensor.is_floating_point() or not tensor.numel():
            return
        values = tensor.detach().float()
        var, mean = torch.var_mean(values, correction=0)
        near_zero = (values.abs() <= self.near_zero).float().mean()
        self._found[name] = torch.stack([mean, var.sqrt(), near_zero]), log_histogram(values, self.decades)

    def after_predict(self, state: State) -> None:
        if self._hooks is not None and state.training:
            self._remove()
            self._record(self._found)
            self._found = {}

    def cleanup_batch(self, state: State) -> None:
        self._remove()

    def cleanup_fit(self, state: State) -> None:
        self._remove()
        super().cleanup_fit(state)

    def _remove(self) -> None:
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
        if self._model is not None:
            self._model._compiled_call_impl = self._compiled
            self._model = self._compiled = None


class GradientStats(LayerStatistics):
    """Norm, mean, standard deviation and histogram of the gradients of each layer at the updates, and how
    far an update moves the weights.

    Recorded after unscaling, averaging over processes and accumulation, and before clipping. Layers without
    gradients (frozen ones) are left out. `update_ratio` is the norm of the change of the layer's weights over
    the norm of the weights; around 1e-3 is usual, much more is unstable, much less learns little.

    Args:
        every: updates from one record to the next.
        layers: names, patterns or modules (see `zoo.inspect.hooks.find_layers`); by default all layers with
            parameters.
        most: records kept.
    """

    columns = ("norm", "mean", "std", "update_ratio")
    decades = (-10, 2)
    unit = "update"

    def __init__(
        self,
        every: int = 10,
        layers: str | nn.Module | Iterable[str | nn.Module] | None = None,
        most: int = 200,
    ) -> None:
        super().__init__(every, layers, most)
        self._params: dict[str, list[nn.Parameter]] = {}
        self._found: dict[str, tuple[Tensor, Tensor]] = {}
        self._weights: dict[str, list[Tensor]] = {}

    def before_fit(self, state: State) -> None:
        super().before_fit(state)
        whole = self.wanted is not None
        owned = {name: list(module.parameters(recurse=whole)) for name, module in self._modules.items()}
        self._params = {name: params for name, params in owned.items() if params}
        self._reset(list(self._params))

    @torch.no_grad()
    def before_step(self, state: State) -> None:
        if not self._due():
            return
        self._found, self._weights = {}, {}
        for name, params in self._params.items():
            grads = [_plain(param.grad) for param in params if param.grad is not None]
            if grads:
                flat = torch.cat(grads)
                var, mean = torch.var_mean(flat, correction=0)
                self._found[name] = (
                    torch.stack([flat.norm(), mean, var.sqrt()]),
                    log_histogram(flat, self.decades),
                )
                self._weights[name] = [param.detach().clone() for param in params]

    @torch.no_grad()
    def after_step(self, state: State) -> None:
        found, weights = self._found, self._weights
        self._found, self._weights = {}, {}
        complete = {}
        for name, (values, counts) in found.items():
            pairs = list(zip(self._params[name], weights[name], strict=True))
            moved = _norm([now.detach() - before for now, before in pairs])
            size = _norm([before for _, before in pairs])
            ratio = torch.where(size > 0, moved / size, float("nan"))
            complete[name] = torch.cat([values, ratio[None]]), counts
        self._record(complete)

    def cleanup_fit(self, state: State) -> None:
        self._found, self._weights, self._params = {}, {}, {}
        super().cleanup_fit(state)


def _plain(grad: Tensor) -> Tensor:
    """The values of a gradient in one row; of a sparse one those that it holds."""
    dense = grad.coalesce().values() if grad.is_sparse else grad
    return dense.detach().float().flatten()


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.float().norm() for tensor in tensors]).norm()
