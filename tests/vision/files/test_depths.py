"""Deep grey pictures: scaled by what the file declares or the user says, never by their own values."""

from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.vision import ImageClassifierData, open_image, tfms_from_stats, value_range_of
from zoo.vision.files import depths
from zoo.vision.files.ranges import tell_ranges
from zoo.vision.pictures import as_pixels

RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(8, 0)
GREY = np.rint(RAMP * 255).astype(int)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(depths, "_told", set())


def grey(values, name="g.tif", folder=None, **keywords):
    file = folder / name
    Image.fromarray(values).save(file)
    return np.asarray(open_image(file, **keywords))[..., 0].astype(int)


def tiff(values: np.ndarray, bits: int, photometric: int = 1, sample_format: int = 1, order="<") -> bytes:
    """A TIFF written by hand, one strip; 12 bits are packed, two values in three bytes."""
    height, width = values.shape
    if bits == 12:
        a, b = values.astype(np.uint32).reshape(-1, 2).T
        packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], 1).astype(np.uint8)
        raw = packed.tobytes()
    else:
        raw = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 10 + 10 * 12 + 4), (277, 3, 1), (278, 4, height), (279, 4, len(raw)),
        (339, 3, sample_format),
    ]  # fmt: skip
    mark = b"II*\0" if order == "<" else b"MM\0*"

    def entry(tag, kind, value):
        short = kind == 3 and order == ">"
        return struct.pack(f"{order}HHI", tag, kind, 1) + struct.pack(
            f"{order}I", value << 16 if short else value
        )

    body = b"".join(entry(*tag) for tag in tags)
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + body + struct.pack(f"{order}I", 0) + raw


@pytest.mark.parametrize(("name", "kind"), [("a.png", "u2"), ("a.tif", "<u2"), ("b.tif", ">u2")])
def test_16_bits(tmp_path, name, kind):
    assert np.abs(grey((RAMP * 65535).astype(kind), name, tmp_path) - GREY).max() <= 1


def test_every_value_of_16_bits_is_a_257th(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(grey(values, folder=tmp_path), np.rint(values / 257))


def test_declared_12_bits():
    values = (RAMP * 4095).astype(np.uint16)
    assert np.abs(np.asarray(open_image(tiff(values, 12)))[..., 0] - GREY).max() <= 1


@pytest.mark.parametrize("order", ["<"])  # Pillow reads the other order with white as the largest only
def test_white_is_zero(order):
    values = (RAMP * 65535).astype(np.uint16)
    plain, inverted = (np.asarray(open_image(tiff(values, 16, kind, order=order)))[..., 0] for kind in (1, 0))
    assert np.array_equal(plain, 255 - inverted)


def test_floats_of_0_to_1_and_masks(tmp_path):
    assert np.abs(grey(RAMP, folder=tmp_path) - GREY).max() <= 1
    mask = (RAMP > 0.5).astype(np.float32)
    assert np.array_equal(grey(mask, folder=tmp_path), mask * 255)
    assert grey(np.zeros((4, 4), np.float32), folder=tmp_path).max() == 0
    assert grey(np.ones((4, 4), np.float32), folder=tmp_path).min() == 255
    with_gap = RAMP.copy()
    with_gap[0] = np.nan
    assert grey(with_gap, folder=tmp_path)[0].max() == 0


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (RAMP * 255, r"value_range=\(0, 255\)"),
        (RAMP * 30 - 10, r"from -10 to 20.*value_range=\(-10, 20\)"),
        (np.full((4, 4), np.inf, np.float32), "value_range"),
        ((RAMP * 1e6).astype(np.int32), "32-bit samples reach from 0 to 1e\\+06"),
        ((RAMP * 100).astype(np.int32) - 50, "value_range"),
    ],
)
def test_where_nothing_is_known_the_file_and_the_remedy_are_named(tmp_path, values, advice):
    with pytest.raises(ValueError, match=rf"cannot read picture .*g\.tif: .*{advice}") as caught:
        grey(values.astype(values.dtype), folder=tmp_path)
    assert "Remove" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_range_for_all_pictures_of_a_set(tmp_path):
    rng = np.random.default_rng(0)
    cold, warm = (rng.uniform(low, low + 5, (32, 32)).astype(np.float32) for low in (-10, 5))
    greys = [grey(one, folder=tmp_path, value_range=(-10, 10)) for one in (cold, warm)]
    assert greys[0].max() < 70
    assert greys[1].min() > 180
    assert np.array_equal(grey(RAMP * 255, folder=tmp_path, value_range=(0, 255)), GREY)
    twelve = (RAMP * 4095).astype(np.uint16)
    assert np.abs(grey(twelve, "h.png", tmp_path, value_range=(0, 4095)) - GREY).max() <= 1
    integers = (RAMP * 1000).astype(np.int32) - 500
    assert np.abs(grey(integers, folder=tmp_path, value_range=(-500, 500)) - GREY).max() <= 1
    beyond = grey(np.array([[-99, 0, 99, np.nan, np.inf]], np.float32), folder=tmp_path, value_range=(-1, 1))
    assert beyond[0].tolist() == [0, 128, 255, 0, 255]


def test_unsigned_32_bits_do_not_wrap():
    values = (RAMP.astype(np.float64) * (2**32 - 1)).astype(np.uint32)
    read = np.asarray(open_image(tiff(values, 32), value_range=(0, 2**32 - 1)))[..., 0]
    assert np.abs(read - GREY).max() <= 1


def test_the_transparent_value_of_a_deep_png_is_white(tmp_path):
    values = np.array([[0, 1000, 30000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "t.png", transparency=1000)
    read = np.asarray(open_image(tmp_path / "t.png"))[0, :, 0]
    assert read.tolist() == [0, 255, 117]


@pytest.mark.parametrize("bad", [(1, 1), (5, 0), (0,), "ab", (0, float("nan")), 7])
def test_a_range_that_is_none(bad):
    with pytest.raises(ValueError, match=r"value_range must be two finite numbers"):
        as_pixels(RAMP * 255, value_range=bad, channels=1)


def test_arrays(tmp_path):
    scaled = as_pixels((RAMP * 4095).astype(np.uint16), channels=1, value_range=(0, 4095))
    assert isinstance(scaled, torch.Tensor)
    assert torch.allclose(scaled[0], torch.from_numpy(RAMP), atol=1e-3)
    with pytest.raises(TypeError, match="value_range"):
        as_pixels((RAMP * 4095).astype(np.uint16), channels=1)
    deep = Image.fromarray((RAMP * 255).astype(np.float32))
    assert np.array_equal(np.asarray(as_pixels(deep, value_range=(0, 255)))[..., 0], GREY)


def test_small_use_of_the_range_is_told_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        for name in ("a.png", "b.png"):
            grey((RAMP * 4000).astype(np.uint16), name, tmp_path)
    assert len(caplog.records) == 1
    assert "pass value_range=(0, 4095)" in caplog.text
    assert "a.png" in caplog.text
    caplog.clear()
    depths._told.clear()
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    assert tell_ranges(files, "the train folder")
    assert "the train folder: no value is above 4000, of 65535" in caplog.text
    grey((RAMP * 60000).astype(np.uint16), "c.png", tmp_path)
    assert not tell_ranges([*files, tmp_path / "c.png"], "the train folder")


def test_a_range_that_is_not_used_is_told(tmp_path, caplog):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(
            open_image(tmp_path / "a.png", value_range=(0, 100)), open_image(tmp_path / "a.png")
        )
        as_pixels(np.zeros((4, 4, 3), np.uint8), value_range=(0, 100))
    assert len(caplog.records) == 1
    assert "is not used" in caplog.text


def test_the_range_of_a_set(tmp_path):
    grey((RAMP * 9 + 1).astype(np.float32), "a.tif", tmp_path, value_range=(0, 10))
    grey(-(RAMP * 5).astype(np.float32), "b.tif", tmp_path, value_range=(0, 10))
    Image.new("L", (4, 4), 200).save(tmp_path / "eight.png")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    assert value_range_of(sorted(tmp_path.iterdir())) == (-5, 10)
    with pytest.raises(ValueError, match="none of the 1 pictures has more than 8 bits"):
        value_range_of([tmp_path / "eight.png"])


def test_a_large_deep_picture_is_converted_in_little_memory():
    import tracemalloc

    img = Image.fromarray(np.zeros((2000, 2000), np.uint16))
    tracemalloc.start()
    depths.deep_to_8_bit(img)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 35e6  # as 64-bit floats the picture alone would take 32 MB, twice


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La"]
)
def test_every_mode_of_8_bits_comes_out_as_rgb(mode):
    made = Image.new("RGB", (5, 4), (200, 40, 90))
    img = made.convert("LA").convert("La") if mode == "La" else made.convert("RGBA").convert(mode)
    result = as_pixels(img)
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size) == ("RGB", (5, 4))


def test_deep_colour_is_read_as_pillow_reads_it():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 128)).save(buffer, "PNG")
    assert open_image(buffer.getvalue()).getpixel((0, 0)) == (255, 0, 128)


def test_a_training_tells_of_a_small_range_before_it_begins(tmp_path, caplog):
    for label in "ab":
        (tmp_path / "train" / label).mkdir(parents=True)
        for name in ("0.png", "1.png"):
            Image.fromarray((RAMP * 4000).astype(np.uint16)).save(tmp_path / "train" / label / name)
    stats = ([0.5] * 3, [0.5] * 3)
    for value_range, told in (((0, 4095), 0), (None, 1)):
        tfms = tfms_from_stats(stats, 8, value_range=value_range)
        data = ImageClassifierData.from_paths(tmp_path, tfms=tfms, val_name=None)
        with caplog.at_level(logging.WARNING):
            data.check_files()
        assert len(caplog.records) == told
    assert "the training pictures: no value is above 4000, of 65535" in caplog.text
