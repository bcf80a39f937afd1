"""Weights of 8 bits: how near they are, what is left alone, and what exports do with them."""

import pytest
import torch

from tests.core.helpers import digits_learner
from zoo import load_learner
from zoo.storage.archive import ArchiveError, archive_members, read_archive, write_archive
from zoo.storage.eight_bit import BLOCK, eight_bit, from_eight_bit


def test_numbers_are_within_half_a_step_of_their_block():
    torch.manual_seed(0)
    weight = torch.randn(77, 31) * torch.logspace(-3, 3, 77)[:, None]
    packed = eight_bit({"w": weight})
    assert packed["w"].dtype == torch.int8
    assert packed["w"].shape == weight.shape
    back = from_eight_bit(packed)["w"]
    step = packed["w:scale"].float().repeat_interleave(BLOCK)[: weight.numel()].reshape(weight.shape)
    assert bool(((back - weight).abs() <= 0.6 * step).all())


def test_what_would_be_lost_stays():
    tensors = {
        "small": torch.randn(10), "whole": torch.arange(5000), "half": torch.randn(5000).half(),
        "huge": torch.full((2048,), 1e30), "odd": torch.full((2048,), float("nan")), "empty": torch.zeros(0),
    }  # fmt: skip
    back = from_eight_bit(eight_bit(tensors))
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=0, equal_nan=True)
    zeros = torch.zeros(4096)
    assert torch.equal(from_eight_bit(eight_bit({"z": zeros}))["z"], zeros)


def test_tied_tensors_stay_one():
    weight = torch.randn(64, 64)
    packed = eight_bit({"a": weight, "b": weight})
    assert packed["a"] is packed["b"]
    back = from_eight_bit(packed)
    assert back["a"] is back["b"]


def test_scales_that_do_not_fit_are_told(tmp_path, monkeypatch):
    packed = eight_bit({"w": torch.randn(2048)})
    with pytest.raises(ValueError, match="w and its scales"):
        from_eight_bit({**packed, "w:scale": packed["w:scale"][:3]})
    with pytest.raises(ValueError, match="are of scales"):
        eight_bit({"w:scale": torch.zeros(3)})
    with pytest.raises(ValueError, match="belongs to no tensor"):
        from_eight_bit({"w:scale": packed["w:scale"]})
    members = archive_members({}, {}, {"w": torch.randn(2048)}, small=True)
    write_archive(tmp_path / "m", members)
    assert read_archive(tmp_path / "m").config["format"] == 2
    monkeypatch.setattr("zoo.storage.archive.eight_bit", dict)
    odd = {"w": torch.zeros(9, dtype=torch.int8), "w:scale": torch.ones(9)}
    broken = archive_members({}, {}, odd, small=True)
    write_archive(tmp_path / "n", broken)
    with pytest.raises(ArchiveError, match="damaged"):
        read_archive(tmp_path / "n")


def test_an_export_of_a_given_size(tmp_path):
    learn = digits_learner()
    whole = sum(file.stat().st_size for file in learn.export(tmp_path / "whole").iterdir())
    folder = learn.export(tmp_path / "small", max_mb=whole / 1e6 / 2)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= whole / 2
    rows = learn.data.valid_dl.tensors[0][:40]
    found, expected = (each.predict_array(rows) for each in (load_learner(folder, "cpu"), learn))
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), atol=0.05, rtol=0.05)
    with pytest.raises(ValueError, match=r"more than max_mb=0.001"):
        learn.export(tmp_path / "tiny", max_mb=0.001)
    assert not (tmp_path / "tiny").exists()
    with pytest.raises(ValueError, match="million bytes above 0"):
        learn.export(tmp_path / "none", max_mb=0)
