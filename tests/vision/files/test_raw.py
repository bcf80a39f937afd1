"""New pictures in any form: open files, bytes, threads that read ahead, errors that tell the place."""

from __future__ import annotations

import io
import itertools
import tempfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vision.helpers import gradient
from zoo.vision import tfms_from_stats
from zoo.vision.data.raw import raw_batches
from zoo.vision.pictures import as_pixels

TFM = tfms_from_stats(([0.5] * 3, [0.5] * 3), 16)[1]


def encoded(seed=0, kind="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(gradient(seed=seed)).save(buffer, kind)
    return buffer.getvalue()


def rows(items, **keywords) -> torch.Tensor:
    return torch.cat([batch for batch, *_ in raw_batches(items, TFM, channels=3, bs=4, **keywords)])


def test_everything_that_can_be_read(tmp_path):
    content = encoded()
    (tmp_path / "a.png").write_bytes(content)
    expected = rows([content])
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    spooled.write(content)
    with (tmp_path / "a.png").open("rb") as file, spooled:
        at_end = io.BytesIO(content)
        at_end.read()
        for one in (file, file, io.BytesIO(content), at_end, spooled, bytearray(content), tmp_path / "a.png"):
            assert torch.equal(rows(one), expected)
            assert torch.equal(rows([one, one]), expected.repeat(2, 1, 1, 1))
        assert at_end.tell() == len(content)


class Stream:
    """A response of the web: no position, read once."""

    def __init__(self, content):
        self.content = content

    def read(self):
        content, self.content = self.content, b""
        return content


def test_streams_and_what_is_no_stream_of_bytes(tmp_path):
    assert torch.equal(rows([Stream(encoded())]), rows([encoded()]))
    with pytest.raises(TypeError, match=r"gives str, expected bytes: open it with open\(name, 'rb'\)"):
        as_pixels(io.StringIO("text"))

    class Upload:
        async def read(self):
            return b""

    with pytest.raises(TypeError, match=r"Upload\.read has to be awaited"):
        as_pixels(Upload())


@pytest.mark.parametrize("num_threads", [1, 2])
def test_errors_tell_the_place_of_what_has_no_name(tmp_path, num_threads):
    (tmp_path / "cut.png").write_bytes(b"nothing")
    good = encoded()
    cases = [
        (b"nothing", ValueError, r"^picture number 5 \(from 0\): cannot read picture 7 bytes"),
        (io.BytesIO(b""), ValueError, r"^picture number 5 \(from 0\): cannot read picture 0 bytes"),
        (7, TypeError, r"^picture number 5 \(from 0\): expected a picture .* got builtins\.int"),
        (np.zeros((4, 4, 7), np.uint8), ValueError, r"^picture number 5 \(from 0\): expected 3 channels"),
        (tmp_path / "cut.png", ValueError, r"^cannot read picture .*cut\.png"),
        (tmp_path / "no.png", FileNotFoundError, r"no\.png does not exist$"),
    ]
    for bad, kind, text in cases:
        with pytest.raises(kind, match=text):
            rows([good] * 5 + [bad] + [good] * 5, num_threads=num_threads)
    with (
        (tmp_path / "cut.png").open("rb") as file,
        pytest.raises(ValueError, match=r"number 0 .*cut\.png'\)"),
    ):
        rows(file, num_threads=num_threads)


def test_threads_keep_the_order_and_read_ahead_of_nobody(tmp_path):
    names = []
    for i in range(40):
        names.append(tmp_path / f"{i}.png")
        names[-1].write_bytes(encoded(i))
    assert torch.equal(rows(names, num_threads=4), rows(names, num_threads=1))
    mixed = [names[0], gradient(seed=1), encoded(2), Image.fromarray(gradient(seed=3)), names[4]]
    assert torch.equal(rows(mixed, num_threads=2), rows(names[:5], num_threads=1))
    asked = []

    def endless():
        for i in itertools.count():
            asked.append(i)
            yield names[i % 40]

    batches = raw_batches(endless(), TFM, channels=3, bs=4, num_threads=2)
    next(batches)
    assert len(asked) < 20
    before = threading.active_count()
    batches.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(5)
    assert threading.active_count() < before


def test_a_lazy_picture_given_twice(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    img = Image.open(tmp_path / "a.png")
    assert torch.equal(rows([img] * 9, num_threads=4), rows([encoded()] * 9))
