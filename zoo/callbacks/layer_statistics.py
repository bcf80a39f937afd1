"""Records a few numbers and a histogram per layer over a fit of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.engine.callback import Callback
from zoo.engine.state import State
from zoo.errors import some
from zoo.inspect.hooks import find_layers, leaf_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


PER_DECADE = 4


def log_histogram(values: Tensor, decades: tuple[int, int]) -> Tensor:
    """Counts of values in bins that are equally wide in the logarithm of the magnitude, a side for each sign.

    The bins never depend on the values, so that the counts of any two batches and layers compare.

    Args:
        values: of any shape.
        decades: `(lo, hi)`: magnitudes below `10**lo` fall into the bin in the middle, those above `10**hi`
            into the outermost ones.

    Returns:
        Integers, shape (2 * 4 * (hi - lo) + 1,), from the most negative to the most positive values.

    Example:
        >>> log_histogram(torch.tensor([-50.0, -2.0, 0.0, 0.0, 1.5]), (0, 1)).tolist()
        [1, 0, 1, 0, 2, 1, 0, 0, 0]
    """
    low, high = decades
    side = PER_DECADE * (high - low)
    flat = values.flatten()
    place = ((flat.abs().log10() - low) * PER_DECADE).floor().clamp(-1, side - 1).nan_to_num(-1) + 1
    index = (side + place * flat.sign().nan_to_num(0)).long()
    counts = torch.zeros(2 * side + 1, dtype=torch.long, device=values.device)
    return counts.scatter_add_(0, index, torch.ones_like(index))


def bin_edges(decades: tuple[int, int]) -> list[float]:
    """The edges of `log_histogram`'s bins; the first and the last bin also hold what lies beyond.

    Example:
        >>> [round(edge, 2) for edge in bin_edges((0, 1))]
        [-10.0, -5.62, -3.16, -1.78, -1.0, 1.0, 1.78, 3.16, 5.62, 10.0]
    """
    low, high = decades
    side = [10 ** (low + step / PER_DECADE) for step in range(PER_DECADE * (high - low) + 1)]
    return [-edge for edge in reversed(side)] + side


class LayerStatistics(Callback):
    """Numbers a layer, recorded every so many batches; the base of what looks at activations and gradients.

    Records stay on the device as a few numbers until some have come together, and never make it wait. When
    there are more than `most` of them every other one is dropped and recording goes on half as often, so that
    the memory of a fit of any length is bounded and its whole course is seen.

    Attributes:
        columns: names of the numbers.
        layers: names of the layers.
        batches: when each record was taken: the number of the training batch (or update), counted from 0
            through this fit.
        values: shape (records, layers, columns); NaN where a layer did not run or has no gradient.
        counts: histograms, shape (records, layers, bins), see `log_histogram`.
    """

    order = 45
    columns: tuple[str, ...] = ()
    decades = (-4, 3)
    unit = "batch"
    _flush_at = 32

    def __init__(
        self,
        every: int = 10,
        layers: str | nn.Module | Iterable[str | nn.Module] | None = None,
        most: int = 200,
    ) -> None:
        for name, value, least in (("every", every, 1), ("most", most, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.every, self.most = every, most
        self.wanted = layers if layers is None or isinstance(layers, str | nn.Module) else list(layers)
        self._modules: dict[str, nn.Module] = {}
        self._reset([])

    def _reset(self, layers: list[str]) -> None:
        self.layers, self.batches = layers, []
        self._seen, self._interval = 0, self.every
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._taken: list[tuple[Tensor, Tensor]] = []

    def before_fit(self, state: State) -> None:
        model = state.model
        self._modules = leaf_layers(model) if self.wanted is None else find_layers(model, self.wanted)
        self._reset(list(self._modules))

    def cleanup_fit(self, state: State) -> None:
        self._flush()
        self._modules = {}

    def after_train(self, state: State) -> None:
        self._flush()

    def _due(self) -> bool:
        """Whether the batch that begins is recorded; counts it."""
        self._seen += 1
        return (self._seen - 1) % self._interval == 0

    def _record(self, found: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Keep the numbers and the histograms of the layers that have some."""
        if not found:
            return
        values, counts = next(iter(found.values()))
        missing = torch.full_like(values, float("nan")), torch.zeros_like(counts)
        pairs = [found.get(name, missing) for name in self.layers]
        self._waiting.append(
            (torch.stack([value for value, _ in pairs]), torch.stack([count for _, count in pairs]))
        )
        self.batches.append(self._seen - 1)
        if len(self._waiting) >= self._flush_at:
            self._flush()

    def _flush(self) -> None:
        """Take what still lies on the device, and thin out what has become too much."""
        if self._waiting:
            values = torch.stack([value for value, _ in self._waiting]).cpu()
            counts = torch.stack([count for _, count in self._waiting]).cpu().int()
            self._taken += list(zip(values, counts, strict=True))
            self._waiting.clear()
        while len(self._taken) > self.most:
            self._interval *= 2
            kept = [i for i, batch in enumerate(self.batches) if batch % self._interval == 0]
            self.batches = [self.batches[i] for i in kept]
            self._taken = [self._taken[i] for i in kept]

    @property
    def values(self) -> Tensor:
        self._flush()
        shape = (0, len(self.layers), len(self.columns))
        return torch.stack([value for value, _ in self._taken]) if self._taken else torch.zeros(shape)

    @property
    def counts(self) -> Tensor:
        self._flush()
        shape = (0, len(self.layers), len(bin_edges(self.decades)) - 1)
        return torch.stack([count for _, count in self._taken]) if self._taken else torch.zeros(shape).int()

    def state_dict(self) -> dict[str, Any]:
        values, counts = self.values, self.counts
        return {
            "layers": list(self.layers),
            "batches": list(self.batches),
            "seen": self._seen,
            "interval": self._interval,
            "values": values,
            "counts": counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if list(state["layers"]) != self.layers:
            raise ValueError(
                f"{type(self).__name__} recorded the layers {some(state['layers'])} before, now "
                f"{some(self.layers)}: resume with the same layers"
            )
        self.batches = [int(batch) for batch in state["batches"]]
        self._seen, self._interval = int(state["seen"]), int(state["interval"])
        self._waiting = []
        self._taken = list(zip(state["values"].cpu(), state["counts"].cpu().int(), strict=True))

    def table(self) -> DataFrame:
        """All numbers: one row a record and layer, with the columns `batch` (or `update`), `layer` and
        `columns`; layers without numbers left out.
        """
        from pandas import DataFrame

        values = self.values
        rows = [
            (batch, name, *values[i, j].tolist())
            for i, batch in enumerate(self.batches)
            for j, name in enumerate(self.layers)
            if not bool(values[i, j].isnan().all())
        ]
        return DataFrame(rows, columns=[self.unit, "layer", *self.columns])  # pyright: ignore[reportArgumentType]

    def plot(self) -> Figure:
        """Every number against the batches, one line a layer."""
        from zoo.inspect.plots import layer_curves

        shown, values = self._shown("plot"), self.values
        panels = {
            name.replace("_", " "): values[:, shown, i].T.tolist() for i, name in enumerate(self.columns)
        }
        return layer_curves(self.batches, panels, [self.layers[i] for i in shown], x_label=self.unit)

    def plot_histograms(self, panels: int = 24) -> Figure:
        """The distribution in a layer against the batches, as a colour map, one panel a layer.

        Args:
            panels: of a model with more layers so many are shown, evenly spread from the first to the last.
        """
        from zoo.inspect.plots import layer_histograms

        shown = self._shown("plot_histograms")
        if len(shown) > panels:
            shown = [shown[round(i * (len(shown) - 1) / max(1, panels - 1))] for i in range(panels)]
        counts = self.counts[:, shown].transpose(0, 1).tolist()
        names = [self.layers[i] for i in shown]
        return layer_histograms(self.batches, counts, names, self.decades, x_label=self.unit)

    def _shown(self, what: str) -> list[int]:
        """The layers with numbers."""
        values = self.values
        shown = [i for i in range(len(self.layers)) if not bool(values[:, i].isnan().all())]
        if not shown:
            raise ValueError(
                f"{what}() draws what a fit recorded: give this callback to learn.fit(...) first"
            )
        return shown
