"""Models by name, so that a saved learner can be rebuilt from plain JSON without running code from a file."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import nn

from zoo.errors import did_you_mean

Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class ModelSpec:
    """A registered model's name and the arguments it was built with."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Registered:
    """An entry of the registry.

    Attributes:
        build: makes the model.
        example: returns `(model, inputs, target)`, small and on the CPU, for checks that every model must
            pass.
    """

    build: Callable[..., nn.Module]
    example: Callable[[], tuple[nn.Module, tuple, Any]] | None = None


_MODELS: dict[str, Registered] = {}


def register_model(
    name: str, *, example: Callable[[], tuple[nn.Module, tuple, Any]] | None = None
) -> Callable[[Made], Made]:
    """Decorate a module class, or a function that returns a module, so that learners around it can be
    exported.

    The arguments of every construction are kept as `model.model_spec`; to be exported they must be JSON-able.

    Args:
        name: unique, for example "tabular.mixed_input".
        example: a function returning `(model, inputs, target)`, for the generic checks.

    Raises:
        ValueError: if another model already has the name.

    Example:
        >>> @register_model("doc.tiny")
        ... class Tiny(nn.Module):
        ...     def __init__(self, width: int = 3) -> None:
        ...         super().__init__()
        ...         self.layer = nn.Linear(width, 1)
        >>> Tiny(5).model_spec
        ModelSpec(name='doc.tiny', args={'width': 5})
    """

    def register(made: Made) -> Made:
        present = _MODELS.get(name)
        if present is not None and present.build.__qualname__ != made.__qualname__:
            raise ValueError(f"a model named {name!r} is already registered: {present.build.__qualname__}")
        if inspect.isclass(made):
            made.__init__ = _remembering_init(name, made)  # type: ignore[misc]
            built: Any = made
        else:
            built = _remembering_function(name, made)
        _MODELS[name] = Registered(built, example)
        return built

    return register


def build_model(name: str, args: dict[str, Any]) -> nn.Module:
    """Build a registered model from its name and arguments.

    Raises:
        ValueError: if the name is unknown.
    """
    if name not in _MODELS:
        raise ValueError(
            f"no model named {name!r} is registered{did_you_mean(name, _MODELS)}; import the module that "
            "defines it first"
        )
    return _MODELS[name].build(**args)


def registered_models() -> dict[str, Registered]:
    """All models registered so far, by name."""
    return dict(_MODELS)


def spec_of(model: nn.Module) -> ModelSpec:
    """The name and the arguments of a registered model, checked to be JSON-able.

    Raises:
        TypeError: if the model's class is not registered or an argument can't be written as JSON; a model
            whose attribute `no_export` tells why it cannot be rebuilt gives that reason.
    """
    spec = getattr(model, "model_spec", None)
    why = getattr(model, "no_export", None)
    if not isinstance(spec, ModelSpec) and isinstance(why, str):
        raise TypeError(why)
    if not isinstance(spec, ModelSpec):
        raise TypeError(
            f"{type(model).__name__} is not a registered model, so it can't be rebuilt when loaded: "
            "decorate its class with @zoo.register_model('your.name'), or keep only the weights with "
            "learn.save(name)"
        )
    for argument, value in spec.args.items():
        try:
            json.dumps(value)
        except TypeError:
            raise TypeError(
                f"argument {argument!r} of model {spec.name!r} is a {type(value).__name__}, which can't be "
                "written as JSON; "
                "register a model that builds it from plain values, or keep only the weights with "
                "learn.save(name)"
            ) from None
    return spec


def domain_learner(domain: str) -> Any:
    """The learner class that opens archives of a domain, found among the installed packages' entry points.

    Raises:
        ValueError: if no installed package offers the domain.
    """
    offered = {point.name: point for point in entry_points(group="zoo.domains")}
    if domain not in offered:
        raise ValueError(
            f"this archive is of the domain {domain!r}, which no installed package offers"
            f"{did_you_mean(domain, offered)}; installed: {', '.join(sorted(offered)) or 'none'}"
        )
    return offered[domain].load()


def _bind(signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return {name: _plain(value) for name, value in bound.arguments.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _remembering_init(name: str, cls: Any) -> Callable[..., None]:
    original = cls.__init__
    signature = inspect.signature(original)
    signature = signature.replace(parameters=list(signature.parameters.values())[1:])

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        arguments = _bind(signature, args, kwargs) if type(self) is cls else None
        original(self, *args, **kwargs)
        if arguments is not None:
            self.model_spec = ModelSpec(name, arguments)

    return __init__


def _remembering_function(name: str, function: Any) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> nn.Module:
        arguments = _bind(signature, args, kwargs)
        model = function(*args, **kwargs)
        model.model_spec = ModelSpec(name, arguments)
        return model

    return build
