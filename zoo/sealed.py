"""Objects that take only the settings they know, so that none that a user sets is ignored."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from zoo.errors import did_you_mean


class Sealed:
    """Refuses unknown attributes once it is made; those that begin with an underscore are free.

    Classes of users that inherit from one of the library may add attributes at any time, except for names
    that look like a misspelt setting. What is set passes through a method `_checked_{name}`, where the class
    has one.

    Attributes:
        settings_elsewhere: names that users of other libraries expect, and what to write instead.
        settled: attributes that cannot be changed once the object is made, and what to do.

    Example:
        >>> class Box(Sealed):
        ...     def __init__(self) -> None:
        ...         self.width = 1
        >>> Box().widht = 2
        Traceback (most recent call last):
        AttributeError: Box has no setting 'widht' (did you mean 'width'?)
    """

    settings_elsewhere: ClassVar[dict[str, str]] = {}
    settled: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # its own, or that of a class which it stands beside
        if cls.__init__ is not object.__init__ and not hasattr(cls.__init__, "seals"):
            cls.__init__ = _then_sealed(cls.__init__)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and self.__dict__.get("_sealed", False):
            self._check_setting(name, value)
        check = getattr(self, f"_checked_{name}", None)
        object.__setattr__(self, name, value if check is None else check(value))

    def _check_setting(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if name in self.settled:
            raise AttributeError(f"{kind}.{name} is settled when it is made: {self.settled[name]}")
        own = getattr(type(self), name, None)
        if callable(own) and not isinstance(own, type) and not callable(value):
            raise AttributeError(f"{name} is a method of {kind}: call {name}(...) instead of setting it")
        if hasattr(type(self), name) or name in self.__dict__ or name in _declared(type(self)):
            return
        instead = self.settings_elsewhere.get(name)
        known = [one for one in {*dir(self), *_declared(type(self))} if not one.startswith("_")]
        ours = type(self).__module__.partition(".")[0] in _OURS
        misspelt = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        near = f": {instead}" if instead else did_you_mean(name, known)
        if ours or instead or misspelt:
            raise AttributeError(f"{kind} has no setting {name!r}{near}")


_OURS = ("zoo", "zoo_tabular", "zoo_text", "zoo_collab")


def _then_sealed(init: Callable[..., None]) -> Callable[..., None]:
    """An `__init__` after which the object is sealed, unless that of a subclass is still at work."""

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **keywords: Any) -> None:
        self.__dict__["_making"] = self.__dict__.get("_making", 0) + 1
        try:
            init(self, *args, **keywords)
        finally:
            self.__dict__["_making"] -= 1
        if not self.__dict__["_making"]:
            del self.__dict__["_making"]
            self.__dict__["_sealed"] = True

    wrapped.seals = True  # type: ignore[attr-defined]
    return wrapped


@functools.cache
def _declared(kind: type) -> frozenset[str]:
    """Attributes that a class or one it inherits from annotates."""
    return frozenset(name for one in kind.__mro__ for name in inspect.get_annotations(one))
