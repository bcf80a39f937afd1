"""The parts of `gpu.py check`, the most valuable first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_parts import machine_checks, speed, training
from gpu_parts.domains import DOMAINS, SAMPLED
from gpu_parts.running import Context, Part

TITLE = "Does everything work on this device, and what does a training step cost?"


def _each(
    title: str, run: Callable[[Context, str], dict[str, Any]], usual: float, most: float, *more: str
) -> list[Part]:
    """A part for every domain."""

    def bound(name: str) -> Callable[[Context], dict[str, Any]]:
        return lambda context: run(context, name)

    return [Part(f"{title}: {name}", bound(name), usual, most) for name in (*DOMAINS, *more)]


PARTS: list[Part] = [
    Part("ceilings", speed.ceilings, 3, 20),
    *_each("no waiting", training.no_waiting, 3, 25),
    *_each("losses as on the CPU", training.same_losses, 5, 30),
    *_each("operations", speed.operations, 3, 15, *SAMPLED),
    *_each("speed", speed.speed, 10, 40),
    *_each("recorded steps", training.recorded, 3, 20),
    Part("memory", machine_checks.memory, 8, 40),
    Part("tests", machine_checks.gpu_tests, 40, 90),
    *_each("export", machine_checks.exported, 2, 15),
    *_each("resume", training.resumed, 4, 20),
    *_each("finder", training.finder_leaves_nothing, 3, 15),
    Part("streamed rows", machine_checks.streamed, 3, 15),
    *_each("compile", speed.compiled, 30, 60),
    Part("tests that compile", machine_checks.compile_tests, 40, 100),
]
