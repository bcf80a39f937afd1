"""Processes that tests start, and how what several of them found is compared.

Importing torch and the rest takes a process several seconds, far more than what most tests do in it. So there
is a server that has imported other people's packages, and nothing of this project: the processes of `start`,
`fresh` and `ranks` are forked from it. `launch` is the real torchrun, for what torchrun has a part in.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "torch", "torch._dynamo", "torch.utils.data", "torch.distributed.nn.functional",
        "torchvision.transforms.v2", "pandas", "pyarrow.parquet", "pyarrow.dataset", "safetensors.torch",
        "sklearn.datasets", "spacy", "matplotlib.pyplot", "tqdm", "fcntl", "termios",
    ]
)  # fmt: skip


def _live(
    function: Callable[..., Any],
    args: Sequence[Any],
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    output: Path | None,
    folder: Path,
) -> None:
    """A process from its first call to its end, as far as the interpreter would have done it."""
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    if output is not None:
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, number)
            os.close(file)
    code: Any = 0
    try:
        function(*args, **options)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.last_type, sys.last_value, sys.last_traceback = sys.exc_info()
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.exit(code)


def start(
    function: Callable[..., Any],
    *args: Any,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    folder: Path = ROOT,
    **options: Any,
) -> BaseProcess:
    """A running process that has begun to call `function`.

    Args:
        environment: what is changed in the environment.
        output: the folder whose files `stdout` and `stderr` get what the process writes.
        folder: where it runs.
    """
    process = _server.Process(
        target=_live, args=(function, args, options, dict(environment or {}), output, folder)
    )
    process.start()
    return process


def live(function: Callable[..., Any], *args: Any, **options: Any) -> int | None:
    """The exit code of a process that calls `function`; see `start`."""
    process = start(function, *args, **options)
    process.join(120)
    if process.is_alive():
        process.kill()
        pytest.fail("the process hangs")
    return process.exitcode


def _script(code: str, arguments: Sequence[str], strict: bool) -> None:
    ours = ("zoo.vision", "zoo_tabular", "zoo_text", "zoo_collab")
    loaded = [name for name in sys.modules if name.startswith(ours)]
    if loaded:
        raise RuntimeError(f"the process is not fresh: it has imported {loaded}")
    if strict:
        warnings.simplefilter("error")
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102


def fresh(code: str, folder: Path, *arguments: str, strict: bool = False) -> subprocess.CompletedProcess:
    """Run code in a process that has nothing of the one that asks for it, nor any of the domains.

    Args:
        code: the text of a script.
        folder: where it runs.
        arguments: what the script finds in `sys.argv`.
        strict: warnings are errors.
    """
    output = folder / f"process{time.monotonic_ns()}"
    output.mkdir()
    exit_code = live(_script, code, arguments, strict, output=output, folder=folder)
    told = {name: (output / name).read_text(encoding="utf8") for name in ("stdout", "stderr")}
    return subprocess.CompletedProcess([code, *arguments], exit_code or 0, **told)


def ranks(
    function: Callable[..., Any],
    *args: Any,
    output: Path | None = None,
    end_others: bool = True,
    **options: Any,
) -> list[int | None]:
    """The exit codes of two processes that train together: they find what torchrun tells its processes.

    Args:
        output: the folder of a folder `0` and a folder `1` with what the processes write; see `start`.
        end_others: end the other process when one fails, as torchrun does, instead of waiting for it.
    """
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    processes = []
    for rank in "01":
        if output is not None:
            (output / rank).mkdir()
        own = {**environment, "RANK": rank, "LOCAL_RANK": rank}
        place = None if output is None else output / rank
        processes.append(start(function, *args, **options, environment=own, output=place))
    deadline = time.monotonic() + 120
    while any(process.exitcode is None for process in processes) and time.monotonic() < deadline:
        if end_others and any(process.exitcode for process in processes):
            for process in processes:
                process.terminate()
        for process in processes:
            process.join(0.05)
    codes = [process.exitcode for process in processes]
    if None in codes:
        for process in processes:
            process.kill()
        pytest.fail(f"processes hang: the exit codes are {codes}")
    return codes


def launch(script: str, folder: Path, *names: str) -> subprocess.CompletedProcess:
    """Run a script below the tests in two processes under torchrun."""
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
