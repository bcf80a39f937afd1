"""One list of keyword arguments for several functions, spelled out by each. No torch here.

A function that takes `**options: Unpack[Kind]`, with `Kind` a `TypedDict`, is checked by type checkers as if
it named them all (PEP 692). `takes` does the same for people: `inspect.signature`, `help` and editors show
every keyword with its type, default and text; `completed` fills in the defaults and refuses names that do
not exist.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zoo.errors import did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])
Required = inspect.Parameter.empty
_NAMES: dict[tuple[str, str], set[str]] = {}  # by list and function: all that it can be told


def takes(
    kind: Any, defaults: Mapping[str, Any], *, without: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Spell out the `**options` of a function in its signature and its help.

    Args:
        kind: the `TypedDict` with the names and types. What its docstring says under `Args:` is added to
            that of the function.
        defaults: of every name; `Required` for those without.
        without: names that the function does not take.

    Raises:
        TypeError: if the function takes no `**options`, or names and defaults do not agree.

    Example:
        >>> from typing import TypedDict, Unpack
        >>> class Drawing(TypedDict, total=False):
        ...     '''Args:
        ...         color: of the line.
        ...     '''
        ...     color: str
        >>> @takes(Drawing, {"color": "red"})
        ... def line(length: int, **options: Unpack[Drawing]) -> str:
        ...     '''A line.'''
        ...     return completed(Drawing, {"color": "red"}, options, "line")["color"]
        >>> list(inspect.signature(line).parameters)
        ['length', 'color']
        >>> line(3), line(3, color="blue")
        ('red', 'blue')
    """
    names = list(kind.__annotations__)
    if set(names) != set(defaults):
        raise TypeError(f"{kind.__name__}: names and defaults differ: {sorted(set(names) ^ set(defaults))}")

    def spell_out(function: Any) -> Any:
        inner = function.__func__ if isinstance(function, classmethod) else function
        signature = inspect.signature(inner)
        own = list(signature.parameters.values())
        if not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
            raise TypeError(f"{inner.__qualname__} takes no **options")
        listed = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=_written(kind, name)
            )
            for name in names
            if name not in without
        ]
        own_names = _NAMES.setdefault((kind.__name__, inner.__name__), set())
        own_names.update(parameter.name for parameter in [*own[:-1], *listed])
        inner.__signature__ = signature.replace(parameters=[*own[:-1], *listed])  # type: ignore[attr-defined]
        inner.__doc__ = _with_args(inner.__doc__ or "", kind.__doc__ or "", without)
        return function

    return spell_out


def completed(kind: Any, defaults: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options that a caller gave, and the defaults of all others.

    Raises:
        TypeError: for a name that does not exist, or one that is required and missing.

    Example:
        >>> completed(dict, {"bs": 64}, {"bss": 1}, "from_paths")
        Traceback (most recent call last):
        ...
        TypeError: from_paths() got an unexpected keyword argument 'bss' (did you mean 'bs'?)
    """
    for name in given:
        if name not in defaults:
            known = {*defaults, *_NAMES.get((kind.__name__, where.rpartition(".")[2]), ())} - {"self", "cls"}
            raise TypeError(
                f"{where}() got an unexpected keyword argument {name!r}{did_you_mean(name, sorted(known))}"
            )
    for name, default in defaults.items():
        if default is Required and name not in given:
            raise TypeError(f"{where}() missing the keyword argument {name!r}")
    return {**defaults, **given}


def _written(kind: Any, name: str) -> Any:
    """The annotation as it stands in the source."""
    annotation = kind.__annotations__[name]
    return getattr(annotation, "__forward_arg__", annotation)


_ARGS = re.compile(r"^( *)Args:\n((?:\1 +.*\n|\s*\n)*)", re.M)


def _with_args(text: str, options: str, without: tuple[str, ...]) -> str:
    """A docstring with the arguments that `options` tells of, at the end of its own `Args:`."""
    found = _ARGS.search(inspect.cleandoc(options) + "\n")
    if found is None:
        return text
    entries = re.split(r"^(?=    \S)", found[2].rstrip() + "\n", flags=re.M)
    kept = [entry for entry in entries if entry.strip() and entry.split(":")[0].strip() not in without]
    clean = inspect.cleandoc(text) + "\n"
    own = _ARGS.search(clean)
    if own is None:
        head, _, rest = clean.partition("\n\n")
        return f"{head.rstrip()}\n\nArgs:\n{''.join(kept)}" + (f"\n{rest}" if rest else "")
    end = own.start() + len(own[0].rstrip()) + 1
    return clean[:end] + "".join(kept) + clean[end:]
