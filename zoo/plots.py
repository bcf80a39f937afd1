"""Small figures; every function returns a matplotlib `Figure` and shows nothing by itself."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure


def figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure that belongs to no window and so never leaks."""
    return Figure(figsize=(width, height), layout="constrained")


def curves(named: Sequence[tuple[str, Sequence[float]]], *, x_label: str) -> Figure:
    """One panel a curve, side by side."""
    drawn = figure(5.0 * len(named), 3.5)
    for index, (name, values) in enumerate(named):
        axis = drawn.add_subplot(1, len(named), index + 1)
        axis.plot(values)
        axis.set(xlabel=x_label, ylabel=name)
    return drawn


def losses(train: Sequence[float], valid: Sequence[tuple[int, float]]) -> Figure:
    """Training loss per iteration with the validation losses at their place."""
    drawn = figure()
    axis = drawn.add_subplot()
    axis.plot(range(1, len(train) + 1), train, label="train (smoothed)")
    if valid:
        axis.plot(*zip(*valid, strict=True), marker="o", label="valid")
    axis.set(xlabel="iteration", ylabel="loss")
    axis.legend()
    return drawn


def range_test(
    lrs: Sequence[float], smoothed: Sequence[float], marks: dict[str, float], *, linear: bool
) -> Figure:
    """Loss against learning rate with the suggested rates."""
    drawn = figure()
    axis = drawn.add_subplot()
    axis.plot(lrs, smoothed)
    for number, (name, lr) in enumerate(marks.items()):
        nearest = min(range(len(lrs)), key=lambda i: abs(lrs[i] - lr))
        axis.plot(lr, smoothed[nearest], "o", color=f"C{number + 1}", label=f"{name}: {lr:.1e}")
    axis.set(xlabel="learning rate", ylabel="loss", xscale="linear" if linear else "log")
    if marks:
        axis.legend()
    return drawn
