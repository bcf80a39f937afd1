"""Numbers are compared in float32 on every machine: one with bfloat16 would train in it by default.

Processes that tests start import this package too. What the default chooses is tested in
`tests/core/test_precision.py`.
"""

import torch

from zoo.training import switches

AUTOMATIC = switches.automatic_dtype
switches.automatic_dtype = lambda device: torch.float32
