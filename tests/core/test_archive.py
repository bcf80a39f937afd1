import pytest
import torch

from zoo.datasets import local_dataset
from zoo.errors import did_you_mean, some
from zoo.storage.archive import (
    ArchiveError,
    archive_members,
    load_state,
    read_archive,
    save_state,
    write_archive,
)
from zoo.storage.files import atomic_write


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_shared_and_strided_tensors_round_trip(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": base, "b": base, "t": base.T, "empty": torch.zeros(0), "half": base.bfloat16()}
    save_state(tmp_path / "x.safetensors", tensors)
    back = load_state(tmp_path / "x.safetensors")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_archives_round_trip(tmp_path, name):
    members = archive_members(
        {"domain": "x"}, {"täglich": [1, None]}, {"w": torch.ones(2)}, {"a": torch.arange(3)}
    )
    write_archive(tmp_path / name, members)
    archive = read_archive(tmp_path / name)
    assert archive.config["domain"] == "x"
    assert archive.config["format"] == 1
    assert archive.preprocess == {"täglich": [1, None]}
    assert torch.equal(archive.arrays["a"], torch.arange(3))


def test_truncated_files_are_refused(tmp_path):
    write_archive(tmp_path / "m", archive_members({}, {}, {"w": torch.ones(100)}))
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ArchiveError, match="damaged"):
        read_archive(tmp_path / "m")
    weights.unlink()
    with pytest.raises(ArchiveError, match=r"holds no model\.safetensors"):
        read_archive(tmp_path / "m")


def test_local_datasets_are_found_as_folders_or_zips(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "a.txt").write_text("a")
    assert local_dataset(tmp_path, "flowers") == tmp_path / "flowers"
    assert local_dataset(tmp_path / "flowers", "flowers", "a.txt") == tmp_path / "flowers"
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as file:
        file.writestr("birds/b.txt", "b")
    found = local_dataset(tmp_path, "birds")
    assert (found / "b.txt").read_text() == "b"
    assert local_dataset(tmp_path, "birds") == found
    with zipfile.ZipFile(tmp_path / "bees.zip", "w") as file:
        file.writestr("../outside.txt", "x")
    with pytest.raises(ValueError, match="leads out of its folder"):
        local_dataset(tmp_path, "bees")
    assert not list(tmp_path.rglob("outside.txt"))
    with pytest.raises(FileNotFoundError, match="no data set 'fish'"):
        local_dataset(tmp_path, "fish")


def test_suggestions():
    assert did_you_mean("storetype", ["Store", "StoreType"]) == " (did you mean 'StoreType'?)"
    assert did_you_mean("zzz", ["Store"]) == ""
    assert some(range(7), most=3) == "0, 1, 2 and 4 more"
