"""Pretrained bodies with the head that the data ask for: maps and boxes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import ModelData, TensorLoader, load_learner
from zoo.vision import ConvLearner, Items, RandomFlip, RandomRotate, imagenet_stats, tfms_from_stats
from zoo.vision.models.unet import UNet
from zoo.vision.targets.boxes import Boxes, BoxTarget
from zoo.vision.targets.mean_precision import MeanAveragePrecision
from zoo.vision.targets.view_means import MeanOfMaps
from zoo.vision.transforms.view import View

BODY = "squeezenet1_1"


def squares(n: int, size: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright square, and the masks of the squares."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 80, (n, size, size, 3)).astype(np.uint8)
    masks = np.zeros((n, size, size), np.uint8)
    for picture, mask in zip(pictures, masks, strict=True):
        top, left = rng.integers(4, size // 2, 2)
        side = int(rng.integers(size // 4, size // 2 - 4))
        mask[top : top + side, left : left + side] = 1
        picture[mask == 1] += 120
    return pictures, masks


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> ConvLearner:
    x, masks = squares(32)
    tfms = tfms_from_stats(imagenet_stats, 48, aug_tfms=[RandomFlip(), RandomRotate(15)], crop="squash")
    path = tmp_path_factory.mktemp("maps")
    items = Items.from_arrays(x, path).split_by_random(0.25).masks_by(masks, ["ground", "square"])
    data = items.transform(tfms).data(bs=8, seed=0)
    learn = ConvLearner.pretrained(BODY, data, weights=None, seed=0, progress=False, path=path)
    learn.fit_one_cycle(4, 1e-2)
    return learn


def test_masks_get_a_unet_that_starts_frozen_and_learns(maps):
    assert isinstance(maps.model, UNet)
    assert maps.groups.names == ["early_body", "late_body", "head"]
    assert [group.frozen for group in maps.groups] == [True, True, False]
    row = maps.evaluate()
    assert row["iou"] > 0.6
    assert row["accuracy"] > 0.9


def test_the_mean_over_views_is_taken_where_they_were_seen(maps):
    mean, targets = maps.TTA(n_aug=3, log=False)
    plain = maps.predict(log=False)
    assert mean.shape == plain.shape == (8, 2, 48, 48)
    assert targets.shape == (8, 48, 48)
    right = [(answer.argmax(1) == targets).mean() for answer in (mean, plain)]
    assert right[0] > right[1] - 0.01
    assert np.allclose(mean.sum(1), 1, atol=1e-3)
    assert np.allclose(maps.TTA(0, log=False)[0], plain, atol=1e-5)
    with pytest.raises(ValueError, match="whole number of augmented views, 0 or more, got 'a'"):
        maps.TTA("a")  # type: ignore[arg-type]


def test_maps_of_turned_views_go_back():
    tfm = tfms_from_stats(imagenet_stats, 32, aug_tfms=[RandomRotate(30, p=1), RandomFlip(1.0)])
    plain = tfm[1].view((64, 64))
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    smooth = np.sin(x / 9) + np.cos(y / 7)
    seen = []
    for view in (plain, *(tfm[0].view((64, 64), np.random.default_rng(s)) for s in range(4))):
        gy, gx = np.mgrid[0:32, 0:32] + 0.5
        at = view.to_source(np.stack([gx.ravel(), gy.ravel()], 1))
        seen.append((view, np.sin((at[:, 0] - 0.5) / 9) + np.cos((at[:, 1] - 0.5) / 7)))
    mean = MeanOfMaps()
    for view, values in seen:
        mean.add(torch.tensor(values).reshape(1, 1, 32, 32), [view], [plain])
    truth = torch.tensor(smooth.reshape(32, 2, 32, 2).mean((1, 3)))
    assert (mean.result()[0, 0] - truth).abs()[4:-4, 4:-4].max() < 0.05


def test_archives_and_unlike_sizes(maps, tmp_path):
    loaded = load_learner(maps.export(tmp_path / "m.zip"))
    wide = np.asarray(Image.fromarray(squares(1, seed=3)[0][0]).resize((150, 90)))
    ours, theirs = maps.predict_one(wide), loaded.predict_one(wide)
    assert ours.numbers.shape == (90, 150)
    assert (ours.numbers == theirs.numbers).all()


def test_arguments_of_other_heads_are_refused(maps):
    with pytest.raises(ValueError, match="ps is of heads that give one answer a picture"):
        ConvLearner.pretrained(BODY, maps.data, weights=None, ps=0.2)
    with pytest.raises(ValueError, match="precompute=True keeps one vector a picture, and masks"):
        ConvLearner.pretrained(BODY, maps.data, weights=None, precompute=True)


def test_loaders_of_ones_own_with_n_out(tmp_path):
    loader = TensorLoader(torch.randn(8, 3, 48, 48), torch.randn(8, 4), bs=4)
    data = ModelData(loader, loader)
    with pytest.raises(ValueError, match="ModelData does not tell how many outputs"):
        ConvLearner.pretrained(BODY, data, weights=None)
    learn = ConvLearner.pretrained(BODY, data, weights=None, n_out=4, progress=False, path=tmp_path, seed=0)
    assert learn.fit(1e-3, 1)[-1]["valid_loss"] > 0
    assert learn.predict().shape == (8, 4)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> ConvLearner:
    x, masks = squares(24, 96)
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append(([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], ["square"]))
    path = tmp_path_factory.mktemp("boxes")
    tfms = tfms_from_stats(imagenet_stats, 96, aug_tfms=[RandomFlip()], crop="squash")
    items = Items.from_arrays(x, path).split_by_random(0.25).boxes_by(boxes)
    data = items.transform(tfms).data(bs=6, seed=0)
    arch = "ssdlite320_mobilenet_v3_large"
    return ConvLearner.pretrained(arch, data, weights=None, seed=0, progress=False, path=path)


def test_boxes_train_through_the_same_fit(found, tmp_path):
    assert isinstance(found.data.target, BoxTarget)
    found.unfreeze()
    rows = found.fit_one_cycle(3, 3e-3)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert "mAP" in rows[-1]
    wide = np.asarray(Image.fromarray(squares(1, 96, seed=9)[0][0]).resize((192, 96)))
    answer = found.predict_one(wide)
    assert isinstance(answer, Boxes)
    assert answer.boxes.shape == (len(answer), 4)
    assert (answer.boxes <= [192, 96, 192, 96]).all()
    loaded = load_learner(found.export(tmp_path / "m.zip"))
    np.testing.assert_allclose(loaded.predict_one(wide).scores, answer.scores, atol=1e-5)
    with pytest.raises(ValueError, match="no mean of boxes"):
        found.TTA()
    assert found.show_results(2).axes
    assert found.data.show_batch(2).axes


def test_boxes_that_are_none_are_told():
    items = Items.from_arrays(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="picture 1 has the box"):
        items.boxes_by([([[0, 0, 4, 4]], ["a"]), ([[4, 4, 4, 8]], ["a"])]).data()
    with pytest.raises(ValueError, match="1 boxes but 2 labels"):
        items.boxes_by([([[0, 0, 4, 4]], ["a", "b"]), ([], [])]).data()


def test_mean_average_precision_by_hand():
    metric = MeanAveragePrecision(0.5)
    metric.reset()
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 30, 30]]])
    truth = {"boxes": boxes, "labels": torch.tensor([[0, 0]])}
    said = {
        "boxes": torch.cat([boxes[:, :1], boxes[:, :1] + 50], 1),
        "scores": torch.tensor([[0.9, 0.8]]),
        "labels": torch.tensor([[0, 0]]),
    }
    metric.update(said, truth)
    # one of two found, before the false one: precision 1 up to recall 0.5, of 101 points 51
    assert metric.compute() == pytest.approx(51 / 101, abs=1e-4)


def test_without_any_box_there_is_no_mean_average_precision():
    metric = MeanAveragePrecision()
    metric.reset()
    boxes, none = torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[-1]])
    said = {"boxes": boxes, "scores": torch.tensor([[0.9]]), "labels": torch.tensor([[0]])}
    metric.update(said, {"boxes": boxes, "labels": none})
    assert np.isnan(metric.compute())
    metric.update({**said, "labels": none}, {"boxes": boxes, "labels": torch.tensor([[0]])})
    assert metric.compute() == 0


def test_boxes_outside_of_the_picture_are_no_answers():
    view = View.fit((10, 20), (20, 20), crop="letterbox")  # the picture fills the middle
    outputs = {
        "boxes": torch.tensor([[[2.0, 6, 8, 9], [2, 0, 8, 4], [0, 16, 20, 20], [5, 0, 9, 8], [0, 0, 0, 0]]]),
        "labels": torch.tensor([[1, 0, 0, 0, -1]]),
        "scores": torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.0]]),
    }
    (found,) = BoxTarget(["cat", "dog"]).decode(outputs, [view])
    assert found.labels == ["dog", "cat"]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.boxes.tolist() == [[2, 1, 8, 4], [5, 0, 9, 3]]


def test_real_boxes(data_dir, tmp_path):
    root = data_dir("coco_small")
    names = re.findall(r"^  \d+: (.+)$", (root / "config.yaml").read_text(), re.MULTILINE)

    def boxes(file: Path):
        with Image.open(file) as picture:
            width, height = picture.size
        listed = root / "labels" / f"{file.stem}.txt"
        rows = np.loadtxt(listed, ndmin=2) if listed.is_file() else np.zeros((0, 5))
        centre, sides = rows[:, 1:3] * [width, height], rows[:, 3:5] * [width, height]
        return np.concatenate([centre - sides / 2, centre + sides / 2], 1), [
            names[int(n)] for n in rows[:, 0]
        ]

    items = Items.from_folder(root / "images").split_by_random(0.2).boxes_by(boxes)
    data = items.transform(tfms_from_stats(imagenet_stats, 128, crop="letterbox")).data(bs=4)
    pixels, corners, labels, target = next(iter(data.train_dl))
    assert pixels.shape == (4, 3, 128, 128)
    assert corners.shape[:2] == labels.shape
    there = labels >= 0
    assert (corners[there][:, 2:] > corners[there][:, :2]).all()
    assert corners.max() <= 128
    assert torch.equal(target["labels"], labels)
