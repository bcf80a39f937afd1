"""Every kind of picture is read upright as 8-bit RGB; broken ones are named."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vision.helpers import gradient
from zoo.vision import imagenet_stats, open_image, tfms_from_stats, verify_images
from zoo.vision.files.checking import broken_error, check_headers
from zoo.vision.files.finding import walk_images
from zoo.vision.pictures import as_pixels


def close(a: Image.Image, b: np.ndarray, tolerance: float = 3.0) -> bool:
    return a.size == (b.shape[1], b.shape[0]) and np.abs(np.asarray(a, float) - b).mean() < tolerance


@pytest.fixture
def picture() -> np.ndarray:
    return gradient()


def test_rgb_from_path_and_from_bytes(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), picture)
    assert np.array_equal(np.asarray(open_image((tmp_path / "a.png").read_bytes())), picture)


def test_cmyk(tmp_path, picture):
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    img = open_image(tmp_path / "a.jpg")
    assert img.mode == "RGB"
    assert close(img, picture)


def test_cmyk_satellite_tile(data_dir):
    file = walk_images(data_dir("planet_tiny") / "train-jpg")[0]
    with Image.open(file) as raw:
        assert raw.mode == "CMYK"
    values = np.asarray(open_image(file))
    assert values.shape == (256, 256, 3)
    assert 20 < values.mean() < 200


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_16_bit_integer_and_float_grey(tmp_path, dtype):
    grey = gradient()[:, :, 0]
    deep = (
        grey.astype(np.float32) / 255 if dtype == np.float32 else (grey.astype(np.uint32) * 257).astype(dtype)
    )
    Image.fromarray(deep).save(tmp_path / "a.tif")
    img = np.asarray(open_image(tmp_path / "a.tif"))
    assert img.shape == (40, 60, 3)
    assert np.abs(img[:, :, 1].astype(int) - grey).max() <= 1


def test_grey_palette_and_bilevel(tmp_path, picture):
    base = Image.fromarray(picture)
    for mode, tolerance in (("L", 60), ("P", 15), ("1", 130)):
        (base.quantize() if mode == "P" else base.convert(mode)).save(tmp_path / "a.png")
        img = open_image(tmp_path / "a.png")
        assert img.mode == "RGB"
        assert close(img, picture, tolerance)


def test_transparent_parts_become_white(tmp_path, picture):
    rgba = np.dstack([picture, np.full((40, 60), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    values = np.asarray(open_image(tmp_path / "a.png"))
    assert (values[:10] == 255).all()
    assert np.array_equal(values[10:], picture[10:])


def test_animation_gives_its_first_frame(tmp_path, picture):
    frames = [Image.fromarray(f) for f in (picture, 255 - picture)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert close(open_image(tmp_path / "a.gif"), picture, 15)


def test_exif_rotation(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=98)
    assert close(open_image(tmp_path / "a.jpg"), np.rot90(picture, -1))


def test_large_jpeg_is_decoded_smaller_but_never_too_small(tmp_path):
    Image.fromarray(gradient(600, 900)).save(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").size == (900, 600)
    reduced = open_image(tmp_path / "a.jpg", min_size=100)
    assert 200 <= min(reduced.size) <= 400


@pytest.mark.parametrize("content", [b"", b"not a picture", "truncated"])
def test_broken_file_is_one_error_that_names_it(tmp_path, picture, content):
    file = tmp_path / "broken_cat.jpg"
    if content == "truncated":
        Image.fromarray(gradient(200, 200)).save(file)
        content = file.read_bytes()[:800]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read picture .*broken_cat\.jpg.*verify_images"):
        open_image(file)
    Image.fromarray(picture).save(tmp_path / "fine.png")
    assert list(verify_images(tmp_path)) == [file]


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png does not exist"):
        open_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        verify_images(tmp_path / "nowhere")


def test_arrays_and_their_errors(picture):
    assert as_pixels(picture).mode == "RGB"
    assert as_pixels(picture[:, :, 0]).mode == "RGB"
    assert as_pixels(picture[:, :, 0], channels=1).mode == "L"
    four = np.dstack([picture, picture[:, :, 0]])
    assert as_pixels(four, channels=4).shape == (4, 40, 60)
    assert as_pixels(torch.rand(8, 9, 3)).dtype == torch.float32
    with pytest.raises(ValueError, match="channels come last"):
        as_pixels(picture.transpose(2, 0, 1))
    with pytest.raises(ValueError, match="expected 3 channels"):
        as_pixels(four)
    with pytest.raises(TypeError, match="uint8 or float"):
        as_pixels(picture.astype(np.int64))
    with pytest.raises(TypeError, match=r"got builtins\.int"):
        as_pixels(7)
    with pytest.raises(ValueError, match="4 channels"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png")
        as_pixels(buffer.getvalue(), channels=4)


@pytest.mark.parametrize(("size", "most"), [(32, 1.5), (64, 2), (150, 4)])  # of 255
def test_reduced_decoding_hardly_changes_what_a_network_reads(data_dir, tmp_path, size, most):
    valid = tfms_from_stats(imagenet_stats, size)[1]
    photos = walk_images(data_dir("coco_small") / "images")[:36]
    file = tmp_path / "large.jpg"
    differences = []
    for start in range(0, 36, 9):  # large photos: nine real ones side by side, with odd sides
        large = Image.new("RGB", (3 * 251, 3 * 213))
        for i, photo in enumerate(photos[start : start + 9]):
            large.paste(open_image(photo).resize((251, 213)), (i % 3 * 251, i // 3 * 213))
        large.save(file, quality=92)
        assert min(open_image(file, min_size=size).size) < 639
        with Image.open(file) as img:
            full = valid.pixels(img).float()
        differences.append(float((valid.pixels(file).float() - full).abs().mean()))
    assert max(differences) < most


def test_reduced_decoding_keeps_the_place_of_the_crop(tmp_path):
    exif = Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        Image.fromarray(gradient(1025, 1467)).save(tmp_path / "a.jpg", exif=exif)
        reduced = open_image(tmp_path / "a.jpg", min_size=64)
        assert min(reduced.size) < 600
        full = open_image(tmp_path / "a.jpg").size
        assert reduced.info["full_size"] == full


def test_broken_content_that_a_decoder_reports_in_its_own_way(tmp_path, picture, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "a.png")

    def failing(*args, **kwargs):
        raise RuntimeError("Failed to decode image")

    monkeypatch.setattr(Image, "open", failing)
    with pytest.raises(ValueError, match=r"cannot read picture .*a\.png: Failed to decode"):
        open_image(tmp_path / "a.png")


def test_headers_and_ends_are_checked_without_decoding(tmp_path, picture, monkeypatch):
    import zoo.vision.files.checking as module

    for name in ("a.png", "b.jpg", "c.gif", "cut.png", "cut.jpg"):
        Image.fromarray(picture).save(tmp_path / name)
        if name.startswith("cut"):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    (tmp_path / "junk.jpg").write_bytes(b"junk")
    (tmp_path / "empty.png").write_bytes(b"")
    with (tmp_path / "tail.jpg").open("wb") as file:  # complete, with something behind the end
        file.write((tmp_path / "b.jpg").read_bytes() + b"x" * 100)
    decoded = []
    original = module.open_image
    monkeypatch.setattr(
        module, "open_image", lambda path, **k: decoded.append(path.name) or original(path, **k)
    )
    found = check_headers(walk_images(tmp_path))
    assert sorted(p.name for p in found) == ["cut.jpg", "cut.png", "empty.png", "junk.jpg"]
    assert sorted(decoded) == ["cut.jpg", "cut.png", "tail.jpg"]
    message = str(broken_error(found))
    assert "4 picture files" in message
    assert "junk.jpg" in message


def test_links_are_followed_and_cycles_are_not(tmp_path, picture):
    (tmp_path / "real").mkdir()
    Image.fromarray(picture).save(tmp_path / "real" / "a.png")
    (tmp_path / "real" / "notes.txt").write_text("x")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert walk_images(tmp_path / "link") == [tmp_path / "link" / "a.png"]
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "more").symlink_to(tmp_path / "real")
    assert walk_images(tmp_path / "class") == [tmp_path / "class" / "more" / "a.png"]
