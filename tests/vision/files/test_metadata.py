"""Only the orientation of a picture's metadata is read, and nothing is written."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from zoo.vision import open_image
from zoo.vision.pictures import as_pixels

TAGS = (
    0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x132, 0x13B, 0x13E, 0x211, 0x213, 0x214, 0x8298,
    0x829A, 0x8827, 0x9003, 0xA002, 0x8769, 0x8825, 0xA005, 0x927C, 0x9C9B, 0xC4A5,
)  # fmt: skip
VALUES = {
    1: b"\5", 2: b"ab\0", 3: b"\5\0", 4: b"\5\0\0\0", 5: struct.pack("<II", 5, 0), 6: b"\xfb", 7: b"abcd",
    8: b"\xfb\xff", 9: b"\xfb\xff\xff\xff", 10: struct.pack("<ii", -5, 0), 11: struct.pack("<f", 0.5),
    12: struct.pack("<d", 0.5),
}  # fmt: skip


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A raw EXIF block of (tag, type, count, value)."""
    start = 8 + 2 + 12 * len(entries) + 4
    body, behind = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            body += struct.pack("<HHII", tag, kind, count, start + len(behind))
            behind += value
        else:
            body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + behind


def encoded(kind: str, block: bytes, size=(60, 40)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind, exif=block)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_entries_beside_the_orientation_do_not_matter(kind):
    for tag in TAGS:
        for number, value in VALUES.items():
            entry = (tag, number, {2: 3, 7: 4}.get(number, 1), value)
            assert open_image(encoded(kind, exif((0x112, 3, 1, b"\6"), entry))).size == (40, 60), entry


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0II*\0",
        b"Exif\0\0XX*\0\0\0\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif((0x112, 2, 3, b"ab\0")),
        exif((0x112, 3, 2, b"\6\0\6\0")),
        exif((0x112, 3, 1, b"\x63")),
        exif((0x112, 5, 1, struct.pack("<II", 5, 0))),
    ],
)
def test_damaged_blocks_and_orientations(block):
    assert open_image(encoded("JPEG", block)).size in ((60, 40), (40, 60))


def test_all_orientations_of_all_kinds():
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30], upright[20:, 30:] = [255, 0, 0], [0, 0, 255]
    turn = Image.Transpose
    stored = {
        1: None, 2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    kinds = {
        "JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {},
        "MPO": {"quality": 100, "subsampling": 0},
    }  # fmt: skip
    for kind, options in kinds.items():
        for number, how in stored.items():
            img = Image.fromarray(upright)
            img = img if how is None else img.transpose(how)
            note = Image.Exif()
            note[0x112] = number
            buffer = io.BytesIO()
            named = {"tiffinfo": {274: number}} if kind == "TIFF" else {"exif": note}
            img.save(buffer, kind, **named, **options)
            read = open_image(buffer.getvalue())
            assert np.abs(np.asarray(read).astype(int) - upright).mean() < 6, (kind, number)
            again = as_pixels(read)  # what was turned is not turned again
            assert np.array_equal(np.asarray(again), np.asarray(read)), (kind, number)
            assert np.array_equal(np.asarray(as_pixels(Image.open(buffer))), np.asarray(read))


def test_nothing_is_changed_in_what_a_user_hands_over():
    note = Image.Exif()
    note[0x112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, "JPEG", exif=note)
    img = Image.open(buffer)
    assert as_pixels(img).size == (40, 60)
    assert (img.size, img.getexif()[0x112]) == ((60, 40), 6)


def test_a_phones_mpo_is_decoded_reduced():
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    img = Image.fromarray(pixels).resize((1600, 1200))
    for kind in ("JPEG", "MPO"):
        buffer = io.BytesIO()
        extra = {"save_all": True, "append_images": [img.resize((160, 120))]} if kind == "MPO" else {}
        img.save(buffer, kind, **extra)
        read = open_image(buffer.getvalue(), min_size=100)
        assert read.size == (400, 300)
        assert read.info["full_size"] == (1600, 1200)


def test_a_large_jpeg_is_read_reduced_and_others_are_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400_000)
    img = Image.new("RGB", (1200, 1000), "red")
    for name in ("a.jpg", "a.png", "p.jpg"):
        img.save(tmp_path / name, progressive=name == "p.jpg")
    assert open_image(tmp_path / "a.jpg", min_size=64).size == (600, 500)
    assert open_image((tmp_path / "a.jpg").read_bytes(), min_size=64).size == (600, 500)
    for name, least in (("a.jpg", None), ("a.jpg", 900), ("a.png", 64), ("p.jpg", 64)):
        with pytest.raises(ValueError, match=rf"{name}: it is too large.*PIL\.Image\.MAX_IMAGE_PIXELS") as e:
            open_image(tmp_path / name, min_size=least)
        assert "Remove" not in str(e.value)
        assert ".." not in str(e.value).replace(str(tmp_path), "")
