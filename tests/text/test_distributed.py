"""Texts in several processes: real processes under torchrun, compared with this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.core.processes import equal, launch
from tests.text.distributed_runs import RUNS
from zoo.storage.checkpoint import read_tree


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    done = launch("text/distributed_runs.py", folder, *RUNS)
    assert done.returncode == 0, done.stdout + done.stderr
    return [read_tree(folder / f"rank_{number}.safetensors") for number in (0, 1)]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_agree_and_give_what_one_gives(
    ranks: list[dict[str, Any]], name: str, tmp_path: Path
) -> None:
    equal(ranks[0][name], ranks[1][name], 0.0)
    equal(RUNS[name](tmp_path), ranks[0][name], 1e-4, name)
