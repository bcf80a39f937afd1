"""Lets the library run from its checkout on a machine where it is not installed."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]


def use_checkout() -> None:
    """Put the checkout on the path of this process and its children, with the domains it offers."""
    places = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "examples")]
    if not any(point.name == "core" for point in entry_points(group="zoo.domains")):
        places.append(_metadata())
    sys.path[:0] = [place for place in places if place not in sys.path]
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([*(p for p in places if p not in known), *filter(None, known)])


def _metadata() -> str:
    """A folder with what an installation would note down: name, version and entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    folder = Path(tempfile.mkdtemp(prefix="zoo-checkout-"))
    notes = folder / f"zoo-{project['version']}.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo\nVersion: {project['version']}\n")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in own.items())
        for group, own in project["entry-points"].items()
    )
    (notes / "entry_points.txt").write_text(points)
    return str(folder)
