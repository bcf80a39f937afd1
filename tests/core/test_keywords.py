"""Keyword arguments that several functions share are spelled out by each."""

from __future__ import annotations

import inspect
from typing import Any, TypedDict, Unpack

import pytest

from zoo import Learner
from zoo.keywords import Required, completed, takes
from zoo.training.options import LEARNER_DEFAULTS, LearnerOptions


class Drawing(TypedDict, total=False):
    """How something is drawn.

    Args:
        color: of the line,
            by name.
        width: of the line.
    """

    color: str
    width: float | None


DEFAULTS: dict[str, Any] = {"color": "red", "width": None}


class Shape:
    @classmethod
    @takes(Drawing, DEFAULTS, without=("width",))
    def line(cls, length: int, *, dashed: bool = False, **options: Unpack[Drawing]) -> dict[str, Any]:
        """A line.

        Args:
            length: in points.
            dashed: with gaps.

        Returns:
            What was asked for.
        """
        return completed(Drawing, DEFAULTS, options, "line")

    @takes(Drawing, DEFAULTS)
    def dot(self, **options: Unpack[Drawing]) -> dict[str, Any]:
        """A dot.

        It has no length.
        """
        return completed(Drawing, DEFAULTS, options, "dot")


def test_the_signature_names_them_with_types_and_defaults() -> None:
    found = inspect.signature(Shape.line).parameters
    assert list(found) == ["length", "dashed", "color"]
    assert found["color"].default == "red"
    assert found["color"].annotation == "str"
    assert found["color"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(Shape().dot).parameters) == ["color", "width"]


def test_the_help_tells_of_them_where_the_others_stand() -> None:
    text = inspect.getdoc(Shape.line)
    assert text == (
        "A line.\n\nArgs:\n    length: in points.\n    dashed: with gaps.\n    color: of the line,\n"
        "        by name.\n\nReturns:\n    What was asked for."
    )
    assert inspect.getdoc(Shape.dot) == (
        "A dot.\n\nArgs:\n    color: of the line,\n        by name.\n    width: of the line.\n\n"
        "It has no length."
    )


def test_a_name_that_does_not_exist_is_refused_with_the_near_miss() -> None:
    assert Shape.line(3, color="blue") == {"color": "blue", "width": None}
    with pytest.raises(
        TypeError, match=r"line\(\) got an unexpected keyword argument 'colour' \(did you mean 'color'"
    ):
        Shape.line(3, colour="blue")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"argument 'lenght' \(did you mean 'length'\?\)"):
        Shape.line(3, lenght=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing the keyword argument 'color'"):
        completed(Drawing, {"color": Required, "width": None}, {}, "line")


def test_lists_that_do_not_agree_are_refused() -> None:
    with pytest.raises(TypeError, match="names and defaults differ: \\['width'\\]"):
        takes(Drawing, {"color": "red"})
    with pytest.raises(TypeError, match=r"takes no \*\*options"):
        takes(Drawing, DEFAULTS)(lambda x: x)


def test_the_options_of_learners_are_those_of_learner() -> None:
    own = {
        name: parameter
        for name, parameter in inspect.signature(Learner.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "layer_groups"
    }
    assert {name: parameter.default for name, parameter in own.items()} == LEARNER_DEFAULTS
    for name, parameter in own.items():
        assert LearnerOptions.__annotations__[name].__forward_arg__ == parameter.annotation, name
