"""A server that misbehaves as it is told, and archives that misbehave as they are made."""

from __future__ import annotations

import contextlib
import http.server
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path


class Server:
    """Serves `files`; `faults` are popped one a request, in order.

    A fault is a dictionary: `status`, `headers`, `body` (instead of the file), `stop` (bytes after which the
    connection is cut), `length` (what Content-Length says), `ranges=False` (as if Range had not been asked).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[dict] = []
        self.always: dict = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            fault = {**server.always, **(server.faults.pop(0) if server.faults else {})}
            name = self.path.lstrip("/")
            if name not in server.files and "body" not in fault:
                fault.setdefault("status", 404)
            body = fault.get("body", server.files.get(name, b"nothing"))
            status, headers, start = fault.get("status", 200), {"ETag": f'"{hash(body)}"'}, 0
            headers |= fault.get("headers", {})
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
            if status == 200 and asked and same and fault.get("ranges", True):
                start = int(asked[1])
                if start >= len(body):
                    status, headers["Content-Range"], body, start = 416, f"bytes */{len(body)}", b"", 0
                else:
                    status = 206
                    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
            if fault.get("no_etag"):
                headers.pop("ETag")
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if fault.get("length", 0) is not None:
                self.send_header("Content-Length", str(fault.get("length", len(body))))
            self.send_header("Connection", "close")
            self.end_headers()
            cut = fault.get("stop")
            self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = True

        def log_message(self, *args) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(10)


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive with these members, whatever their names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def tarred(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar archive with these members: files, or whatever a `TarInfo` says."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # pyright: ignore
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def listing(folder: Path) -> dict[str, str]:
    """Everything below a folder, hidden or not: its kind, or the content of a small file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = path.read_bytes()[:40].decode("latin1")
    return found
