"""The README keeps its promises: two set-up commands, names that exist."""

import importlib
import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf8")


def test_there_are_exactly_two_set_up_commands():
    blocks = re.findall(r"```(?:sh|bash|shell|console)\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    assert "zoo demo" in blocks[0]
    assert "[test]" in blocks[1]
    assert "pytest" in blocks[1]


def test_every_import_in_the_readme_works():
    found = re.findall(r"^from (zoo\S*) import (.+)$", README, re.M)
    assert len(found) >= 5
    for module, names in found:
        for name in names.split(","):
            assert hasattr(importlib.import_module(module), name.strip())


def test_every_python_block_compiles():
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 4
    for block in blocks:
        compile(block, "README.md", "exec")
