"""Prepared data on disk: what comes back is what was saved, and what cannot be kept is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.core.helpers import DigitsNet, digits_data, weights
from zoo import Learner, ModelData, TensorLoader, load_data
from zoo.storage.archive import ArchiveError


def epochs(loader, n: int = 2) -> list:
    taken = []
    for epoch in range(n):
        loader.set_epoch(epoch)
        taken += list(loader)
    return taken


def assert_same_batches(one, other) -> None:
    for part in ("train_dl", "valid_dl", "test_dl"):
        a, b = getattr(one, part), getattr(other, part)
        assert (a is None) == (b is None)
        if a is None:
            continue
        for left, right in zip(epochs(a), epochs(b), strict=True):
            for x, y in zip(left, right, strict=True):
                assert x.dtype == y.dtype
                assert x.shape == y.shape
                if x.numel():  # bits, so that nan and -0.0 count too
                    left_bits, right_bits = (
                        part.clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
                        for part in (x, y)
                    )
                    assert torch.equal(left_bits, right_bits)


def test_batches_settings_and_training_are_the_same(tmp_path):
    data = digits_data(path=tmp_path)
    data.train_dl.drop_last = True
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert_same_batches(data, loaded)
    assert (loaded.task, loaded.classes, loaded.path) == (data.task, data.classes, data.path)

    def trained(own):
        torch.manual_seed(0)
        learn = Learner(own, DigitsNet(), device="cpu", progress=False)
        learn.fit(0.01, 2)
        return weights(learn.model)

    one, other = trained(data), trained(loaded)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_order_goes_on_where_it_stood(tmp_path):
    data = digits_data(path=tmp_path)
    data.train_dl.next_epoch = 3
    data.train_dl.set_epoch(2, 17)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert loaded.train_dl.next_epoch == 3
    left, right = ([y.tolist() for _, y in one.train_dl] for one in (data, loaded))
    assert left == right
    assert len(left) == 2


DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number_comes_back(tmp_path, dtype):
    x = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(dtype)
    data = ModelData(TensorLoader(x, torch.arange(3), bs=2), path=tmp_path)
    assert_same_batches(data, load_data(data.save(tmp_path / "prepared")))


def test_layouts_empty_columns_and_special_values_come_back(tmp_path):
    special = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    parts = [torch.zeros(4, 0), special, torch.arange(8).reshape(2, 4).T, torch.ones(1).expand(4)]
    parts += [
        torch.tensor([1 + 2j] * 4).conj(),
        nn.Parameter(torch.ones(4, 1)),
        np.zeros((4, 1, 2), "float16"),
    ]
    data = ModelData(TensorLoader(*parts, bs=3), path=tmp_path)
    data.train_dl.tensors = tuple(tensor.detach() for tensor in data.train_dl.tensors)
    assert_same_batches(data, load_data(data.save(tmp_path / "prepared")))


def test_writing_into_loaded_tensors_stays_in_memory(tmp_path):
    data = ModelData(TensorLoader(torch.ones(4), torch.ones(4)), path=tmp_path)
    data.save(tmp_path / "prepared")
    load_data(tmp_path / "prepared").train_dl.tensors[0].mul_(5)
    assert load_data(tmp_path / "prepared").train_dl.tensors[0].tolist() == [1, 1, 1, 1]


def test_loaded_data_can_be_saved_where_they_came_from(tmp_path):
    data = ModelData(TensorLoader(torch.arange(4.0), torch.arange(4)), path=tmp_path)
    loaded = load_data(data.save(tmp_path / "prepared"))
    loaded.train_dl = loaded.train_dl.with_bs(3)
    again = load_data(loaded.save(tmp_path / "prepared"))
    assert again.train_dl.bs == 3
    assert_same_batches(loaded, again)
    assert [file.name for file in tmp_path.iterdir()] == ["prepared"]


def test_another_process_opens_them(tmp_path):
    ModelData(TensorLoader(torch.arange(4.0), torch.arange(4)), path=tmp_path).save(tmp_path / "prepared")
    code = (
        f"import zoo; print([y.tolist() for _, y in zoo.load_data({str(tmp_path / 'prepared')!r}).train_dl])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[[0, 1, 2, 3]]\n"


def test_a_folder_below_the_path_moves_with_it(tmp_path):
    data = ModelData(TensorLoader(torch.ones(2), torch.ones(2)), path=tmp_path / "old")
    data.save(tmp_path / "old" / "prepared")
    (tmp_path / "old").rename(tmp_path / "new")
    assert load_data(tmp_path / "new" / "prepared").path == tmp_path / "new"
    assert load_data(tmp_path / "new" / "prepared", tmp_path / "x").path == tmp_path / "x"


class Mine(ModelData):
    pass


def torch_loader():
    return DataLoader(TensorDataset(torch.ones(4), torch.ones(4)))


def rows(**options):
    return TensorLoader(torch.ones(4), torch.ones(4), **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Mine(rows()), "Mine is a class of its own"),
        (lambda: ModelData(torch_loader()), "train_dl can't be kept: it is a torch.utils.data.*DataLoader"),
        (lambda: ModelData(rows(), [(torch.ones(1), torch.ones(1))]), "valid_dl can't be kept: .*list"),
        (lambda: ModelData(rows(batch_transform=lambda b, t, g: b)), r"batch_transform \(function\) is code"),
        (lambda: ModelData(TensorLoader(torch.eye(4).to_sparse(), torch.ones(4))), "train.0 is a sparse"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_named_and_nothing_is_written(tmp_path, make, says):
    with pytest.raises(TypeError, match=says):
        make().save(tmp_path / "prepared")
    assert list(tmp_path.iterdir()) == []


def test_replaced_methods_are_not_lost_in_silence(tmp_path):
    data = ModelData(rows())
    data.invert_target = lambda values: values * 2
    with pytest.raises(TypeError, match=r"ModelData\.invert_target was replaced"):
        data.save(tmp_path / "prepared")


def test_other_folders_are_left_alone(tmp_path):
    folder = ModelData(rows()).save(tmp_path / "prepared")
    (folder / "notes.txt").write_text("mine")
    for place in (folder, folder / "notes.txt"):
        with pytest.raises(FileExistsError, match="holds no prepared data"):
            ModelData(rows()).save(place)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_older_data(tmp_path, monkeypatch):
    folder = ModelData(rows()).save(tmp_path / "prepared")

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        ModelData(rows(bs=2)).save(folder)
    assert load_data(folder).train_dl.bs == 64
    assert [file.name for file in tmp_path.iterdir()] == ["prepared"]


def edit(folder, **changes) -> None:
    contents = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps({**contents, **changes}))


BROKEN = "train.0.npy is absent or damaged"
DAMAGE = {
    "a short array": (lambda f: os.truncate(f / "train.0.npy", 140), BROKEN),
    "an empty array": (lambda f: (f / "train.0.npy").write_bytes(b""), BROKEN),
    "no array": (lambda f: (f / "train.0.npy").unlink(), BROKEN),
    "a pickle": (lambda f: np.save(f / "train.0.npy", np.array([{}])), BROKEN),
    "other type": (lambda f: np.save(f / "train.0.npy", np.ones(4, "i1")), "it holds torch.int8, not"),
    "a place elsewhere": (lambda f: edit(f, arrays={"../x": "float32"}), "no name of an array"),
    "a newer format": (lambda f: edit(f, format=2), "upgrade zoo"),
    "another kind": (lambda f: edit(f, kind="learner"), "does not describe prepared data"),
    "no JSON": (lambda f: (f / "data.json").write_text("{"), "not valid JSON"),
    "an unknown domain": (lambda f: edit(f, domain="cor"), "did you mean 'core'"),
    "no loaders": (lambda f: edit(f, loaders=None), "incomplete or damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_data_are_refused(tmp_path, name):
    damage, says = DAMAGE[name]
    folder = ModelData(rows()).save(tmp_path / "prepared")
    damage(folder)
    with pytest.raises(ArchiveError, match=says):
        load_data(folder)


def test_absent_data_are_named(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no prepared data at"):
            load_data(place)


def test_halves_of_surrogate_pairs_in_classes_set_by_hand(tmp_path) -> None:
    data = ModelData(TensorLoader(torch.ones(4, 1), torch.arange(4) % 2), path=tmp_path)
    data.task, data.classes = "classification", [f"a{chr(0xD83D)}", "b"]
    data.save(tmp_path / "p")
    assert load_data(tmp_path / "p").classes == data.classes
