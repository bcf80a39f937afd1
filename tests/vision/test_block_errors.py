"""What users hand to the data block by mistake is told: what, where and what to do."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torchvision import transforms as T

from zoo import load_data
from zoo.data.loaders.dataset_loader import SampleKey
from zoo.vision import (
    Items,
    RandomFlip,
    coded_classes,
    coded_values,
    imagenet_stats,
    tfms_from_stats,
    transforms_side_on,
)

TFMS = tfms_from_stats(imagenet_stats, 16)
NOISE = np.random.default_rng(0).integers(0, 255, (12, 20, 30, 3)).astype(np.uint8)
ITEMS = Items.from_arrays(NOISE)
MASKS = (NOISE[..., 0] > 99).astype(np.uint8)


@pytest.fixture
def files(tmp_path) -> Path:
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    for row in range(12):
        Image.fromarray(NOISE[row]).save(tmp_path / f"pictures/{row:02d}.png")
        Image.fromarray(MASKS[row]).save(tmp_path / f"masks/{row:02d}.png")
    return tmp_path


def first(items: Items, tfms=TFMS):
    """The first row as a training sees it."""
    return items.transform(tfms).data(bs=4, seed=0).trn_ds[SampleKey(0, 0)]


class TestSplits:
    def test_files_of_masks_and_numbers_are_no_classes(self, files):
        items = Items.from_folder(files / "pictures").split_by_random(0.25)
        masks = items.masks_by(lambda file: str(files / "masks" / file.name), ["ground", "thing"])
        assert str(masks.data()) == "ImageData(train 9, valid 3)"
        ages = items.label_by(list(range(12)), target=coded_values(["age"]))
        assert str(ages.data()) == "ImageData(train 9, valid 3)"
        frame = pd.DataFrame({"file": [f"{i:02d}.png" for i in range(12)], "age": range(12)})
        table = Items.from_df(files, "pictures", frame).split_by_random(0.25)
        assert str(table.label_by_column("age", values=True).data()) == "ImageData(train 9, valid 3)"

    def test_classes_still_have_the_same_share_each(self):
        labels = ["a"] * 8 + ["b"] * 4
        data = ITEMS.split_by_random(0.25).label_by(labels, target=coded_classes()).data()
        assert sorted(data.val_y.tolist()) == [0, 0, 1]

    @pytest.mark.parametrize(
        "items",
        [
            ITEMS.split_by_folder(),
            ITEMS.split_by_function(lambda file: True),
            ITEMS.split_by_group(lambda file: 1),
            ITEMS.split_by_file("names.txt"),
        ],
    )
    def test_rules_of_files_for_pictures_in_memory(self, items):
        with pytest.raises(TypeError, match="needs picture files; these pictures are in memory"):
            items.label_by([0, 1] * 6).data()

    def test_what_is_no_rule(self):
        with pytest.raises(TypeError, match=r"split takes a rule .* got 'random'"):
            ITEMS.split("random")
        with pytest.raises(ValueError, match=r"gives numbers such as 11, .* split_by_rows"):
            ITEMS.split(lambda items, classes: np.arange(12)).label_by([0, 1] * 6).data()
        with pytest.raises(ValueError, match="whole row numbers"):
            ITEMS.split_by_rows([1.5]).label_by([0, 1] * 6).data()

    def test_labels_that_are_a_word(self):
        with pytest.raises(TypeError, match=r"got 'folder'; .* label_by_folder\(\)"):
            ITEMS.label_by("folder")
        with pytest.raises(TypeError, match=r"coded_values\(\) .* got 'regression'"):
            ITEMS.label_by([0, 1] * 6, target="regression")  # type: ignore[arg-type]

    def test_nothing_that_validates_is_told(self, caplog):
        with caplog.at_level(logging.WARNING):
            assert ITEMS.split_by_rows([]).label_by([0, 1] * 6).data().val_ds is None
        assert "no picture validates" in caplog.text

    def test_groups(self):
        frame = pd.DataFrame({"file": [f"{i}" for i in range(4)], "film": ["a", "a", None, "b"]})
        items = Items(ITEMS.pictures[:4], frame=frame)
        with pytest.raises(ValueError, match=r"column 'film' names no group in 1 rows .* from 0: 2"):
            items.split_by_group("film").label_by([0, 1] * 2).data()
        with pytest.raises(ValueError, match="only one group, '1'"):
            Items(ITEMS.pictures[:4], frame=frame.assign(film=1)).split_by_group("film").label_by(
                [0, 1] * 2
            ).data()

    def test_a_class_that_only_validates(self):
        with pytest.raises(ValueError, match="choose validation pictures that leave"):
            ITEMS.split_by_rows([0]).label_by(["a"] + ["b"] * 11).data()


class TestMasks:
    def test_of_other_proportions_are_told_with_both_files(self, files):
        Image.fromarray(MASKS[0].T).save(files / "masks" / "00.png")
        items = Items.from_folder(files / "pictures").masks_by(
            lambda file: files / "masks" / file.name, ["ground", "thing"]
        )
        with pytest.raises(ValueError, match=r"pictures/00.png.*masks/00.png is 20 x 30 .* 30 x 20"):
            first(items)
        with pytest.raises(ValueError, match=r"picture 0: mask array .* is 30 x 30 pixels"):
            first(ITEMS.masks_by(np.zeros((12, 30, 30), np.uint8), ["ground", "thing"]))

    def test_shrunken_ones_fit_up_to_a_pixel(self):
        for height, width in ((10, 15), (7, 10), (40, 60), (13, 20), (3, 4)):
            masks = np.zeros((12, height, width), np.uint8)
            assert first(ITEMS.masks_by(masks, ["ground", "thing"]))[1].shape == (16, 16)

    def test_what_is_none(self, files):
        items = Items.from_folder(files / "pictures")
        with pytest.raises(TypeError, match=r"00.png: expected a file or an array as mask, got None"):
            items.masks_by(lambda file: None, ["ground", "thing"])
        with pytest.raises(TypeError, match=r"np.asarray\(picture\)"):
            items.masks_by(lambda file: Image.new("L", (30, 20)), ["ground", "thing"])
        with pytest.raises(TypeError, match="codes takes a list of names"):
            ITEMS.masks_by(MASKS, "ab")

    def test_pictures_as_targets(self):
        with pytest.raises(ValueError, match=r"target picture array .* is 20 x 20 pixels"):
            first(ITEMS.pictures_by(NOISE[:, :, :20]))
        with pytest.raises(ValueError, match=r"scale must be a whole number from 1, got 1\.5"):
            ITEMS.pictures_by(NOISE, scale=1.5)


class TestBoxes:
    @pytest.mark.parametrize(
        ("boxes", "labels", "told"),
        [
            ([[0.1, 0.1, 0.5, 0.5]], ["a"], "shares of the sides"),
            ([[12, 12, 5, 5]], ["a"], r"left, top, width, height are \(left, top, left \+ width"),
            ([[1, 1, 5, 5, 0]], ["a"], "picture 0: expected k x 4 numbers"),
            ([["x", 1, 5, 5]], ["a"], "picture 0: expected k x 4 numbers"),
            ([[1, 1, 5, 5]], "cat", "picture 0: expected a list of classes, got 'cat'"),
            ([], [], "not one of 12 pictures has a box"),
        ],
    )
    def test_that_cannot_be_meant(self, boxes, labels, told):
        with pytest.raises(ValueError, match=told):
            ITEMS.boxes_by([(boxes, labels)] * 12).data()

    def test_no_pairs(self):
        with pytest.raises(ValueError, match=r"picture 0: expected a pair \(boxes, classes\)"):
            ITEMS.boxes_by([[[1, 1, 5, 5]]] * 12).data()

    def test_beside_the_picture(self):
        with pytest.raises(ValueError, match=r"picture 0: the box \[40.0, 2.0, 50.0, 9.0\] lies outside"):
            first(ITEMS.boxes_by([([[40, 2, 50, 9]], ["a"])] * 12))

    def test_none_in_some_pictures_is_right(self):
        row = first(ITEMS.boxes_by([([], [])] * 6 + [([[1, 1, 9, 9]], ["a"])] * 6))[1]
        assert row["boxes"].shape == (0, 4)


class TestNumbers:
    def test_points(self, caplog):
        with pytest.raises(ValueError, match="picture 1: expected numbers"):
            ITEMS.points_by([[[1, 1]], [["a", "b"]]] + [[[1, 1]]] * 10).data()
        with pytest.raises(TypeError, match="names takes a list"):
            ITEMS.points_by(np.full((12, 2, 2), 5.0), "ab").data()
        with caplog.at_level(logging.WARNING):
            ITEMS.points_by(np.full((12, 2, 2), 0.5)).data()
        assert "pixels" in caplog.text

    def test_the_file_is_named(self, files):
        items = Items.from_folder(files / "pictures")
        with pytest.raises(ValueError, match=r"no point, .*its file is .*03.png"):
            items.points_by(lambda file: [[np.nan if file.stem == "03" else 1.0, 2.0]]).data()
        with pytest.raises(ValueError, match=r"which has no area.*; its file is .*03.png"):
            items.boxes_by(lambda file: ([[1, 1, 0 if file.stem == "03" else 9, 9]], ["a"])).data()

    def test_names_of_values(self):
        with pytest.raises(TypeError, match=r"names takes a list of names, such as \['age'\]"):
            ITEMS.label_by([1.0, 2.0] * 6, target=coded_values("age")).data()

    def test_unlike_rows(self):
        with pytest.raises(ValueError, match="as many numbers for each picture"):
            ITEMS.label_by([[1.0, 2.0]] * 11 + [[1.0]], target=coded_values()).data()


class TestTransforms:
    def test_no_pair(self):
        with pytest.raises(TypeError, match=r"transform takes a pair \(train, valid\)"):
            ITEMS.transform(TFMS[0])
        with pytest.raises(TypeError, match=r"transform takes a pair .*got \(int, int\)"):
            ITEMS.transform((5, 5))
        with pytest.raises(TypeError, match="bs must be a whole number"):
            ITEMS.label_by([0, 1] * 6).data(bs="4")
        assert first(ITEMS.label_by([0, 1] * 6), None)[0].shape == (3, 20, 30)

    def test_callables_beside_targets_in_the_picture(self, caplog):
        masks = ITEMS.masks_by(MASKS, ["ground", "thing"])
        cut = tfms_from_stats(imagenet_stats, 16, aug_tfms=[T.RandomCrop(8)])
        with pytest.raises(ValueError, match=r"RandomCrop gave 8 x 8 .* targets"):
            first(masks, cut)
        light = tfms_from_stats(imagenet_stats, 16, aug_tfms=[T.ColorJitter(0.1), RandomFlip()])
        with caplog.at_level(logging.WARNING):
            first(masks, light)
        assert "ColorJitter changes the picture alone" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            first(ITEMS.label_by([0, 1] * 6), light)
        assert not caplog.text

    def test_light_beside_pictures_as_targets_is_told_once(self, caplog):
        lit = tfms_from_stats(imagenet_stats, 16, aug_tfms=transforms_side_on)
        items = ITEMS.pictures_by(ITEMS.pictures)
        with caplog.at_level(logging.WARNING):
            first(items, lit)
        assert len(caplog.records) == 1
        assert "RandomLighting changes the pictures alone, pictures as targets stay" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            first(items, tfms_from_stats(imagenet_stats, 16, aug_tfms=[RandomFlip()]))
            first(ITEMS.masks_by(MASKS, ["ground", "thing"]), lit)
            first(items, None)
        assert not caplog.text

    def test_points_far_outside_are_told(self, caplog):
        points = np.full((len(ITEMS), 2, 2), 5.0)
        points[2, 0] = np.nan
        points[3, 1] = -19, 39  # just outside
        with caplog.at_level(logging.WARNING):
            ITEMS.points_by(points).data()
        assert not caplog.text
        height, width = ITEMS.pictures.shape[1:3]
        points[4, 1] = 3, 2 * height + 1
        points[6, 0] = -width - 1, 3
        with caplog.at_level(logging.WARNING):
            ITEMS.points_by(points).data()
        assert "2 pictures have points that lie more than a side outside" in caplog.text
        assert f"the first is picture 4, with (3, {2 * height + 1}) in" in caplog.text

    @pytest.mark.parametrize("by", ["function", "array"])
    def test_points_far_outside_of_files_are_told(self, tmp_path, caplog, by):
        turned = Image.Exif()
        turned[0x0112] = 6  # shown with 10 x 40 pixels
        for name in "abc":
            image = Image.fromarray(np.zeros((10, 40, 3), np.uint8))
            image.save(tmp_path / f"{name}.jpg", exif=turned if name == "c" else b"")
        places = {"a": (70, 19), "b": (5, 5), "c": (5, 70)}
        items = Items.from_folder(tmp_path)

        def found():
            caplog.clear()
            where = (lambda file: [places[file.stem]]) if by == "function" else [[places[n]] for n in "abc"]
            with caplog.at_level(logging.WARNING):
                items.points_by(where).data()
            return caplog.text

        assert not found()
        places |= {"a": (70, 21), "c": (5, 81)}
        told = found()
        assert "2 pictures have points that lie more than a side outside; the first is" in told
        assert "a.jpg, with (70, 21) in 40 x 10 pixels" in told
        (tmp_path / "b.jpg").write_bytes(b"no picture")
        places["b"] = (1e6, 5)  # of an unknown size
        assert "2 pictures" in found()

    @pytest.mark.parametrize("none", [None, float("nan"), pd.NA])
    def test_pictures_of_no_group_are_refused(self, tmp_path, none):
        for name in "abcd":
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
        items = Items.from_folder(tmp_path).label_by(lambda file: file.stem in "ab")
        split = items.split_by_group(lambda file: none if file.stem in "bd" else file.stem)
        with pytest.raises(ValueError, match=r"no group for 2 of 4 pictures, the first is b\.png"):
            split.data()

    def test_test_pictures_of_other_channels(self):
        with pytest.raises(ValueError, match="test pictures have 4 channels, the others 3"):
            ITEMS.with_test(np.zeros((2, 20, 30, 4), np.uint8)).label_by([0, 1] * 6).data()

    def test_a_pattern_that_is_none(self, files):
        with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
            Items.from_folder(files / "pictures").label_by_regex("(")


def test_a_list_of_masks_is_kept_by_saved_data(tmp_path):
    items = ITEMS.split_by_random(0.25).masks_by(list(MASKS), ["ground", "thing"]).transform(TFMS)
    data = items.data(bs=4, seed=0)
    data.save(tmp_path / "d")
    ours, theirs = next(iter(data.valid_dl))[1], next(iter(load_data(tmp_path / "d").valid_dl))[1]
    assert (ours == theirs).all()
