"""Starts processes as torchrun does, and compares what they found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]


def launch(script: str, folder: Path, *names: str) -> subprocess.CompletedProcess:
    """Run a script below the tests in two processes."""
    command = [
        sys.executable, "-W", "error", "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", "2", "--", str(ROOT / "tests" / script), str(folder),
    ]  # fmt: skip
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    return subprocess.run(
        [*command, *names], env=environment, capture_output=True, text=True, timeout=200, cwd=folder
    )


def equal(a: Any, b: Any, tolerance: float, where: str = "") -> None:
    """Nested values are the same, floats up to a tolerance."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            equal(a[key], b[key], tolerance, f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            equal(one, other, tolerance, f"{where}/{number}")
    elif isinstance(a, Tensor):
        assert a.shape == b.shape, where
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda text: f"{where}: {text}")
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance, nan_ok=True), where
    else:
        assert a == b, where
