"""Texts in several processes: what two of them find, compared with this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.distributed_runs import check_agreement
from tests.text.distributed_runs import RUNS


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_agree_and_give_what_one_gives(name: str, tmp_path: Path) -> None:
    check_agreement(tmp_path, f"text.{name}")
