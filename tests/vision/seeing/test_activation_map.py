"""Where a network looked: the map is right, lies over the right place, and leaves no trace."""

import base64
import io
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from tests.vision.helpers import two_class_arrays
from zoo import load_learner
from zoo.vision import ConvLearner, ImageClassifierData, cleaning_page, imagenet_stats, tfms_from_stats
from zoo.vision.models.resnet_small import ResNetSmall
from zoo.vision.seeing.feature_map import FeatureMap

PLAIN = ((0.0,) * 3, (1.0,) * 3)


class Bright(nn.Module):
    """Two classes, "dark" and "light": mean brightness over cells of 4 x 4 pixels."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.cells = nn.AvgPool2d(4)
        self.order = nn.Identity() if not channels_last else ToLast()
        self.linear = nn.Linear(3, 2, bias=False)
        self.last = channels_last
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[-1.0, -1, -1], [1.0, 1, 1]]))

    def forward(self, x):
        maps = self.order(self.cells(x))
        return self.linear(maps.mean((1, 2) if self.last else (2, 3)))


class ToLast(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def bright_learner(crop=None, size=32, **options):
    x = np.zeros((4, size, size, 3), np.uint8)
    tfms = tfms_from_stats(PLAIN, size, crop=crop)
    data = ImageClassifierData.from_arrays(None, (x, ["dark", "light"] * 2), tfms=tfms, bs=2)
    return ConvLearner.from_model_data(Bright(**options), data, progress=False, device="cpu")


def spot(height, width, top, left, side=8):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + side, left : left + side] = 255
    return picture


def peak(found):
    """Centre of gravity of the brightest part."""
    return np.argwhere(found > 0.8).mean(0)


def test_it_is_the_class_activation_map_where_the_network_ends_in_a_mean_and_a_linear_layer():
    learn = bright_learner()
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    found = learn.activation_map(picture, "light")
    maps = learn.model.cells(torch.from_numpy(picture.transpose(2, 0, 1) / 255.0).float()[None])
    weights = learn.model.linear.weight[1]
    cam = (maps * weights[None, :, None, None]).sum(1, keepdim=True)  # Zhou et al. 2016, equation 2
    by_hand = F.interpolate(cam, (32, 32), mode="bilinear", align_corners=False)[0, 0].detach().numpy()
    assert found.shape == (32, 32)
    assert np.allclose(found, by_hand / by_hand.max(), atol=1e-5)
    assert np.allclose(learn.activation_map(picture, 1, method="gradcam"), found, atol=1e-5)  # equal weights


@pytest.mark.parametrize("crop", ["center", "squash", "letterbox"])
@pytest.mark.parametrize("shape", [(32, 32), (40, 120), (90, 50)])
def test_the_map_lies_over_the_picture_as_given(crop, shape):
    learn = bright_learner(crop)
    height, width = shape
    top, left = height // 2 - 10, width // 2 - 2
    found = learn.activation_map(spot(height, width, top, left), "light")
    assert found.shape == shape
    assert found.min() >= 0
    assert found.max() == 1
    assert np.abs(peak(found) - [top + 3.5, left + 3.5]).max() < max(shape) / 8  # cells of 4 of 32 places
    if crop == "center" and shape == (40, 120):
        assert not found[:, :38].any()
        assert not found[:, 82:].any()


def test_maps_with_channels_last_are_understood():
    found = bright_learner(channels_last=True).activation_map(spot(32, 32, 4, 20), "light")
    assert np.abs(peak(found) - [7.5, 23.5]).max() < 4


def test_nothing_is_left_behind_and_no_gradient_need_be_on():
    learn = bright_learner()
    learn.model.train()
    learn.model.linear.eval()
    for parameter in learn.model.parameters():
        parameter.requires_grad = False
    picture = spot(32, 32, 4, 4)
    with torch.no_grad():
        first = learn.activation_map(picture, "light")
    with torch.inference_mode():
        second = learn.activation_map(picture, "light")
    assert np.array_equal(first, second)
    assert learn.model.training
    assert not learn.model.linear.training
    assert not any(module._forward_hooks for module in learn.model.modules())
    assert all(p.grad is None and not p.requires_grad for p in learn.model.parameters())
    with pytest.raises(ValueError, match="did you mean 'light'"):
        learn.activation_map(picture, "ligt")
    assert not any(module._forward_hooks for module in learn.model.modules())


def test_nothing_speaks_for_a_class():
    assert not bright_learner().activation_map(spot(32, 32, 4, 4), "dark").any()


@pytest.mark.parametrize("arch", ["squeezenet1_1", "densenet121", "mobilenet_v2", "resnet18"])
def test_frozen_bodies_and_exported_learners(arch, tmp_path):
    x, y = two_class_arrays(8, 64)
    data = ImageClassifierData.from_arrays(None, (x, y), tfms=tfms_from_stats(imagenet_stats, 64), bs=4)
    learn = ConvLearner.pretrained(
        arch, data, weights=None, xtra_fc=[], seed=0, progress=False, path=tmp_path
    )
    found = learn.activation_map(x[0])
    assert found.shape == (64, 64)
    learn.export(tmp_path / "model.zip")
    again = load_learner(tmp_path / "model.zip", device=learn.device)
    assert np.allclose(again.activation_map(x[0]), found, atol=1e-5)


def test_own_networks_and_figures():
    x, y = two_class_arrays(4)
    data = ImageClassifierData.from_arrays(None, (x, y), tfms=tfms_from_stats(imagenet_stats, 16), bs=2)
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False)
    drawn = learn.plot_activation_map(x[0], "red", method="gradcam")
    assert isinstance(drawn, Figure)
    assert "what speaks for red" in drawn.axes[1].get_title()
    with pytest.raises(ValueError, match="alpha"):
        learn.plot_activation_map(x[0], alpha=2)
    with pytest.raises(ValueError, match="method must be"):
        learn.activation_map(x[0], method="cam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no class number 2"):
        learn.activation_map(x[0], 2)
    for odd in (1.5, ["red"], True):
        with pytest.raises(TypeError, match="label is the name or the number of one class"):
            learn.activation_map(x[0], odd)


def test_names_of_classes_are_no_formulas():
    x, _ = two_class_arrays(4)
    pictures = x, ["$x$", "a_b"] * 2
    tfms = tfms_from_stats(imagenet_stats, 16)
    data = ImageClassifierData.from_arrays(None, pictures, pictures, tfms=tfms, bs=2)
    learn = ConvLearner.from_model_data(ResNetSmall(2, (4, 8), 1), data, progress=False)
    drawn = learn.plot_activation_map(x[0], "$x$")
    assert not any(axis.title.get_parse_math() for axis in drawn.axes)
    for show in (data.show_batch, learn.show_results):
        with pytest.raises(ValueError, match="n must be a whole number of at least 1, got 0"):
            show(0)


def test_networks_without_a_feature_map_say_why():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    with pytest.raises(ValueError, match="no feature map"):
        FeatureMap.of(flat, torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="answers with pictures"):
        FeatureMap.of(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1)), torch.zeros(1, 3, 16, 16))


def deep_files(folder, n=4, size=32):
    """16-bit PNG files whose values go up to 4095, with a bright spot each."""
    files = []
    for i in range(n):
        values = np.random.default_rng(i).integers(0, 400, (size, size)).astype(np.uint16)
        values[4:12, 4 + 3 * i : 12 + 3 * i] = 4095
        files.append(folder / f"{i}.png")
        Image.fromarray(values).save(files[-1])
    return files


def deep_learner(folder):
    files = deep_files(folder)
    tfms = tfms_from_stats(PLAIN, 32, value_range=(0, 4095))
    names = [file.name for file in files]
    data = ImageClassifierData.from_names_and_labels(
        folder, names, ["dark", "light"] * 2, 2, tfms, [2, 3], num_workers=0
    )
    return ConvLearner.from_model_data(Bright(), data, progress=False, device="cpu", path=folder)


def test_pictures_of_a_range_of_their_own_have_maps_and_are_seen(tmp_path):
    learn = deep_learner(tmp_path)
    found = learn.activation_map(tmp_path / "0.png", "light")
    assert found.shape == (32, 32)
    assert np.abs(peak(found) - [7.5, 7.5]).max() < 4
    values = np.asarray(Image.open(tmp_path / "0.png"))
    assert np.abs(learn.activation_map(values, "light") - found).max() < 1 / 255
    shown = learn.plot_activation_map(tmp_path / "0.png").axes[0].images[0].get_array()
    assert shown[6, 6].tolist() == [255, 255, 255]
    results = learn.results()
    assert results.heated(0).max() > 200
    assert isinstance(results.plot_top_losses(heat=True), Figure)
    pages = [results.report(tmp_path / "r.html", heat=True), cleaning_page(learn, tmp_path / "c.html")]
    seen = [np.asarray(one) for page in pages for one in pictures_of(page)]
    assert len(seen) >= 4
    assert all(one.max() > 200 for one in seen)
    assert not [one for one in learn.data.check().findings if "blank" in one.what]


def pictures_of(page):
    """The pictures that a page holds."""
    contents = re.findall(r"data:image/\w+;base64,([^\"]+)", page.read_text())
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in contents]
