"""From pictures to data, step by step."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from tests.vision.helpers import gradient, two_class_arrays, two_class_folders
from zoo import load_data, load_learner
from zoo.data.splits import stratified_idxs
from zoo.losses import L1Flat
from zoo.storage.registry import register_model
from zoo.vision import (
    ConvLearner,
    ImageClassifierData,
    ImageData,
    Items,
    RandomDihedral,
    RandomFlip,
    RandomRotate,
    coded_values,
    imagenet_stats,
    tfms_from_stats,
)
from zoo.vision.targets.maps import MaskTarget, PictureTarget, open_mask
from zoo.vision.targets.values import PointsTarget, ValueTarget
from zoo.vision.transforms.warp import VOID

TFMS = tfms_from_stats(imagenet_stats, 16)


@pytest.fixture
def folder(tmp_path) -> Path:
    return two_class_folders(tmp_path / "d")


@register_model("test.tiny_map", example=lambda: (tiny_map(2), (torch.zeros(1, 3, 8, 8),), None))
def tiny_map(n_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, n_out, 1))


@register_model("test.tiny_values", example=lambda: (tiny_values(2), (torch.zeros(1, 3, 8, 8),), None))
def tiny_values(n_out: int) -> nn.Module:
    convs = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(convs, nn.Flatten(), nn.Linear(128, n_out))


class TestSplits:
    def test_folders(self, folder):
        items = Items.from_folder(folder).label_by_folder().transform(TFMS)
        data = items.split_by_folder().data(bs=4)
        plain = ImageClassifierData.from_paths(folder, bs=4, tfms=TFMS)
        assert type(data) is ImageClassifierData
        assert (data.classes, data.filenames) == (plain.classes, plain.filenames)
        assert data.trn_y.tolist() == plain.trn_y.tolist()
        with pytest.raises(ValueError, match="lie neither in 'training' nor in 'valid'"):
            items.split_by_folder("training").data()

    def test_random_keeps_shares_and_strands_no_class(self):
        labels = np.array(["a"] * 50 + ["b"] * 10 + ["c"])
        for seed in range(20):
            rows = stratified_idxs(labels, 0.2, seed)
            assert len(rows) == 12
            assert 60 not in rows
            assert np.isin(np.arange(50), rows).sum() in (9, 10, 11)
        pictures = np.zeros((61, 8, 8), np.uint8)
        data = Items.from_arrays(pictures).split_by_random(0.2).label_by(list(labels)).data()
        assert (len(data.trn_ds), len(data.val_ds), data.channels) == (49, 12, 1)

    def test_names_in_a_file(self, folder, tmp_path):
        names = tmp_path / "valid.txt"
        items = Items.from_folder(folder / "train").label_by_folder()
        names.write_text("blue/000.png\n001.png\n")
        data = items.split_by_file(names).data()
        assert sorted(Path(f).name for f in data.filenames["valid"]) == ["000.png", "001.png"]
        names.write_text("blue/000.png\nnobody.png\n")
        with pytest.raises(ValueError, match=r"1 of 2 names are none of the pictures: nobody\.png"):
            items.split_by_file(names).data()
        names.write_text("000.png\n")
        (folder / "train" / "red" / "000.png").write_bytes((folder / "train/blue/000.png").read_bytes())
        with pytest.raises(ValueError, match=r"'000\.png' is blue/000\.png, red/000\.png: write them with"):
            Items.from_folder(folder / "train").label_by_folder().split_by_file(names).data()
        with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
            items.split_by_file("nowhere.txt").data()
        with pytest.raises(TypeError, match=r"takes a text file of names, got a list; .* split_by_function"):
            items.split_by_file(["000.png"])  # type: ignore[arg-type]

    def test_columns_functions_groups_and_rows(self, tmp_path):
        two_class_folders(tmp_path, n=6)
        names = sorted(p.name for p in (tmp_path / "train" / "red").iterdir())
        df = pd.DataFrame(
            {"file": names, "y": list("abcabc"), "dev": [1, 0, 0, 0, 0, 1], "film": list("xxyyzz")}
        )
        items = Items.from_df(tmp_path, "train/red", df).label_by_column("y")
        assert df.columns.tolist() == ["file", "y", "dev", "film"]
        assert len(items.split_by_column("dev").data().val_ds) == 2
        with pytest.raises(ValueError, match="it holds 'x', 'y', 'z'"):
            items.split_by_column("film").data()
        assert items.split_by_function(lambda file: file.name == names[3]).data().val_y.tolist() == [0]
        assert items.split_by_rows([1]).data().val_y.tolist() == [1]
        for seed in range(5):
            data = items.split_by_group("film", 0.34, seed=seed).data()
            films = {df.film[names.index(Path(f).name)] for f in data.filenames["valid"]}
            assert len(films) == 1
            assert len(data.val_ds) == 2
        with pytest.raises(ValueError, match="row 9 is outside the 6 rows"):
            items.split_by_rows([9]).data()
        with pytest.raises(ValueError, match="leaves no picture for training"):
            items.split_by_function(lambda file: True).data()


class TestLabels:
    def test_rare_classes_can_be_drawn_more_often(self):
        x, y = np.zeros((40, 8, 8), np.uint8), ["often"] * 36 + ["rare"] * 4
        items = Items.from_arrays(x).split_by_rows([0]).label_by(y)
        drawn = [torch.cat([t for _, t in items.data(10, seed=0, balance=b).train_dl]) for b in (False, True)]
        shares = [float((targets == 1).float().mean()) for targets in drawn]
        assert shares[0] < 0.15
        assert shares[1] > 0.3
        with pytest.raises(ValueError, match="balance=True needs classes or labels"):
            items.label_by(range(40), target=coded_values()).data(balance=True)

    def test_regex_columns_and_functions(self, data_dir):
        root = data_dir("pets") / "images"
        items = Items.from_folder(root).split_by_random()
        data = items.label_by_regex(r"([^/]+)_\d+\.jpg$").data()
        assert len(data.classes) == 3
        assert len(data.trn_ds) == 480
        assert np.bincount(data.val_y).tolist() == [40, 40, 40]
        by_name = items.label_by(lambda file: re.sub(r"_\d+$", "", file.stem)).data()
        assert by_name.classes == data.classes
        with pytest.raises(ValueError, match="does not match"):
            items.label_by_regex(r"(\d{9})")
        with pytest.raises(ValueError, match="has no group"):
            items.label_by_regex("abc")

    def test_tags(self, data_dir):
        root = data_dir("coco_small")
        items = Items.from_csv(root, "images", "tags.csv").label_by_column("tags", cat_separator=" ")
        data = items.split_by_column("is_valid").transform(TFMS).data(bs=8)
        assert data.is_multi
        assert data.task == "multilabel"
        assert "giraffe" in data.classes

    def test_nothing_is_ambiguous(self, folder):
        items = Items.from_folder(folder)
        with pytest.raises(ValueError, match="no labels"):
            items.data()
        with pytest.raises(ValueError, match="24 pictures but 2 labels"):
            items.label_by(["a", "b"])
        with pytest.raises(TypeError, match="needs a table"):
            items.label_by_column("y")
        with pytest.raises(TypeError, match="in memory"):
            Items.from_arrays(np.zeros((4, 8, 8), np.uint8)).label_by_folder()
        assert len(items.filter(lambda file: file.parent.name == "red")) == len(items) // 2

    def test_broken_pictures_can_be_left_out(self, folder, caplog):
        (folder / "train" / "red" / "zero.png").write_bytes(b"")
        items = Items.from_folder(folder)
        with pytest.raises(ValueError, match=r"zero\.png"):
            items.check()
        with caplog.at_level(logging.WARNING):
            assert len(items.check("skip")) == len(items) - 1
        assert "zero.png" in caplog.text


class TestValues:
    def test_values_are_told_in_their_units(self, tmp_path):
        x, _ = two_class_arrays(60, 8)
        light = np.random.default_rng(0).uniform(0.2, 1, 60)
        x, brightness = (x * light[:, None, None, None]).astype(np.uint8), light * 1000 + 500
        data = (
            Items.from_arrays(x, tmp_path)
            .split_by_random(0.2)
            .label_by(brightness, target=coded_values(["light"]))
            .transform(tfms_from_stats(((0.4,) * 3, (0.2,) * 3), 8))
            .data(bs=16, seed=0)
        )
        assert type(data) is ImageData
        assert data.task == "regression"
        assert data.c == 1
        assert abs(torch.cat([y for _, y in data.train_dl]).mean()) < 1e-3
        learn = ConvLearner.from_model_data(tiny_values(1), data, seed=0, progress=False, path=tmp_path)
        rows = learn.fit_one_cycle(5, 1e-2)
        truth = data.val_y.ravel()
        assert rows[-1]["rmse"] < 0.7 * truth.std()
        predicted, targets = learn.predict_with_targs()
        np.testing.assert_allclose(targets.ravel(), truth, rtol=1e-5)
        assert np.sqrt(((predicted.ravel() - truth) ** 2).mean()) == pytest.approx(rows[-1]["rmse"], rel=1e-3)
        loaded = load_learner(learn.export(tmp_path / "m.zip"))
        answer = loaded.predict_one(x[0])
        np.testing.assert_allclose(answer, learn.predict_one(x[0]), rtol=1e-5)
        assert abs(float(np.ravel(answer)[0]) - brightness[0]) < 400

    def test_several_values_and_what_is_none(self):
        x = np.zeros((4, 8, 8), np.uint8)
        items = Items.from_arrays(x)
        data = items.label_by(np.arange(8.0).reshape(4, 2), target=coded_values()).data()
        assert isinstance(data.target, ValueTarget)
        assert data.target.names == ["value 0", "value 1"]
        with pytest.raises(ValueError, match=r"1 rows have no finite number \(first row, from 0: 2\)"):
            items.label_by([1.0, 2.0, float("nan"), 3.0], target=coded_values()).data()
        same = items.label_by([5.0] * 4, target=coded_values(["age"])).data()
        assert torch.isfinite(same.trn_ds.targets()).all()


def spots(n: int, seed: int = 0, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Dark pictures with one bright spot, and where it is (x, y)."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(4, size - 4, (n, 1, 2))
    y, x = np.mgrid[0:size, 0:size] + 0.5
    bright = np.exp(-((x - at[:, :, 0:1]) ** 2 + (y - at[:, :, 1:2]) ** 2) / 6)
    return np.repeat((bright * 255)[..., None], 3, -1).astype(np.uint8), at


class TestPoints:
    def test_points_follow_and_come_back_in_pixels(self, tmp_path):
        x, at = spots(200)
        tfms = tfms_from_stats(((0.2,) * 3, (0.3,) * 3), 16, crop="squash", aug_tfms=[RandomRotate(20, p=1)])
        data = (
            Items.from_arrays(x, tmp_path)
            .split_by_random()
            .points_by(at, ["spot"])
            .transform(tfms)
            .data(bs=20, seed=0)
        )
        assert isinstance(data.target, PointsTarget)
        assert data.c == 2
        pixels, targets = next(iter(data.train_dl))
        # the brightest pixel of each augmented picture is where its point is
        for picture, point in zip(pixels.float().mean(1), targets, strict=True):
            row, column = divmod(int(picture.argmax()), 16)
            told = (point + 1) / 2 * 16
            if (told > 1).all() and (told < 15).all():
                assert abs(told[0] - column - 0.5) < 1.2
                assert abs(told[1] - row - 0.5) < 1.2
        learn = ConvLearner.from_model_data(tiny_values(2), data, seed=0, progress=False, path=tmp_path)
        before = learn.evaluate()["point_distance"]
        rows = learn.fit_one_cycle(12, 2e-2)
        assert rows[-1]["point_distance"] < 0.5 * before
        big = np.asarray(Image.fromarray(x[0]).resize((96, 48)))
        answer = learn.predict_one(big)
        assert answer.shape == (1, 2)
        assert np.abs(answer[0] - at[0, 0] * [4, 2]).max() < 25
        loaded = load_learner(learn.export(tmp_path / "m.zip"))
        np.testing.assert_allclose(loaded.predict_batch([big, x[1]])[0], answer, atol=1e-3)
        assert learn.show_results(2).axes

    def test_points_that_are_not_there_do_not_count(self, tmp_path):
        x, at = spots(120)
        both = np.concatenate([at, 24 - at], 1)
        both[::3, 1, 0] = np.nan  # one number is enough
        tfms = tfms_from_stats(((0.2,) * 3, (0.3,) * 3), 16, crop="squash", aug_tfms=[RandomFlip()])
        items = Items.from_arrays(x, tmp_path).split_by_random().points_by(both, ["spot", "other"])
        data = items.transform(tfms).data(bs=20, seed=0)
        _, targets = next(iter(data.train_dl))
        missing = targets.isnan()
        assert missing.any()
        assert not missing[:, :2].any()
        assert torch.equal(missing[:, 2], missing[:, 3])
        learn = ConvLearner.from_model_data(tiny_values(4), data, seed=0, progress=False, path=tmp_path)
        before = learn.evaluate()
        after = learn.fit_one_cycle(10, 2e-2)[-1]
        for name in ("valid_loss", "rmse", "point_distance"):
            assert after[name] < 0.7 * before[name]
        found = learn.baseline()
        assert found.name == "ridge regression on pixels"
        assert found.metrics["point_distance"] < found.reference.metrics["point_distance"]
        assert learn.show_results(2).axes
        assert data.show_batch(2).axes

    def test_metrics_by_name_leave_out_points_that_are_not_there(self):
        x, at = spots(40)
        both = np.concatenate([at, 24 - at], 1)
        both[::3, 1] = np.nan
        tfms = tfms_from_stats(((0.2,) * 3, (0.3,) * 3), 16, crop="squash")
        items = Items.from_arrays(x).split_by_random().points_by(both, ["spot", "other"])
        data = items.transform(tfms).data(bs=4, seed=0)
        learn = ConvLearner.from_model_data(tiny_values(4), data, seed=0, progress=False)
        names = ["rmse", "mae", "mse", "r2", "point_distance"]
        found = learn.evaluate(metrics=names)
        preds, targets = (torch.as_tensor(one).double() for one in learn.predict_with_targs())
        there = ~targets.isnan()
        wrong = (preds - targets)[there]
        assert found["mae"] == pytest.approx(wrong.abs().mean().item(), rel=1e-4)
        assert found["mse"] == pytest.approx(wrong.square().mean().item(), rel=1e-4)
        spread = (targets[there] - targets[there].mean()).square().mean().item()
        assert found["r2"] == pytest.approx(1 - found["mse"] / spread, rel=1e-3)
        learn.loss_fn = L1Flat(skip_missing=True)
        assert learn.evaluate()["valid_loss"] == pytest.approx(found["mae"], rel=1e-4)
        none = torch.full((2, 4), np.nan)
        assert all(np.isnan(data.named_metrics()[name](torch.zeros(2, 4), none)) for name in names)

    def test_unequal_rows_are_told(self):
        items = Items.from_arrays(np.zeros((2, 8, 8), np.uint8))
        with pytest.raises(ValueError, match="same number of points"):
            items.points_by([[[1, 2]], [[1, 2], [3, 4]]]).data()


class TestMasks:
    def test_pets(self, data_dir, tmp_path):
        root = data_dir("pets")
        codes = {1: "pet", 2: "background", 3: "border"}
        tfms = tfms_from_stats(imagenet_stats, 48, crop="squash", aug_tfms=[RandomDihedral()], max_zoom=1.2)
        items = Items.from_folder(root / "images").split_by_random(0.1)
        data = (
            items.masks_by(lambda file: root / "trimaps" / f"{file.stem}.png", codes, void="border")
            .transform(tfms)
            .data(bs=8, seed=0)
        )
        assert isinstance(data.target, MaskTarget)
        assert data.classes == ["pet", "background"]
        assert data.c == 2
        pixels, masks = next(iter(data.train_dl))
        assert pixels.shape == (8, 3, 48, 48)
        assert masks.shape == (8, 48, 48)
        assert masks.dtype == torch.uint8
        assert set(masks.unique().tolist()) <= {0, 1, VOID}
        learn = ConvLearner.from_model_data(tiny_map(2), data, seed=0, progress=False, path=tmp_path)
        learn.data.train_dl = learn.data.valid_dl  # a few pictures are enough to see that it learns
        rows = learn.fit(1e-2, 2)
        assert {"accuracy", "iou", "dice"} <= set(rows[-1])
        assert rows[-1]["valid_loss"] < rows[0]["train_loss"] + 0.2
        file = Path(data.filenames["valid"][0])
        answer = learn.predict_one(file)
        assert answer.numbers.shape == np.asarray(Image.open(file)).shape[:2]
        assert sum(answer.shares.values()) == pytest.approx(1)
        truth = data.target.numbers(root / "trimaps" / f"{file.stem}.png")
        assert truth.shape == answer.numbers.shape
        loaded = load_learner(learn.export(tmp_path / "m.zip"))
        assert (loaded.predict_one(file).numbers == answer.numbers).all()
        kept = load_data(data.save(tmp_path / "kept"))
        for ours, theirs in zip(data.valid_dl, kept.valid_dl, strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])
        assert learn.show_results(2).axes
        assert data.show_batch(4).axes

    def test_what_is_no_mask_is_told(self, tmp_path):
        x = np.zeros((3, 8, 8, 3), np.uint8)
        items = Items.from_arrays(x)
        with pytest.raises(ValueError, match="no name; it has 0: a, 1: b"):
            data = items.masks_by(np.full((3, 8, 8), 7), ["a", "b"]).data()
            data.trn_ds[0]
        with pytest.raises(FileNotFoundError, match="3 of 3 pictures have no mask: nowhere"):
            items.masks_by([f"nowhere{i}.png" for i in range(3)], ["a", "b"])
        with pytest.raises(ValueError, match="void='x' is none of the classes"):
            MaskTarget(["a", "b"], void="x")
        Image.fromarray(gradient(8, 8)).save(tmp_path / "colour.png")
        with pytest.raises(ValueError, match="one whole number a pixel"):
            open_mask(tmp_path / "colour.png")

    def test_palette_masks_are_read_as_numbers(self, tmp_path):
        numbers = np.arange(64).reshape(8, 8).astype(np.uint8) % 3
        img = Image.fromarray(numbers).convert("P")
        img.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        img.save(tmp_path / "m.png")
        assert set(np.unique(open_mask(tmp_path / "m.png"))) <= {0, 1, 2}


def test_pictures_as_targets(tmp_path):
    """Super-resolution: the answer is twice as large as what the network sees, and shows the same."""
    x = np.stack([gradient(32, 32, seed) for seed in range(12)])
    tfms = tfms_from_stats(((0.0,) * 3, (1.0,) * 3), 16, aug_tfms=[RandomDihedral()])
    data = (
        Items.from_arrays(x, tmp_path)
        .split_by_random()
        .pictures_by(x, scale=2)
        .transform(tfms)
        .data(bs=4, seed=0)
    )
    assert isinstance(data.target, PictureTarget)
    pixels, targets = next(iter(data.train_dl))
    assert pixels.shape == (4, 3, 16, 16)
    assert targets.shape == (4, 3, 32, 32)
    shrunk = nn.functional.avg_pool2d(targets, 2)
    assert (shrunk - pixels.float() / 255).abs().max() < 0.05
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    learn = ConvLearner.from_model_data(model, data, seed=0, progress=False, path=tmp_path)
    rows = learn.fit_one_cycle(8, 2e-2)
    assert rows[-1]["psnr"] > rows[0]["psnr"] > 0
    assert learn.predict_one(x[0]).shape == (32, 32, 3)
    assert data.show_batch(2).axes
    assert learn.show_results(2).axes
