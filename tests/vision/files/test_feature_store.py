"""Activations by content: reused row by row, bounded, never half of a file, two processes, a full disk."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.vision.helpers import gradient, two_class_folders
from zoo.vision import ConvLearner, ImageClassifierData, feature_store, tfms_from_stats
from zoo.vision.feature_store import FeatureStore
from zoo.vision.files.content import content_key, content_keys
from zoo.vision.files.stamps import Remembered

WIDTH = 8


def pictures(n: int, first: int = 0) -> np.ndarray:
    return np.arange(first, first + n, dtype=np.uint32)[:, None].view(np.uint8).reshape(n, 2, 2)


class Counting:
    """Vectors that tell the row's content; counts what it computes."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.rows = images, []

    def __call__(self, out: np.ndarray, rows: np.ndarray) -> None:
        self.rows += rows.tolist()
        out[rows] = self.images.reshape(len(self.images), -1).view(np.uint32)[rows]


def get(store: FeatureStore, images: np.ndarray, name: str = "train") -> list[int]:
    """The rows computed; checks the result."""
    compute = Counting(images)
    found = store.get(name, content_keys(images), compute)
    assert found.dtype == np.float32
    assert np.array_equal(found, np.repeat(images.reshape(len(images), -1).view(np.uint32), WIDTH, 1))
    return compute.rows


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore(tmp_path, "net-0123456789abcdef", WIDTH)


def test_only_what_is_new_is_computed(store):
    assert get(store, pictures(10)) == list(range(10))
    assert get(store, pictures(10)) == []
    assert get(store, pictures(10)[::-1]) == []
    assert get(store, pictures(12), "valid") == [10, 11]
    assert get(store, np.concatenate([pictures(3, 5), pictures(2, 40), pictures(2, 40)])) == [3, 4]
    assert get(FeatureStore(store.folder, "other-0123456789abcdef", WIDTH), pictures(2)) == [0, 1]


def test_the_folder_may_move(store, tmp_path):
    get(store, pictures(10))
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    assert get(FeatureStore(moved, store.kind, WIDTH), pictures(10)) == []


@pytest.mark.parametrize("keep", [0, 2 * 1024**3])
def test_large_and_small_files_are_the_same(store, monkeypatch, keep):
    monkeypatch.setattr(feature_store, "_KEEP_IN_MEMORY", keep)
    assert get(store, pictures(10)) == list(range(10))
    monkeypatch.setattr(feature_store, "_KEEP_IN_MEMORY", 2 * 1024**3 - keep)
    assert get(store, pictures(10)) == []
    assert get(store, pictures(11)) == [10]
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in store.folder.iterdir())


@pytest.mark.parametrize("cut", [1, 16, 40, 161, 10_000])
def test_damaged_files_are_computed_again(store, cut, caplog):
    get(store, pictures(10))
    (file,) = store.folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: max(0, len(content) - cut)])
    with caplog.at_level(logging.WARNING):
        assert get(store, pictures(10)) == list(range(10))
    assert "it is computed again" in caplog.text
    assert file.read_bytes() == content


def test_a_bound_on_what_is_kept(store, monkeypatch):
    for n in range(1, 9):
        get(store, pictures(n))
        get(store, pictures(n), "valid")
    assert len(list(store.folder.glob("*-train-*"))) == len(list(store.folder.glob("*-valid-*"))) == 4
    (store.folder / "mine.npy").write_bytes(b"x" * 5000)
    old = [file for file in store.folder.iterdir() if file.name != "mine.npy"]
    for file in old:
        os.utime(file, (1, 1))
    monkeypatch.setattr(feature_store, "MOST_BYTES", 1000)
    get(store, pictures(9))
    assert not any(file.exists() for file in old)
    assert sorted(file.name for file in store.folder.iterdir())[0] == "mine.npy"
    assert len(list(store.folder.iterdir())) == 2


def test_a_full_disk_costs_the_file_not_the_training(store, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with caplog.at_level(logging.WARNING):
        assert get(store, pictures(10)) == list(range(10))
    assert "not kept on disk, only in memory" in caplog.text
    assert "No space left" in caplog.text
    assert list(store.folder.iterdir()) == []
    with pytest.raises(OSError, match="No space left"):
        store.get("train", content_keys(pictures(3)), Counting(pictures(3)), must_write=True)
    monkeypatch.setattr(feature_store, "_KEEP_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        get(store, pictures(3))
    assert list(store.folder.iterdir()) == []


SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from zoo.vision.feature_store import FeatureStore
from zoo.vision.files.content import content_keys
folder, slow = Path(sys.argv[1]), float(sys.argv[2])
images = np.arange(50, dtype=np.uint32)[:, None].view(np.uint8).reshape(50, 2, 2)
def compute(out, rows):
    for row in rows:
        out[row] = row
        time.sleep(slow)
    (folder / f"computed-{sys.argv[3]}").touch()
def begin(out, rows):
    (folder / f"begun-{sys.argv[3]}").touch()
    compute(out, rows)
found = FeatureStore(folder, "net-0123456789abcdef", 8).get("train", content_keys(images), begin)
assert np.array_equal(found[:, 0], np.arange(50)), found
"""


def start(folder: Path, slow: float, name: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(slow), name], env=environment)


def test_two_processes_at_one_cache_and_a_kill_half_way(store):
    folder = store.folder
    killed = start(folder, 1.0, "killed")
    others = [start(folder, 0.002, name) for name in ("one", "two")]
    deadline = time.monotonic() + 60
    while not (folder / "begun-killed").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert [one.wait(timeout=60) for one in others] == [0, 0]
    assert not (folder / "computed-killed").exists()
    for marker in folder.glob("*-*d-*"):
        marker.unlink(missing_ok=True)
    assert len(list(folder.glob("*.npy"))) == 1
    assert get(store, pictures(50)) == []


class TestKeys:
    def test_the_bytes_decide(self, tmp_path):
        for name, seed in (("a.png", 0), ("b.png", 1), ("c.png", 0)):
            Image.fromarray(gradient(seed=seed)).save(tmp_path / name)
        os.rename(tmp_path / "c.png", os.fsencode(tmp_path / "caf") + b"\xe9.png")
        keys = content_keys(sorted(tmp_path.iterdir()))
        assert keys[0] == keys[2] != keys[1]
        assert content_key(sorted(tmp_path.iterdir())) != content_key(sorted(tmp_path.iterdir())[:2])
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            content_keys([tmp_path / "none.png"])

    def test_a_file_is_read_once_while_it_stays_the_same(self, tmp_path, monkeypatch):
        import zoo.vision.files.content as module

        monkeypatch.setattr(module, "_keys", Remembered(settled=0.0))
        file = tmp_path / "a.bin"
        file.write_bytes(b"12345678")
        first = content_keys([file])
        monkeypatch.setattr(module, "_hash", None)  # nothing can be hashed now
        assert content_keys([file]) == first
        monkeypatch.undo()
        monkeypatch.setattr(module, "_keys", Remembered(settled=0.0))
        times = os.stat(file)
        file.write_bytes(b"87654321")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert content_keys([file]) != first

    def test_arrays_of_other_kinds_differ(self):
        flat = np.zeros((2, 4, 4), np.uint8)
        assert content_keys(flat)[0] != content_keys(flat.reshape(2, 2, 8))[0]
        assert content_keys(flat)[0] != content_keys(flat.view(np.int8))[0]


class TestLearners:
    """The whole way, with a small body of random weights."""

    TFMS = tfms_from_stats(([0.5] * 3, [0.25] * 3), 32)

    def learner(self, path: Path, state=None) -> ConvLearner:
        data = ImageClassifierData.from_paths(path, bs=4, tfms=self.TFMS, num_workers=0, seed=0)
        options = {"xtra_fc": [], "progress": False, "seed": 0, "path": path, "device": "cpu"}
        return ConvLearner.pretrained("squeezenet1_1", data, weights=state, precompute=True, **options)

    def test_replaced_and_touched_pictures_and_a_moved_folder(self, tmp_path, monkeypatch):
        import zoo.vision.precompute as module

        computed = []
        original = module._extract
        monkeypatch.setattr(module, "_extract", lambda *a: computed.append(len(a[4])) or original(*a))
        path = two_class_folders(tmp_path / "d", n=3)
        state = self.learner(path).model.body.state_dict()
        assert computed == [6, 6]
        file = next((path / "valid" / "red").iterdir())
        os.utime(file)
        self.learner(path, state)
        assert computed == [6, 6]
        times, size = file.stat(), file.stat().st_size
        Image.fromarray(gradient(40, 48)).save(file)
        file.write_bytes(file.read_bytes().ljust(size, b"\0"))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        replaced = self.learner(path, state)
        assert computed == [6, 6, 1]
        cached = replaced.predict()
        replaced.precompute = False
        assert np.allclose(cached, replaced.predict(), atol=1e-4)
        path.rename(tmp_path / "moved")
        (tmp_path / "moved" / "train" / "blue").rename(tmp_path / "moved" / "train" / "azure")
        (tmp_path / "moved" / "valid" / "blue").rename(tmp_path / "moved" / "valid" / "azure")
        self.learner(tmp_path / "moved", state)
        assert computed == [6, 6, 1]

    def test_names_that_are_not_utf8(self, tmp_path):
        path = two_class_folders(tmp_path, n=3)
        os.rename(
            path / "train" / "red" / "001.png", os.fsencode(path / "train" / "red" / "caf") + b"\xe9.png"
        )
        assert len(self.learner(path).data.train_dl.tensors[0]) == 6
