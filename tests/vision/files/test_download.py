"""Pictures from a server of our own."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tests.vision.helpers import gradient
from zoo.vision import download_images, open_image


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, kind)
    return buffer.getvalue()


ANSWERS = {
    "/cat.jpg": encoded("JPEG"), "/png_named.jpg": encoded("PNG"), "/dog%20two.webp?x=1&y=2": encoded("WEBP"),
    "/page.jpg": b"<html>not here</html>", "/cut.jpg": encoded("JPEG")[:300], "/empty.jpg": b"",
    "/big.jpg": bytes(200_000), "/half.jpg": encoded("JPEG"), "/caf%C3%A9.png": encoded("PNG"),
}  # fmt: skip


class Server(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/moved.jpg":
            self.send_response(302)
            self.send_header("Location", "/cat.jpg")
            self.end_headers()
            return
        content = ANSWERS.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if self.path == "/half.jpg" else content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_good_pictures_are_kept_and_others_are_told(address, tmp_path, caplog):
    good = [
        f"{address}{path}"
        for path in ("/cat.jpg", "/png_named.jpg", "/dog two.webp?x=1&y=2", "/moved.jpg", "/café.png")
    ]
    bad = [
        f"{address}{path}"
        for path in ("/page.jpg", "/cut.jpg", "/empty.jpg", "/big.jpg", "/half.jpg", "/no.jpg")
    ]
    bad += ["file:///etc/passwd", "no address", "http://[bad"]
    done = download_images([*good, *bad, good[0]], tmp_path / "in", max_bytes=100_000, timeout=5)
    assert list(done.files) == good
    assert list(done.failed) == bad
    assert [file.suffix for file in done.files.values()] == [".jpg", ".png", ".webp", ".jpg", ".png"]
    assert sorted((tmp_path / "in").iterdir()) == sorted(done.files.values())
    for file in done.files.values():
        assert open_image(file).size == (60, 40)
    reasons = list(done.failed.values())
    assert all(reason and "\n" not in reason for reason in reasons)
    for part, reason in zip(
        ["known kind", "", "known kind", "max_bytes=100000", "of", "404"], reasons, strict=False
    ):
        assert part in reason
    assert "9 of 14 pictures could not be downloaded" in caplog.text


def test_a_second_call_fetches_only_what_is_missing(address, tmp_path):
    urls = tmp_path / "urls.txt"
    urls.write_text(f"{address}/cat.jpg\n\n{address}/png_named.jpg\n")
    first = download_images(urls, tmp_path / "in", most=1)
    assert len(first.files) == 1
    Server.asked.clear()
    second = download_images(str(urls), tmp_path / "in")
    assert Server.asked == ["/png_named.jpg"]
    assert second.files.items() >= first.files.items()
    with pytest.raises(ValueError, match="at least 1"):
        download_images([], tmp_path, num_threads=0)
