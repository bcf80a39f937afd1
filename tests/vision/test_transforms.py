"""Scaling, cropping, normalising and random views."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from tests.vision.helpers import gradient
from zoo.vision import (
    RandomDihedral,
    RandomFlip,
    RandomLighting,
    RandomPerspective,
    RandomRotate,
    imagenet_stats,
    tfms_from_model,
    tfms_from_stats,
    transforms_basic,
    transforms_side_on,
    transforms_top_down,
)
from zoo.vision.transforms.image_transform import ImageTransform


def test_validation_equals_torchvisions_preset_arithmetic():
    picture = gradient(80, 120)
    _, valid = tfms_from_model("resnet34", 64)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    pil = v2.functional.to_pil_image(tensor)
    expected = v2.Compose(
        [
            v2.Resize(64),
            v2.CenterCrop(64),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*imagenet_stats),
        ]
    )(pil)
    assert torch.allclose(valid(picture), expected, atol=1e-5)


def test_golden_normalisation():
    _, valid = tfms_from_stats(([0.5, 0.5, 0.5], [0.25, 0.5, 1.0]), 8)
    out = valid(np.full((8, 8, 3), 255, np.uint8))
    assert torch.allclose(out[:, 0, 0], torch.tensor([2.0, 1.0, 0.5]))
    assert torch.allclose(valid.denormalize(out[None]), torch.ones(1, 3, 8, 8))


def test_statistics_and_interpolation_come_from_the_architecture():
    _, bilinear = tfms_from_model(torchvision.models.resnet34, 32)
    _, bicubic = tfms_from_model("efficientnet_b0", 32)
    assert (bilinear.interpolation, bicubic.interpolation) == ("bilinear", "bicubic")
    assert bilinear.mean == (0.485, 0.456, 0.406)


def test_modes_of_the_whole_picture():
    picture = np.full((20, 40, 3), 200, np.uint8)
    _, letterbox = tfms_from_stats(imagenet_stats, 16, crop="letterbox")
    _, squash = tfms_from_stats(imagenet_stats, 16, crop="squash")
    _, centre = tfms_from_stats(imagenet_stats, 16)
    boxed = letterbox.pixels(picture)
    assert (boxed[:, 4:12] == 200).all()
    assert (boxed[:, :4] == 0).all()
    for whole in (squash, centre):
        assert (whole.pixels(picture) == 200).all()
    assert centre.pixels(gradient(20, 40)).shape == squash.pixels(gradient(20, 40)).shape == (3, 16, 16)
    half = np.concatenate([np.zeros((16, 16, 3)), np.full((16, 16, 3), 250)], 1).astype(np.uint8)
    assert (squash.pixels(half)[0].float().mean(0)[[0, -1]] == torch.tensor([0.0, 250.0])).all()
    assert (centre.pixels(half)[0, 0] == torch.tensor([0] * 8 + [250] * 8)).all()


def test_rectangular_sizes():
    _, valid = tfms_from_stats(imagenet_stats, (24, 48))
    assert valid(gradient(100, 100)).shape == (3, 24, 48)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_transform_keeps_the_size_and_follows_its_seed(channels):
    both = [*transforms_top_down, *transforms_side_on, RandomPerspective(p=1)]
    train, _ = tfms_from_stats(imagenet_stats, 24, aug_tfms=both, max_zoom=1.2, pad=3)
    picture = np.random.default_rng(0).integers(0, 256, (30, 37, channels), dtype=np.uint8)
    views = [train(picture, seed=s, channels=channels) for s in range(8)]
    assert all(v.shape == (channels, 24, 24) and torch.isfinite(v).all() for v in views)
    assert all(torch.equal(v, train(picture, seed=s, channels=channels)) for s, v in enumerate(views))
    assert all(not torch.equal(views[0], v) for v in views[1:])


def test_perspective_moves_the_corners():
    line = np.zeros((40, 40, 3), np.uint8)
    line[:, 18:22] = 255
    warp = RandomPerspective(magnitude=0.1, p=1)
    moved = np.asarray(warp.apply(Image.fromarray(line), np.array([[0.1, 0.0]] * 4)))
    assert moved[:, 22:26].min() > 250
    assert moved[:, :21].max() < 5
    assert moved[:, 27:].max() < 5
    tilted = np.asarray(
        warp.apply(Image.fromarray(line), np.array([[0.1, 0], [0.1, 0], [-0.1, 0], [-0.1, 0]]))
    )
    assert tilted[1].nonzero()[0].mean() > 22
    assert tilted[38].nonzero()[0].mean() < 17


def test_unseeded_views_follow_the_global_seed():
    train, _ = tfms_from_stats(imagenet_stats, 24, aug_tfms=transforms_side_on)
    torch.manual_seed(5)
    first, second = train(gradient()), train(gradient())
    torch.manual_seed(5)
    assert torch.equal(train(gradient()), first)
    assert not torch.equal(first, second)


def test_pad_and_random_crop_moves_the_picture_by_at_most_the_padding():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[16, 16] = 255
    train, _ = tfms_from_stats(imagenet_stats, 32, pad=4, pad_mode="constant")
    places = set()
    for seed in range(60):
        where = torch.nonzero(train.pixels(picture, np.random.default_rng(seed))[0])[0].tolist()
        assert all(12 <= v <= 20 for v in where)
        places.add(tuple(where))
    assert len(places) > 25


def test_dihedral_reaches_all_eight_symmetries_and_flip_two():
    picture = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3) * 20
    for transform, count in ((RandomDihedral(), 8), (RandomFlip(), 2)):
        train = ImageTransform((2, 2), augment=(transform,))
        views = {train.pixels(picture, np.random.default_rng(s)).numpy().tobytes() for s in range(100)}
        assert len(views) == count
        as_tensor = np.concatenate([picture, picture[:, :, :1]], 2)
        others = {
            train.pixels(as_tensor, np.random.default_rng(s), channels=4)[:3].contiguous().numpy().tobytes()
            for s in range(100)
        }
        assert others == views


def test_rotation_fills_corners_by_reflection():
    picture = np.full((40, 40, 3), 180, np.uint8)
    reflected = ImageTransform((40, 40), augment=(RandomRotate(30, p=1),))
    black = ImageTransform((40, 40), augment=(RandomRotate(30, p=1, pad_mode="constant"),))
    rng = np.random.default_rng
    assert (reflected.pixels(picture, rng(0)) >= 178).all()
    assert (black.pixels(picture, rng(0)) == 0).any()


def test_lighting_changes_brightness_within_its_range():
    picture = np.full((8, 8, 3), 100, np.uint8)
    train = ImageTransform((8, 8), augment=(RandomLighting(0.2, 0),))
    means = [train.pixels(picture, np.random.default_rng(s)).float().mean().item() for s in range(50)]
    assert 79 <= min(means) < 90
    assert 110 < max(means) <= 121


def test_torchvision_transforms_join_and_are_repeatable():
    train, _ = tfms_from_stats(imagenet_stats, 24, aug_tfms=[v2.ColorJitter(0.5)])
    state = torch.get_rng_state()
    a, b, c = (train(gradient(), seed=s) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)


def test_presets_are_lists_that_hold_what_they_say():
    assert [type(t) for t in transforms_basic] == [RandomRotate, RandomLighting]
    assert [type(t) for t in transforms_side_on] == [RandomRotate, RandomLighting, RandomFlip]
    assert [type(t) for t in transforms_top_down] == [RandomRotate, RandomLighting, RandomDihedral]


def test_state_is_json_and_gives_the_same_pictures():
    import json

    _, valid = tfms_from_model("efficientnet_b0", (20, 30), crop="squash")
    again = ImageTransform.from_state(json.loads(json.dumps(valid.to_state())))
    assert again == valid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sz": 0}, "positive number of pixels"),
        ({"sz": 8, "max_zoom": 0.5}, "max_zoom must be at least 1"),
        ({"sz": 8, "pad": -1}, "pad must be"),
        ({"sz": 8, "crop": "centre"}, "did you mean 'center'"),
        ({"sz": 8, "pad_mode": "reflex"}, "did you mean 'reflect'"),
        ({"sz": 8, "interpolation": "cubic"}, "did you mean 'bicubic'"),
        ({"sz": 8, "stats": ([0.5], [0.0])}, "positive stds"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tfms_from_stats(options.pop("stats", imagenet_stats), **options)


def test_bad_transform_and_architecture():
    with pytest.raises(TypeError, match="aug_tfms takes"):
        tfms_from_stats(imagenet_stats, 8, aug_tfms=[3])
    with pytest.raises(ValueError, match="did you mean 'resnet34'"):
        tfms_from_model("resnet43", 8)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: RandomFlip(2), ValueError, "RandomFlip: p must be a number between 0 and 1, got 2"),
        (lambda: RandomFlip("0.5"), TypeError, "RandomFlip: p must be a number between 0 and 1, got '0.5'"),
        (lambda: RandomRotate("x"), TypeError, "RandomRotate: degrees must be a number of at least 0, got"),
        (lambda: RandomRotate(float("nan")), ValueError, "RandomRotate: degrees"),
        (lambda: RandomRotate(10, p=-0.1), ValueError, "RandomRotate: p must"),
        (lambda: RandomRotate(10, pad_mode="reflex"), ValueError, "RandomRotate: pad_mode.*mean 'reflect'"),
        (lambda: RandomPerspective(3), ValueError, "RandomPerspective: magnitude must be .* to below 0.5"),
        (lambda: RandomPerspective(0.5), ValueError, "RandomPerspective: magnitude"),
        (lambda: RandomPerspective(0.1, True), TypeError, "RandomPerspective: p must"),
        (lambda: RandomPerspective(pad_mode=3), ValueError, "RandomPerspective: pad_mode=3"),
        (lambda: RandomLighting(-1), ValueError, "RandomLighting: brightness must be"),
        (lambda: RandomLighting(0.1, 1.5), ValueError, "RandomLighting: contrast must be"),
        (lambda: RandomLighting((0.1, 0.2)), TypeError, "RandomLighting: brightness must be"),
    ],
)
def test_arguments_of_random_transforms_are_checked(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_arguments_at_their_limits_are_taken():
    for made in (
        RandomFlip(1), RandomFlip(np.float32(0.5)), RandomRotate(0, p=0), RandomRotate(180),
        RandomPerspective(0.49), RandomLighting(0, 1), RandomDihedral(),
    ):  # fmt: skip
        train, _ = tfms_from_stats(imagenet_stats, 8, aug_tfms=[made])
        assert train(np.zeros((9, 9, 3), np.uint8)).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aug_tfms": RandomFlip()}, r"a list of transforms, got RandomFlip\(p=0.5\): put it into \[ \]"),
        ({"aug_tfms": lambda picture: picture}, "a list of transforms, got <function"),
        ({"aug_tfms": RandomFlip}, "a list of transforms, got <class"),
        ({"aug_tfms": "side_on"}, "got the text 'side_on': aug_tfms=transforms_side_on, .*without quotes"),
        ({"aug_tfms": "flip"}, "got the text 'flip': such as transforms_side_on"),
        ({"sz": True}, "sz takes a number of pixels"),
        ({"sz": (8, True)}, "sz takes a number of pixels"),
    ],
)
def test_what_is_no_list_of_transforms_and_no_size(options, message):
    with pytest.raises(TypeError, match=message):
        tfms_from_model("resnet18", **{"sz": 8, **options})
