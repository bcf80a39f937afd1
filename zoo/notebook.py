"""Where code runs: in a cell of a notebook, or elsewhere. Needs nothing of a notebook to be installed."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

Thing = TypeVar("Thing")


def shell() -> Any:
    """IPython's shell, in a notebook or a terminal; `None` elsewhere."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def kernel_shell() -> Any:
    """IPython's shell where a notebook shows what it displays (Jupyter, Colab, editors); `None` elsewhere."""
    found = shell()
    return found if found is not None and "IPKernelApp" in found.config else None


def cell_number() -> int | None:
    """The number of the cell that runs; `None` outside of IPython."""
    found = shell()
    return None if found is None else found.execution_count


def quietly(thing: Thing) -> Thing:
    """A thing that methods hand back for chaining, which the cell that called them shall not print.

    Example:
        >>> class Model(Quiet):
        ...     def load(self):
        ...         return quietly(self)
        >>> isinstance(Model().load(), Model)
        True
    """
    thing._quiet_in = cell_number()  # type: ignore[attr-defined]
    return thing


class Quiet:
    """Is not displayed below the very cell in which `quietly` handed it back; anywhere else as ever."""

    _quiet_in: int | None = None

    def _ipython_display_(self) -> None:
        quiet_in, self._quiet_in = self._quiet_in, None
        if quiet_in is None or quiet_in != cell_number():
            self._display()

    def _display(self) -> None:
        print(repr(self))
