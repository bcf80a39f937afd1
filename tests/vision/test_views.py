"""Whatever belongs to a picture follows it through every view."""

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.vision.helpers import gradient
from zoo.data.loaders.dataset_loader import SampleKey
from zoo.data.loaders.row_errors import RowError
from zoo.vision import (
    Items,
    RandomDihedral,
    RandomFlip,
    RandomPerspective,
    RandomRotate,
    imagenet_stats,
    tfms_from_stats,
    transforms_side_on,
    transforms_top_down,
)
from zoo.vision.transforms.view import View
from zoo.vision.transforms.warp import VOID, warp_boxes, warp_mask, warp_picture

UNIT = ((0.0,) * 3, (1.0,) * 3)
MOVES = {
    "flip": [RandomFlip(1.0)],
    "dihedral": [RandomDihedral()],
    "rotate": [RandomRotate(40, p=1)],
    "perspective": [RandomPerspective(0.2, p=1)],
    "all": [RandomRotate(20, p=1), RandomDihedral(), RandomPerspective(0.1, p=1), RandomFlip()],
}


def blocks(height: int, width: int, seed: int) -> np.ndarray:
    """A mask of large rectangles."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for value in (60, 120, 180, 240):
        top, left = rng.integers(0, 1 + height * 3 // 5), rng.integers(0, 1 + width * 3 // 5)
        mask[top : top + height // 2, left : left + width // 2] = value
    return mask


def random_view(
    kind: str, source: tuple[int, int], size: tuple[int, int] | None, seed: int, **options
) -> View:
    train, _ = tfms_from_stats(UNIT, size or 8, aug_tfms=MOVES[kind], max_zoom=1.3, **options)
    return train.view(source, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(MOVES)),
    source=st.tuples(st.integers(40, 150), st.integers(40, 150)),
    size=st.tuples(st.integers(12, 60), st.integers(12, 60)),
    seed=st.integers(0, 10**6),
    crop=st.sampled_from(["random", "center", "squash", "letterbox"]),
    pad_mode=st.sampled_from(["reflect", "edge", "constant"]),
)
def test_the_view_of_a_mask_is_the_mask_of_the_view(kind, source, size, seed, crop, pad_mode) -> None:
    mask = blocks(*source, seed)
    view = random_view(kind, source, size, seed, crop=crop, pad_mode=pad_mode, pad=3)
    shown = warp_mask(mask, view, outside=0)
    picture = np.asarray(warp_picture(Image.fromarray(mask), view))
    assert shown.shape == picture.shape == view.size
    # away from the borders between blocks, where the picture mixes, both are the same
    around = np.lib.stride_tricks.sliding_window_view(shown, (7, 7)).reshape(size[0] - 6, size[1] - 6, -1)
    inner = np.pad(around.min(-1) == around.max(-1), 3)
    coarse = min(view.scaled[0] / source[0], view.scaled[1] / source[1]) < 0.6
    if not coarse:  # else a block may vanish between two pixels
        assert (np.abs(shown.astype(int) - picture)[inner] <= 3).all()


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(MOVES)),
    source=st.tuples(st.integers(20, 150), st.integers(20, 150)),
    size=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    seed=st.integers(0, 10**6),
)
def test_points_go_and_come_back_and_lie_where_the_mask_shows_them(kind, source, size, seed) -> None:
    view = random_view(kind, source, size, seed)
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (5, 2)) * [source[1], source[0]]
    seen = view.from_source(points)
    np.testing.assert_allclose(view.to_source(seen), points, atol=1e-6)
    x, y = (int(v) for v in points[0])
    mask = np.zeros(source, np.uint8)
    mask[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 1
    at_x, at_y = (int(v) for v in view.from_source([[x + 0.5, y + 0.5]])[0])
    enlarged = view.scaled[0] >= source[0]
    if enlarged and 0 <= at_x < size[1] and 0 <= at_y < size[0]:
        assert warp_mask(mask, view)[at_y, at_x] == 1


def test_boxes_follow_are_cut_and_dropped() -> None:
    boxes = np.array([[0.0, 0, 40, 20], [90, 0, 100, 20], [30, 5, 35, 15]])
    cut, kept = warp_boxes(boxes, View.fit((20, 100), (40, 40)))  # shows x from 40 to 60, enlarged twice
    assert kept.tolist() == []
    cut, kept = warp_boxes(boxes, View.fit((20, 100), (20, 80)))  # x from 10 to 90
    assert (kept.tolist(), cut.tolist()) == ([0, 2], [[0, 0, 30, 20], [20, 5, 25, 15]])
    mirrored = random_view("flip", (20, 100), (20, 100), 0)
    whole, _ = warp_boxes(boxes[2:], View.fit((20, 100), (20, 100)).through(mirrored.matrix, (20, 100)))
    assert whole.shape == (1, 4)


def test_what_no_picture_covers_is_void() -> None:
    view = View.fit((10, 20), (20, 20), crop="letterbox")
    shown = warp_mask(np.full((10, 20), 7), view)
    assert (shown[:5] == VOID).all()
    assert (shown[5:15] == 7).all()
    assert (shown[15:] == VOID).all()


@pytest.mark.parametrize("size", [(32, 96), (96, 32), (50, 50)])
def test_quarter_turns_cover_rectangles(size: tuple[int, int]) -> None:
    train, _ = tfms_from_stats(UNIT, size, aug_tfms=transforms_top_down)
    white = Image.new("RGB", (200, 100), "white")
    for seed in range(12):
        assert train(white, seed=seed).min() > 0.8


@pytest.mark.parametrize(("ratio", "turn"), [(8, 45), (20, 10), (1, 45), (3, 90)])
@pytest.mark.parametrize("channels", [3, 5])
def test_turned_pictures_show_no_black(ratio: int, turn: float, channels: int) -> None:
    moves = [RandomRotate(turn, p=1), RandomPerspective(0.3, p=1)]
    train, _ = tfms_from_stats(UNIT, 64, aug_tfms=moves)
    white = np.full((64, 64 * ratio, channels), 255, np.uint8)
    assert (
        min(train.pixels(white, np.random.default_rng(s), channels=channels).min() for s in range(20)) > 250
    )


def test_other_padding_is_shown_where_it_is_asked_for() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    for moves, options in (
        ([RandomRotate(45, p=1, pad_mode="constant")], {}),
        ([RandomRotate(45, p=1)], {"pad_mode": "constant"}),
    ):
        train, _ = tfms_from_stats(UNIT, 64, aug_tfms=moves, **options)
        assert train(white, seed=3).min() == 0


def test_a_turn_with_padding_of_its_own_decides_whatever_the_transform_says() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    moves = [RandomRotate(45, p=1, pad_mode="edge")]
    train, _ = tfms_from_stats(UNIT, 64, aug_tfms=moves, pad_mode="constant")
    assert train(white, seed=3).min() > 0.9
    boxed, _ = tfms_from_stats(UNIT, 64, aug_tfms=moves, crop="letterbox")
    assert boxed(white[:32], seed=3).min() == 0  # the borders of a letterbox stay black


def test_a_picture_one_pixel_wide_costs_what_is_seen_of_it() -> None:
    strip = np.zeros((20000, 2, 3), np.uint8)
    strip[:10000] = 255
    _, valid = tfms_from_stats(imagenet_stats, 224)
    for picture, channels in ((Image.fromarray(strip), 3), (np.repeat(strip, 2, 2)[:, :, :5], 5)):
        tracemalloc.start()
        started = time.process_time()
        shown = valid.pixels(picture, channels=channels)
        took, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert shown.shape == (channels, 224, 224)
        assert shown[0, 0].min() == 255
        assert shown[0, -1].max() == 0
        assert took < 5
        assert peak < 50e6


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_tiny_pictures_go_through_everything(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 200, np.uint8)
    for options in ({}, {"pad": 9}, {"crop": "letterbox"}, {"crop": "squash", "pad": 4}):
        train, valid = tfms_from_stats(UNIT, 32, aug_tfms=MOVES["all"], max_zoom=1.2, **options)
        for tfm in (train, valid):
            assert tfm(picture, seed=1).shape == (3, 32, 32)
            assert torch.isfinite(tfm(picture, seed=2)).all()


def test_rows_together_are_seen_as_one_by_one(tmp_path) -> None:
    """Pixels but for the rounding of lit values, masks exactly; a broken file is told by name."""
    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    for folder in (pictures, masks):
        folder.mkdir()
    for number in range(6):
        picture = gradient(60 + 5 * number, 80, number)
        Image.fromarray(picture).save(pictures / f"{number}.jpg", quality=95)
        Image.fromarray(picture[..., 0] // 64).save(masks / f"{number}.png")
    tfms = tfms_from_stats(imagenet_stats, 40, aug_tfms=transforms_side_on, max_zoom=1.2)
    items = Items.from_folder(pictures).split_by_rows([5])
    items = items.masks_by(lambda path: masks / f"{path.stem}.png", ["a", "b", "c", "d"])
    data = items.transform(tfms).data(bs=5)
    dataset = data.trn_ds
    keys = [SampleKey(row, 100 + row) for row in (4, 0, 2, 1, 3)]
    for key, (pixels, mask) in zip(keys, dataset.__getitems__(keys), strict=True):
        wanted, wanted_mask = dataset[key]
        assert (pixels.int() - wanted.int()).abs().max() <= 1
        assert torch.equal(mask, wanted_mask)
    (pictures / "2.jpg").write_bytes(b"none")
    found = dataset.__getitems__(keys)
    assert [isinstance(one, RowError) for one in found] == [False, False, True, False, False]
    with pytest.raises(ValueError, match=r"cannot read picture .*2\.jpg.*row 2"):
        next(iter(data.train_dl))
