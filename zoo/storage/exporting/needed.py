"""Packages that only exports need."""

from __future__ import annotations

from importlib.util import find_spec


def needed(*packages: str) -> None:
    """Raises where some are missing.

    Raises:
        ModuleNotFoundError: with the command that installs them.

    Example:
        >>> needed("json")
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"ONNX files need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed: pip install 'zoo[export]'"
        )
