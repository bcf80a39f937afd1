"""How each domain trains what lies somewhere: a plan in plain values, and the Python it stands for."""

from __future__ import annotations

from zoo.cli.plans import DOMAINS, Mendable, Recipe
from zoo.errors import did_you_mean


def recipe_of(domain: str) -> Recipe:
    """The recipe of a domain."""
    if domain == "image":
        from zoo.cli.recipes.pictures import PictureRecipe

        return PictureRecipe()
    if domain == "table":
        from zoo.cli.recipes.tables import TableRecipe

        return TableRecipe()
    if domain == "text":
        from zoo.cli.recipes.texts import TextRecipe

        return TextRecipe()
    if domain == "ratings":
        from zoo.cli.recipes.ratings import RatingsRecipe

        return RatingsRecipe()
    raise Mendable(f"--domain is one of {', '.join(DOMAINS)}, not {domain!r}{did_you_mean(domain, DOMAINS)}")
