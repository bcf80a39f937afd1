import hashlib

import pytest

from tests.datasets.fruit import ZIP
from tests.datasets.server import serving
from zoo.datasets import Dataset, File, downloading, register
from zoo.datasets.registry import _known


@pytest.fixture
def server():
    with serving() as server:
        server.files["fruit.zip"] = ZIP
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(downloading, "_PAUSE", 0.001)
    monkeypatch.delenv("ZOO_DATASETS_MIRROR", raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    yield
    _known.clear()


@pytest.fixture
def fruit(server):
    def make(**changes):
        options = {"size": len(ZIP), "sha256": hashlib.sha256(ZIP).hexdigest()} | changes
        options.setdefault("urls", (f"{server.url}/fruit.zip",))
        file = File(name="fruit.zip", top="fruit", **options)
        return register(
            Dataset(
                name="fruit", about="Fruit", terms="none", page="https://example.org/fruit", files=(file,),
                holds=("train", "noise.bin"),
            )
        )  # fmt: skip

    make()
    return make
