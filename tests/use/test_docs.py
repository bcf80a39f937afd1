"""The pages under docs/ keep their promises: their Python runs, their links and names exist."""

import logging
import re
from pathlib import Path

import pytest
import torch

from tests.core.helpers import digits_learner
from tests.core.test_callbacks import shipped

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CALLBACKS = (ROOT / "docs" / "callbacks.md").read_text(encoding="utf8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    """Where a page takes a `learn` for granted, it is one of images of digits, with three layer groups."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem, "learn": digits_learner(path=tmp_path), "torch": torch, "nn": torch.nn}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.S)
    loggers = [logging.getLogger(name) for name in ("zoo", "zoo_tabular", "zoo_text", "zoo_collab")]
    levels = [logger.level for logger in loggers]
    try:
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)  # noqa: S102
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    capsys.readouterr()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_pages_that_are_pointed_to_exist(page):
    text = page.read_text(encoding="utf8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for target in re.findall(r"`(\w+\.md)`", text):
        assert (ROOT / "docs" / target).exists(), f"{page.name} names {target}"


def test_the_events_on_the_page_are_those_of_a_fit():
    tree = re.search(r"## The events\n\n```\n(.*?)```", CALLBACKS, re.S)
    listed = [line.split()[0] for line in tree[1].splitlines() if "_" in line.split()[0]]
    assert listed == digits_learner().show_loop().events


def test_the_table_of_callbacks_is_complete_and_tells_their_orders():
    rows = re.findall(r"^\| `(\w+)[^`]*` \| (-?\d+) \|([^|]*)\|", CALLBACKS, re.M)
    listed = {name: (int(order), elsewhere) for name, order, elsewhere in rows}
    missing = sorted(set(shipped()) - set(listed))
    assert not missing, f"add these callbacks to the table in docs/callbacks.md: {', '.join(missing)}"
    for name, (order, elsewhere) in listed.items():
        kind = shipped()[name]
        assert order == kind.order, name
        told = dict(re.findall(r"`(\w+)` (-?\d+)", elsewhere))
        assert {event: int(place) for event, place in told.items()} == dict(kind.event_orders), name
    assert [order for order, _ in listed.values()] == sorted(order for order, _ in listed.values())
