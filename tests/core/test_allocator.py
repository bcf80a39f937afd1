"""Freed memory is used again during a fit, and given back after it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from zoo.allocator import return_freed_memory, reuse_freed_memory

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(40 << 20, dtype=torch.uint8).add_(1)  # more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])

torch.ones(1)
first = page_faults()
told = reuse_freed_memory()
page_faults()
second = page_faults()
block = torch.ones(100 << 20, dtype=torch.uint8)
small = torch.ones(1000)  # lies above the block, which the system alone could not get back
del block
kept = resident()
return_freed_memory()
print(told, first, second, kept - resident())
"""


def run(**environment: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_freed_blocks_are_used_again_and_given_back() -> None:
    told, first, second, returned = run()
    assert told == "True"
    assert int(first) > 10_000  # twenty times 40 MiB in pages of 4 KiB, or of up to 64
    assert int(second) < int(first) / 20
    assert int(returned) > 90_000  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_what_the_environment_says_is_left_alone() -> None:
    told, *_ = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert told == "False"
