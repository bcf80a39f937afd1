"""The service beside bare FastAPI with the bare model: seconds of answers, and answers a second.

    python benchmarks/serving.py --clients 200 --requests 4000

A small classifier of rows is served twice on this machine, each in a process of its own: by `zoo serve`, and
by an endpoint of FastAPI that hands two numbers to the same network and returns its probabilities: no
columns, no checks of a body, no limits, one input a pass. The same clients ask both in turn, three times; the
middle one of the three counts. Prints the middle and the 99th percentile of the seconds of an answer, answers
a second, and how many inputs a pass of the model took.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from zoo_tabular import ColumnarModelData

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clients", type=int, default=200)
parser.add_argument("--requests", type=int, default=4000)
parser.add_argument("--rounds", type=int, default=3)

BARE = """
import sys, torch, uvicorn
from fastapi import FastAPI
from zoo import load_learner
learn = load_learner(sys.argv[1], device="cpu")
model, app = learn.model.eval(), FastAPI()
@app.post("/predict")
async def predict(body: dict):
    with torch.inference_mode():
        numbers = torch.tensor([[body["a"], body["b"]]])
        out = model(torch.zeros(1, 0, dtype=torch.long), numbers)
    return {"probabilities": out.softmax(1)[0].tolist()}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""
SERVED = "import sys; sys.argv = ['zoo', 'serve', sys.argv[1], '--port', sys.argv[2], '--quiet']; "
SERVED += "from zoo.cli import main; main()"


def archive(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=2000), "b": rng.normal(size=2000)})
    frame["kind"] = np.where(frame["a"] * frame["b"] > 0, "same", "other")
    data = ColumnarModelData.from_frame(frame, "kind", path=folder, seed=0, show=False)
    learn = data.get_learner(seed=0, progress=False)
    learn.fit_one_cycle(2, 5e-3)
    return learn.export(folder / "rows.zip")


def started(code: str, model: Path) -> tuple[subprocess.Popen, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(model), str(port)], env=env)
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/openapi.json")
            return process, port
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the server does not come up")


async def asked(url: str, clients: int, requests: int) -> tuple[float, float, float]:
    """Seconds of an answer, in the middle and at the 99th percentile, and answers a second."""
    taken: list[float] = []
    left = iter(range(requests))

    async def client(session: httpx.AsyncClient) -> None:
        for number in left:
            begun = time.perf_counter()
            answer = await session.post(url, json={"a": number % 7 - 3.0, "b": number % 5 - 2.0})
            taken.append(time.perf_counter() - begun)
            if answer.status_code != 200:
                raise SystemExit(f"{url}: {answer.status_code} {answer.text[:200]}")

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(limits=limits, timeout=60) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        seconds = time.perf_counter() - begun
    return float(np.quantile(taken, 0.5)), float(np.quantile(taken, 0.99)), requests / seconds


def main() -> None:
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = archive(Path(folder))
        servers = {"bare FastAPI": (BARE, "/predict"), "zoo serve": (SERVED, "/models/rows/predict")}
        running = {name: started(code, model) for name, (code, _) in servers.items()}
        try:
            for clients in (1, args.clients):
                requests = args.requests if clients > 1 else min(500, args.requests)
                found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
                for _ in range(args.rounds):
                    for name, (_, path) in servers.items():
                        url = f"http://127.0.0.1:{running[name][1]}{path}"
                        found[name].append(asyncio.run(asked(url, clients, requests)))
                for name, rounds in found.items():
                    p50, p99, rate = (statistics.median(part) for part in zip(*rounds, strict=True))
                    told = f"p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  {rate:7.0f}/s"
                    print(f"{clients:4} clients  {name:14} {told}", flush=True)
            told = httpx.get(f"http://127.0.0.1:{running['zoo serve'][1]}/metrics").text
            counts = {
                line.split("{")[0]: float(line.split()[-1]) for line in told.splitlines() if "{model=" in line
            }
            print(f"inputs a pass: {counts['zoo_batched_rows'] / counts['zoo_batches']:.1f}")
        finally:
            for process, _ in running.values():
                process.send_signal(signal.SIGTERM)
                process.wait(30)


if __name__ == "__main__":
    main()
