"""Folders, tables and arrays become the right pictures with the right labels, or one clear error."""

import inspect
import io
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.vision.helpers import gradient, link_slice, two_class_arrays, two_class_folders
from zoo.data import device_batches
from zoo.vision import (
    ImageClassifierData,
    imagenet_stats,
    tfms_from_stats,
    transforms_side_on,
    transforms_top_down,
)
from zoo.vision.data.loaders import collate_pictures
from zoo.vision.targets.labels import encode_labels

TFMS = tfms_from_stats(imagenet_stats, 32)


def first_batch(loader, training=False):
    return next(iter(device_batches(loader, torch.device("cpu"), training)))


class TestFolders:
    def test_dogscats(self, data_dir, tmp_path):
        path = link_slice(data_dir("dogscats"), tmp_path, 8)
        (path / "test").symlink_to(data_dir("dogscats") / "test")
        data = ImageClassifierData.from_paths(path, bs=5, tfms=TFMS, test_name="test")
        assert data.classes == ["cats", "dogs"]
        assert (data.c, data.sz, data.task, data.is_multi) == (2, (32, 32), "classification", False)
        assert (data.train_dl.n_rows, data.valid_dl.n_rows, data.test_dl.n_rows) == (16, 16, 100)
        assert data.val_y.tolist() == [0] * 8 + [1] * 8
        assert all(
            ("/cats/" in name) == (y == 0)
            for name, y in zip(data.filenames["train"], data.trn_y, strict=True)
        )
        x, y = first_batch(data.valid_dl)
        assert x.shape == (5, 3, 32, 32)
        assert x.dtype == torch.float32
        assert torch.allclose(x[0], TFMS[1](data.filenames["valid"][0]), atol=1e-5)
        assert y.tolist() == [0] * 5
        assert first_batch(data.test_dl)[1].tolist() == [-1] * 5

    def test_other_names_and_no_validation(self, tmp_path):
        path = two_class_folders(tmp_path, names=("learn", "check"))
        assert len(ImageClassifierData.from_paths(path, trn_name="learn", val_name="check").val_y) == 12
        alone = ImageClassifierData.from_paths(path, trn_name="learn", val_name=None)
        assert alone.valid_dl is None
        with pytest.raises(ValueError, match="no validation pictures"):
            _ = alone.val_y

    def test_first_pictures_of_each_class(self, tmp_path):
        path = two_class_folders(tmp_path)
        few = ImageClassifierData.from_paths(path, n_per_class=2)
        assert few.trn_y.tolist() == [0, 0, 1, 1]
        with pytest.raises(ValueError, match="at least 1"):
            ImageClassifierData.from_paths(path, n_per_class=0)

    def test_pictures_reach_the_loader_as_bytes(self, tmp_path):
        data = ImageClassifierData.from_paths(two_class_folders(tmp_path), tfms=TFMS)
        assert next(iter(data.train_dl))[0].dtype == torch.uint8

    def test_bad_folders(self, tmp_path):
        path = two_class_folders(tmp_path)
        make = ImageClassifierData.from_paths
        with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
            make(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match=r"no training folder 'trian'.*did you mean 'train'"):
            make(path, trn_name="trian")
        with pytest.raises(ValueError, match="bs must be at least 1"):
            make(path, bs=0)
        for bs in ("4", 4.0, True):
            with pytest.raises(TypeError, match=f"bs must be a whole number.*got {bs!r}"):
                make(path, bs=bs)
        for tfms, got in (
            (None, "None"),
            (5, "int"),
            (TFMS[0], "ImageTransform"),
            ((5, "x"), r"\(int, str\)"),
        ):
            with pytest.raises(TypeError, match=rf"tfms takes a pair.*tfms_from_model.*got {got}"):
                make(path, tfms=tfms)
        (path / "test").mkdir()
        with pytest.raises(ValueError, match="holds no pictures"):
            make(path, test_name="test")
        (path / "valid" / "green").mkdir()
        with pytest.raises(ValueError, match=r"class 'green' does not exist in the training folder"):
            make(path)
        (path / "train" / "green").mkdir()
        with pytest.raises(ValueError, match=r"class folder 'green' holds no pictures"):
            make(path)
        with pytest.raises(ValueError, match="holds no class folders"):
            make(path, trn_name="test")

    def test_a_broken_picture_is_named_with_and_without_workers(self, tmp_path):
        path = two_class_folders(tmp_path)
        (path / "train" / "red" / "001.png").write_bytes(b"nothing")
        for workers in (0, 1):
            data = ImageClassifierData.from_paths(path, tfms=TFMS, num_workers=workers)
            with pytest.raises(ValueError, match=r"cannot read picture .*001\.png"):
                list(data.train_dl)

    def test_different_sizes_without_transforms(self, tmp_path):
        path = two_class_folders(tmp_path)
        Image.fromarray(gradient(20, 21)).save(path / "train" / "red" / "x.png")
        data = ImageClassifierData.from_paths(path)
        with pytest.raises(ValueError, match=r"different sizes .*tfms_from_model"):
            list(data.train_dl)


class TestRepeatability:
    def test_augmentation_does_not_depend_on_the_workers(self, tmp_path):
        path = two_class_folders(tmp_path)
        tfms = tfms_from_stats(imagenet_stats, 32, aug_tfms=transforms_top_down, max_zoom=1.2)

        def batches(workers, epoch):
            data = ImageClassifierData.from_paths(path, bs=4, tfms=tfms, num_workers=workers, seed=3)
            data.train_dl.set_epoch(epoch)
            return [(x.clone(), y.clone()) for x, y in data.train_dl]

        alone, helped = batches(0, 1), batches(2, 1)
        assert all(
            torch.equal(a, b)
            for one, two in zip(alone, helped, strict=True)
            for a, b in zip(one, two, strict=True)
        )
        assert not torch.equal(alone[0][0], batches(0, 2)[0][0])

    def test_a_last_batch_of_one_picture_is_left_out_of_training_only(self):
        x, y = two_class_arrays(9)
        data = ImageClassifierData.from_arrays(None, (x, y), (x, y), bs=4)
        assert [len(t) for _, t in data.train_dl] == [4, 4]
        assert [len(t) for _, t in data.valid_dl] == [4, 4, 1]


class TestTables:
    def frame(self, path, labels):
        for i in range(len(labels)):
            Image.fromarray(gradient(seed=i)).save(path / "pics" / f"p{i}.png")
        return pd.DataFrame({"name": [f"p{i}" for i in range(len(labels))], "tag": labels})

    @pytest.fixture
    def path(self, tmp_path):
        (tmp_path / "pics").mkdir()
        return tmp_path

    def test_single_label_csv(self, path):
        self.frame(path, ["b", "a", "c", "a", "NA", " a "]).to_csv(path / "labels.csv", index=False)
        data = ImageClassifierData.from_csv(
            path, "pics", "labels.csv", suffix=".png", val_idxs=[1, 3], tfms=TFMS
        )
        assert data.classes == ["NA", "a", "b", "c"]
        assert not data.is_multi
        assert data.trn_y.tolist() == [2, 3, 0, 1]
        assert data.val_y.tolist() == [1, 1]
        assert [name[-6:] for name in data.filenames["valid"]] == ["p1.png", "p3.png"]

    def test_validation_pictures_come_in_the_order_of_their_row_numbers(self, path):
        frame = self.frame(path, ["b", "a", "b", "a", "a", "b"])
        data = ImageClassifierData.from_df(path, "pics", frame, suffix=".png", val_idxs=[4, 1, 2, 4])
        assert [name[-6:] for name in data.filenames["valid"]] == ["p4.png", "p1.png", "p2.png"]
        assert data.val_y.tolist() == [0, 0, 1]
        assert [name[-6:] for name in data.filenames["train"]] == ["p0.png", "p3.png", "p5.png"]

    def test_one_cell_with_two_labels_makes_the_set_multi_label(self, path):
        self.frame(path, ["b", "a", "c a", "a", ""]).to_csv(path / "labels.csv", index=False)
        data = ImageClassifierData.from_csv(
            path, "pics", "labels.csv", suffix=".png", val_idxs=[2, 4], tfms=TFMS
        )
        assert (data.is_multi, data.task) == (True, "multilabel")
        assert data.val_y.tolist() == [[1, 0, 1], [0, 0, 0]]
        assert first_batch(data.train_dl)[1].dtype == torch.float32

    def test_other_separator_no_header_named_columns(self, path):
        frame = self.frame(path, ["x y;z", "z", "x y"])
        frame.to_csv(path / "labels.csv", index=False, header=False)
        make = ImageClassifierData.from_csv
        data = make(
            path, "pics", "labels.csv", suffix=".png", skip_header=False, cat_separator=";", val_idxs=[0]
        )
        assert data.classes == ["x y", "z"]
        swapped = frame[["tag", "name"]]
        kept = swapped.copy()
        data = ImageClassifierData.from_df(
            path,
            "pics",
            swapped,
            suffix=".png",
            id_col="name",
            label_col="tag",
            cat_separator=";",
            val_idxs=[1],
        )
        assert data.val_y.tolist() == [[0, 1]]
        pd.testing.assert_frame_equal(swapped, kept)

    def test_default_split_is_a_fixed_fifth(self, path):
        frame = self.frame(path, ["a", "b"] * 10)
        one, two = (ImageClassifierData.from_df(path, "pics", frame, suffix=".png") for _ in range(2))
        assert one.filenames == two.filenames
        assert len(one.val_y) == 4

    def test_numbers_as_labels_sort_by_value(self, path):
        frame = self.frame(path, [10, 9, 2, 10])
        assert ImageClassifierData.from_df(path, "pics", frame, suffix=".png").classes == ["2", "9", "10"]

    def test_satellite_tags(self, data_dir, caplog):
        path = data_dir("planet_tiny")
        with caplog.at_level(logging.WARNING):
            data = ImageClassifierData.from_csv(
                path,
                "train-jpg",
                "train_v2.csv",
                suffix=".jpg",
                on_missing="skip",
                tfms=TFMS,
                test_name="test-jpg",
            )
        assert "40449 of 40479 pictures" in caplog.text
        assert data.is_multi
        assert data.c == 17
        assert len(data.trn_y) + len(data.val_y) == 30
        tags = pd.read_csv(path / "train_v2.csv", index_col=0)["tags"]
        for file, y in zip(data.filenames["valid"], data.val_y, strict=True):
            truth = tags[file.rsplit("/", 1)[1].removesuffix(".jpg")].split()
            assert sorted(np.asarray(data.classes)[y == 1]) == sorted(truth)

    def test_bad_tables(self, path):
        frame = self.frame(path, ["a", "b", "a"])
        frame.to_csv(path / "labels.csv", index=False)
        frame[["name"]].to_csv(path / "names.csv", index=False)
        make = ImageClassifierData.from_csv
        with pytest.raises(
            FileNotFoundError, match=r"label\.csv does not exist \(did you mean 'labels\.csv'"
        ):
            make(path, "pics", "label.csv")
        with pytest.raises(ValueError, match=r"names\.csv has no column number 1 for the labels"):
            make(path, "pics", "names.csv")
        with pytest.raises(ValueError, match=r"no column 'tags' for the labels \(did you mean 'tag'"):
            make(path, "pics", "labels.csv", label_col="tags")
        (path / "twice.csv").write_text("name,tag,tag\np0,a,b\n")
        with pytest.raises(ValueError, match=r"twice\.csv has 2 columns 'tag'; rename all but one"):
            make(path, "pics", "twice.csv", label_col="tag")
        (path / "long.csv").write_text("name,tag\np0,a,b\np1,b,a\n")
        with pytest.raises(ValueError, match=r"long\.csv: cannot be read .* line 2, saw 3"):
            make(path, "pics", "long.csv")
        with pytest.raises(FileNotFoundError, match=r"3 of 3 pictures .*p0.*did you mean suffix='.png'"):
            make(path, "pics", "labels.csv")
        with pytest.raises(FileNotFoundError, match=r"folder .*picts does not exist"):
            make(path, "picts", "labels.csv", suffix=".png")
        (path / "pics" / "p1.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"1 of 3 pictures .*p1\.png"):
            make(path, "pics", "labels.csv", suffix=".png")
        kept = make(path, "pics", "labels.csv", suffix=".png", on_missing="skip", val_idxs=[2])
        assert kept.val_y.tolist() == [0]
        with pytest.raises(ValueError, match="on_missing must be"):
            make(path, "pics", "labels.csv", on_missing="ignore")

    def test_bad_rows(self, path):
        make = ImageClassifierData.from_df
        frame = self.frame(path, ["a", None, "a", float("nan")])
        with pytest.raises(ValueError, match="2 labels are missing, in row 1, 3"):
            make(path, "pics", frame, suffix=".png")
        frame["tag"] = "a"
        for val_idxs, message in (
            ([0, 9], "row 9 is outside the 4 rows"),
            ([0, 1, 2, 3], "leaves no training rows"),
            ([True, False, True, False], "numpy.flatnonzero"),
        ):
            with pytest.raises(ValueError, match=message):
                make(path, "pics", frame, suffix=".png", val_idxs=val_idxs)
        with pytest.raises(ValueError, match="has no rows"):
            make(path, "pics", frame[:0], suffix=".png")

    @pytest.mark.parametrize(
        ("rows", "options", "message"),
        [
            (
                ["p0,a", "p1,b", "p2,a"],
                {},
                r"first line .* looks like data.*'p0\.png' exists.*skip_header=False",
            ),
            (["id,l", "p0,a", "p1,b", "p0,b"], {}, r"listed more than once with different labels: p0\.png"),
            (["id,l", "p0,a", "p1,a", "p2,b"], {"val_idxs": [2]}, "label 'b' exists only in the validation"),
            (["id,l", "p0,a", "p1,  "], {}, "row 1: the label is missing"),
            (["id,l", "p0,a", " ,a"], {}, r"1 rows have no file name \(first rows, from 0: 1\)"),
            (["id,l", "p0,a", "p1,a"], {"val_idxs": [1.0]}, "whole row numbers, got float64"),
            (["id,l", "p0,a", "p1,a"], {"val_idxs": ["1"]}, "whole row numbers"),
        ],
    )
    def test_tables_that_would_train_on_something_else(self, path, rows, options, message):
        self.frame(path, ["a"] * 3)
        (path / "labels.csv").write_text("\n".join(rows))
        with pytest.raises(ValueError, match=message):
            ImageClassifierData.from_csv(path, "pics", "labels.csv", suffix=".png", **options)

    def test_blanks_repeated_rows_and_unlearnable_tags(self, path, caplog):
        self.frame(path, ["a"] * 3)
        (path / "labels.csv").write_text("id,l\np0 ,a\n p1,a b\np2,a\np0,a\n")
        with caplog.at_level(logging.WARNING):
            data = ImageClassifierData.from_csv(
                path, "pics", "labels.csv", suffix=".png", val_idxs=[1, 3], tfms=TFMS
            )
        assert [name[-6:] for name in data.filenames["valid"]] == ["p1.png", "p0.png"]
        assert "in training and in validation: p0.png" in caplog.text
        assert "no training picture has the label 'b'" in caplog.text

    def test_names_and_label_lists(self, path):
        self.frame(path, ["a"] * 3)
        names = [f"pics/p{i}.png" for i in range(3)]
        make = ImageClassifierData.from_names_and_labels
        assert make(path, names, [["x"], ["y", "x"], []], val_idxs=[2]).val_y.tolist() == [[0, 0]]
        matrix = make(path, names, np.array([[1, 0], [1, 1], [0, 1]]), classes=["x", "y"], val_idxs=[2])
        assert matrix.val_y.tolist() == [[0, 1]]
        with pytest.raises(ValueError, match="3 file names but 2 labels"):
            make(path, names, ["a", "b"])
        with pytest.raises(ValueError, match="label 'z' is not among the classes x, y"):
            make(path, names, ["x", "y", "z"], classes=["x", "y"])


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "classes", "y"),
        [
            ([[1, 0, 1], [0, 1, 0]], ["0", "1", "2"], [[1, 0, 1], [0, 1, 0]]),
            ([np.array([1, 0]), np.array([0, 0])], ["0", "1"], [[1, 0], [0, 0]]),
            (torch.tensor([[1, 0], [1, 1]]), ["0", "1"], [[1, 0], [1, 1]]),
            (torch.tensor([7, 3, 10]), ["3", "7", "10"], [1, 0, 2]),
            (np.array([[10], [9]]), ["9", "10"], [1, 0]),
            (np.array([b"cat", b"ant"]), ["ant", "cat"], [1, 0]),
            ([b"cat", b"ant"], ["ant", "cat"], [1, 0]),
            (pd.Series([True, False]), ["False", "True"], [1, 0]),
            (np.array([True, False]), ["False", "True"], [1, 0]),
            ([["a"], None, "b"], ["a", "b"], [[1, 0], [0, 0], [0, 1]]),
            ([["a"], ["b"]], ["a", "b"], [[1, 0], [0, 1]]),
            (["a b", "  "], ["a", "b"], [[1, 1], [0, 0]]),
        ],
    )
    def test_kinds_of_labels(self, labels, classes, y):
        encoded = encode_labels(labels)
        assert encoded.classes == classes
        assert encoded.y.tolist() == y
        assert encoded.multi == (encoded.y.ndim == 2)

    @pytest.mark.parametrize(
        ("labels", "error", "message"),
        [
            (["a", "  "], ValueError, "row 1: the label is missing"),
            (pd.DataFrame({"x": [1, 0], "y": [0, 1]}), TypeError, r"data frame .*x, y.*frame\.to_numpy"),
            ([[1], [0]], ValueError, "can mean a class number or a 0/1 column"),
            (np.array([[1, 2], [0, 1]]), ValueError, "must hold only 0 and 1"),
            (np.array([["a", "b"]]), ValueError, "must hold only 0 and 1"),
            (np.zeros((2, 2, 2)), ValueError, r"shape \(2, 2, 2\)"),
            ([["a", None]], ValueError, "row 0 holds None"),
            ("cat dog", TypeError, "a list of labels"),
            (3, TypeError, "a list of labels"),
        ],
    )
    def test_bad_labels(self, labels, error, message):
        with pytest.raises(error, match=message):
            encode_labels(labels)

    def test_labels_of_arrays(self):
        x, _ = two_class_arrays(4)
        hot = np.eye(2, dtype=int)[[0, 1, 1, 0]]
        for y in (hot, hot.tolist(), torch.from_numpy(hot)):
            data = ImageClassifierData.from_arrays(None, (x, y), (x, y))
            assert data.is_multi
            assert data.val_y.tolist() == hot.tolist()
        column = ImageClassifierData.from_arrays(None, (x, np.array([[5], [7], [5], [7]])))
        assert column.classes == ["5", "7"]


class TestArrays:
    def test_bytes_are_not_copied(self):
        x, y = two_class_arrays(20)
        data = ImageClassifierData.from_arrays(
            None, (x, y), (x[:4], y[:4]), tfms=tfms_from_stats(imagenet_stats, 16)
        )
        assert data.trn_ds.items is x
        assert data.classes == ["blue", "red"]
        assert torch.allclose(first_batch(data.valid_dl)[0][0], TFMS_16[1](x[0]), atol=1e-5)

    def test_grey_and_float(self):
        x, y = two_class_arrays(6)
        grey = x[:, :, :, 0]
        data = ImageClassifierData.from_arrays(None, (grey, y), (grey, y))
        assert data.channels == 1
        plain = first_batch(data.valid_dl)[0]
        assert plain.shape == (6, 1, 16, 16)
        assert torch.allclose(plain[:, 0], torch.from_numpy(grey).float() / 255)
        floats = ImageClassifierData.from_arrays(None, (grey / 255, y), (grey / 255, y))
        assert torch.allclose(first_batch(floats.valid_dl)[0], plain, atol=1e-6)

    def test_four_channels_with_augmentation(self):
        x, y = two_class_arrays(6)
        four = np.concatenate([x, x[..., :1]], 3)
        tfms = tfms_from_stats(imagenet_stats, 12, aug_tfms=transforms_side_on)
        data = ImageClassifierData.from_arrays(None, (four, y), (four, y), tfms=tfms)
        assert first_batch(data.train_dl)[0].shape == (6, 4, 12, 12)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x.transpose(0, 3, 1, 2), y), "channels must come last"),
            (lambda x, y: (x.astype(np.float32), y), r"must lie in \[0, 1\]"),
            (lambda x, y: (x.reshape(6, -1), y), "rows x H x W"),
            (lambda x, y: (x, y[:3]), "6 pictures but 3 labels"),
            (lambda x, y: (x, [*y[:5], None]), "row 5: the label is missing"),
        ],
    )
    def test_bad_arrays(self, change, message):
        x, y = two_class_arrays(6)
        with pytest.raises(ValueError, match=message):
            ImageClassifierData.from_arrays(None, change(x, y))

    def test_a_label_of_validation_only(self):
        x, y = two_class_arrays(6)
        with pytest.raises(ValueError, match="'red' exists only in the validation"):
            ImageClassifierData.from_arrays(None, (x[y == "blue"], y[y == "blue"]), (x, y))


TFMS_16 = tfms_from_stats(imagenet_stats, 16)


class TestRawPictures:
    @pytest.fixture
    def data(self):
        x, y = two_class_arrays(6)
        return ImageClassifierData.from_arrays(None, (x, y), tfms=TFMS_16, bs=4)

    def rows(self, data, items):
        return torch.cat([batch for (batch,) in data.batches_from_raw(items)])

    def test_bytes_and_floats_in_one_list(self, data):
        x, _ = two_class_arrays(6)
        mixed = [x[0], (x[1] / 255).astype(np.float32), x[2], x[3] / 255, x[4], x[5]]
        assert torch.allclose(self.rows(data, mixed), self.rows(data, x), atol=1e-5)
        assert [len(batch) for (batch,) in data.batches_from_raw(x)] == [4, 2]
        rows = [(torch.zeros(3, 2, 2, dtype=torch.uint8), 0), (torch.zeros(3, 2, 2), 0)]
        with pytest.raises(TypeError, match=r"different kinds .*float32.*uint8"):
            collate_pictures(rows)

    @pytest.mark.parametrize("value", [200.0, -0.5, float("nan"), float("inf")])
    def test_floats_outside_the_unit_range(self, data, value):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            self.rows(data, [np.full((16, 16, 3), value, np.float32)])

    def test_one_picture_is_not_taken_apart(self, data):
        x, _ = two_class_arrays(6)
        buffer = io.BytesIO()
        Image.fromarray(x[0]).save(buffer, "png")
        encoded = buffer.getvalue()
        for one in (x[0], torch.from_numpy(x[0]), encoded, bytearray(encoded), memoryview(encoded)):
            assert torch.equal(self.rows(data, one), self.rows(data, x[:1]))
        assert self.rows(data, x[0][:, :, 0]).shape == (1, 3, 16, 16)
        assert self.rows(data, x[:5, :, :, 0]).shape == (5, 3, 16, 16)
        with pytest.raises(ValueError, match="channels last"):
            self.rows(data, x[0].transpose(2, 0, 1))
        with pytest.raises(TypeError, match=r"got a DataFrame: pass the column"):
            self.rows(data, pd.DataFrame({"name": ["a.png"]}))
        assert torch.equal(self.rows(data, buffer), self.rows(data, x[:1]))

    def test_grey_models_read_stacks_and_single_pictures(self):
        x, y = two_class_arrays(6)
        grey = x[..., 0]
        data = ImageClassifierData.from_arrays(None, (grey, y), tfms=TFMS_16)
        assert self.rows(data, grey[:3]).shape == (3, 1, 16, 16)
        assert self.rows(data, grey[0]).shape == (1, 1, 16, 16)


class TestKeywords:
    @pytest.mark.parametrize(
        ("constructor", "positional"),
        [
            ("from_paths", ["path", "bs", "tfms", "trn_name", "val_name", "test_name", "num_workers"]),
            ("from_csv", ["path", "folder", "csv_fname", "bs", "tfms", "val_idxs"]),
            ("from_df", ["path", "folder", "df", "bs", "tfms", "val_idxs"]),
            ("from_names_and_labels", ["path", "names", "labels", "bs", "tfms", "val_idxs"]),
            ("from_arrays", ["path", "trn", "val", "bs", "tfms"]),
        ],
    )
    def test_positions_and_texts(self, constructor, positional):
        function = getattr(ImageClassifierData, constructor)
        found = inspect.signature(function).parameters
        assert [n for n, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in found.values())
        text = inspect.getdoc(function)
        assert all(f"\n    {name}: " in text for name in found)

    @pytest.mark.parametrize("constructor", ["from_csv", "from_df", "from_names_and_labels"])
    def test_a_near_miss_is_named(self, constructor):
        with pytest.raises(
            TypeError, match=rf"{constructor}\(\) got .*'on_mising' \(did you mean 'on_missing'"
        ):
            getattr(ImageClassifierData, constructor)(".", [], [], on_mising="skip")

    def test_lists_of_names_know_nothing_of_columns(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'suffix'"):
            ImageClassifierData.from_names_and_labels(".", [], [], suffix=".jpg")


def test_a_batch_is_normalised_and_can_be_brought_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(12) % 2
    tfms = tfms_from_stats(imagenet_stats, 16)
    data = ImageClassifierData.from_arrays(tmp_path, (pixels, labels), (pixels, labels), bs=4, tfms=tfms)
    x, y = data.one_batch(train=False, device="cpu")
    assert (x.dtype, tuple(x.shape), y.tolist()) == (torch.float32, (4, 3, 16, 16), [0, 1, 0, 1])
    assert x.min() < 0
    back = data.denorm(x).permute(0, 2, 3, 1)
    assert np.abs(back.numpy() - pixels[:4] / 255).max() < 1e-5
    assert np.abs(data.denorm(x[0]).numpy() - back[0].permute(2, 0, 1).numpy()).max() == 0
    (one,) = data.one_item(pixels[0], device="cpu")
    assert torch.allclose(one, x[:1])


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["blue", "blue"], "holds blue more than once"),
        ([], "classes is empty"),
        (["blue", None], "is no name"),
    ],
)
def test_odd_lists_of_classes_are_refused_wherever_they_are_given(tmp_path, classes, told):
    path = two_class_folders(tmp_path / "data")
    names = [f"train/{label}/{number:03d}.png" for label, number in (("blue", 0), ("red", 1), ("blue", 2))]
    x, y = two_class_arrays(4)
    makers = [
        lambda: ImageClassifierData.from_paths(path, classes=classes),
        lambda: ImageClassifierData.from_names_and_labels(
            path, names, ["blue", "red", "blue"], classes=classes
        ),
        lambda: ImageClassifierData.from_arrays(None, (x, y), classes=classes),
    ]
    for make in makers:
        with pytest.raises(ValueError, match=told):
            make()
