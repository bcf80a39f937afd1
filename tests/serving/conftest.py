"""Small exported models of every domain, and a real server process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'serve'")


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> dict[str, Path]:
    """Archives by name: rows (classes), sales (values with a date), films, reviews, pictures."""
    from zoo.vision import ConvLearner, ConvNet, ImageClassifierData, imagenet_stats, tfms_from_stats
    from zoo_collab import CollabFilterDataset
    from zoo_tabular import ColumnarModelData
    from zoo_text import Field, TextData

    folder, rng = tmp_path_factory.mktemp("exported"), np.random.default_rng(0)
    n = 400
    kind, size = rng.choice(["a", "b", "c"], n), rng.normal(5, 2, n)
    rows = pd.DataFrame(
        {"kind of it": kind, "size": size, "y": np.where((kind == "a") ^ (size > 5), "yes", "no")}
    )
    data = ColumnarModelData.from_frame(rows, "y", path=folder, seed=0, show=False)
    learn = data.get_learner(seed=0, progress=False)
    learn.fit_one_cycle(8, 1e-2)
    found = {"rows": learn.export(folder / "rows.zip")}

    dates = pd.Series(pd.date_range("2022-01-01", periods=n)).dt.strftime("%Y-%m-%d")
    sold = 20.0 + 5 * (kind == "a") + size + 4 * (np.arange(n) % 7 == 0)
    sales = pd.DataFrame({"Date": dates, "kind": kind, "size": size, "sold": sold})
    data = ColumnarModelData.from_frame(sales, "sold", path=folder, seed=0, show=False)
    learn = data.get_learner(seed=0, progress=False)
    learn.fit_one_cycle(8, 1e-2)
    found["sales"] = learn.export(folder / "sales.zip")

    pairs = pd.DataFrame(
        {"user": rng.integers(1, 30, 900), "film": rng.integers(1, 50, 900)}
    ).drop_duplicates()
    pairs["stars"] = rng.integers(1, 6, len(pairs)).astype(float)
    titles = pd.DataFrame({"film": range(1, 50), "title": [f"Film <{number}>" for number in range(1, 50)]})
    table = CollabFilterDataset.from_data_frame(
        folder, pairs, "user", "film", "stars", item_titles=titles, title_col="title"
    )
    learn = table.get_learner(4, seed=0, progress=False)
    learn.fit(1e-2, 1)
    found["films"] = learn.export(folder / "films.zip")

    texts = ["a fine film", "lovely and fine", "a dull film", "awful and dull"] * 5
    data = TextData.from_texts(
        Field(), (texts, ["good", "good", "bad", "bad"] * 5), bs=4, min_freq=1, path=folder
    )
    learn = data.get_model(emb_sz=8, n_hid=8, n_layers=1, seed=0, progress=False)
    learn.fit(1e-2, 2)
    found["reviews"] = learn.export(folder / "reviews.zip")

    for name, middle in (("bright", 190), ("dark", 60)):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.normal(middle, 20, (16, 16, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / "train" / name / f"{number}.png")
    tfms = tfms_from_stats(imagenet_stats, 16)
    pictures = ImageClassifierData.from_paths(folder, 4, tfms, val_name=None, seed=0, num_workers=0)
    learn = ConvLearner(pictures, ConvNet(2, [8, 16]), seed=0, progress=False)
    learn.fit(1e-2, 2)
    found["pictures"] = learn.export(folder / "pictures.zip")
    found["picture"] = folder / "train" / "dark" / "0.png"
    return found


class Server:
    """`zoo serve` in a process of its own."""

    def __init__(self, *words: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        code = "from zoo.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", *map(str, words), "--port", str(self.port), "--quiet"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(self.process.stderr.read() if self.process.stderr else "it ended")
            try:
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError("the server does not come up")

    def stop(self) -> int:
        """Asks it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        if self.process.stderr:
            self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    """A server of all models, which keeps a record."""
    record = tmp_path_factory.mktemp("record") / "record.jsonl"
    models = [exported[name] for name in ("rows", "sales", "films", "reviews", "pictures")]
    running = Server(*models, "--record", record, "--megapixels", "1", "--body-mb", "2")
    running.record = record
    yield running
    running.stop()
