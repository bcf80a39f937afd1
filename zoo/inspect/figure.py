"""Figures that appear in notebooks without any magic, and belong to no window elsewhere."""

from __future__ import annotations

import io
import warnings
from typing import Any

from matplotlib import figure as _matplotlib

from zoo.notebook import kernel_shell

_waiting: list[Figure] = []


class Figure(_matplotlib.Figure):
    """A matplotlib figure that shows itself in a notebook.

    As the last expression of a cell it is drawn there; made anywhere else in a cell, also inside a function,
    it is drawn at the cell's end, unless it was shown already. `show()` draws it at once, or opens a window
    outside of a notebook. `%matplotlib inline` is not needed, and changes nothing but the format.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shown = False
        if kernel_shell() is not None:
            _show_at_cell_end(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Told before any format is asked for, also by those of `%matplotlib inline`."""
        self._shown = True
        return {}

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def show(self, warn: bool = True) -> None:
        """Show the figure now: in the output of the cell that runs, or in a window of its own.

        Args:
            warn: say so where there is neither, as on a machine without a screen.
        """
        if kernel_shell() is not None:
            from IPython.display import display  # pyright: ignore[reportMissingImports]

            display(self)
            return
        from matplotlib import pyplot
        from matplotlib._pylab_helpers import Gcf

        canvas: Any = pyplot._get_backend_mod().FigureCanvas  # type: ignore[attr-defined]
        if canvas.required_interactive_framework is None:
            if warn:
                warnings.warn(
                    f"there is no window to show the figure in (matplotlib's backend is "
                    f"{pyplot.get_backend()!r}): keep it with figure.savefig('figure.png')",
                    stacklevel=2,
                )
            return
        numbers = pyplot.get_fignums()
        Gcf.set_active(canvas.new_manager(self, max(numbers, default=0) + 1))
        pyplot.show()


def _show_at_cell_end(figure: Figure) -> None:
    events = kernel_shell().events
    if _show_waiting not in events.callbacks["post_execute"]:
        events.register("post_execute", _show_waiting)
    _waiting.append(figure)


def _show_waiting() -> None:
    figures = [figure for figure in _waiting if not figure._shown]
    _waiting.clear()
    for figure in figures:
        figure.show()
