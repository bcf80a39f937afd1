"""From what lies at a path to a plan, and from a plan to the Python it stands for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.cli.plans import Plan, Wishes
from zoo.cli.recipes import recipe_of
from zoo.cli.recognise import recognise


def make_plan(path: Path, wishes: Wishes) -> Plan:
    """What will be trained, and how; everything but the rate."""
    found, domain, why = recognise(path, wishes)
    plan = recipe_of(domain).plan(found, wishes)
    first, *others = plan.choices
    return replace(plan, choices=[replace(first, why=why), *others], seconds=wishes.seconds)


def script_of(plan: Plan, folder: Path, about: str) -> str:
    """The lines of Python that a plan stands for."""
    return recipe_of(plan.domain).script(plan).text(str(folder), about)
